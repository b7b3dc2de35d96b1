"""The rows of simulations as a table for people."""

from __future__ import annotations

from palestra.deploy.sim2sim.result import Row

_COLOURS = {"pass": "green", "fail": "red", "skipped": "yellow", "baseline": "bold"}


def print_table(title: str, rows: list[Row], passed: bool) -> None:
    """Print the rows, and the verdict below them."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    tracks = any(row.tracking_error is not None for row in rows)
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("simulation", no_wrap=True)
    table.add_column("what differs")
    for name in ("episodes", "score", "lost", "return", *(["velocity error"] if tracks else []), "falls"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for row in rows:
        table.add_row(
            row.name,
            row.what,
            str(row.episodes) if row.episodes else "–",
            _number(row.score),
            _lost(row),
            _number(row.returned),
            *([_number(row.tracking_error)] if tracks else []),
            _falls(row),
            f"[{_COLOURS[row.status]}]{row.status}[/]" + (f": {row.reason}" if row.reason else ""),
        )
    Console(width=160).print(table)
    print("± and the range of falls: 95 % intervals")
    skipped = sum(row.status == "skipped" for row in rows)
    note = f" ({skipped} skipped)" if skipped else ""
    print(("every simulation agrees with training" if passed else "NOT as good as in training") + note)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _lost(row: Row) -> str:
    if row.lost is None:
        return "–"
    return f"{row.lost:.1%}" + ("" if row.lost_95 is None else f" ± {row.lost_95:.1%}")


def _falls(row: Row) -> str:
    if row.falls is None:
        return "–"
    return f"{row.falls:.0%}" + ("" if row.falls_95 is None else " ({:.0%}–{:.0%})".format(*row.falls_95))
