"""Entry point of ``palestra``: finds the command, imports its module alone, and turns errors into one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from palestra.cli.arguments import CommandParser, normalise, parse
from palestra.errors import ConfigError, PalestraError, did_you_mean

COMMANDS = {
    "train": "train a policy and leave a run folder with checkpoints, curves and a video",
    "play": "watch a trained policy, in a window or as a video",
    "eval": "measure a trained policy over many episodes",
    "distill": "teach a student that sees what the robot measures to act as a trained policy does",
    "export": "write a trained policy as TorchScript and ONNX, with a description for the robot",
    "sim2sim": "try a trained policy in other simulations, down to a simulated robot behind a network",
    "audit": "run the checklist before a policy moves a robot, and write a report",
    "deploy": "run an exported policy on a robot, with a safety monitor between the two",
    "sim-robot": "simulate a robot that is reached like a real one, by UDP",
    "tasks": "list the tasks",
    "info": "describe every observation and action of a task or a run",
    "bench": "measure where the time of a step and of a training iteration goes",
}
BAD_INPUT = 2
"""Exit code for what the user can mend."""
INTERRUPTED = 130
PIPE_CLOSED = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code.

    Args:
        argv: arguments without the program's name; those of the process if None.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except PalestraError as error:
        process = os.environ.get("RANK", "0")  # of several that train together
        where = "" if process == "0" else f" (process {process})"
        print(f"palestra: error{where}: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if arguments else BAD_INPUT
    name, *rest = arguments
    if name == "--version":
        from palestra import __version__

        print(f"palestra {__version__}")
        return 0
    if name.startswith("-"):
        raise ConfigError(f"flag {name!r} stands before the command: type palestra COMMAND {name} …")
    if name not in COMMANDS:
        raise ConfigError(f"unknown command {name!r}: {did_you_mean(name, COMMANDS)}")
    command = import_module(f"palestra.cli.{name.replace('-', '_')}")
    parser = CommandParser(prog=f"palestra {name}", description=f"{COMMANDS[name][0].upper()}{COMMANDS[name][1:]}.")
    command.add_arguments(parser)
    args = parse(parser, normalise(rest))
    args.command_line = ["palestra", *arguments]
    return command.run(args)


def _help() -> str:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return (
        "usage: palestra COMMAND … [--flags] [key=value …]\n\n"
        f"{listed}\n\n"
        "palestra COMMAND --help shows the flags of a command; palestra --version the version.\n"
        "Start with: palestra train Reach-Franka"
    )


if __name__ == "__main__":
    sys.exit(main())
