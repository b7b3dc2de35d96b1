"""Progress of a training run in the terminal: a live table, or a plain line every few seconds in a pipe."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

Row = dict[str, float | int]

HEADLINES = (
    ("return", "Episode/return", "{:.3f}"),
    ("episode length", "Episode/length", "{:.1f}"),
    ("success", "Metrics/success_rate", "{:.1%}"),
    ("reward a step", "Train/mean_reward", "{:.4f}"),
    ("KL", "Policy/kl", "{:.4f}"),
    ("std", "Policy/mean_std", "{:.3f}"),
    ("learning rate", "Loss/learning_rate", "{:.1e}"),
    ("surrogate loss", "Loss/surrogate", "{:.4f}"),
    ("value loss", "Loss/value", "{:.4f}"),
    ("entropy", "Loss/entropy", "{:.2f}"),
)
"""Label, metric and format of what is shown first."""

SECTIONS = ("Episode_Reward/", "Episode_Termination/", "Metrics/", "Curriculum/")
"""Prefixes of the environment's own metrics, each shown as a block."""


class TrainingConsole:
    """Shows the numbers of an iteration.

    Args:
        console: where to print; a new one on the standard output if None.
        line_interval: seconds between two lines when the output is not a terminal.
        quiet: show nothing but warnings.
    """

    def __init__(
        self,
        console: "Console | None" = None,
        line_interval: float = 3.0,
        quiet: bool = False,
        title: str = "",
    ) -> None:
        if console is None:
            from rich.console import Console

            console = Console()
        self.console = console
        self.line_interval = line_interval
        self.quiet = quiet
        self.title = title
        self._live: Live | None = None
        self._shown_at = 0.0
        self._first = self._last = 0
        self._started_at = 0.0

    def start(self, first_iteration: int, last_iteration: int) -> None:
        """Begin a run of the iterations ``[first, last)``."""
        self._first, self._last = first_iteration, last_iteration
        self._started_at, self._shown_at = time.monotonic(), 0.0
        if self.console.is_terminal and not self.quiet:
            from rich.live import Live

            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()

    def update(self, row: Row) -> None:
        """Show an iteration, unless the last one was shown a moment ago."""
        now = time.monotonic()
        done = int(row["iteration"]) + 1
        interval = 0.25 if self._live is not None else self.line_interval
        if self.quiet or (now - self._shown_at < interval and done < self._last):
            return
        self._shown_at = now
        eta = (now - self._started_at) / max(1, done - self._first) * (self._last - done)
        if self._live is not None:
            self._live.update(self._table(row, done, eta), refresh=True)
        else:
            self.console.print(self._line(row, done, eta), highlight=False, soft_wrap=True, markup=False)

    def message(self, text: str) -> None:
        """Print a line above the table."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def stop(self) -> None:
        """End the live table; what it last showed stays."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self, row: Row, done: int, eta: float) -> str:
        parts = [f"iteration {done}/{self._last}", f"{row['Perf/total_fps']:,.0f} steps/s"]
        parts += [f"{label} {form.format(row[name])}" for label, name, form in HEADLINES[:7] if name in row]
        return " | ".join([*parts, f"ETA {duration(eta)}"])

    def _table(self, row: Row, done: int, eta: float) -> "Table":
        from rich.table import Table

        table = Table(title=self.title or None, show_header=False, pad_edge=False, min_width=60)
        for justify in ("left", "right", "left", "right"):
            table.add_column(justify=justify, no_wrap=True)
        cells = [
            ("iteration", f"{done}/{self._last}"),
            ("ETA", duration(eta)),
            ("steps/s", f"{row['Perf/total_fps']:,.0f}"),
            ("env steps", f"{row['Train/env_steps']:,}"),
            ("collect", f"{row['Perf/collection_time'] * 1e3:.0f} ms"),
            ("learn", f"{row['Perf/learning_time'] * 1e3:.0f} ms"),
        ]
        cells += [(label, form.format(row[name])) for label, name, form in HEADLINES if name in row]
        _add_pairs(table, cells)
        headlines = {name for _, name, _ in HEADLINES}
        for prefix in SECTIONS:
            block = [(name, value) for name, value in row.items() if name.startswith(prefix) and name not in headlines]
            if block:
                table.add_section()
                table.add_row(f"[bold]{prefix[:-1].replace('_', ' ').lower()}[/bold]", "", "", "")
                _add_pairs(table, [(name.removeprefix(prefix), f"{value:.4f}") for name, value in block])
        return table


def _add_pairs(table: "Table", cells: list[tuple[str, str]]) -> None:
    """Add label and value cells, two pairs a row."""
    for left, right in zip(cells[::2], [*cells[1::2], ("", "")], strict=False):
        table.add_row(*left, *right)


def duration(seconds: float) -> str:
    """Return a duration as ``1:02:03`` or ``2:03``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
