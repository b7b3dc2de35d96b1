"""Seconds from starting ``palestra train`` to its first iteration, in fresh processes.

    python benchmarks/cpu/startup.py

``done`` is when the first row of ``metrics.csv`` was on disk (polled every 20 ms); ``begun`` is that minus the
iteration's own measured duration (``Train/time``); ``exit`` is when the process of one iteration had ended (curves
drawn, no video). The first repeat may read files that are not in the page cache.
"""

import argparse
import json
import statistics

from train_process import Watch, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=["Cartpole", "Reach-Franka", "Velocity-Flat-Go2"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    threads = ["--threads", str(args.threads)] if args.threads else []

    results = []
    for task in args.tasks:
        times: dict[str, list[float]] = {"begun": [], "done": [], "exit": []}
        for _ in range(args.repeats):
            watch = Watch()
            for watch in train([task, "--max_iterations", "1", *threads], 600.0):  # noqa: B007
                pass
            done = watch.seen[0]
            for name, value in (("begun", done - watch.rows[0]["Train/time"]), ("done", done), ("exit", watch.total)):
                times[name].append(round(value, 2))
        medians = {f"{name}_s": round(statistics.median(values), 2) for name, values in times.items()}
        results.append({"task": task, **medians, "all": times})
        print(f"{task:<18} begun {medians['begun_s']} s, done {medians['done_s']} s, exit {medians['exit_s']} s")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
