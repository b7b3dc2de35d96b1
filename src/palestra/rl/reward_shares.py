"""How much of the reward each term makes up, from the log of an iteration, and whether one term is nearly all of it."""

import math
from collections import deque
from collections.abc import Mapping

SUM = "Episode_Reward/"
"""Prefix of the weighted sum of each term over an episode, which environments log."""

SHARE = "Reward_Share/"
"""Prefix of the share of each term, and followed by ``group/`` of each group."""

GROUP_SUM = "Reward_Group/"
"""Prefix of the sum of each group."""

DOMINANT = 0.8
"""Share beyond which a term leaves too little to the others."""

ENOUGH = 20
"""Iterations with episodes over which shares are averaged at least."""

COUNTED = 0.05
"""Share at the start from which on a penalty counted; it has been learned away when less than half of that is left."""


def reward_shares(log: Mapping[str, float], groups: Mapping[str, str]) -> dict[str, float]:
    """Return the shares of terms and groups, and the sums of groups, under their names in the log.

    The share of a term is ``|sum| / Σ |sum|``, of a group the sum of its terms' shares. Empty if no episode ended, or
    if all sums are zero.

    Args:
        log: what an iteration logged, with ``Episode_Reward/<term>``.
        groups: group of each term that has one.
    """
    sums = {name.removeprefix(SUM): value for name, value in log.items() if name.startswith(SUM)}
    total = sum(abs(value) for value in sums.values())
    if not (total > 0.0 and math.isfinite(total)):
        return {}
    shares = {f"{SHARE}{term}": abs(value) / total for term, value in sums.items()}
    group_sums: dict[str, float] = {}
    group_shares: dict[str, float] = {}
    for term, group in groups.items():
        if term in sums:
            sum_name, share_name = f"{GROUP_SUM}{group}", f"{SHARE}group/{group}"
            group_sums[sum_name] = group_sums.get(sum_name, 0.0) + sums[term]
            group_shares[share_name] = group_shares.get(share_name, 0.0) + shares[f"{SHARE}{term}"]
    return {**group_sums, **shares, **group_shares}


class RewardBalance:
    """Watches the shares in the course of a training.

    Args:
        num_iterations: length of the training; its last tenth is judged.
    """

    def __init__(self, num_iterations: int) -> None:
        self._tenth = num_iterations // 10
        self._start: list[dict[str, float]] = []
        self._end: deque[tuple[int, dict[str, float]]] = deque()
        self._earned: set[str] = set()

    def add(self, row: Mapping[str, float | int]) -> None:
        """Take note of the row of an iteration; one without episodes says nothing."""
        shares = {
            name.removeprefix(SUM): float(row[SHARE + name.removeprefix(SUM)])
            for name in row
            if name.startswith(SUM) and SHARE + name.removeprefix(SUM) in row
        }
        if not shares:
            return
        self._earned |= {term for term in shares if row[SUM + term] > 0.0}
        if len(self._start) < ENOUGH:
            self._start.append(shares)
        iteration = int(row["iteration"])
        self._end.append((iteration, shares))
        while len(self._end) > ENOUGH and self._end[0][0] <= iteration - self._tenth:
            self._end.popleft()

    def warning(self) -> str | None:
        """Return one line if a single term makes up more than ``DOMINANT`` at the end, else None.

        A penalty that counted at the start and has been learned away is no term that hardly counts.
        """
        if len(self._end) < ENOUGH:
            return None
        start, end = _mean(self._start), _mean([shares for _, shares in self._end])
        largest = max(end, key=lambda term: end[term])
        learned_away = {
            term
            for term, share in end.items()
            if term not in self._earned and start.get(term, 0.0) >= max(COUNTED, 2.0 * share)
        }
        if end[largest] <= DOMINANT or not set(end) - learned_away - {largest}:
            return None
        percent = 100.0 * end[largest]
        return f"reward term {largest!r} makes up {percent:.0f} % of the total reward; the others hardly count"


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    terms = dict.fromkeys(term for row in rows for term in row)
    return {term: sum(row.get(term, 0.0) for row in rows) / len(rows) for term in terms}
