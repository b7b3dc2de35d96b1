"""A small task with everything that a control step can hold, and errors of the hardware that it must not hold."""

import math
from pathlib import Path
from typing import Any

from scenes import FLOATING, robot_cfg
from tiny import STEP_DT, TinyEnvCfg

from palestra.actuators import ImplicitActuatorCfg
from palestra.assets import ArticulationCfg
from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.integrations import make_trainer
from palestra.managers import EventTermCfg, ObservationGroupCfg, ObservationTermCfg, SceneEntityCfg
from palestra.rl import ModelCfg, PPORunnerCfg
from palestra.rl.distributed import ALONE
from palestra.scene import InteractiveSceneCfg
from palestra.utils import configclass
from palestra.utils.modifiers import DigitalFilterCfg, IntegratorCfg, ModifierCfg, bias, quantize
from palestra.utils.noise import SensorNoiseModelCfg, UniformNoiseCfg

SWAPPED = SceneEntityCfg("robot", joint_names=["elbow", "shoulder"], preserve_order=True)


@configclass
class SceneCfg(InteractiveSceneCfg):
    robot: ArticulationCfg = robot_cfg(
        FLOATING,
        {
            "arm": ImplicitActuatorCfg(joint_names_expr=["shoulder", "elbow"], stiffness=5.0, damping=0.5),
            "rod": ImplicitActuatorCfg(joint_names_expr=["slide"]),
        },
        pos=(0.0, 0.0, 3.0),
        joint_pos={"shoulder": 0.3, "elbow": -0.4},
    )


@configclass
class CommandsCfg:
    velocity = mdp.UniformVelocityCommandCfg(
        asset_name="robot",
        resampling_time_range=(0.1, 0.2),
        ranges=mdp.UniformVelocityCommandCfg.Ranges(
            lin_vel_x=(-1.0, 1.0), lin_vel_y=(-1.0, 1.0), ang_vel_z=(-1.0, 1.0)
        ),
    )
    gait = mdp.GaitPhaseCommandCfg(
        resampling_time_range=(0.1, 0.2),
        offsets={"left": 0.0, "right": 0.5},
        ranges=mdp.GaitPhaseCommandCfg.Ranges(frequency=(1.5, 3.0), duty_factor=(0.4, 0.6)),
    )


@configclass
class ActionsCfg:
    arm = mdp.JointPositionActionCfg(
        asset_name="robot",
        joint_names=["elbow", "shoulder"],
        preserve_order=True,
        scale={"elbow": 0.5, "shoulder": 0.25},
        clip={"elbow": (-0.45, 0.4)},
    )
    rod = mdp.JointEffortActionCfg(asset_name="robot", joint_names=["slide"], scale=2.0)


@configclass
class ObservationsCfg:
    @configclass
    class PolicyCfg(ObservationGroupCfg):
        enable_corruption: bool = True

        base_ang_vel = ObservationTermCfg(func=mdp.base_ang_vel, scale=0.25, history_length=3)
        gravity = ObservationTermCfg(func=mdp.projected_gravity, noise=UniformNoiseCfg(n_min=-0.05, n_max=0.05))
        joint_pos = ObservationTermCfg(
            func=mdp.joint_pos_rel,
            params={"asset_cfg": SWAPPED},
            noise=SensorNoiseModelCfg(
                noise_cfg=UniformNoiseCfg(n_min=-0.01, n_max=0.01),
                bias_noise_cfg=UniformNoiseCfg(n_min=-0.1, n_max=0.1),
                delay_range=(0, 2),
                resolution=0.01,
                dropout=0.2,
            ),
            history_length=2,
        )
        joint_vel = ObservationTermCfg(
            func=mdp.joint_vel_rel,
            modifiers=[
                ModifierCfg(func=quantize, params={"resolution": 0.1}),
                DigitalFilterCfg(B=[0.5, 0.25], A=[-0.25]),
                ModifierCfg(func=bias, params={"value": 0.1}),
            ],
            clip=(-2.0, 2.0),
            scale=(0.5, 0.25, 0.125),
        )
        velocity = ObservationTermCfg(func=mdp.generated_commands, params={"command_name": "velocity"})
        gait = ObservationTermCfg(func=mdp.generated_commands, params={"command_name": "gait"})
        actions = ObservationTermCfg(func=mdp.last_action)

    @configclass
    class ExtraCfg(ObservationGroupCfg):
        orientation = ObservationTermCfg(func=mdp.root_quat_w, params={"make_quat_unique": True})
        range = ObservationTermCfg(func=mdp.joint_pos_limit_normalized)
        turned = ObservationTermCfg(func=mdp.base_ang_vel, modifiers=[IntegratorCfg(dt=STEP_DT)])
        rod = ObservationTermCfg(func=mdp.last_action, params={"action_name": "rod"}, history_length=2)
        effort = ObservationTermCfg(func=mdp.joint_effort)

    @configclass
    class CriticCfg(ObservationGroupCfg):
        base_lin_vel = ObservationTermCfg(func=mdp.base_lin_vel)

    policy: PolicyCfg = PolicyCfg()
    extra: ExtraCfg = ExtraCfg()
    critic: CriticCfg = CriticCfg()


@configclass
class EventsCfg:
    root = EventTermCfg(
        func=mdp.reset_root_state_uniform,
        mode="reset",
        params={
            "pose_range": {"roll": (-1.0, 1.0), "pitch": (-1.0, 1.0), "yaw": (-math.pi, math.pi)},
            "velocity_range": {"roll": (-1.0, 1.0), "yaw": (-1.0, 1.0)},
        },
    )
    joints = EventTermCfg(
        func=mdp.reset_joints_by_offset,
        mode="reset",
        params={"position_range": (-0.3, 0.3), "velocity_range": (-1.0, 1.0)},
    )
    encoder_bias = EventTermCfg(func=mdp.randomize_encoder_bias, mode="reset", params={"bias_range": (-0.1, 0.1)})
    action_delay = EventTermCfg(func=mdp.randomize_action_delay, mode="reset", params={"delay_range": (0, 3)})


@configclass
class EnvCfg(TinyEnvCfg):
    """Episodes of 20 steps."""

    episode_length_s: float = 20 * STEP_DT
    scene: SceneCfg = SceneCfg(num_envs=16)
    commands: Any = CommandsCfg()
    actions: Any = ActionsCfg()
    observations: Any = ObservationsCfg()
    events: Any = EventsCfg()


GROUPS = {"actor": ["policy", "extra"], "critic": ["policy", "critic"]}


def train(folder: Path, cfg: EnvCfg | None = None, groups: dict[str, list[str]] | None = None) -> Path:
    """Return the checkpoint of a run that is long enough to give the normaliser its moments."""
    env = ManagerBasedRLEnv(EnvCfg() if cfg is None else cfg)
    nets = {"actor": ModelCfg(hidden_dims=[16], obs_normalization=True), "critic": ModelCfg(hidden_dims=[8])}
    settings = PPORunnerCfg(num_steps_per_env=24, max_iterations=2, obs_groups=groups or GROUPS, **nets)
    trainer: Any = make_trainer("palestra", env, settings, "Small", ALONE)
    trainer.console.quiet = True
    trainer.learn()
    checkpoint = folder / "checkpoint.pth"
    trainer.save(checkpoint)
    env.close()
    return checkpoint
