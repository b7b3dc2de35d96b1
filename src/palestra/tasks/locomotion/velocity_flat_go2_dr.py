"""Velocity-Flat-Go2 with randomized robots, ground, motors, delays and pushes, for policies that leave simulation."""

from palestra.envs import mdp
from palestra.managers import EventTermCfg, SceneEntityCfg
from palestra.rl import ModelCfg
from palestra.tasks.locomotion import velocity_flat_go2 as flat
from palestra.utils import configclass

ROBOT = SceneEntityCfg("robot")
BODIES = SceneEntityCfg("robot", body_names=[".*"])
TRUNK = SceneEntityCfg("robot", body_names=["base_link"])


@configclass
class EventsCfg(flat.EventsCfg):
    """Another robot in each environment, and another calibration in each episode."""

    materials = EventTermCfg(
        func=mdp.randomize_rigid_body_material,
        mode="startup",
        params={
            "asset_cfg": BODIES,
            "static_friction_range": (0.25, 1.25),
            "dynamic_friction_range": (0.25, 1.25),
            "restitution_range": (0.0, 0.0),
            "num_buckets": 64,
        },
    )
    masses = EventTermCfg(
        func=mdp.randomize_rigid_body_mass,
        mode="startup",
        params={"asset_cfg": BODIES, "mass_distribution_params": (0.7, 1.3), "operation": "scale"},
    )
    payload = EventTermCfg(
        func=mdp.add_body_mass, mode="startup", params={"asset_cfg": TRUNK, "mass_distribution_params": (0.0, 4.0)}
    )
    trunk_com = EventTermCfg(
        func=mdp.randomize_rigid_body_com,
        mode="startup",
        params={"asset_cfg": TRUNK, "com_range": {"x": (-0.04, 0.04), "y": (-0.03, 0.03), "z": (-0.03, 0.03)}},
    )
    joint_friction = EventTermCfg(
        func=mdp.randomize_joint_parameters,
        mode="startup",
        params={"asset_cfg": ROBOT, "friction_distribution_params": (0.0, 0.3), "operation": "add"},
    )
    gains = EventTermCfg(
        func=mdp.randomize_actuator_gains,
        mode="reset",
        params={
            "asset_cfg": ROBOT,
            "stiffness_distribution_params": (0.8, 1.25),
            "damping_distribution_params": (0.8, 1.25),
            "operation": "scale",
            "distribution": "log_uniform",
        },
    )
    motor_strength = EventTermCfg(
        func=mdp.randomize_motor_strength, mode="reset", params={"strength_distribution_params": (0.6, 1.1)}
    )
    encoder_bias = EventTermCfg(
        func=mdp.randomize_encoder_bias, mode="reset", params={"asset_cfg": ROBOT, "bias_range": (-0.02, 0.02)}
    )
    action_delay = EventTermCfg(func=mdp.randomize_action_delay, mode="reset", params={"delay_range": (0, 2)})
    push = EventTermCfg(
        func=mdp.push_by_setting_velocity,
        mode="interval",
        interval_range_s=(5.0, 10.0),
        params={"velocity_range": {"x": (-0.5, 0.5), "y": (-0.5, 0.5)}},
    )


@configclass
class EnvCfg(flat.EnvCfg):
    """20 s episodes at 50 Hz."""

    events: EventsCfg = EventsCfg()


@configclass
class PlayEnvCfg(EnvCfg):
    """A few randomized robots to watch, without observation noise."""

    def __post_init__(self) -> None:
        self.scene.num_envs = 16
        self.observations.policy.enable_corruption = False
        self.commands.base_velocity.rel_standing_envs = 0.0
        self.commands.base_velocity.resampling_time_range = (3.0, 3.0)


@configclass
class AgentCfg(flat.AgentCfg):
    """The flat task's, with larger networks and more iterations."""

    experiment_name: str = "velocity_flat_go2_dr"
    max_iterations: int = 1000
    save_interval: int = 100
    actor: ModelCfg = ModelCfg(hidden_dims=[256, 128, 128], obs_normalization=True, init_std=1.2, output_gain=0.01)
    critic: ModelCfg = ModelCfg(hidden_dims=[256, 128, 128], obs_normalization=True)
