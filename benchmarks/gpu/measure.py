"""What the two sides of the comparison measure in the same way; imports neither of them."""

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

WARM_UP = 3
"""Iterations at the start that are not timed: they compile, allocate and record."""

MARKS = (0.7, 0.8, 0.9)
"""Scores whose first time is reported."""


def process_age() -> float:
    """Seconds since this process was started, imports and the interpreter's start included (10 ms steps)."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started = int(after_name[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {k: round(f(values), 4) for k, f in (("median", statistics.median), ("least", min), ("most", max))}


def first_times(curve: Sequence[tuple[float, float]]) -> dict[str, float | None]:
    """Wall time at which a curve of (seconds, score) first reached each mark; ``None`` where it never did."""
    return {str(mark): next((round(t, 2) for t, score in curve if score >= mark), None) for mark in MARKS}


def memory_mib(torch_module) -> dict[str, int]:
    """Memory in use on the GPU, all processes and libraries counted, and the peak of PyTorch's own allocations.

    Neither side gives memory back while it trains, so what is in use at the end is the peak.
    """
    cuda = torch_module.cuda
    if not cuda.is_available():
        return {}
    free, total = cuda.mem_get_info()
    return {"device": round((total - free) / 2**20), "torch_peak": round(cuda.max_memory_allocated() / 2**20)}


def report(steps: int, collection_ms: Sequence[float], learn_ms: Sequence[float]) -> dict[str, object]:
    """Medians over the iterations after the warm-up.

    Args:
        steps: environment steps in an iteration.
        collection_ms: rollout and advantages, one number an iteration.
        learn_ms: update, one number an iteration.
    """
    pairs = list(zip(collection_ms, learn_ms, strict=True))[WARM_UP:]
    return {
        "timed_iterations": len(pairs),
        "collection_ms": summary([a for a, _ in pairs]),
        "learn_ms": summary([b for _, b in pairs]),
        "total_steps_per_s": round(statistics.median(1e3 * steps / (a + b) for a, b in pairs)),
    }
