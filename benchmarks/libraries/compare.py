"""Five learners on the same tasks: wall time and steps until the evaluated policy reaches a score.

    pip install 'palestra[rsl-rl,skrl,rl-games,sb3]'
    python benchmarks/libraries/compare.py --seeds 1 2 3 --out libraries

Each run is ``palestra train TASK --library NAME`` in a process of its own, with the registered configs, whose settings
match as far as the libraries have them (rollout, epochs, minibatches, networks, γ, λ, step size); the learners take
turns. Every few iterations a checkpoint is written. Afterwards each checkpoint is evaluated in order over 100 episodes
with its mean actions, as ``palestra eval`` does it, until one reaches the score: the run's time is the wall clock from
starting the process to the iteration of that checkpoint, start-up included. A run ends once the noisy policy has been
well above the score for some iterations. Exit status: 0 done, 1 a run failed or never reached the score.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cpu"))

import palestra  # isort: skip  # before PyTorch, so that its idle threads sleep

import torch
from train_process import Watch, train

from palestra.config import load_env_cfg
from palestra.envs.evaluation import evaluate
from palestra.integrations import LIBRARIES, policy_of
from palestra.rl.checkpoint import load_checkpoint

TASKS = {
    "Cartpole": ("return", 475.0, "Episode/length", 490.0),
    "Reach-Franka": ("success", 0.80, "Metrics/success_rate", 0.95),
}
"""Task to the evaluated score, what it must be, the metric of training that ends a run, and at which value."""
INTERVAL = 5
"""Iterations between two checkpoints: the resolution."""
ENOUGH = 12
"""Iterations for which training must be above its mark before a run is ended."""
FEWEST = 40
"""Iterations that a run has at least: at first only episodes that succeed may end."""


def score(task: str, checkpoint: Path, episodes: int) -> float:
    """Evaluate a checkpoint."""
    cfg = load_env_cfg(task)
    cfg.scene.num_envs, cfg.seed = min(episodes, 100), 42
    env = palestra.make(task, cfg=cfg)
    try:
        result = evaluate(env, policy_of(load_checkpoint(checkpoint)), episodes, seed=42)
    finally:
        env.close()
    return result.return_mean if TASKS[task][0] == "return" else float(result.success_rate or 0.0)


def run(task: str, library: str, seed: int, args: argparse.Namespace) -> dict[str, object]:
    """Train once and find the first checkpoint that reaches the score."""
    what, wanted, metric, plenty = TASKS[task]
    words = [task, "--library", library, "--seed", str(seed), "--threads", str(args.threads), "--logger", "none"]
    with tempfile.TemporaryDirectory(prefix="palestra-libraries-") as folder:
        watch = Watch()
        training = train([*words, f"agent.save_interval={INTERVAL}"], args.limit, Path(folder))
        for watch in training:
            last = [row.get(metric, 0.0) for row in watch.rows[-ENOUGH:]]
            if len(watch.rows) >= FEWEST and min(last) >= plenty:
                break
        training.close()
        scores = {}
        for file in sorted(Path(folder).glob("runs/*/*/nn/model_*.pth"), key=lambda f: int(f.stem[6:])):
            iterations = int(file.stem[6:])
            if iterations > len(watch.rows):  # saved on being ended
                break
            scores[iterations] = round(score(task, file, args.episodes), 4)
            if scores[iterations] >= wanted:
                break
    reached = next((i for i, value in scores.items() if value >= wanted), None)
    fps = [row["Perf/total_fps"] for row in watch.rows]
    return {
        "task": task,
        "library": library,
        "seed": seed,
        "score": what,
        "wall_s": None if reached is None else round(watch.seen[reached - 1], 2),
        "env_steps": None if reached is None else int(watch.rows[reached - 1]["Train/env_steps"]),
        "iterations": reached,
        "scores": scores,
        "steps_per_s": round(statistics.median(fps)) if fps else None,
        "start_up_s": round(watch.seen[0] - watch.rows[0]["Train/time"], 2) if watch.rows else None,
    }


def table(results: list[dict]) -> str:
    """Return the medians over seeds, one line a learner."""
    lines = ["| task | learner | wall time (s) | env steps | training steps/s | start-up (s) |", "| --- " * 6 + "|"]
    for task in dict.fromkeys(r["task"] for r in results):
        for library in dict.fromkeys(r["library"] for r in results):
            runs = [r for r in results if r["task"] == task and r["library"] == library]
            times = [r["wall_s"] for r in runs]
            if not runs:
                continue
            if None in times:
                cells = f"never in {times.count(None)} of {len(times)} runs | –"
            else:
                cells = f"{statistics.median(times):.1f} [{min(times):.1f}, {max(times):.1f}] | "
                cells += f"{statistics.median(r['env_steps'] for r in runs):,.0f}"
            rate = statistics.median(r["steps_per_s"] for r in runs)
            start = statistics.median(r["start_up_s"] for r in runs)
            lines.append(f"| {task} | {library} | {cells} | {rate:,.0f} | {start:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json and table.md")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--episodes", type=int, default=100, help="episodes of an evaluation")
    parser.add_argument("--limit", type=float, default=600.0, help="longest run (s)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    results = []
    for task in args.tasks:
        for seed in args.seeds:
            for library in args.libraries:
                results.append(run(task, library, seed, args))
                (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
                shown = {k: v for k, v in results[-1].items() if k != "scores"}
                print(json.dumps(shown), flush=True)
    (args.out / "table.md").write_text(table(results) + "\n")
    print(table(results))
    sys.exit(1 if any(result["wall_s"] is None for result in results) else 0)


if __name__ == "__main__":
    main()
