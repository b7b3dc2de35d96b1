"""Reach-Franka with randomized dynamics, hardware errors and noise, for policies that are to leave simulation."""

from palestra.envs import mdp
from palestra.managers import EventTermCfg, ObservationGroupCfg, ObservationTermCfg, SceneEntityCfg
from palestra.tasks.manipulation.reach_franka import ARM, target_offset
from palestra.tasks.manipulation.reach_franka import AgentCfg as ReachFrankaAgentCfg
from palestra.tasks.manipulation.reach_franka import EnvCfg as ReachFrankaEnvCfg
from palestra.tasks.manipulation.reach_franka import EventsCfg as ReachFrankaEventsCfg
from palestra.utils import configclass
from palestra.utils.noise import SensorNoiseModelCfg, UniformNoiseCfg

LINKS = SceneEntityCfg("robot", body_names=["link[1-7]", "hand"])
HAND = SceneEntityCfg("robot", body_names=["hand"])


@configclass
class ObservationsCfg:
    """What Reach-Franka's policy sees, with errors of the sensors, and the last action."""

    @configclass
    class PolicyCfg(ObservationGroupCfg):
        """24 numbers."""

        enable_corruption: bool = True

        joint_pos = ObservationTermCfg(
            func=mdp.joint_pos_rel,
            params={"asset_cfg": ARM},
            noise=UniformNoiseCfg(n_min=-0.002, n_max=0.002),
        )
        joint_vel = ObservationTermCfg(
            func=mdp.joint_vel_rel,
            params={"asset_cfg": ARM},
            noise=UniformNoiseCfg(n_min=-0.05, n_max=0.05),
            scale=0.3,
        )
        target = ObservationTermCfg(
            func=target_offset,
            # A camera: a step or two late, off by up to 5 mm, now and then without a picture.
            noise=SensorNoiseModelCfg(
                noise_cfg=UniformNoiseCfg(n_min=-0.002, n_max=0.002),
                bias_noise_cfg=UniformNoiseCfg(n_min=-0.005, n_max=0.005),
                delay_range=(0, 2),
                dropout=0.02,
            ),
            scale=2.0,
        )
        actions = ObservationTermCfg(func=mdp.last_action)

    policy: PolicyCfg = PolicyCfg()


@configclass
class EventsCfg(ReachFrankaEventsCfg):
    """Another arm in each environment, and another calibration in each episode."""

    link_masses = EventTermCfg(
        func=mdp.randomize_rigid_body_mass,
        mode="startup",
        params={"asset_cfg": LINKS, "mass_distribution_params": (0.7, 1.3), "operation": "scale"},
    )
    payload = EventTermCfg(
        func=mdp.add_body_mass,
        mode="startup",
        params={"asset_cfg": HAND, "mass_distribution_params": (0.0, 3.0)},
    )
    joint_friction = EventTermCfg(
        func=mdp.randomize_joint_parameters,
        mode="startup",
        params={
            "asset_cfg": ARM,
            "friction_distribution_params": (0.0, 1.0),
            "damping_distribution_params": (0.0, 1.0),
            "operation": "add",
        },
    )
    gains = EventTermCfg(
        func=mdp.randomize_actuator_gains,
        mode="reset",
        params={
            "asset_cfg": ARM,
            "damping_distribution_params": (0.7, 1.4),
            "operation": "scale",
            "distribution": "log_uniform",
        },
    )
    motor_strength = EventTermCfg(
        func=mdp.randomize_motor_strength,
        mode="reset",
        params={"asset_cfg": ARM, "strength_distribution_params": (0.6, 1.1)},
    )
    encoder_bias = EventTermCfg(
        func=mdp.randomize_encoder_bias,
        mode="reset",
        params={"asset_cfg": ARM, "bias_range": (-0.02, 0.02)},
    )
    action_delay = EventTermCfg(func=mdp.randomize_action_delay, mode="reset", params={"delay_range": (0, 3)})


@configclass
class EnvCfg(ReachFrankaEnvCfg):
    """500 steps at 60 Hz."""

    observations: ObservationsCfg = ObservationsCfg()
    events: EventsCfg = EventsCfg()


@configclass
class PlayEnvCfg(EnvCfg):
    """A few randomized arms to watch, with clean sensors."""

    def __post_init__(self) -> None:
        self.scene.num_envs = 16
        self.observations.policy.enable_corruption = False


@configclass
class AgentCfg(ReachFrankaAgentCfg):
    """Reach-Franka's, with more iterations."""

    experiment_name: str = "reach_franka_dr"
    max_iterations: int = 200
