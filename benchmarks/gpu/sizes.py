"""How the cost of training grows with the number of environments on one GPU.

    python benchmarks/gpu/sizes.py --out sizes

Runs ``ours.py`` for each size in turn, ``--repeats`` times. Exit status: 0 done, 1 a run failed.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
COLUMNS = ("environments", "steps/s", "collect (ms)", "learn (ms)", "time of an env step (µs)", "GPU memory (MiB)")


def run(task: str, num_envs: int, iterations: int, hidden_dims: list[int]) -> dict:
    """Train once and return the run's JSON line."""
    words = ["--task", task, "--num_envs", num_envs, "--iterations", iterations, "--no_parts", "--hidden_dims"]
    command = [sys.executable, str(HERE / "ours.py"), *(str(word) for word in (*words, *hidden_dims))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"{num_envs} environments: left with status {done.returncode}:\n{done.stderr[-3000:]}", file=sys.stderr)
        sys.exit(1)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json and table.md")
    parser.add_argument("--task", default="Velocity-Flat-Go2")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 4096, 8192, 16384, 32768])
    parser.add_argument("--hidden_dims", type=int, nargs="+", default=[128, 128])
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    runs = []
    for _ in range(args.repeats):
        for size in args.sizes:
            runs.append(run(args.task, size, args.iterations, args.hidden_dims))
            (args.out / "results.json").write_text(json.dumps({"task": args.task, "runs": runs}, indent=1) + "\n")
    lines = [f"| {' | '.join(COLUMNS)} |", "| --- " * len(COLUMNS) + "|"]
    for size in args.sizes:
        mine = [one for one in runs if one["num_envs"] == size]
        rate, collect, learn, memory = (
            statistics.median(values)
            for values in (
                [one["total_steps_per_s"] for one in mine],
                [one["collection_ms"]["median"] for one in mine],
                [one["learn_ms"]["median"] for one in mine],
                [one["memory_mib"]["device"] for one in mine],
            )
        )
        lines.append(f"| {size} | {rate:,.0f} | {collect:.1f} | {learn:.1f} | {1e6 / rate:.2f} | {memory:,.0f} |")
    text = "\n".join(lines) + "\n"
    (args.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
