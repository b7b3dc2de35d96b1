"""A simulated robot that behaves like hardware: plain MuJoCo, its own clock, inexact sensors, a drive on each joint.

Between the policy's process and this one there is only what a real robot offers: joint states, an inertial unit,
contact of the base, and commands to drives that follow a PD law at the physics' rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import mujoco
import numpy as np

from palestra.deploy.link import Link, LinkSettings
from palestra.deploy.packets import Layout
from palestra.deploy.robot import RobotCommand, RobotState
from palestra.errors import ConfigError, did_you_mean

QUANTITIES = ("joint_pos", "joint_vel", "joint_effort", "base_ang_vel", "base_quat")
"""Sensors that noise and quantization can be given for."""


@dataclass(frozen=True)
class RobotModel:
    """What is simulated: a compiled scene with one robot."""

    model: mujoco.MjModel
    qpos: np.ndarray
    """Start, ``(nq,)``."""

    joint_names: tuple[str, ...]
    """In the order of all vectors."""

    prefix: str = "robot/"
    """What stands before the robot's names in the model."""

    control_dt: float = 0.02
    """Control period of the task (s): how often the truth is noted."""


@dataclass(frozen=True)
class SensorErrors:
    """Errors of the sensors."""

    noise: dict[str, float] = field(default_factory=dict)
    """Quantity to the half width of its uniform noise, in its unit."""

    quantization: dict[str, float] = field(default_factory=dict)
    """Quantity to the step of its readings, in its unit."""

    def __post_init__(self) -> None:
        for what, table in (("noise", self.noise), ("quantization", self.quantization)):
            for name, value in table.items():
                if name not in QUANTITIES:
                    raise ConfigError(f"sensor {what}: no quantity {name!r}; {did_you_mean(name, QUANTITIES)}")
                if not 0.0 <= value < math.inf:
                    raise ConfigError(f"sensor {what} of {name} is {value}; it must be 0 or more")


@dataclass
class Truth:
    """What really happened, a row each control period."""

    rows: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def note(self, **values: np.ndarray | float | int) -> None:
        """Add a row."""
        for name, value in values.items():
            self.rows.setdefault(name, []).append(np.array(value))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all rows, ``(rows, …)`` each."""
        return {name: np.stack(values) for name, values in self.rows.items()}


class SimulatedRobot:
    """The robot itself, without a network.

    A drive applies stiffness (q* − q) + damping (q̇* − q̇) + effort within its limit at every physics step. Without a
    command for ``command_timeout`` it brakes by its last damping, or that of its model.

    Args:
        robot: what is simulated.
        errors: of the sensors.
        command_timeout: silence after which the robot brakes by itself (s).
        physics_dt: physics step (s); that of the model if None.
        seed: of the sensors' noise.
        harness: hang the base at its start until :meth:`release`, or this long after the first command to follow
            (s): a humanoid that only holds a pose falls over. None for a robot that stands up by itself.
    """

    def __init__(
        self,
        robot: RobotModel,
        errors: SensorErrors | None = None,
        command_timeout: float = 0.1,
        physics_dt: float | None = None,
        seed: int = 0,
        harness: float | None = None,
    ) -> None:
        self.robot, self.errors, self.command_timeout = robot, errors or SensorErrors(), command_timeout
        self.model = model = robot.model
        if physics_dt is not None:
            if not 0.0 < physics_dt <= 0.05:
                raise ConfigError(f"physics_dt is {physics_dt} s; it must be above 0 and at most 0.05 s")
            model.opt.timestep = physics_dt
        self.data = mujoco.MjData(model)
        joints = [_id(model, mujoco.mjtObj.mjOBJ_JOINT, robot.prefix + name) for name in robot.joint_names]
        self._qpos, self._dof = model.jnt_qposadr[joints], model.jnt_dofadr[joints]
        found = np.array([_actuator_of(model, joint) for joint in joints])
        self._driven = np.flatnonzero(found >= 0)
        """Which joints have a drive; others move freely and take no commands."""
        self._actuators = found[self._driven]
        self._root = int(model.body_rootid[model.jnt_bodyid[joints[0]]])
        free = [j for j in range(model.njnt) if model.jnt_bodyid[j] == self._root and model.jnt_type[j] == 0]
        self._free = int(model.jnt_qposadr[free[0]]) if free else None
        self._free_dof = int(model.jnt_dofadr[free[0]]) if free else None
        self._nominal_damping = np.ones(len(joints))
        self._nominal_damping[self._driven] = np.maximum(-model.actuator_biasprm[self._actuators, 2], 1.0)
        if harness is not None and not harness >= 0.0:
            raise ConfigError(f"harness is {harness} s; it must be 0 or more")
        self.harness = harness
        self._rng = np.random.default_rng(seed)
        self.truth = Truth()
        self.episode = -1
        self.steps = 0
        self.reset(seed)

    @property
    def floating_base(self) -> bool:
        """Whether the robot's base moves freely."""
        return self._free is not None

    @property
    def time(self) -> float:
        """The robot's clock (s); it goes on over resets."""
        return self.steps * self.model.opt.timestep

    @property
    def root_body(self) -> int:
        """Number of the base in the model."""
        return self._root

    def reset(self, seed: int = 0) -> None:
        """Put the robot to its start, facing a direction drawn with the seed, and forget the last command."""
        self._rng = np.random.default_rng(seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self.robot.qpos
        if self._free is not None and seed:
            half = 0.5 * self._rng.uniform(-math.pi, math.pi)
            turn, start = np.array([math.cos(half), 0.0, 0.0, math.sin(half)]), self.robot.qpos[self._free + 3 :][:4]
            mujoco.mju_mulQuat(self.data.qpos[self._free + 3 : self._free + 7], turn, np.ascontiguousarray(start))
        mujoco.mj_forward(self.model, self.data)
        self.command: RobotCommand | None = None
        self._commanded_at = -math.inf
        self._noted = -math.inf
        self._hangs_until = math.inf if self.harness is not None and self._free is not None else -math.inf
        self.episode += 1

    def release(self) -> None:
        """Let the robot down."""
        self._hangs_until = -math.inf

    def take(self, command: RobotCommand, now: float) -> None:
        """Let the drives follow a command from now on."""
        self.command, self._commanded_at = command, now
        if math.isinf(self._hangs_until) and self._hangs_until > 0.0 and command.mode == "control":
            assert self.harness is not None
            self._hangs_until = now + self.harness

    @property
    def silent(self) -> bool:
        """Whether the robot brakes because nothing has been commanded for too long."""
        return self.time - self._commanded_at > self.command_timeout

    def step(self) -> None:
        """Take one physics step."""
        if self.time - self._noted >= self.robot.control_dt - 1e-9:
            self._note()
        self._drive()
        if self._free is not None and self._free_dof is not None and self.time < self._hangs_until:
            pose = self.data.qpos[self._free : self._free + 7].copy()
            mujoco.mj_step(self.model, self.data)
            self.data.qpos[self._free : self._free + 7] = pose
            self.data.qvel[self._free_dof : self._free_dof + 6] = 0.0
        else:
            mujoco.mj_step(self.model, self.data)
        self.steps += 1
        if not np.isfinite(self.data.qpos).all():
            raise ConfigError(f"the simulated robot's state is not finite after {self.time:.3f} s")

    def _drive(self) -> None:
        model, data, command = self.model, self.data, self.command
        stiffness = damping = target = np.zeros(len(self.robot.joint_names))
        if command is None or self.silent:
            damping = self._nominal_damping if command is None else np.maximum(command.damping, self._nominal_damping)
        elif command.mode == "damping":
            damping = command.damping
        elif command.mode == "control":
            stiffness, damping = np.maximum(command.stiffness, 0.0), np.maximum(command.damping, 0.0)
            target = stiffness * command.joint_pos_target + damping * command.joint_vel_target + command.joint_effort
        which, driven = self._actuators, self._driven
        model.actuator_biasprm[which, 1], model.actuator_biasprm[which, 2] = -stiffness[driven], -damping[driven]
        data.ctrl[which] = target[driven]

    # --- what it tells ------------------------------------------------------------------------------------------------

    def state(self) -> RobotState:
        """Return what the sensors read now."""
        data = self.data
        base_ang_vel = base_quat = None
        if self._free is not None and self._free_dof is not None:
            quat = data.qpos[self._free + 3 : self._free + 7]
            base_quat = self._read("base_quat", quat / np.linalg.norm(quat))
            base_quat /= np.linalg.norm(base_quat)
            base_ang_vel = self._read("base_ang_vel", data.qvel[self._free_dof + 3 : self._free_dof + 6])
        return RobotState(
            self.time,
            self._read("joint_pos", data.qpos[self._qpos]),
            self._read("joint_vel", data.qvel[self._dof]),
            self._read("joint_effort", self._effort()),
            base_ang_vel,
            base_quat,
            self._base_contact(),
        )

    def layout(self, lockstep: bool, state_rate: float) -> Layout:
        """Return the layout of its packets."""
        return Layout(self.robot.joint_names, {}, self.floating_base, lockstep, state_rate)

    def _effort(self) -> np.ndarray:
        out = np.zeros(len(self.robot.joint_names))
        out[self._driven] = self.data.actuator_force[self._actuators]
        return out

    def _read(self, name: str, value: np.ndarray) -> np.ndarray:
        width, step = self.errors.noise.get(name, 0.0), self.errors.quantization.get(name, 0.0)
        out = value + width * self._rng.uniform(-1.0, 1.0, value.shape) if width else value.copy()
        return np.round(out / step) * step if step else out

    def _base_contact(self) -> bool:
        if self._free is None:
            return False
        bodies = self.model.geom_bodyid[self.data.contact.geom[: self.data.ncon]]
        of_base, of_robot = bodies == self._root, self.model.body_rootid[bodies] == self._root
        return bool((of_base.any(axis=1) & ~of_robot.all(axis=1)).any())

    def _note(self) -> None:
        data, self._noted = self.data, self.time
        root = np.zeros(13)
        if self._free is not None and self._free_dof is not None:
            root[:7] = data.qpos[self._free : self._free + 7]
            root[7:] = data.qvel[self._free_dof : self._free_dof + 6]
        self.truth.note(
            time=self.time,
            episode=self.episode,
            root_pose=root[:7],
            root_lin_vel_w=root[7:10],
            root_ang_vel_b=root[10:],
            qpos=data.qpos,
            qvel=data.qvel,
            joint_pos=data.qpos[self._qpos],
            joint_vel=data.qvel[self._dof],
            joint_effort=self._effort(),
            target=np.zeros(len(self._dof)) if self.command is None else self.command.joint_pos_target,
            commanded=float(self.command is not None and not self.silent and self.command.mode == "control"),
            base_contact=float(self._base_contact()),
        )


class NetworkedRobot:
    """A robot behind a network that delays and loses packets, on the robot's own clock.

    Args:
        robot: the robot.
        link: what each direction does to packets.
        state_rate: states a second.
        seed: of the network.
    """

    def __init__(self, robot: SimulatedRobot, link: LinkSettings, state_rate: float, seed: int = 0) -> None:
        fastest = 1.0 / robot.model.opt.timestep
        if not 1.0 <= state_rate <= fastest + 1e-6:
            raise ConfigError(f"rate is {state_rate:g} Hz; it must be from 1 to {fastest:g} Hz, the physics' rate")
        self.robot, self.settings, self.state_rate = robot, link, state_rate
        self.commands: Link[RobotCommand] = Link(link, 2 * seed)
        self.states: Link[RobotState] = Link(link, 2 * seed + 1)
        self._next_state = robot.time

    def reset(self, seed: int) -> None:
        """Start the robot and the network anew."""
        self.robot.reset(seed)
        self.commands, self.states = Link(self.settings, 2 * seed), Link(self.settings, 2 * seed + 1)
        self._next_state = self.robot.time

    def advance(self, until: float) -> None:
        """Simulate until the robot's clock shows a time (s)."""
        while self.robot.time < until - 1e-9:
            now = self.robot.time
            for _, command in self.commands.receive(now):
                self.robot.take(command, now)
            if now >= self._next_state - 1e-9:
                self.states.send(self.robot.state(), now)
                self._next_state += 1.0 / self.state_rate
            self.robot.step()


def robot_model(env: object) -> RobotModel:
    """Return the model of an environment's robot, as it is before anything is randomized.

    Args:
        env: an environment whose scene has one articulation, ``robot``.

    Raises:
        ConfigError: there is no such articulation.
    """
    import torch

    from palestra.assets import Articulation

    scene = env.scene  # type: ignore[attr-defined]
    robot = scene["robot"]
    if not isinstance(robot, Articulation):
        raise ConfigError("the scene's 'robot' is no articulation")
    everyone = torch.ones(scene.num_envs, dtype=torch.bool, device=scene.device)
    scene.reset(everyone, lambda low, high, shape: torch.full((scene.num_envs, *shape), high, device=scene.device))
    qpos = scene.engine.field("qpos")[0].double().cpu().numpy().copy()
    control_dt = env.step_dt  # type: ignore[attr-defined]
    return RobotModel(scene.model, qpos, tuple(robot.joint_names), robot.prefix, control_dt)


def _id(model: mujoco.MjModel, kind: mujoco.mjtObj, name: str) -> int:
    found = mujoco.mj_name2id(model, kind, name)
    if found < 0:
        raise ConfigError(f"the model has no joint {name!r}")
    return found


def _actuator_of(model: mujoco.MjModel, joint: int) -> int:
    drives = (model.actuator_trntype == int(mujoco.mjtTrn.mjTRN_JOINT)) & (model.actuator_trnid[:, 0] == joint)
    return int(np.flatnonzero(drives)[0]) if drives.any() else -1
