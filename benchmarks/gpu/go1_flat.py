"""The Go1 flat velocity task of mjlab 1.6.0 as a Palestra task, on the peer's own model.

The model is the peer's compiled MJCF, which ``peer_mjlab.py --write_mjcf FILE`` writes; the environment variable
``PEER_MJCF`` names the file. Geoms, condim, friction, gains, solver and time step are the peer's, which
``model_differences`` checks on the compiled model. What differs from the peer's task:

- the base velocities are the root's, not those of the IMU's place in the trunk (7 cm off);
- rewards see the state after a control step, the peer's that of one physics step before; the feet's contacts are looked
  at once a control step, the peer's once a physics step, so that fewer landings are counted;
- a foot's height is that above z = 0 instead of four rays to the plane;
- joint readings have no constant bias of ±0.015 rad;
- a moved centre of mass leaves the constraint solver's reference weights as compiled;
- reward terms of weight zero (angular momentum, body rates, air time) are left out.
"""

import math
import os
from pathlib import Path

import mujoco
import torch
from torch import Tensor

from palestra.actuators import ImplicitActuatorCfg
from palestra.assets import ArticulationCfg, AssetBaseCfg
from palestra.envs import ManagerBasedRLEnv, ManagerBasedRLEnvCfg, mdp
from palestra.envs.mdp.commands.velocity_command import UniformVelocityCommand
from palestra.errors import ConfigError
from palestra.managers import (
    EventTermCfg,
    ManagerTermBase,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    SceneEntityCfg,
    TerminationTermCfg,
)
from palestra.rl import ModelCfg, OnPolicyRunner, PPOAlgorithmCfg, PPORunnerCfg
from palestra.scene import InteractiveSceneCfg
from palestra.sensors import ContactSensorCfg
from palestra.sim import GroundPlaneCfg, SimulationCfg, SpecCfg
from palestra.utils import configclass
from palestra.utils.math import quat_apply
from palestra.utils.noise import AdditiveUniformNoiseCfg as Unoise

TASK = "Peer-Go1-Flat"
SCORE = "track_linear_velocity"
"""Reward term, in [0, 1], that both sides report."""

FOOT_BELOW_CALF = -0.213
"""Height of a foot's centre in the frame of its calf (m)."""

HIP_ARMATURE, KNEE_ARMATURE = 0.000111842 * 6**2, 0.000111842 * 9**2
"""Inertia of a rotor seen through its gears (kg·m²)."""

NATURAL_FREQUENCY, DAMPING_RATIO = 20.0 * math.pi, 2.0
"""What the peer's gains aim at (rad/s, 1), for a joint that moves its rotor only."""

OPTIONS = (
    "timestep", "integrator", "cone", "solver", "iterations", "ls_iterations", "tolerance", "ls_tolerance", "impratio",
)  # fmt: skip
"""Solver settings that must be the peer's."""

HIP_EFFORT, KNEE_EFFORT = 23.7, 35.55
"""Largest torques (N·m)."""


def mjcf_path() -> Path:
    """Return the file that PEER_MJCF names.

    Raises:
        ConfigError: the variable is not set or there is no such file.
    """
    name = os.environ.get("PEER_MJCF", "")
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"PEER_MJCF is {name!r}: name the file that peer_mjlab.py --write_mjcf wrote")
    return path


def robot_spec() -> mujoco.MjSpec:
    """The peer's scene without its ground and lights: the robot alone."""
    spec = mujoco.MjSpec.from_file(str(mjcf_path()))
    spec.delete(spec.body("terrain"))
    for element in [*spec.lights, *spec.keys]:
        spec.delete(element)
    spec.nkey = 0
    # Spheres, capsules, boxes and planes collide in closed form, so that this limit of the peer's never counts.
    spec.option.ccd_iterations = mujoco.MjSpec().option.ccd_iterations
    return spec


def model_differences(model: mujoco.MjModel) -> list[str]:
    """What differs between a compiled scene of this task and the peer's file, one line each."""
    peer = mujoco.MjModel.from_xml_path(str(mjcf_path()))
    lines = []
    for name in OPTIONS:
        ours, theirs = getattr(model.opt, name), getattr(peer.opt, name)
        if not math.isclose(ours, theirs, rel_tol=1e-6):
            lines.append(f"opt.{name}: {ours} here, {theirs} there")
    renamed = {"terrain": "ground/plane"}
    kinds = {
        "geom": ("type", "size", "condim", "contype", "conaffinity", "priority", "friction", "solref", "solimp", "gap"),
        "body": ("mass", "inertia", "ipos", "iquat", "pos", "quat"),
        "joint": ("range", "axis", "pos"),
    }
    for kind, fields in kinds.items():
        elements = [
            getattr(peer, kind)(i) for i in range({"geom": peer.ngeom, "body": peer.nbody}.get(kind, peer.njnt))
        ]
        for theirs in elements:
            if kind == "body" and theirs.name in ("world", "terrain"):
                continue
            ours = getattr(model, kind)(renamed.get(theirs.name, f"robot/{theirs.name}"))
            is_plane = kind == "geom" and int(theirs.type[0]) == int(mujoco.mjtGeom.mjGEOM_PLANE)
            for field in fields:
                here, there = getattr(ours, field), getattr(theirs, field)
                if (is_plane and field == "size") or (kind == "body" and field == "pos" and "trunk" in theirs.name):
                    continue  # an endless plane's picture; the trunk's place is its initial state
                if abs(here - there).max() > 1e-5 * max(1.0, abs(there).max()):
                    lines.append(f"{kind} {theirs.name} {field}: {here} here, {there} there")
    for i in range(peer.nu):
        theirs, ours = peer.actuator(i), model.actuator(f"robot/{peer.actuator(i).name}")
        for field, here, there in (
            ("gains", ours.biasprm[1:3], theirs.biasprm[1:3]),
            ("force range", ours.forcerange, theirs.forcerange),
        ):
            if abs(here - there).max() > 1e-3:
                lines.append(f"actuator {theirs.name} {field}: {here} here, {there} there")
    here, there = sorted(model.dof_armature), sorted(peer.dof_armature)
    if len(here) != len(there) or max(abs(a - b) for a, b in zip(here, there, strict=True)) > 1e-6:
        lines.append("dof_armature differs")
    return lines


# --- commands ---------------------------------------------------------------------------------------------------------


class ForwardVelocityCommand(UniformVelocityCommand):
    """Uniform velocities, of which a share goes straight ahead at 0.3 m/s or more."""

    cfg: "ForwardVelocityCommandCfg"

    def _resample_command(self, env_mask: Tensor) -> None:
        super()._resample_command(env_mask)
        forward = self._env.rng.bernoulli(self.cfg.rel_forward_envs) & env_mask
        ahead = self.vel_command_b.abs().clamp(min=0.3)[:, 0] * (~self.is_standing_env)
        straight = torch.stack((ahead, torch.zeros_like(ahead), torch.zeros_like(ahead)), dim=-1)
        torch.where(forward.unsqueeze(-1), straight, self.vel_command_b, out=self.vel_command_b)


@configclass
class ForwardVelocityCommandCfg(mdp.UniformVelocityCommandCfg):
    """The share of commands that go straight ahead."""

    class_type: type = ForwardVelocityCommand
    rel_forward_envs: float = 0.2


# --- terms that only the peer's task has ------------------------------------------------------------------------------


def _active(env: ManagerBasedRLEnv) -> Tensor:
    """1 where the command asks for motion, ``(num_envs,)``."""
    command = env.command_manager.get_command("twist")
    return (torch.linalg.vector_norm(command[:, :2], dim=-1) + command[:, 2].abs() > 0.05).float()


def _foot_offset(env: ManagerBasedRLEnv, calves: SceneEntityCfg) -> Tensor:
    """From the calves' origins to the feet, world frame (m), ``(num_envs, 4, 3)``."""
    quat = env.scene["robot"].data.body_quat_w[:, calves.body_ids]
    offset = quat.new_zeros(*quat.shape[:-1], 3)
    offset[..., 2] = FOOT_BELOW_CALF
    return quat_apply(quat, offset)


def foot_height(env: ManagerBasedRLEnv, calves: SceneEntityCfg) -> Tensor:
    """Height of the feet's centres over flat ground (m), ``(num_envs, 4)``."""
    return env.scene["robot"].data.body_pos_w[:, calves.body_ids, 2] + _foot_offset(env, calves)[..., 2]


def _foot_speed(env: ManagerBasedRLEnv, calves: SceneEntityCfg) -> Tensor:
    """Horizontal speed of the feet (m/s), ``(num_envs, 4)``."""
    data = env.scene["robot"].data
    turning = torch.linalg.cross(data.body_ang_vel_w[:, calves.body_ids], _foot_offset(env, calves))
    return torch.linalg.vector_norm((data.body_lin_vel_w[:, calves.body_ids] + turning)[..., :2], dim=-1)


def foot_air_time(env: ManagerBasedRLEnv) -> Tensor:
    """Time since lift-off (s), ``(num_envs, 4)``."""
    return env.scene["feet"].data.current_air_time


def foot_contact(env: ManagerBasedRLEnv) -> Tensor:
    """1 for a foot on the ground, ``(num_envs, 4)``."""
    return (env.scene["feet"].data.current_contact_time > 0.0).float()


def foot_forces(env: ManagerBasedRLEnv) -> Tensor:
    """Signed logarithm of the contact forces, ``(num_envs, 12)``."""
    force = env.scene["feet"].data.net_forces_w.flatten(1)
    return force.sign() * force.abs().log1p()


def track_linear_velocity(env: ManagerBasedRLEnv, std: float) -> Tensor:
    """exp(-(‖v_xy,cmd - v_xy‖² + v_z²) / std²), base frame."""
    velocity = env.scene["robot"].data.root_lin_vel_b
    error = (env.command_manager.get_command("twist")[:, :2] - velocity[:, :2]).square().sum(dim=-1)
    return torch.exp((error + velocity[:, 2].square()) / -(std**2))


def track_angular_velocity(env: ManagerBasedRLEnv, std: float) -> Tensor:
    """exp(-((ω_z,cmd - ω_z)² + ω_x² + ω_y²) / std²), base frame."""
    rate = env.scene["robot"].data.root_ang_vel_b
    error = (env.command_manager.get_command("twist")[:, 2] - rate[:, 2]).square()
    return torch.exp((error + rate[:, :2].square().sum(dim=-1)) / -(std**2))


def upright(env: ManagerBasedRLEnv, std: float) -> Tensor:
    """exp(-sin²(lean) / std²)."""
    return torch.exp(env.scene["robot"].data.projected_gravity_b[:, :2].square().sum(dim=-1) / -(std**2))


class Posture(ManagerTermBase):
    """exp(-mean((q - q_0)² / σ²)) with a narrow σ at rest and a wide one in motion, twice as wide at the knees."""

    def __init__(self, cfg: RewardTermCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        names = env.scene["robot"].joint_names
        self._width = torch.tensor([2.0 if "calf" in name else 1.0 for name in names], device=self.device)

    def __call__(self, env: ManagerBasedRLEnv, std_standing: float, std_moving: float) -> Tensor:
        data = env.scene["robot"].data
        std = (std_standing + (std_moving - std_standing) * _active(env)).unsqueeze(-1) * self._width
        return torch.exp(-((data.joint_pos - data.default_joint_pos) / std).square().mean(dim=-1))


def foot_clearance(env: ManagerBasedRLEnv, target_height: float, calves: SceneEntityCfg) -> Tensor:
    """Σ |h - h_target| · speed over the feet (m²/s)."""
    miss = (foot_height(env, calves) - target_height).abs()
    return (miss * _foot_speed(env, calves)).sum(dim=-1) * _active(env)


class FootSwingHeight(ManagerTermBase):
    """On touch-down, Σ (h_peak / h_target - 1)², where h_peak is the highest point of the swing."""

    def __init__(self, cfg: RewardTermCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        self._peak = torch.zeros(self.num_envs, 4, device=self.device)

    def __call__(self, env: ManagerBasedRLEnv, target_height: float, calves: SceneEntityCfg) -> Tensor:
        feet = env.scene["feet"]
        in_air = feet.data.current_contact_time <= 0.0
        highest = torch.where(in_air, torch.maximum(self._peak, foot_height(env, calves)), self._peak)
        landed = feet.compute_first_contact(env.step_dt)
        cost = ((highest / target_height - 1.0).square() * landed).sum(dim=-1) * _active(env)
        self._peak.copy_(highest.masked_fill(landed, 0.0))
        return cost


def foot_slip(env: ManagerBasedRLEnv, calves: SceneEntityCfg) -> Tensor:
    """Σ speed² over the feet on the ground (m²/s²)."""
    return (_foot_speed(env, calves).square() * foot_contact(env)).sum(dim=-1) * _active(env)


def soft_landing(env: ManagerBasedRLEnv) -> Tensor:
    """Σ contact force over the feet that touch down (N)."""
    feet = env.scene["feet"]
    force = torch.linalg.vector_norm(feet.data.net_forces_w, dim=-1)
    return (force * feet.compute_first_contact(env.step_dt)).sum(dim=-1) * _active(env)


def randomize_foot_friction(env: ManagerBasedRLEnv, env_mask: Tensor) -> None:
    """Give the feet of each environment the same sliding, torsional and rolling friction."""
    model = env.engine.model
    ids = [i for i in range(model.ngeom) if model.geom(i).name.endswith("_foot_collision")]
    drawn = torch.cat(
        (
            env.rng.uniform(0.3, 1.5, (1,)),
            env.rng.uniform(math.log(1e-4), math.log(2e-2), (1,)).exp(),
            env.rng.uniform(math.log(1e-5), math.log(5e-3), (1,)).exp(),
        ),
        dim=-1,
    )
    columns = torch.tensor(ids, dtype=torch.int64, device=env.device)
    env.engine.write_model("geom_friction", drawn.unsqueeze(1).repeat(1, len(ids), 1), env_mask, columns)


def randomize_trunk_com(env: ManagerBasedRLEnv, env_mask: Tensor) -> None:
    """Move the trunk's centre of mass by up to 2.5 cm sideways and 3 cm in height."""
    trunk = env.engine.model.body("robot/robot/trunk").id
    columns = slice(trunk, trunk + 1)
    offset = torch.cat((env.rng.uniform(-0.025, 0.025, (1, 2)), env.rng.uniform(-0.03, 0.03, (1, 1))), dim=-1)
    place = env.engine.model_field("body_ipos")[:, columns] + offset
    env.engine.write_model("body_ipos", place, env_mask, columns)


# --- configuration ----------------------------------------------------------------------------------------------------

CALVES = SceneEntityCfg("robot", body_names=".*_calf")


def _gains(armature: float, effort: float, joints: list[str]) -> ImplicitActuatorCfg:
    return ImplicitActuatorCfg(
        joint_names_expr=joints,
        stiffness=armature * NATURAL_FREQUENCY**2,
        damping=2.0 * DAMPING_RATIO * armature * NATURAL_FREQUENCY,
        effort_limit=effort,
    )


@configclass
class SceneCfg(InteractiveSceneCfg):
    """The peer's robot on a plane."""

    ground = AssetBaseCfg(spawn=GroundPlaneCfg())
    robot: ArticulationCfg = ArticulationCfg(
        spawn=SpecCfg(func=robot_spec),
        init_state=ArticulationCfg.InitialStateCfg(
            pos=(0.0, 0.0, 0.278),
            joint_pos={".*R_hip_joint": 0.1, ".*L_hip_joint": -0.1, ".*_thigh_joint": 0.9, ".*_calf_joint": -1.8},
        ),
        actuators={
            "hips": _gains(HIP_ARMATURE, HIP_EFFORT, [".*_hip_joint", ".*_thigh_joint"]),
            "knees": _gains(KNEE_ARMATURE, KNEE_EFFORT, [".*_calf_joint"]),
        },
        soft_joint_pos_limit_factor=0.9,
    )
    feet: ContactSensorCfg = ContactSensorCfg(
        prim_path="robot/.*_foot_collision",
        match="geoms",
        filter_prim_paths_expr=["ground"],
        track_air_time=True,
        force_threshold=0.0,
    )


@configclass
class CommandsCfg:
    """Velocities in the base frame; three in ten commands steer to a heading."""

    twist = ForwardVelocityCommandCfg(
        asset_name="robot",
        resampling_time_range=(3.0, 8.0),
        rel_standing_envs=0.1,
        rel_heading_envs=0.3,
        heading_command=True,
        heading_control_stiffness=0.5,
        ranges=mdp.UniformVelocityCommandCfg.Ranges(
            lin_vel_x=(-1.0, 1.0), lin_vel_y=(-1.0, 1.0), ang_vel_z=(-0.5, 0.5), heading=(-math.pi, math.pi)
        ),
    )


@configclass
class ActionsCfg:
    """Joint positions around the standing pose; an action of 1 asks for a quarter of the largest torque."""

    joint_pos = mdp.JointPositionActionCfg(
        asset_name="robot",
        joint_names=[".*"],
        scale={
            ".*_(hip|thigh)_joint": 0.25 * HIP_EFFORT / (HIP_ARMATURE * NATURAL_FREQUENCY**2),
            ".*_calf_joint": 0.25 * KNEE_EFFORT / (KNEE_ARMATURE * NATURAL_FREQUENCY**2),
        },
        use_default_offset=True,
    )


@configclass
class ActorObservationsCfg(ObservationGroupCfg):
    """48 numbers with noise."""

    enable_corruption: bool = True

    base_lin_vel = ObservationTermCfg(func=mdp.base_lin_vel, noise=Unoise(n_min=-0.5, n_max=0.5))
    base_ang_vel = ObservationTermCfg(func=mdp.base_ang_vel, noise=Unoise(n_min=-0.2, n_max=0.2))
    projected_gravity = ObservationTermCfg(func=mdp.projected_gravity, noise=Unoise(n_min=-0.05, n_max=0.05))
    joint_pos = ObservationTermCfg(func=mdp.joint_pos_rel, noise=Unoise(n_min=-0.01, n_max=0.01))
    joint_vel = ObservationTermCfg(func=mdp.joint_vel_rel, noise=Unoise(n_min=-1.5, n_max=1.5))
    actions = ObservationTermCfg(func=mdp.last_action)
    command = ObservationTermCfg(func=mdp.generated_commands, params={"command_name": "twist"})


@configclass
class CriticObservationsCfg(ActorObservationsCfg):
    """The same without noise, and what the feet do: 72 numbers."""

    enable_corruption: bool = False

    foot_height = ObservationTermCfg(func=foot_height, params={"calves": CALVES})
    foot_air_time = ObservationTermCfg(func=foot_air_time)
    foot_contact = ObservationTermCfg(func=foot_contact)
    foot_forces = ObservationTermCfg(func=foot_forces)


@configclass
class ObservationsCfg:
    """Asymmetric actor and critic."""

    policy: ActorObservationsCfg = ActorObservationsCfg()
    critic: CriticObservationsCfg = CriticObservationsCfg()


@configclass
class RewardsCfg:
    """The peer's terms and weights."""

    track_linear_velocity = RewardTermCfg(func=track_linear_velocity, weight=2.0, params={"std": math.sqrt(0.25)})
    track_angular_velocity = RewardTermCfg(func=track_angular_velocity, weight=2.0, params={"std": math.sqrt(0.5)})
    upright = RewardTermCfg(func=upright, weight=1.0, params={"std": math.sqrt(0.2)})
    pose = RewardTermCfg(func=Posture, weight=1.0, params={"std_standing": 0.05, "std_moving": 0.3})
    dof_pos_limits = RewardTermCfg(func=mdp.joint_pos_limits, weight=-1.0)
    action_rate_l2 = RewardTermCfg(func=mdp.action_rate_l2, weight=-0.1)
    foot_clearance = RewardTermCfg(func=foot_clearance, weight=-2.0, params={"target_height": 0.1, "calves": CALVES})
    foot_swing_height = RewardTermCfg(
        func=FootSwingHeight, weight=-0.25, params={"target_height": 0.1, "calves": CALVES}
    )
    foot_slip = RewardTermCfg(func=foot_slip, weight=-0.1, params={"calves": CALVES})
    soft_landing = RewardTermCfg(func=soft_landing, weight=-1e-5)


@configclass
class TerminationsCfg:
    """Ends of an episode."""

    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)
    fell_over = TerminationTermCfg(func=mdp.bad_orientation, params={"limit_angle": math.radians(70.0)})


@configclass
class EventsCfg:
    """Starts, pushes, and what is drawn once for each environment."""

    foot_friction = EventTermCfg(func=randomize_foot_friction, mode="startup")
    base_com = EventTermCfg(func=randomize_trunk_com, mode="startup")
    reset_base = EventTermCfg(
        func=mdp.reset_root_state_uniform,
        mode="reset",
        params={
            "pose_range": {"x": (-0.5, 0.5), "y": (-0.5, 0.5), "z": (0.01, 0.05), "yaw": (-math.pi, math.pi)},
            "velocity_range": {},
        },
    )
    reset_robot_joints = EventTermCfg(
        func=mdp.reset_joints_by_offset,
        mode="reset",
        params={"position_range": (0.0, 0.0), "velocity_range": (0.0, 0.0)},
    )
    push_robot = EventTermCfg(
        func=mdp.push_by_setting_velocity,
        mode="interval",
        interval_range_s=(1.0, 3.0),
        params={
            "velocity_range": {
                "x": (-0.5, 0.5),
                "y": (-0.5, 0.5),
                "z": (-0.4, 0.4),
                "roll": (-0.52, 0.52),
                "pitch": (-0.52, 0.52),
                "yaw": (-0.78, 0.78),
            }
        },
    )


@configclass
class EnvCfg(ManagerBasedRLEnvCfg):
    """20 s episodes at 50 Hz with the peer's solver settings."""

    sim: SimulationCfg = SimulationCfg(
        dt=0.005, cone="elliptic", impratio=10.0, iterations=10, ls_iterations=20, solver_early_exit=False
    )
    decimation: int = 4
    episode_length_s: float = 20.0
    scene: SceneCfg = SceneCfg(num_envs=4096)
    commands: CommandsCfg = CommandsCfg()
    actions: ActionsCfg = ActionsCfg()
    observations: ObservationsCfg = ObservationsCfg()
    rewards: RewardsCfg = RewardsCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    events: EventsCfg = EventsCfg()


@configclass
class AgentCfg(PPORunnerCfg):
    """The peer's networks and PPO settings."""

    experiment_name: str = "peer_go1_flat"
    num_steps_per_env: int = 24
    obs_groups: dict[str, list[str]] = {"actor": ["policy"], "critic": ["critic"]}
    actor: ModelCfg = ModelCfg(hidden_dims=[512, 256, 128], obs_normalization=True)
    critic: ModelCfg = ModelCfg(hidden_dims=[512, 256, 128], obs_normalization=True)
    algorithm: PPOAlgorithmCfg = PPOAlgorithmCfg(
        entropy_coef=0.01, learning_rate=1e-3, num_learning_epochs=5, num_mini_batches=4
    )


def make_runner(
    num_envs: int, device: str, hidden_dims: list[int], seed: int, mixed_precision: bool = False
) -> OnPolicyRunner:
    """Build the environments and their learner.

    Raises:
        ConfigError: no file from the peer, or the compiled model differs from it.
    """
    cfg = EnvCfg()
    cfg.scene.num_envs, cfg.sim.device, cfg.seed = num_envs, device, seed
    env = ManagerBasedRLEnv(cfg)
    differences = model_differences(env.engine.model)
    if differences:
        raise ConfigError(f"the model is not the peer's: {'; '.join(differences)}")
    agent = AgentCfg()
    agent.seed, agent.mixed_precision = seed, mixed_precision
    agent.actor.hidden_dims, agent.critic.hidden_dims = list(hidden_dims), list(hidden_dims)
    return OnPolicyRunner(env, agent, None, task=TASK)
