"""Which check catches which deliberately broken variant of a policy.

    python benchmarks/deploy/mutants.py runs/cartpole/<run> runs/velocity_flat_go2/<run> [--out FILE] [--only NAME,…]

Exports each run into a temporary folder, audits it as it is (nothing may fail), then breaks it in every way of
``palestra.deploy.audit.mutants`` that suits it and prints what failed. The last line of a run says how many mutants
were caught; the exit code is 1 if one was not, or if the sound run failed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from palestra.cli.arguments import CommandParser, normalise, parse
from palestra.cli.audit import add_arguments, open_subject
from palestra.deploy.audit import mutants
from palestra.deploy.audit.checks import CHECKS
from palestra.deploy.audit.subject import Subject

SLOW = {"endurance", "randomization"}
"""Checks that are made of a mutant only if it is theirs."""

OF_FILES = {"exported-files", "runtime"}
"""Checks that any mutant of the policy or the task fails beside the sound run's export; they are for the export's."""

EXPORTER = "export"
"""Column of what ``palestra export`` itself refuses."""


def failures(subject: Subject, checks: list[str]) -> list[str]:
    """Return the ids of the checks that fail."""
    try:
        return [name for name in checks if CHECKS[name](subject).status == "fail"]
    finally:
        subject.close()


def measure(target: str, only: set[str] | None) -> dict[str, Any]:
    """Return what fails of a sound run and of each of its mutants."""
    parser = CommandParser(prog="mutants.py", description="")
    add_arguments(parser)
    args = parse(parser, normalise([target]))
    args.command_line = ["mutants.py", target]
    original = open_subject(args)
    with tempfile.TemporaryDirectory(prefix="mutants_") as folder:
        sound = mutants.exported(original, Path(folder) / "sound")
        rows: dict[str, Any] = {"sound": {"caught_by": failures(sound, list(CHECKS)), "wanted": []}}
        print(f"{sound.task}: sound fails {rows['sound']['caught_by'] or 'nothing'}", file=sys.stderr)
        for mutant in mutants.MUTANTS:
            if (only is not None and mutant.name not in only) or not mutant.suits(sound):
                continue
            where = Path(folder) / mutant.name
            where.mkdir()
            began = time.monotonic()
            left_out = SLOW if mutant in mutants.OF_EXPORTS else SLOW | OF_FILES
            checks = [name for name in CHECKS if name not in left_out or name in mutant.checks]
            caught = failures(mutant.make(sound, where), checks)
            caught += [EXPORTER] if _refused(mutant.name, sound, where) else []
            rows[mutant.name] = {"breaks": mutant.breaks, "wanted": list(mutant.checks), "caught_by": caught}
            print(f"{mutant.name}: {caught} ({time.monotonic() - began:.0f} s)", file=sys.stderr)
        hidden = None if only is not None and "privileged-group" not in only else mutants.privileged_group(sound)
        if hidden is not None:
            caught = failures(hidden, ["privileged"]) + [EXPORTER]  # the exporter refuses by the same rule
            rows["privileged-group"] = {
                "breaks": "acts on the critic's group",
                "wanted": ["privileged"],
                "caught_by": caught,
            }
        sound.close()
    original.close()
    return {"task": original.task, "run": target, "mutants": rows}


def _refused(name: str, sound: Subject, folder: Path) -> bool:
    graphs = {"normalizer-dropped": mutants.without_normalizer, "joints-permuted": mutants.permuted}
    if name not in graphs:
        return False
    shutil.rmtree(folder / "again", ignore_errors=True)
    return mutants.refused_by_export(sound, graphs[name], folder / "again")


def show(result: dict[str, Any]) -> bool:
    """Print a run's table and return whether all is as it should be."""
    used = [*CHECKS, EXPORTER]
    columns = [c for c in used if any(c in row["caught_by"] for row in result["mutants"].values())]
    table = Table(title=f"{result['task']}: what fails")
    table.add_column("mutant", no_wrap=True)
    for number in range(1, len(columns) + 1):
        table.add_column(str(number), justify="center")
    good = True
    for name, row in result["mutants"].items():
        caught = (not row["wanted"] and not row["caught_by"]) or bool(set(row["wanted"]) & set(row["caught_by"]))
        good = good and caught
        marks = ["●" if c in row["caught_by"] else "" for c in columns]
        table.add_row(name if caught else f"[red]{name}[/red]", *marks)
    console = Console(width=40 + 5 * len(columns), highlight=False)
    console.print(table)
    console.print(", ".join(f"{number} {name}" for number, name in enumerate(columns, 1)))
    broken = {n: r for n, r in result["mutants"].items() if r["wanted"]}
    caught = sum(bool(set(r["wanted"]) & set(r["caught_by"])) for r in broken.values())
    sound = ", ".join(result["mutants"]["sound"]["caught_by"]) or "nothing"
    print(f"{result['task']}: {caught} of {len(broken)} mutants caught; of the sound run, {sound} fails")
    return good


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--out", type=Path, help="JSON file of the result")
    parser.add_argument("--only", help="names of mutants, with commas")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    only = None if args.only is None else set(args.only.split(","))
    results = [measure(run, only) for run in args.runs]
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if [result for result in results if not show(result)] else 0


if __name__ == "__main__":
    sys.exit(main())
