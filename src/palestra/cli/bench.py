"""``palestra bench physics``: where the time of an environment step and of a training iteration goes."""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from palestra.cli.arguments import CommandParser, add_environment_flags, require_target, whole_number
from palestra.cli.configuration import Configs, task_configs
from palestra.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from palestra.envs.base import RLEnv
    from palestra.physics.cuda import CudaEngine
    from palestra.rl.runner import OnPolicyRunner

Call = Callable[[], object]

REPEATS, SAMPLE_SECONDS, BUDGET_SECONDS = 20, 0.01, 3.0
"""Samples of a part, the least that one lasts (s, by repeated calls), and when no more begin (s) if there are three."""
IN_RESETS = ("reset", "terminal_observations")
"""Parts that the CPU leaves out of a step in which no environment ends."""
EXPLANATION = """Times are medians. Everything begins in the state of an untrained policy's third rollout: the whole
step takes its actions again, and the physics its actuator inputs, which goes on where the step would reset and ends
with a refresh. Each other part is measured alone: what several of them read is computed once in a step but once for
each of them here, so that shares may add up to more than 100%. Reset is that of the environments that ended in one
step; the CPU skips it in a step in which none ended, and its share counts how often one did. On CUDA every part is a
recorded graph."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's flags."""
    parser.prog, parser.target, parser.epilog = f"{parser.prog} physics", "TASK", EXPLANATION
    parser.add_argument("benchmark", type=_benchmark, help=argparse.SUPPRESS).required = False
    add_environment_flags(parser)
    repeats = whole_number("--repeats", 1)
    parser.add_argument("--repeats", type=repeats, default=REPEATS, metavar="N", help="samples of each part (20)")
    text = "print JSON instead of a table, or write it to FILE besides"
    parser.add_argument("--json", nargs="?", const="", metavar="FILE", help=text)


def run(args: argparse.Namespace) -> int:
    """Measure, and print or write the result."""
    if args.benchmark is None:
        raise ConfigError("which benchmark? for example: palestra bench physics Cartpole")
    task = require_target(args, "task", "palestra bench physics Cartpole (palestra tasks lists them)")
    if args.json and not (args.json.endswith(".json") and Path(args.json).parent.is_dir()):
        raise ConfigError(f"--json is {args.json!r}; it must be a .json file in a folder that exists, or nothing")
    report = measure(task_configs(task, args), args.repeats)
    text = json.dumps(report, indent=2, ensure_ascii=False)
    if args.json == "":
        print(text)
        return 0
    print_table(report)
    if args.json:
        Path(args.json).write_text(f"{text}\n", encoding="utf-8")
        print(f"written to {args.json}")
    return 0


def _benchmark(name: str) -> str:
    if name != "physics":
        raise ConfigError(f"unknown benchmark {name!r}: {did_you_mean(name, ['physics'])}")
    return name


class Pieces:
    """The environment and the learner of a runner that has trained, cut into calls that can be timed.

    The one place that reaches into their private parts. ``iterate``, ``collect`` and ``update`` are a training
    iteration, its rollout and its update, as training runs them.
    """

    def __init__(self, runner: OnPolicyRunner) -> None:
        self.env = cast("RLEnv", runner.env)
        self.ppo, self.num_steps = runner.ppo, runner.ppo.storage.num_steps
        self.iterate, self.collect, self.update = runner._iterate, runner._collect, runner._update
        self._every_substep = self.env._action_every_substep or self.env.scene.needs_substeps

    def remember_rollout(self) -> float:
        """Take a rollout with exploring actions for ``steps`` and ``physics``; return the share of steps that reset."""
        env, resets = self.env, 0
        names = [name for name in ("qpos", "qvel", "qacc_warmstart", "act") if env.engine.field(name).numel()]
        self._state = {name: env.engine.field(name).clone() for name in names}
        self._ages = env.episode_length_buf.clone()
        self._actions: list[Tensor] = []
        self._controls: list[Tensor] = []
        self._ended = env.reset_buf.clone()
        for t in range(self.num_steps):
            self.ppo.storage.write_observations(t, env._obs)
            self._actions.append(self.act(t).clone())
            env._step(self._actions[-1])
            self._controls.append(env.engine.ctrl.clone())
            if bool(env.reset_buf.any()):
                resets += 1
                self._ended.copy_(env.reset_buf)
        if resets == 0:
            self._ended[0] = True  # so that there is a reset to measure
        return resets / self.num_steps if env.device.type == "cpu" else 1.0

    def restore(self) -> None:
        """Return to the physical state, and the age of the episodes, in which the remembered rollout began."""
        self.env.episode_length_buf.copy_(self._ages)
        for name, values in self._state.items():
            self.env.engine.write(name, values)
        self.env.engine.refresh()

    def physics(self) -> None:
        """Run the physics of the remembered rollout alone."""
        calls, substeps = (self.env.cfg.decimation, 1) if self._every_substep else (1, self.env.cfg.decimation)
        for ctrl in self._controls:
            self.env.engine.ctrl.copy_(ctrl)
            for _ in range(calls):
                self.env.engine.step(substeps)

    def steps(self) -> None:
        """Take the environment steps of the remembered rollout."""
        for t in range(self.num_steps):
            self.step(t)

    def step(self, t: int = 0) -> None:
        """Take step ``t`` of them."""
        self.env._step(self._actions[t])

    def act(self, t: int = 0) -> Tensor:
        """Draw the policy's actions, ``(num_envs, num_actions)``, for what the storage has of step ``t``."""
        import torch

        with torch.no_grad():
            return self.ppo.act(t)

    def parts(self) -> dict[str, Call]:
        """The parts of a step besides the physics, and the refresh at the end of that."""
        env, finite = self.env, self.env.engine.finite()
        terminal: dict[str, Call] = {"terminal_observations": lambda: env._compute_observations(push_history=False)}
        calls: dict[str, Call] = {
            "refresh_alone": env.engine.refresh,
            "action_and_actuators": self._actuate,
            "sensors": lambda: env.scene.update(env.step_dt),
            "terminations": lambda: env._compute_dones(env.engine.finite()),
            "rewards": lambda: env._compute_rewards(finite),
            **(terminal if env.keep_terminal_observations else {}),
            "reset": lambda: env._reset_and_refresh(self._ended),
            "commands": env._advance_commands,
            "observations": lambda: env._store(env._obs, env._compute_observations()),
        }
        return {name: lambda call=call: self._in_new_state(call) for name, call in calls.items()}

    def _actuate(self) -> None:
        self.env._process_action(self._actions[-1])
        self.env.scene.begin_step(self.env.step_dt)
        for _ in range(self.env.cfg.decimation if self._every_substep else 1):
            self.env._apply_action()
            self.env.scene.write_data_to_sim()

    def _in_new_state(self, call: Call) -> None:
        self.env.engine.version += 1  # what is computed once for a state is computed anew
        self.env.rng.begin("user")
        call()


class Timer:
    """Times calls on the device of ``pieces``: medians of ``repeats`` samples."""

    def __init__(self, pieces: Pieces, repeats: int) -> None:
        self.device, self.repeats = pieces.env.device, repeats
        self._generators, self._records = [pieces.ppo.generator], pieces.env.capture != "off"
        self._rows = pieces.env.num_envs if pieces.env.fuse_operations else None

    def milliseconds(self, call: Call, before: Call = lambda: None, calls: int | None = None) -> float:
        """Return the median time of a call (ms); arguments as for ``samples``."""
        return statistics.median(self.samples(call, before, calls))

    def samples(self, call: Call, before: Call = lambda: None, calls: int | None = None) -> list[float]:
        """Return times of a call (ms); ``before`` runs ahead of each sample of ``calls`` calls, untimed."""
        warm = min(self._sample(call, 1, before) for _ in range(2))
        calls = calls or max(1, min(100, int(SAMPLE_SECONDS / warm)))
        samples: list[float] = []
        started = time.perf_counter()
        while len(samples) < self.repeats and (len(samples) < 3 or time.perf_counter() - started < BUDGET_SECONDS):
            samples.append(1e3 * self._sample(call, calls, before))
        return samples

    def recorded(self, call: Call, what: str) -> Call:
        """Return a call as a CUDA graph, recorded and replayed once; on the CPU, or without capture, as it is."""
        if self.device.type != "cuda" or not self._records:
            return call
        from palestra.physics.capture import CapturedCall

        captured = CapturedCall(call, self.device, what, self._generators, warm_up=1, rows=self._rows)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The CUDA Graph is empty")  # a task without sensors, say
            for _ in range(3):
                captured()
        return captured

    def _sample(self, call: Call, calls: int, before: Call) -> float:
        import torch

        wait = (lambda: torch.cuda.synchronize(self.device)) if self.device.type == "cuda" else (lambda: None)
        before()
        wait()
        started = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        return (time.perf_counter() - started) / calls


def measure(configs: Configs, repeats: int) -> dict[str, Any]:
    """Build a task and measure it: times in milliseconds, shares of the whole step or iteration."""
    from palestra.config.registry import make
    from palestra.rl.checkpoint import versions
    from palestra.rl.runner import OnPolicyRunner

    env = make(configs.task, cfg=configs.env)
    try:
        runner = OnPolicyRunner(env, configs.agent, task=configs.task)
        runner._begin_episodes()
        for _ in range(2):  # on CUDA the second is recorded
            runner._iterate()
        pieces = Pieces(runner)
        timer = Timer(pieces, repeats)
        gpu = _gpu_use(pieces) if env.device.type == "cuda" else {}
        resets = pieces.remember_rollout()
        iteration = timer.milliseconds(pieces.iterate, pieces.restore, 1)
        rollout = timer.milliseconds(pieces.collect, pieces.restore, 1)
        update = timer.milliseconds(pieces.update, pieces.restore, 1)
        parts = {name: timer.milliseconds(timer.recorded(call, name)) for name, call in pieces.parts().items()}
        action = timer.milliseconds(timer.recorded(pieces.act, "the policy's action"))
        physics = timer.milliseconds(timer.recorded(pieces.physics, "the physics"), pieces.restore, 1)
        step = timer.milliseconds(timer.recorded(pieces.steps, "the steps"), pieces.restore, 1) / pieces.num_steps
        if gpu:
            gpu |= {"kernels_of_a_step": _kernels(pieces.step), "kernels_of_an_update": _kernels(pieces.ppo.update)}
        rows = {"whole_step": step, "physics": physics / pieces.num_steps, **parts}
        often = {name: resets if name in IN_RESETS else 1.0 for name in rows}
        learning = {"whole_iteration": iteration, "rollout": rollout, "update": update}
        learning |= {"physics_of_a_rollout": physics, "one_action_of_the_policy": action}
        return {
            "task": configs.task,
            "device": str(env.device),
            "num_envs": env.num_envs,
            "decimation": env.cfg.decimation,
            "num_steps_per_env": pieces.num_steps,
            "versions": versions(),
            "environment_step": {n: {"ms": ms, "share": often[n] * ms / step} for n, ms in rows.items()},
            "training_iteration": {n: {"ms": ms, "share": ms / iteration} for n, ms in learning.items()},
            "summary": {
                "training_steps_per_second": 1e3 * env.num_envs * pieces.num_steps / iteration,
                "physics_share_of_rollout": physics / rollout,
                "share_of_steps_with_a_reset": resets,
                **gpu,
            },
        }
    finally:
        env.close()


def _gpu_use(pieces: Pieces) -> dict[str, float]:
    """Peak of torch's memory (MiB; Warp's arrays are not in it), waits for the GPU, and the engine's buffers."""
    import torch

    memory = torch.cuda.max_memory_allocated(pieces.env.device) / 2**20
    launches = _gpu_events(pieces.iterate, of_host=True)
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            pieces.iterate()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    capacity = cast("CudaEngine", pieces.env.engine).capacity
    return {
        "launches_of_an_iteration": sum("Launch" in name for name in launches),
        "host_syncs_of_an_iteration": sum("called a synchronizing" in str(warning.message) for warning in caught),
        "peak_memory_of_torch_mib": memory,
        "contacts_per_environment": capacity.contacts,
        "constraint_rows_per_environment": capacity.constraints,
    }


def _kernels(call: Call) -> int:
    """Count the GPU kernels of a call that is not recorded; copies and fills by the driver do not count."""
    return sum(not name.startswith(("Memcpy", "Memset")) for name in _gpu_events(call, of_host=False))


def _gpu_events(call: Call, of_host: bool) -> list[str]:
    """Name what the GPU did in a call, or what the host asked of the driver."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Warning: Profiler clears events")
        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            call()
            torch.cuda.synchronize()
    return [e.name for e in profiled.events() or () if (e.device_type.name == "CPU") == of_host]


def print_table(report: dict[str, Any]) -> None:
    """Print a report as a table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    title = f"{report['task']} · {report['num_envs']} environments on {report['device']}"
    table = Table("", "ms", "share", title=title, box=box.SIMPLE_HEAD, title_justify="left")
    table.columns[1].justify = table.columns[2].justify = "right"
    for section in ("environment_step", "training_iteration"):
        table.add_row(f"[bold]{_label(section)}[/bold]")
        for name, row in report[section].items():
            table.add_row(f"  {_label(name)}", f"{row['ms']:.3f}", f"{row['share']:.1%}")
    table.add_row("[bold]summary[/bold]")
    for name, value in report["summary"].items():
        shown = f"{value:.1%}" if "share" in name else f"{value:,.0f}"
        table.add_row(f"  {_label(name)}", *(("", shown) if "share" in name else (shown, "")))
    Console(width=100).print(table, " ".join(EXPLANATION.split()), highlight=False)


def _label(key: str) -> str:
    return key.replace("_", " ")
