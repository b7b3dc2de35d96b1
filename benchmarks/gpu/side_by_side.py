"""Palestra against mjlab 1.6.0 on one GPU: the peer's own Go1 flat task, in turns, with a table of ratios.

    python benchmarks/gpu/side_by_side.py --peer_site <peer's site folder> --out <folder>

Each run is a process of its own; the sides (Palestra, Palestra with networks in bfloat16, mjlab) take turns. A folder
that already holds runs with the same settings is completed, so that a comparison cut short by a time limit goes on with
the same command. ``results.json`` holds every run, the table its medians. Exit status: 0 done, 1 a run failed, 2 no
CUDA or bad arguments, 3 time limit.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIDES = ("palestra", "palestra, bfloat16", "mjlab")
QUICK_ITERATIONS, ITERATIONS = 12, 60
ROWS = (
    ("training (steps/s)", ("total_steps_per_s",), "ours/peer"),
    ("iteration: collect (ms)", ("collection_ms", "median"), "peer/ours"),
    ("iteration: learn (ms)", ("learn_ms", "median"), "peer/ours"),
    ("process start to first iteration done (s)", ("first_iteration_done_s",), "peer/ours"),
    ("GPU memory in use (MiB)", ("memory_mib", "device"), "peer/ours"),
    ("process start to score 0.7 (s)", ("score_reached_s", "0.7"), "peer/ours"),
    ("process start to score 0.8 (s)", ("score_reached_s", "0.8"), "peer/ours"),
    ("process start to score 0.9 (s)", ("score_reached_s", "0.9"), "peer/ours"),
    ("score of the last iteration", ("final_score",), "ours/peer"),
    ("rollout, recorded (ms)", ("rollout_ms", "median"), ""),
    ("bare physics, same controls (ms)", ("bare_physics_ms", "median"), ""),
    ("bare physics / rollout", ("ratio",), ""),
    ("update, recorded (ms)", ("update_ms", "median"), ""),
)
"""Label, place in a run's JSON line, and which way a ratio above 1 is in Palestra's favour."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer_site", type=Path, required=True, help="folder with mjlab and its own pins")
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json, table.md and the model")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side")
    parser.add_argument("--iterations", type=int, help=f"iterations of a run; {ITERATIONS} unless told")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ITERATIONS} iterations: throughput only")
    parser.add_argument("--num_envs", type=int, default=4096)
    parser.add_argument("--hidden_dims", type=int, nargs="+", default=[512, 256, 128])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--time_limit", type=float, default=0.0, help="seconds after which no run is started (0: none)")
    args = parser.parse_args()
    started = time.monotonic()
    iterations = args.iterations or (QUICK_ITERATIONS if args.quick else ITERATIONS)
    gpu = gpu_name()
    if gpu is None:
        parser.exit(2, "side_by_side.py: PyTorch sees no CUDA GPU here; this comparison needs one\n")
    if not (args.peer_site / "mjlab").is_dir():
        parser.exit(2, f"side_by_side.py: --peer_site {args.peer_site}: there is no mjlab folder in it\n")
    settings = {
        "sides": args.sides,
        "num_envs": args.num_envs,
        "hidden_dims": args.hidden_dims,
        "iterations": iterations,
        "gpu": gpu,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "results.json"
    results: dict = {**settings, "runs": []}
    if file.is_file() and all(json.loads(file.read_text()).get(k) == v for k, v in settings.items()):
        results = json.loads(file.read_text())
    model = (args.out / "peer_go1.xml").resolve()
    if not model.is_file():
        call("mjlab", ["--write_mjcf", str(model)], args.peer_site, model)
    longest = 0.0
    total = len(args.sides) * args.repeats
    for number in range(total):
        if number < len(results["runs"]):
            continue
        if args.time_limit and time.monotonic() - started + 1.2 * longest > args.time_limit:
            print(f"time limit: {number} of {total} runs done; the same command goes on")
            sys.exit(3)
        repeat, turn = divmod(number, len(args.sides))
        side, begun = args.sides[turn], time.monotonic()
        options = ["--num_envs", args.num_envs, "--iterations", iterations, "--seed", 1 + repeat, "--hidden_dims"]
        output = call(side, [str(x) for x in (*options, *args.hidden_dims)], args.peer_site, model)
        longest = max(longest, time.monotonic() - begun)
        run = json.loads(output.strip().splitlines()[-1])
        results["runs"].append(run)
        file.write_text(json.dumps(results, indent=1) + "\n")
        rate = run["total_steps_per_s"]
        print(f"{side} {repeat}: {rate:,} steps/s, {time.monotonic() - begun:.0f} s in all", file=sys.stderr)
    text = table(results)
    (args.out / "table.md").write_text(text)
    print(text)


def gpu_name() -> str | None:
    """Name of the first GPU, asked in a process of its own, whose memory is then free again."""
    question = "import torch; print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else '')"
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True).stdout.strip()
    return answer or None


def call(side: str, options: list[str], peer_site: Path, model: Path) -> str:
    """Run one side's script and return its standard output; leave with its last lines if it fails."""
    script = "peer_mjlab.py" if side == "mjlab" else "ours.py"
    options = [*options, "--mixed_precision"] if side == "palestra, bfloat16" else options
    environment = {**os.environ, "PEER_MJCF": str(model), "MUJOCO_GL": "disable"}
    if side == "mjlab":
        environment["PYTHONPATH"] = str(peer_site.resolve())
    done = subprocess.run(
        [sys.executable, str(HERE / script), *options], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        print(f"{script} left with status {done.returncode}:\n" + done.stderr[-4000:], file=sys.stderr)
        sys.exit(1)
    return done.stdout


def value(run: dict, place: tuple[str, ...]) -> float | None:
    """Look up a number in a run; ``None`` if the run has none."""
    found: object = run
    for key in place:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, int | float) else None


def table(results: dict) -> str:
    """Medians of the runs with [least, most], and the ratios to the peer's with those of the pairs."""
    sides = results["sides"]
    runs = {side: [run for run in results["runs"] if run["side"] == side] for side in sides}
    repeats = len(runs["mjlab"])
    own = [side for side in sides if side != "mjlab"]
    titles = [*(side.capitalize() for side in own), _versions(runs["mjlab"][0]), *(f"ratio, {side}" for side in own)]
    lines = [
        f"{results['gpu']}, {results['num_envs']} environments, networks {results['hidden_dims']}, "
        f"{results['iterations']} iterations, medians of {repeats} runs each [least, most]",
        "",
        f"| | {' | '.join(titles)} |",
        "| --- |" + " --- |" * len(titles),
    ]
    for label, place, direction in ROWS:
        found = {side: [x for x in (value(run, place) for run in runs[side]) if x is not None] for side in sides}
        cells = [_cell(found[side], len(runs[side])) for side in (*own, "mjlab")]
        cells += [_ratio(found[side], found["mjlab"], repeats, direction) for side in own]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _versions(run: dict) -> str:
    return f"mjlab {run['versions']['mjlab']} + rsl_rl {run['versions']['rsl-rl-lib']}"


def _cell(values: list[float], expected: int) -> str:
    if not values:
        return "–"
    shown = f"{_number(statistics.median(values))} [{_number(min(values))}, {_number(max(values))}]"
    return shown if len(values) == expected else f"{shown}, {len(values)} of {expected} runs"


def _ratio(ours: list[float], peer: list[float], repeats: int, direction: str) -> str:
    if not direction or len(ours) != repeats or len(peer) != repeats:
        return ""
    over, under = (ours, peer) if direction == "ours/peer" else (peer, ours)
    if min(under) <= 0.0:
        return ""
    pairs = [a / b for a, b in zip(over, under, strict=True)]
    return (
        f"{statistics.median(over) / statistics.median(under):.2f} [{min(pairs):.2f}, {max(pairs):.2f}] ({direction})"
    )


def _number(x: float) -> str:
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.3g}"


if __name__ == "__main__":
    main()
