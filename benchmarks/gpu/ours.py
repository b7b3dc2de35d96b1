"""Palestra's side of the comparison: train, take the rollout apart, and print one JSON line.

    PEER_MJCF=go1.xml python benchmarks/gpu/ours.py --iterations 60
    python benchmarks/gpu/ours.py --task Velocity-Flat-Go2 --hidden_dims 128 128 --iterations 60

``ratio`` is bare physics / rollout, both for the same policy: the controls of a rollout with the policy's noise are
recorded, and the engine alone replays them from the same states as one CUDA graph. An environment that was reset in
the recorded rollout just goes on in the replay. On the CPU (``--device cpu``, to try the script) nothing is captured.
"""

import argparse
import importlib.metadata
import json
import statistics

import measure

import palestra  # isort: skip  # before PyTorch, so that its idle threads sleep

import torch

from palestra.cli.bench import Pieces, Timer
from palestra.errors import ConfigError
from palestra.rl import OnPolicyRunner

PEER_TASK = "Peer-Go1-Flat"
SCORES = ("track_linear_velocity", "track_lin_vel_xy_exp")
PACKAGES = ("palestra", "mujoco", "mujoco-warp", "warp-lang", "torch")
REPEATS = 5
"""Rollouts, updates and replays in the second part."""


def make_runner(args: argparse.Namespace) -> OnPolicyRunner:
    """Build the environments and the learner of ``args.task``."""
    if args.task == PEER_TASK:
        import go1_flat

        return go1_flat.make_runner(args.num_envs, args.device, args.hidden_dims, args.seed, args.mixed_precision)
    from palestra.config import registry

    cfg, agent = registry.load_env_cfg(args.task), registry.load_agent_cfg(args.task)
    cfg.scene.num_envs, cfg.sim.device, cfg.seed, agent.seed = args.num_envs, args.device, args.seed, args.seed
    agent.actor.hidden_dims, agent.critic.hidden_dims = list(args.hidden_dims), list(args.hidden_dims)
    agent.mixed_precision = args.mixed_precision
    return OnPolicyRunner(registry.make(args.task, cfg=cfg), agent, None, task=args.task)


def measure_parts(runner: OnPolicyRunner) -> dict[str, object]:
    """Time the recorded rollout, the bare physics of such a rollout, and the recorded update."""
    pieces = Pieces(runner)
    timer = Timer(pieces, REPEATS)
    rollout = timer.samples(pieces.collect, calls=1)
    pieces.remember_rollout()
    physics = timer.samples(timer.recorded(pieces.physics, "the bare physics"), pieces.restore, 1)
    update = timer.samples(pieces.update, calls=1)  # last: it changes the policy
    return {
        "rollout_ms": measure.summary(rollout),
        "bare_physics_ms": measure.summary(physics),
        "ratio": round(statistics.median(physics) / statistics.median(rollout), 4),
        "update_ms": measure.summary(update),
    }


def train(args: argparse.Namespace) -> dict[str, object]:
    """Train for ``args.iterations`` and return what the JSON line holds."""
    runner = make_runner(args)
    built = measure.process_age()
    runner._begin_episodes()
    rows, curve = [], []
    for _ in range(args.iterations):
        row = runner._iterate()
        score = next((float(row[f"Step_Value/{name}"]) for name in SCORES if f"Step_Value/{name}" in row), 0.0)
        rows.append(row)
        curve.append((measure.process_age(), score))
    collection = [1e3 * float(row["Perf/collection_time"]) for row in rows]
    learning = [1e3 * float(row["Perf/learning_time"]) for row in rows]
    capacity = getattr(runner.env.engine, "capacity", None)
    result: dict[str, object] = {
        "side": "palestra, bfloat16" if args.mixed_precision else "palestra",
        "task": args.task,
        "num_envs": args.num_envs,
        "hidden_dims": args.hidden_dims,
        "seed": args.seed,
        **measure.report(args.num_envs * runner.cfg.num_steps_per_env, collection, learning),
        "built_s": round(built, 2),
        "first_iteration_done_s": round(curve[0][0], 2),
        "first_iterations_s": [round((a + b) / 1e3, 2) for a, b in zip(collection[:3], learning[:3], strict=True)],
        "score_reached_s": measure.first_times(curve),
        "final_score": round(curve[-1][1], 4),
        "memory_mib": measure.memory_mib(torch),
        "capacity": None if capacity is None else [capacity.contacts, capacity.constraints],
        "health": runner.env.check_health(),
        "versions": {name: version(name) for name in PACKAGES},
    }
    if not args.no_parts:
        result.update(measure_parts(runner))
    return {**result, "curve": [[round(t, 2), round(score, 4)] for t, score in curve]}


def version(name: str) -> str:
    """Version of a package; a source tree on the path has none installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return str(getattr(palestra, "__version__", "source")) if name == "palestra" else "not installed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default=PEER_TASK, help=f"{PEER_TASK} (needs PEER_MJCF) or a registered task")
    parser.add_argument("--num_envs", type=int, default=4096)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--hidden_dims", type=int, nargs="+", default=[512, 256, 128])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--mixed_precision", action="store_true", help="learn with networks in bfloat16")
    parser.add_argument("--no_parts", action="store_true", help="only train: leave rollout, update and physics alone")
    args = parser.parse_args()
    if args.iterations <= measure.WARM_UP:
        parser.error(f"--iterations must be more than {measure.WARM_UP}, which are not timed")
    try:
        result = train(args)
    except ConfigError as error:
        parser.exit(2, f"ours.py: {error}\n")
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
