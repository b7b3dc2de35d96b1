"""What an audit leaves: a table in the terminal, ``report.json``, and ``report.html``, one page without other files."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palestra.deploy.audit.figures import draw
from palestra.deploy.audit.result import Check, Measure, Status

FORMAT = 1
"""Version of ``report.json``'s layout."""

FOLDER, JSON_FILE, HTML_FILE = "audit", "report.json", "report.html"
"""Where the report goes, in the run folder."""

_SHORT = 28
"""Values of fewer letters are not broken into lines."""

_COLOURS: dict[Status, str] = {"pass": "green", "warn": "yellow", "fail": "red", "skipped": "dim"}

_STYLE = """
:root { --ink: #1c2733; --soft: #5b6875; --line: #dde3e8; --ground: #f6f8f9;
  --pass: #1a7f4b; --warn: #a86400; --fail: #c0262d; --skipped: #6b7680; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", sans-serif; }
main { max-width: 980px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 0; }
.about { color: var(--soft); margin: 0 0 20px; overflow-wrap: anywhere; }
.verdict { border-left: 6px solid; padding: 10px 16px; background: #fff; font-size: 17px; margin: 0 0 24px; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: 5px 10px 5px 0;
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; font-size: 13px; border-bottom: 1px solid var(--line); }
tr + tr td { border-top: 1px solid var(--line); } td.number { font-variant-numeric: tabular-nums; white-space:
  nowrap; }
.summary .about { margin: 0; font-size: 13px; }
.summary { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 6px 16px;
  margin-bottom: 28px; }
.summary a { color: inherit; text-decoration: none; } .summary a:hover { text-decoration: underline; }
section { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 16px 20px; margin: 0 0
  16px; }
section header { display: flex; gap: 12px; align-items: baseline; } section header code { color: var(--soft);
  margin-left: auto; }
.badge { color: #fff; border-radius: 4px; padding: 1px 8px; font-size: 12px; font-weight: 600; text-transform:
  uppercase;
  letter-spacing: .04em; white-space: nowrap; display: inline-block; min-width: 66px; text-align: center; }
.pass { background: var(--pass); } .warn { background: var(--warn); }
.fail { background: var(--fail); } .skipped { background: var(--skipped); }
td.words { overflow-wrap: anywhere; max-width: 420px; }
td.is-fail { color: var(--fail); font-weight: 600; } td.is-warn { color: var(--warn); font-weight: 600; }
.advice { background: #fff7e6; border-left: 4px solid var(--warn); padding: 8px 12px; margin: 12px 0 0; }
figure { margin: 12px 12px 0 0; display: inline-block; max-width: 100%; } figure img { width: 420px;
  max-width: 100%; display: block; }
details { margin-top: 8px; } summary { cursor: pointer; color: var(--soft); } footer { color: var(--soft);
  font-size: 13px; }
"""


@dataclass(frozen=True)
class Report:
    """The verdicts on one policy."""

    task: str
    run: str
    checkpoint: str
    sha256: str
    """Of the checkpoint."""

    created: str
    """Date and time."""

    versions: dict[str, Any]
    seconds: float
    """How long the checks took."""

    checks: tuple[Check, ...]

    complete: bool = True
    """Whether no check was left out with ``--only``."""

    @property
    def failed(self) -> bool:
        """Whether any check failed."""
        return any(check.status == "fail" for check in self.checks)

    def counts(self) -> dict[str, int]:
        """Return how many checks have each verdict."""
        found = Counter(check.status for check in self.checks)
        return {status: found[status] for status in _COLOURS}

    def sentence(self) -> str:
        """Return the verdict in one line."""
        n = self.counts()
        start = "not ready for hardware" if self.failed else "no check failed"
        left_out = "" if self.complete else "; only some checks were made"
        counted = f"{n['fail']} failed, {n['warn']} warned, {n['pass']} passed, {n['skipped']} skipped"
        return f"{start}: {counted}{left_out}"

    def to_json(self) -> str:
        """Return ``report.json``."""
        content = {
            "format": FORMAT,
            "task": self.task,
            "run": self.run,
            "checkpoint": {"file": self.checkpoint, "sha256": self.sha256},
            "created": self.created,
            "versions": self.versions,
            "seconds": round(self.seconds, 1),
            "passed": not self.failed,
            "complete": self.complete,
            "counts": self.counts(),
            "checks": [check.to_dict() for check in self.checks],
        }
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_html(self) -> str:
        """Return ``report.html``."""
        worst = "fail" if self.failed else "warn" if self.counts()["warn"] else "pass"
        rows = "".join(
            f'<tr><td>{_badge(c.status)}</td><td><a href="#{c.id}">{_text(c.title)}</a>'
            f'<div class="about">{_text(c.summary)}</div></td></tr>'
            for c in self.checks
        )
        about = f"{_text(self.checkpoint)} · sha256 {self.sha256[:12]}… · {_text(self.created)} · {self.seconds:.0f} s"
        versions = " · ".join(f"{_text(name)} {_text(str(v))}" for name, v in self.versions.items())
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Audit of {_text(self.task)}</title>'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
            f"<main><h1>Audit of {_text(self.task)}</h1>"
            f'<p class="about">{about}</p>'
            f'<p class="verdict" style="border-color: var(--{worst})">{_text(self.sentence().capitalize())}.</p>'
            f'<div class="summary"><table>{rows}</table></div>'
            + "".join(_section(check) for check in self.checks)
            + f"<footer>{versions}<br>A simulated check is no proof of safety: keep the hardware's emergency stop at "
            "hand.</footer></main></body></html>\n"
        )

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write both files, each at once, and return their paths."""
        from palestra.rl.checkpoint import write_atomically

        paths = folder / HTML_FILE, folder / JSON_FILE
        for path, text in zip(paths, (self.to_html(), self.to_json()), strict=True):
            write_atomically(path, text.encode())
        return paths

    def print(self) -> None:
        """Print the table, and after it what failed, with advice."""
        from rich import box
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        console = Console(highlight=False)
        table = Table(title=f"{self.task} · {self.checkpoint}", box=box.SIMPLE_HEAD, title_justify="left", expand=True)
        table.add_column("")
        table.add_column("check", no_wrap=True)
        table.add_column("found", ratio=1)
        for check in self.checks:
            colour = _COLOURS[check.status]
            table.add_row(f"[{colour}]{check.status}[/{colour}]", escape(check.id), escape(check.summary))
        console.print(table)
        for check in self.checks:
            if check.advice:
                console.print(f"[{_COLOURS[check.status]}]{check.id}[/]: {escape(check.advice)}")
        console.print(self.sentence())


def _section(check: Check) -> str:
    advice = f'<p class="advice">{_text(check.advice)}</p>' if check.advice else ""
    figures = "".join(
        f'<figure><img alt="{_text(plot.title)}" src="data:image/png;base64,{draw(plot)}"></figure>'
        for plot in check.plots
    )
    judged = [m for m in check.measures if m.allowed]
    told = [m for m in check.measures if not m.allowed]
    more = f"<details><summary>{len(told)} further numbers</summary>{_table(told)}</details>" if told else ""
    return (
        f'<section id="{check.id}"><header>{_badge(check.status)}<h2>{_text(check.title)}</h2>'
        f"<code>{check.id}</code></header><p>{_text(check.summary[:1].upper() + check.summary[1:])}.</p>"
        f"{_table(judged) if judged else ''}{more}{advice}{figures}</section>"
    )


def _table(measures: Sequence[Measure]) -> str:
    rows = "".join(
        f'<tr><td>{_text(m.name)}</td><td class="{_width(m)} is-{m.status}">{_text(m.text())}</td>'
        f"<td>{_text(m.allowed)}</td></tr>"
        for m in measures
    )
    return f"<table><tr><th>measured</th><th>value</th><th>allowed</th></tr>{rows}</table>"


def _width(measure: Measure) -> str:
    return "number" if len(measure.text()) < _SHORT else "words"


def _badge(status: Status) -> str:
    return f'<span class="badge {status}">{status}</span>'


def _text(value: str) -> str:
    return html.escape(value)
