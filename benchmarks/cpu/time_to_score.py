"""Wall time from typing ``palestra train`` to a score, start-up included.

    python benchmarks/cpu/time_to_score.py Cartpole Reach-Franka --seeds 1 2 3

Each run is a fresh process in an empty temporary folder, on all cores unless ``--threads`` says otherwise. The time
of a mark is the wall clock at which the first iteration that meets it was on disk, minus that just before the
process was started (polled every 20 ms; nothing is added or estimated). A run is ended once all marks are met, or
runs on with ``--to_the_end``. ``held`` is the share of the later iterations that meet the mark too.
"""

import argparse
import json
import statistics

from train_process import Row, Watch, train

Mark = dict[str, tuple[str, float]]
MARKS: dict[str, dict[str, Mark]] = {
    "Cartpole": {"length ≥ 475": {"Episode/length": (">=", 475.0)}},
    "Reach-Franka": {
        "success ≥ 0.80": {"Metrics/success_rate": (">=", 0.80)},
        "success ≥ 0.95 and reward > −0.2": {"Metrics/success_rate": (">=", 0.95), "Train/mean_reward": (">", -0.2)},
    },
    "Velocity-Flat-Go2": {"tracking ≥ 0.9": {"Step_Value/track_lin_vel_xy_exp": (">=", 0.9)}},
}


def meets(row: Row, mark: Mark) -> bool:
    """Whether an iteration meets a mark; a metric that is absent does not."""
    return all(
        name in row and (row[name] >= limit if sign == ">=" else row[name] > limit)
        for name, (sign, limit) in mark.items()
    )


def reached(watch: Watch, mark: Mark) -> int | None:
    """First iteration that meets a mark."""
    return next((i for i, row in enumerate(watch.rows) if meets(row, mark)), None)


def measure(task: str, seed: int, args: argparse.Namespace) -> dict[str, object]:
    arguments = [task, "--seed", str(seed)]
    arguments += ["--threads", str(args.threads)] if args.threads else []
    arguments += ["--num_envs", str(args.num_envs)] if args.num_envs else []
    arguments += ["--device", args.device] if args.device else []
    arguments += ["--max_iterations", str(args.max_iterations)] if args.max_iterations else []
    marks = MARKS[task]
    watch = Watch()
    run = train(arguments, args.limit)
    for watch in run:
        if not args.to_the_end and all(reached(watch, mark) is not None for mark in marks.values()):
            break
    run.close()
    times: dict[str, object] = {}
    for label, mark in marks.items():
        i = reached(watch, mark)
        if i is None:
            best = {name: max((row[name] for row in watch.rows if name in row), default=None) for name in mark}
            times[label] = {"wall_s": None, "best": best}
            continue
        later = watch.rows[i + 1 :]
        times[label] = {
            "wall_s": round(watch.seen[i], 2),
            "train_time_s": round(watch.rows[i]["Train/time"], 2),
            "iteration": i,
            "env_steps": int(watch.rows[i]["Train/env_steps"]),
            "held": round(statistics.mean(meets(row, mark) for row in later), 3) if later else None,
        }
    fps = [row["Perf/total_fps"] for row in watch.rows]
    return {
        "task": task,
        "seed": seed,
        "marks": times,
        "iterations_run": len(watch.rows),
        "start_up_s": round(watch.seen[0] - watch.rows[0]["Train/time"], 2) if watch.rows else None,
        "training_steps_per_s": round(statistics.median(fps)) if fps else None,
        "training_steps_per_s_10_to_90_percent": (
            [round(q) for q in statistics.quantiles(fps, n=10)[::8]] if len(fps) > 1 else None
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", choices=list(MARKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--num_envs", type=int)
    parser.add_argument("--device", help="cpu or cuda:0")
    parser.add_argument("--max_iterations", type=int)
    parser.add_argument("--limit", type=float, default=3600.0, help="longest run (s)")
    parser.add_argument("--to_the_end", action="store_true", help="do not end a run once its marks are met")
    args = parser.parse_args()

    results = [measure(task, seed, args) for task in args.tasks for seed in args.seeds]
    print(f"{'task':<18} {'seed':>4}  {'mark':<34} {'wall':>8} {'iteration':>9} {'start-up':>8} {'steps/s':>8}")
    for result in results:
        for label, at in result["marks"].items():  # type: ignore[attr-defined]
            wall = "never" if at["wall_s"] is None else f"{at['wall_s']:.1f} s"
            print(
                f"{result['task']:<18} {result['seed']:>4}  {label:<34} {wall:>8} {at.get('iteration', '–'):>9} "
                f"{result['start_up_s']:>6} s {result['training_steps_per_s']:>8}"
            )
    print(json.dumps(results, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
