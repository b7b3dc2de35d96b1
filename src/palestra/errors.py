"""Errors that a user can mend: one line that says what is wrong, where, and what is allowed."""

import difflib
from collections.abc import Iterable


class PalestraError(Exception):
    """An error whose one-line message tells the user how to mend it; the command line exits with code 2."""


class ConfigError(PalestraError):
    """A configuration, name or argument that cannot be used as given."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a hint that lists the known names nearest to ``name``, and then all known names.

    Example: ``did you mean 'joint_vel'? known: 'joint_pos', 'joint_vel'``.
    """
    known = [str(n) for n in names]
    if not known:
        return "nothing is known here"
    listed = ", ".join(repr(n) for n in known)
    by_lower = {n.lower(): n for n in known}
    near = [by_lower[n] for n in difflib.get_close_matches(name.lower(), list(by_lower), n=3, cutoff=0.5)]
    if not near:
        return f"known: {listed}"
    return f"did you mean {', '.join(repr(n) for n in near)}? known: {listed}"
