"""Configuration of environments."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from palestra.config.configclass import MISSING, configclass
from palestra.managers.term_cfg import CurriculumTermCfg, EventTermCfg, RewardTermCfg, TerminationTermCfg
from palestra.scene import InteractiveSceneCfg
from palestra.sim import SimulationCfg


def _reset_scene_to_default(env: Any, env_mask: Any) -> None:
    from palestra.envs.mdp.events import reset_scene_to_default

    reset_scene_to_default(env, env_mask)


@configclass
class ViewerCfg:
    """The camera of videos and viewers."""

    eye: tuple[float, float, float] = (4.0, -4.0, 2.5)
    """Camera position (m), relative to the origin."""

    lookat: tuple[float, float, float] = (0.0, 0.0, 0.5)
    """Point looked at (m), relative to the origin."""

    resolution: tuple[int, int] = (640, 360)
    """Width and height of the pictures (pixels)."""

    origin_type: Literal["world", "env", "asset_root"] = "world"
    """What ``eye`` and ``lookat`` are relative to; ``asset_root`` follows the asset."""

    env_index: int = 0
    """Environment that is shown."""

    asset_name: str | None = None
    """Asset that the camera follows with ``asset_root``."""


@configclass
class DefaultEventManagerCfg:
    """Every episode starts from the default state unless the task says otherwise."""

    reset_scene_to_default: EventTermCfg = EventTermCfg(func=_reset_scene_to_default, mode="reset")


@configclass
class BaseEnvCfg:
    """Fields of all environments."""

    TERM_CLASSES: ClassVar[dict[str, type]] = {
        "events": EventTermCfg,
        "rewards": RewardTermCfg,
        "terminations": TerminationTermCfg,
        "curriculum": CurriculumTermCfg,
    }
    """Groups that overrides and YAML files may add terms to, by naming a ``func``, with the class of such a term."""

    sim: SimulationCfg = SimulationCfg()
    """Physics."""

    scene: InteractiveSceneCfg = MISSING
    """What there is."""

    decimation: int = MISSING
    """Physics steps in a control step."""

    viewer: ViewerCfg = ViewerCfg()
    """Camera."""

    seed: int | None = None
    """Seed of the environment's random numbers; ``None`` takes 0 and says so in the run's configuration."""

    first_env: int = 0
    """Number of the first environment as the random numbers count them: of several processes that train together, each
    has environments, and so random numbers, of its own."""

    capture: Literal["auto", "off"] = "auto"
    """On a GPU, ``"auto"`` records a step as one CUDA graph; ``"off"`` launches each operation from Python."""

    fuse_operations: bool = True
    """In a recorded step, fuse operations that work on each environment's row by itself into a few kernels
    (:mod:`palestra.utils.row_fusion`)."""

    check_terms: bool = False
    """Whether every term's value is checked for NaN and infinity, which names the culprit and costs a sync."""

    def resolve(self) -> None:
        """Turn presets into fields; the environment calls it once, after all overrides."""


@configclass
class ManagerBasedEnvCfg(BaseEnvCfg):
    """An environment of managers without rewards."""

    observations: Any = MISSING
    """Observation groups."""

    actions: Any = MISSING
    """Action terms."""

    events: Any = DefaultEventManagerCfg()
    """Event terms."""

    recorders: Any = None
    """Recorder terms."""


@configclass
class ManagerBasedRLEnvCfg(ManagerBasedEnvCfg):
    """An environment of managers for reinforcement learning."""

    episode_length_s: float = MISSING
    """Longest episode (s)."""

    is_finite_horizon: bool = False
    """Whether the time limit is part of the task: then it terminates and nothing is bootstrapped."""

    rewards: Any = MISSING
    """Reward terms."""

    terminations: Any = MISSING
    """Termination terms."""

    commands: Any = None
    """Command terms."""

    curriculum: Any = None
    """Curriculum terms."""


@configclass
class DirectRLEnvCfg(BaseEnvCfg):
    """An environment written as one class."""

    episode_length_s: float = MISSING
    """Longest episode (s)."""

    is_finite_horizon: bool = False
    """Whether the time limit is part of the task."""

    observation_space: int = MISSING
    """Width of the policy's observation."""

    action_space: int = MISSING
    """Width of the action."""

    state_space: int = 0
    """Width of the critic's observation from ``_get_states``; 0 if there is none."""

    events: Any = None
    """Event terms, as in a manager-based environment."""

    action_every_substep: bool = False
    """Whether ``_apply_action`` runs before every physics step. Once a control step is faster and the same
    unless it reads the state."""
