"""A small task configuration, written as a user writes one, for the tests of ``palestra.config``."""

import enum
from collections.abc import Callable
from typing import Literal

from palestra.utils import MISSING, configclass


def track_velocity(env: object, std: float, command_name: str, scale: float | None = None) -> float:
    return std


def is_alive(env: object) -> float:
    return 1.0


class FastAction:
    pass


class SlowAction(FastAction):
    pass


class Engine(enum.Enum):
    CPU = "cpu"
    CUDA = "cuda"


@configclass
class EntityCfg:
    name: str = MISSING
    joint_names: list[str] | None = None
    joint_ids: slice | list[int] = slice(None)


@configclass
class RewardCfg:
    func: Callable[..., float] = MISSING
    params: dict[str, object] = {}
    weight: float = MISSING


@configclass
class ActionCfg:
    class_type: type[FastAction] = FastAction
    scale: float | dict[str, float] = 1.0
    clip: tuple[float, float] | None = None


@configclass
class CommandCfg:
    @configclass
    class Ranges:
        lin_vel_x: tuple[float, float] = (-1.0, 1.0)
        heading: "tuple[float, float] | None" = None

    ranges: Ranges = Ranges()
    period = 10.0


@configclass
class SceneCfg:
    num_envs: int = 4096
    env_spacing: float = 2.5
    replicate: bool = True
    joint_pos: dict[str, float] = {".*_hip": 0.1, "FL_.*": -0.2}
    gravity = (0.0, 0.0, -9.81)


@configclass
class RewardsCfg:
    alive = RewardCfg(func=is_alive, weight=1.0)
    track = RewardCfg(func=track_velocity, weight=2.0, params={"std": 0.5, "command_name": "base"})
    entity = RewardCfg(func=is_alive, weight=0.0, params={"asset": EntityCfg("robot", joint_names=[".*"])})


@configclass
class ActionsCfg:
    legs = ActionCfg()


@configclass
class CommandsCfg:
    velocity = CommandCfg()


@configclass
class EnvCfg:
    scene: SceneCfg = SceneCfg()
    rewards: RewardsCfg = RewardsCfg()
    actions = ActionsCfg()
    commands = CommandsCfg()
    engine: Engine = Engine.CPU
    decimation: int = 4
    seed: int | None = None
    viewer: Literal["native", "video"] = "native"
    terms: list[RewardCfg] = [RewardCfg(func=is_alive, weight=3.0)]
    groups: dict[str, RewardCfg] = {"legs": RewardCfg(func=is_alive, weight=4.0)}

    def __post_init__(self) -> None:
        self.rewards.alive.weight = 0.5


@configclass
class PlayEnvCfg(EnvCfg):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.scene.num_envs = 16


@configclass
class AlgorithmCfg:
    learning_rate: float = 1e-3
    schedule: str = "adaptive"


@configclass
class AgentCfg:
    algorithm: AlgorithmCfg = AlgorithmCfg()
    max_iterations: int = 1500
    run_name: str = ""
    hidden_dims: list[int] = [256, 128]


class ExampleEnv:
    """An environment class that only keeps what it was given."""

    def __init__(self, cfg: EnvCfg, render_mode: str | None = None) -> None:
        self.cfg = cfg
        self.render_mode = render_mode
