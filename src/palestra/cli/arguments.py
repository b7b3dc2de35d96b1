"""Flags of the commands, in Isaac Lab's names, with hyphens or underscores, before or among the overrides."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from palestra.errors import ConfigError, did_you_mean
from palestra.integrations import LIBRARIES, OURS


class CommandParser(argparse.ArgumentParser):
    """A parser whose mistakes are one-line errors.

    Attributes:
        target: what the first word names (``"TASK"``, ``"RUN"`` …), or None if the command takes no words.
        takes_overrides: whether ``key=value`` words are allowed.
    """

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)
        self.target: str | None = None
        self.takes_overrides = False

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ").replace(": expected one argument", " needs a value")
        raise ConfigError(f"{message} (see {self.prog} --help)")

    def format_usage(self) -> str:
        return f"usage: {self._words()}\n"

    def format_help(self) -> str:
        flags = super().format_help().split("\n\n", 1)[1]  # argparse's own usage does not know the words
        return f"{self.format_usage()}\n{flags}"

    def flag_names(self) -> list[str]:
        """Names of all long flags."""
        return [name for action in self._actions for name in action.option_strings if name.startswith("--")]

    def _words(self) -> str:
        words = [self.prog, *([self.target] if self.target else []), "[--flags]"]
        return " ".join([*words, "[key=value …]"] if self.takes_overrides else words)


def normalise(arguments: list[str]) -> list[str]:
    """Return arguments with underscores in flags, and with ``--resume`` made unambiguous.

    ``--resume`` takes a value only if that is a path, so that ``--resume Cartpole`` resumes the task's last run.
    """
    out: list[str] = []
    for index, token in enumerate(arguments):
        if not token.startswith("--"):
            out.append(token)
            continue
        name, separator, value = token.partition("=")
        name = "--" + name[2:].replace("-", "_")
        following = arguments[index + 1] if index + 1 < len(arguments) else ""
        if name == "--resume" and not separator and not is_path(following):
            separator = "="
        out.append(name + separator + value)
    return out


def is_path(word: str) -> bool:
    """Return whether a word means a run folder or a file rather than a task, a flag or an override."""
    if not word or word.startswith("-") or "=" in word or word.startswith("Palestra/"):
        return False
    return "/" in word or "\\" in word or word.endswith(".pth") or Path(word).exists()


def parse(parser: CommandParser, arguments: list[str]) -> argparse.Namespace:
    """Parse a command's arguments; words may stand before, between and after the flags.

    Returns:
        The flags, with ``target`` (or None) and ``overrides``.

    Raises:
        ConfigError: an unknown flag, a missing or wrong value, too few or too many words.
    """
    args, rest = parser.parse_known_args(arguments)
    for token in rest:
        if token.startswith("-"):
            name = token.partition("=")[0]
            raise ConfigError(f"unknown flag {name!r}: {did_you_mean(name, parser.flag_names())}")
    overrides = [word for word in rest if "=" in word]
    words = [word for word in rest if "=" not in word]
    if getattr(args, "task", None):
        words.insert(0, args.task)
    if parser.target is None and words:
        raise ConfigError(f"{parser.prog} takes no {words[0]!r}")
    if len(words) > 1:
        raise ConfigError(f"{parser.prog} takes one {parser.target}, not {' and '.join(map(repr, words))}")
    if overrides and not parser.takes_overrides:
        raise ConfigError(f"{parser.prog} takes no override {overrides[0]!r}")
    args.target = words[0] if words else None
    args.overrides = overrides
    return args


def require_target(args: argparse.Namespace, parser_target: str, example: str) -> str:
    """Return the word that a command is about.

    Raises:
        ConfigError: it is missing.
    """
    if args.target is None:
        raise ConfigError(f"which {parser_target}? for example: {example}")
    return args.target


def whole_number(flag: str, minimum: int | None = None) -> Callable[[str], int]:
    """Return a converter for a flag's value that says what is allowed."""
    allowed = "a whole number" + ("" if minimum is None else f" of {minimum} or more")

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ConfigError(f"{flag} is {text!r}; it must be {allowed}") from None
        if minimum is not None and value < minimum:
            raise ConfigError(f"{flag} is {value}; it must be {allowed}")
        return value

    return convert


def positive_number(flag: str) -> Callable[[str], float]:
    """Return a converter for a flag's value that says what is allowed."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0.0 < value < float("inf"):
            raise ConfigError(f"{flag} is {text!r}; it must be a number above 0")
        return value

    return convert


def add_environment_flags(parser: CommandParser) -> None:
    """Flags that every command which builds an environment has."""
    parser.takes_overrides = True
    parser.add_argument("--task", metavar="TASK", help=argparse.SUPPRESS)
    parser.add_argument(
        "--num_envs", type=whole_number("--num_envs", 1), metavar="N", help="number of parallel environments"
    )
    parser.add_argument("--seed", type=whole_number("--seed", 0), metavar="N", help="seed of all random numbers")
    parser.add_argument("--device", metavar="DEVICE", help="cpu or cuda:0")
    parser.add_argument(
        "--threads", type=whole_number("--threads", 1), metavar="N", help="CPU threads; all cores if not given"
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file of values, applied before the overrides")
    parser.add_argument(
        "--check", action="store_true", help="check every term for NaN and infinity, and name the culprit (slower)"
    )
    parser.add_argument(
        "--library",
        metavar="NAME",
        help=f"learner: {', '.join(LIBRARIES)}; default: the run's, and {OURS} for a task",
    )
