"""Palestra's walking tasks against mjlab's of the same name on one GPU: training throughput, in turns.

    python benchmarks/gpu/same_tasks.py --peer_site <peer's site folder> --out <folder>

Each run is a process of its own with 4096 environments and networks of 512-256-128. Robots and rewards are each side's
own, and so is the ground: mjlab's rough terrain is made of boxes, and of its quadrupeds there is a Go1. Exit status: 0
done, 1 a run failed, 2 no CUDA or bad arguments.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from side_by_side import call, gpu_name

PAIRS = {
    "Velocity-Flat-G1": "Mjlab-Velocity-Flat-Unitree-G1",
    "Velocity-Rough-Go2": "Mjlab-Velocity-Rough-Unitree-Go1",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer_site", type=Path, required=True, help="folder with mjlab and its own pins")
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json and table.md")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=12)
    args = parser.parse_args()
    gpu = gpu_name()
    if gpu is None:
        parser.exit(2, "same_tasks.py: PyTorch sees no CUDA GPU here; this comparison needs one\n")
    if not (args.peer_site / "mjlab").is_dir():
        parser.exit(2, f"same_tasks.py: --peer_site {args.peer_site}: there is no mjlab folder in it\n")
    args.out.mkdir(parents=True, exist_ok=True)
    runs = []
    for repeat in range(args.repeats):
        for ours, peers in PAIRS.items():
            for side, task in (("palestra", ours), ("mjlab", peers)):
                options = ["--task", task, "--iterations", str(args.iterations), "--seed", str(repeat + 1)]
                options += ["--no_parts"] if side == "palestra" else []
                output = call(side, options, args.peer_site, args.out / "unused.xml")
                runs.append(json.loads(output.strip().splitlines()[-1]))
                del runs[-1]["curve"]
                (args.out / "results.json").write_text(json.dumps({"gpu": gpu, "runs": runs}, indent=1) + "\n")
                print(f"{task} {repeat}: {runs[-1]['total_steps_per_s']:,} steps/s", file=sys.stderr, flush=True)
    lines = [f"{gpu}, 4096 environments, medians of {args.repeats} runs [least, most]", ""]
    lines += ["| task | training (steps/s) | mjlab's | (steps/s) | ratio |", "| --- " * 5 + "|"]
    for ours, peers in PAIRS.items():
        rates = {task: [r["total_steps_per_s"] for r in runs if r["task"] == task] for task in (ours, peers)}
        shown = [f"{statistics.median(x):,.0f} [{min(x):,}, {max(x):,}]" for x in rates.values()]
        ratio = statistics.median(a / b for a, b in zip(*rates.values(), strict=True))
        lines.append(f"| `{ours}` | {shown[0]} | `{peers}` | {shown[1]} | {ratio:.1f} |")
    text = "\n".join(lines) + "\n"
    (args.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
