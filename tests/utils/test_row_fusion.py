"""Fused operations against PyTorch's own, one after another; the programs are compiled for the CPU."""

import ctypes
import hashlib
import shutil
import subprocess

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palestra.config import registry
from palestra.utils.lazy import forget_computed
from palestra.utils.row_fusion import HELPERS, Program, RowFusion, flush, fusing, unrelated

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler (g++)")

ROWS = 37
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Compile a program, once for each text, and execute it row by row."""
    folder = tmp_path_factory.mktemp("programs")
    libraries = {}

    def execute(program: Program) -> None:
        text = (
            f"#include <cmath>\nusing namespace std;\n{HELPERS}\n"
            'extern "C" void run(long long rows, const long long* pointers) {\n'
            f"for (long long row = 0; row < rows; ++row) {{\n{program.source}\n}}\n}}\n"
        )
        name = hashlib.sha1(text.encode()).hexdigest()
        if name not in libraries:
            source = folder / f"{name}.cpp"
            source.write_text(text)
            command = [
                "g++",
                "-O0",
                "-w",
                "-ffp-contract=off",
                "-shared",
                "-fPIC",
                source,
                "-o",
                source.with_suffix(".so"),
            ]
            subprocess.run(command, check=True)
            libraries[name] = ctypes.CDLL(str(source.with_suffix(".so")))
        addresses = (ctypes.c_longlong * max(1, len(program.pointers)))(*program.pointers)
        libraries[name].run(ctypes.c_longlong(program.rows), addresses)

    return execute


def both(run, function, *inputs):
    """Return what a function gives fused and not fused, and how many programs it took."""
    clones = [x.clone() for x in inputs]
    expected = function(*inputs)
    fusion = RowFusion(ROWS, CPU, run)
    with fusion:
        found = function(*clones)
    for a, b in zip((found, *clones), (expected, *inputs), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride()
        torch.testing.assert_close(a, b, rtol=2e-6, atol=2e-6, equal_nan=True)
    return fusion.programs


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(ROWS, *shape, generator=torch.Generator().manual_seed(seed))


CASES = {
    "arithmetic": lambda x, y: ((x + 2 * y - 1.5) * x / (y.abs() + 1.0)).neg(),
    "alpha": lambda x, y: torch.add(x, y, alpha=0.3) - torch.sub(x, y, alpha=2),
    "scalars on the left": lambda x, y: 1.0 - x + 2.0 / (y.abs() + 0.5),
    "functions": lambda x, y: torch.exp(-x.abs()) + torch.sqrt(y.abs()) + torch.sin(x) * torch.cos(y) + torch.tanh(x),
    "angles": lambda x, y: torch.atan2(x, y) + torch.asin(torch.tanh(x)) + torch.acos(torch.tanh(y)),
    "rounding": lambda x, y: (3 * x).round() + (3 * y).floor() + x.ceil() + y.trunc(),
    "powers": lambda x, y: x**2 + y**3 + x.square() + (x.abs() + 1.0) ** -1,
    "comparisons": lambda x, y: ((x > y) & (x < 1.0)) | ~(y >= 0.0) ^ (x != y),
    "logic": lambda x, y: torch.logical_and(x > 0, y > 0).logical_or(x < -1).logical_not().float(),
    "masks": lambda x, y: torch.where(x > 0, x, y).masked_fill(y > 1, 7.0),
    "where with a number": lambda x, y: torch.where(x > 0, 1.0, y),
    "limits": lambda x, y: x.clamp(-0.5, 0.5) + y.clamp(min=0.1) + x.clamp_max(0.2) + torch.maximum(x, y),
    "limits of tensors": lambda x, y: torch.clamp(x, -y.abs(), y.abs()),
    "types": lambda x, y: (x > 0).float() * y + (y > 0).to(torch.int64) + (x * 10).to(torch.int64) // 1,
    "sums": lambda x, y: (x * y).sum(-1) + x.sum(1) + (x > 0).sum(-1),
    "a kept dimension": lambda x, y: x - x.mean(-1, keepdim=True),
    "extremes": lambda x, y: x.amax(-1) - y.amin(-1),
    "any and all": lambda x, y: (x > 0).any(-1) & ~(y > 1).all(-1),
    "norms": lambda x, y: torch.linalg.vector_norm(x, dim=-1) + y.norm(dim=1),
    "cross": lambda x, y: torch.linalg.cross(x[:, :3], y[:, 1:]),
    "joining": lambda x, y: torch.cat((x, y[:, :2], torch.stack((x[:, 0], y[:, 1]), -1)), dim=-1),
    "broadcasting": lambda x, y: x[:, :1] * y + x[:, None, :].mul(y[:, :, None]).sum(1),
    "lerp and addcmul": lambda x, y: torch.lerp(x, y, 0.3) + torch.addcmul(x, y, y, value=0.5),
    "not a number": lambda x, y: torch.nan_to_num(x / (y > 0).float() * 0.0, nan=3.0) + torch.isnan(x / (x * 0)).float(),
    "constants": lambda x, y: x + torch.ones_like(y) + torch.zeros(4) + torch.full((ROWS, 1), 2.0),
    "counting": lambda x, y: x + torch.arange(4) * 0.5,
    "bits": lambda x, y: (((x * 1000).long() & 0xFF) ^ ((y * 1000).long() >> 3) | 1) << 2,
    "products that wrap around": lambda x, y: (x * 1e9).long() * 0x9E3779B97F4A7C1,
    "picked columns": lambda x, y: x.index_select(1, torch.tensor([3, 0, 0])) + y.index_select(1, torch.tensor([1, 2, 3])),
    "transposed": lambda x, y: torch.stack((x[:, 0], y[:, 0], x[:, 1]))[1:].clone(),
    "unfused in between": lambda x, y: (torch.cumsum(x * 2, dim=1) + y) * 3,
    "over the rows": lambda x, y: (x - (x * 2).sum(0)) * y.mean(),
    "matrices": lambda x, y: (x + 1) @ (y.T[:, :5] * 2) + 1,
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_operations_are_pytorchs(case, run):
    assert both(run, CASES[case], numbers(4), numbers(4, seed=1)) >= 1


@pytest.mark.parametrize(
    "case",
    {
        "in place": lambda x, y: x.add_(y).mul_(2.0).sub_(1.0),
        "part of a row": lambda x, y: x[:, 1:3].copy_(y[:, :2]).mul_(3.0),
        "into what is read": lambda x, y: x[:, :3].copy_(x[:, 1:]),
        "columns to and fro": lambda x, y: x[:, 0].copy_(x[:, 1] + x[:, 0]) + x[:, 1].copy_(x[:, 0]),
        "masked": lambda x, y: x.masked_fill_(y > 0, 0.0),
        "an output": lambda x, y: torch.where(x > y, x, y, out=y),
        "stacked into rows": lambda x, y: torch.stack((y[:, 0], x[:, 1], y[:, 2], x[:, 3]), dim=1, out=x),
        "zeroed": lambda x, y: x.zero_().add_(y[:, :1]),
        "filled": lambda x, y: x[:, 2].fill_(4.0),
        "another type": lambda x, y: x.copy_(y > 0),
        "read and written by other rows": lambda x, y: y.copy_(x.flip(0)).add_(x),
        "an increment that is seen later": lambda x, y: (x.add_(1.0) * y).sum(0) + x.sum(0),
    }.items(),
    ids=lambda case: case[0],
)
def test_memory_is_written_as_by_pytorch(case, run):
    both(run, case[1], numbers(4), numbers(4, seed=1))


def test_rows_may_lie_along_any_axis(run):
    def function(terms, values):
        terms[0].copy_(values[:, 0])
        terms[1] = values.sum(-1)
        terms.mul_(torch.tensor([[2.0], [3.0], [4.0]])).masked_fill_(values[:, 1] > 0, 0.0)
        return terms.sum(0)

    assert both(run, function, torch.zeros(3, ROWS), numbers(2)) <= 2


def test_a_chain_of_operations_is_one_program(run):
    def function(x, y):
        z = x * 2
        for k in range(20):
            z = torch.where(z > y, z - 0.1 * k, y.clamp(-1, 1) + z)
        return z.sum(-1)

    assert both(run, function, numbers(4), numbers(4, seed=1)) == 1


def test_results_that_nobody_holds_are_not_stored(run):
    programs = []
    x = numbers(3)
    with RowFusion(ROWS, CPU, lambda program: programs.append(program) or run(program)):
        kept = ((x + 1) * 2 - 3).exp()
        view = (x * 5)[:, 1]
    (program,) = programs
    assert program.source.count("pointers[") == 3 + 3 + 3  # reads of x; stores of `kept` and of what `view` looks at
    torch.testing.assert_close(kept, ((x + 1) * 2 - 3).exp())
    torch.testing.assert_close(view, x[:, 1] * 5)


def test_a_value_that_all_rows_share_is_computed_by_each(run):
    def function(x, step):
        key = (step * 7 + 3) & 0xFF
        key = key.mul_(5).bitwise_and_(0x7F)
        return x * key

    assert both(run, function, numbers(2), torch.tensor(11)) == 1


def test_a_shared_value_that_changes_is_not_missed(run):
    def function(x, step):
        y = x + step
        step += 1
        y = y * step
        step.mul_(2)
        return y - step

    both(run, function, numbers(2), torch.tensor(3.0))


def test_wide_rows_are_left_alone(run):
    fusion = RowFusion(ROWS, CPU, run)
    with fusion:
        torch.testing.assert_close(numbers(200) * 2, numbers(200).mul(2))
    assert fusion.programs == 0


def test_kernels_of_ones_own_see_what_was_put_off(run):
    x = numbers(2)
    before, after = x.clone(), x + 1.0
    with RowFusion(ROWS, CPU, run):
        assert fusing()
        x.add_(1.0)
        with unrelated():
            flush()
        assert (x.numpy() == before.numpy()).all()  # not yet
        flush()
        assert (x.numpy() == after.numpy()).all()
    assert not fusing()


def test_an_error_leaves_nothing_behind(run):
    def fail():
        with RowFusion(ROWS, CPU, run):
            numbers(2).add_(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not fusing()


def test_programs_do_not_depend_on_addresses(run):
    sources = []
    for _ in range(2):
        x, buffer = numbers(3), torch.zeros(4, ROWS, 3)
        for step in range(2):
            with RowFusion(ROWS, CPU, lambda program: sources.append(program.source) or run(program)):
                buffer[step].copy_(x * 2 + 1)
    assert len(sources) == 4 and len(set(sources)) == 1


STEPS = {
    "add": lambda a, b: a + b,
    "mul in place": lambda a, b: a.mul_(b.clamp(-1.5, 1.5)),
    "column": lambda a, b: a[:, 1:2] - b,
    "write column": lambda a, b: a[:, 0].copy_(b[:, 2]) and None,
    "where": lambda a, b: torch.where(a > b, a, b * 0.5),
    "mask": lambda a, b: b.masked_fill_(a > 0.5, 0.25),
    "sum": lambda a, b: a.sum(-1, keepdim=True).expand(-1, 3) * 0.3,
    "cat": lambda a, b: torch.cat((a[:, 1:], b[:, :1]), dim=1),
    "unfused": lambda a, b: a.cumsum(1) * 0.5,
    "rows": lambda a, b: a - b.mean(0),
    "flipped rows": lambda a, b: a.flip(0),
    "view": lambda a, b: a.view(ROWS, 3),
}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=12)
)
def test_any_sequence_of_operations(run, steps):
    def play():
        pool = [numbers(3, seed=k) for k in range(4)]
        for number, (name, i, j) in enumerate(steps):
            out = STEPS[name](pool[i], pool[j]) if name != "write column" else pool[i][:, 0].copy_(pool[j][:, 2])
            if isinstance(out, torch.Tensor) and out.shape == (ROWS, 3):
                pool[number % 4] = out
        return pool

    expected = play()
    with RowFusion(ROWS, CPU, run):
        found = play()
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("task", "most"),
    [
        ("Cartpole", 20),
        ("Reach-Franka-Direct", 20),
        ("Reach-Franka-DR", 20),
        ("Velocity-Flat-Go2", 20),
        ("Velocity-Flat-AnymalC", 20),
        ("Velocity-Rough-Go2", 26),  # rows of 187 heights, and tables read by an index, each end a program
        (
            "Velocity-Flat-G1",
            28,
        ),  # with pushes, delays, a gait's draws, and stages that all environments decide together
    ],
)
def test_a_step_of_a_task_is_the_same(task, most, run, monkeypatch):
    """Everything but the engine, which on the CPU works on memory that PyTorch does not see."""

    def make():
        cfg = registry.load_env_cfg(task)
        cfg.scene.num_envs, cfg.sim.threads = ROWS, 1
        env = registry.make(task, cfg=cfg)
        monkeypatch.setattr(env, "_known_idle", lambda done: False)
        env.reset(seed=1)
        env.episode_length_buf[::5] = env.max_episode_length - 2
        return env

    def unfused(function):
        def call(*args, **kwargs):
            flush()
            with torch.utils._python_dispatch._disable_current_modes():
                return function(*args, **kwargs)

        return call

    plain, fused = make(), make()
    for name in ("step", "refresh", "reset", "write", "set_const", "model_field", "write_model", "finite"):
        monkeypatch.setattr(fused.engine, name, unfused(getattr(fused.engine, name)))
    fusion = RowFusion(ROWS, CPU, run)
    generator = torch.Generator().manual_seed(0)
    ended = 0
    for _ in range(3):
        actions = torch.randn(ROWS, plain.num_actions, generator=generator)
        plain._step(actions)
        forget_computed()
        with fusion:
            fused._step(actions)
        forget_computed()
        ended += int(plain.reset_buf.sum())
        for name, value in plain._obs.items():
            torch.testing.assert_close(fused._obs[name], value, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(fused.reward_buf, plain.reward_buf, rtol=1e-5, atol=1e-5)
        assert torch.equal(fused.reset_buf, plain.reset_buf)
    assert ended
    assert fusion.programs / 3 < most
    a, b = plain.fetch_log(), fused.fetch_log()
    assert a.keys() == b.keys()
    assert all(a[name] == pytest.approx(b[name], rel=1e-4, abs=1e-5) for name in a)
