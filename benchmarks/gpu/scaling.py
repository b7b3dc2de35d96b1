"""How training throughput grows with GPUs: the same command on 1, 2 and 4, in turns.

    python benchmarks/gpu/scaling.py --out scaling

Each GPU simulates ``--num_envs`` environments, so that ideally twice the GPUs do twice the steps in the same time. The
throughput of a run is the median over its iterations without the first few; scaling is the ratio of the medians over
the repeats. ``results.json`` holds every run. Exit status: 0 done, 1 a run failed, 2 too few GPUs.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WARM_UP = 5
"""Iterations at the start that are not timed."""
SCORE = "Step_Value/track_lin_vel_xy_exp"


def train(gpus: int, args: argparse.Namespace, seed: int) -> dict[str, object]:
    """Train once on the first ``gpus`` GPUs and return the run's figures."""
    python = [sys.executable]
    launch = [*python, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={gpus}"]
    words = ["-m", "palestra", "train", args.task, "--device=cuda:0", f"--num_envs={args.num_envs}", f"--seed={seed}"]
    words += [f"--max_iterations={args.iterations}", "--no_video"]
    with tempfile.TemporaryDirectory(prefix="palestra-scaling-") as folder:
        started = time.perf_counter()
        command = [*(launch if gpus > 1 else python), *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ)
        wall = time.perf_counter() - started
        if done.returncode:
            print(f"{' '.join(command)} left with status {done.returncode}:\n{done.stdout[-2000:]}", file=sys.stderr)
            print(done.stderr[-6000:], file=sys.stderr)
            sys.exit(1)
        (file,) = Path(folder).glob("runs/*/*/metrics.csv")
        with open(file, newline="") as opened:
            rows = list(csv.DictReader(opened))
    timed = rows[WARM_UP:]
    return {
        "gpus": gpus,
        "seed": seed,
        "steps_per_s": round(statistics.median(float(row["Perf/total_fps"]) for row in timed)),
        "collection_ms": round(1e3 * statistics.median(float(row["Perf/collection_time"]) for row in timed), 3),
        "learning_ms": round(1e3 * statistics.median(float(row["Perf/learning_time"]) for row in timed), 3),
        "wall_s": round(wall, 1),
        "score": [round(float(row[SCORE]), 4) for row in rows if SCORE in row],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json and table.md")
    parser.add_argument("--task", default="Velocity-Flat-Go2")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--num_envs", type=int, default=4096, help="environments on each GPU")
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    count = "import torch; print(torch.cuda.device_count())"
    present = int(subprocess.run([sys.executable, "-c", count], capture_output=True, text=True).stdout or 0)
    if present < max(args.gpus):
        parser.exit(2, f"scaling.py: PyTorch sees {present} GPUs here; --gpus asks for {max(args.gpus)}\n")
    args.out.mkdir(parents=True, exist_ok=True)
    runs = []
    for repeat in range(args.repeats):
        for gpus in args.gpus:
            runs.append(train(gpus, args, seed=1 + repeat))
            (args.out / "results.json").write_text(json.dumps({**vars(args), "out": "", "runs": runs}, indent=1) + "\n")
            print({k: v for k, v in runs[-1].items() if k != "score"}, file=sys.stderr)
    text = table(args, runs)
    (args.out / "table.md").write_text(text)
    print(text)


def table(args: argparse.Namespace, runs: list[dict]) -> str:
    """Medians over the repeats with [least, most], and the ratio to the first number of GPUs."""
    lines = [
        f"{args.task}, {args.num_envs} environments on each GPU, medians of {args.repeats} runs [least, most]",
        "",
        "| GPUs | steps/s | scaling | collect (ms) | learn (ms) |",
        "| --- | --- | --- | --- | --- |",
    ]
    base = statistics.median(run["steps_per_s"] for run in runs if run["gpus"] == args.gpus[0])
    for gpus in args.gpus:
        mine = [run for run in runs if run["gpus"] == gpus]
        rates = [run["steps_per_s"] for run in mine]
        rate = statistics.median(rates)
        parts = [statistics.median(run[name] for run in mine) for name in ("collection_ms", "learning_ms")]
        lines.append(
            f"| {gpus} | {rate:,.0f} [{min(rates):,}, {max(rates):,}] | {rate / base:.2f} | "
            f"{parts[0]:.1f} | {parts[1]:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
