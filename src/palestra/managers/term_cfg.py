"""Configuration of terms. Fields mean what they mean in Isaac Lab."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from palestra.config.configclass import MISSING, configclass


@configclass
class ManagerTermBaseCfg:
    """A function (or a class of terms) with its parameters."""

    func: Callable[..., Any] = MISSING
    """``func(env, **params)``; events and curricula get ``env_mask`` (or Isaac Lab's ``env_ids``) second."""

    params: dict[str, Any] = {}
    """Keyword arguments. :class:`SceneEntityCfg` values are resolved at start."""


@configclass
class ObservationTermCfg(ManagerTermBaseCfg):
    """One observation. Order: func, modifiers, noise, clip, scale, history."""

    modifiers: list[Any] | None = None
    """Modifier configurations, applied in order."""

    noise: Any = None
    """Noise configuration, applied when the group's ``enable_corruption`` is set."""

    clip: tuple[float, float] | None = None
    """Limits after the noise."""

    scale: float | tuple[float, ...] | None = None
    """Factor after the clipping; one number or one for each entry."""

    history_length: int = 0
    """Number of past values kept, the newest last; 0 is the present value only."""

    flatten_history_dim: bool = True
    """Whether the history joins the last dimension."""


@configclass
class ObservationGroupCfg:
    """A group of observation terms, given as attributes of a subclass."""

    concatenate_terms: bool = True
    """Whether the group is one tensor ``(num_envs, sum of widths)`` or a dictionary of tensors."""

    concatenate_dim: int = -1
    """Dimension along which terms are joined; only −1 is supported."""

    enable_corruption: bool = False
    """Whether noise is applied."""

    history_length: int | None = None
    """History of every term of the group; ``None`` leaves it to the terms."""

    flatten_history_dim: bool = True
    """Whether histories join the last dimension."""


@configclass
class RewardTermCfg(ManagerTermBaseCfg):
    """One reward term: value × weight × step duration."""

    weight: float = MISSING
    """Factor; a curriculum may change it."""

    group: str = ""
    """What the term is for, e.g. ``"task"``, ``"style"`` or ``"survival"``; the log sums up each group. Empty: none."""


@configclass
class TerminationTermCfg(ManagerTermBaseCfg):
    """One reason to end an episode."""

    time_out: bool = False
    """Whether it is a time limit (the value of the last state is bootstrapped) rather than a failure."""

    success: bool = False
    """Whether ending this way counts in the success rate."""


@configclass
class EventTermCfg(ManagerTermBaseCfg):
    """Something that happens to environments."""

    mode: Literal["prestartup", "startup", "reset", "interval"] | str = MISSING
    """When it happens."""

    interval_range_s: tuple[float, float] | None = None
    """For ``interval``: least and most time between two occurrences (s)."""

    is_global_time: bool = False
    """For ``interval``: whether all environments share one clock that resets do not touch."""

    min_step_count_between_reset: int = 0
    """For ``reset``: environment steps that must have passed since the term last touched the environment."""


@configclass
class CurriculumTermCfg(ManagerTermBaseCfg):
    """Runs at reset and may change ranges, weights and difficulty; what it returns is logged."""


@configclass
class ActionTermCfg:
    """Base of action terms."""

    class_type: type = MISSING
    """The term's class."""

    asset_name: str = MISSING
    """Entity that it acts on."""

    debug_vis: bool = False
    """Whether viewers draw it."""

    clip: dict[str, tuple[float, float]] | None = None
    """Limits of the processed action by regular expression of the joints."""


@configclass
class CommandTermCfg:
    """Base of command terms."""

    class_type: type = MISSING
    """The term's class."""

    resampling_time_range: tuple[float, float] = MISSING
    """Least and most time between two commands (s)."""

    debug_vis: bool = False
    """Whether viewers draw it."""


@configclass
class RecorderTermCfg:
    """Base of recorder terms."""

    class_type: type = MISSING
    """The term's class."""


@configclass
class RecorderManagerBaseCfg:
    """Recorder terms are attributes of a subclass."""

    dataset_export_dir_path: str = "runs/recordings"
    """Folder of the files."""

    dataset_filename: str = "dataset"
    """Name of the file, without suffix."""

    export_in_close: bool = True
    """Whether unfinished episodes are written when the environment closes."""
