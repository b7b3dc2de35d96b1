"""``palestra tasks``: list the tasks. Imports nothing heavy."""

from __future__ import annotations

import argparse
import json

from palestra.cli.arguments import CommandParser


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """List names and descriptions."""
    from palestra.config.registry import PLAY_SUFFIX, spec, task_ids

    play = set(task_ids(play=True))
    rows = [
        {
            "id": name,
            "description": spec(name).description,
            "libraries": sorted(spec(name).agent_cfgs),
            "play": name + PLAY_SUFFIX if name + PLAY_SUFFIX in play else None,
        }
        for name in task_ids()
    ]
    if args.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    width = max(len(str(row["id"])) for row in rows)
    for row in rows:
        print(f"{row['id']:<{width}}  {row['description']}")
    print("\npalestra train TASK trains one; palestra info TASK describes its observations and actions.")
    return 0
