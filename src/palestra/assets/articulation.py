"""A robot: joint targets in, joint and body state out."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import torch
from torch import Tensor

from palestra.actuators.actuator import ActuatorBase, UniformInt, make_actuator
from palestra.actuators.actuator_cfg import ActuatorBaseCfg, Gain
from palestra.assets.articulation_data import ArticulationData
from palestra.assets.asset import Ids, body_range, free_joint
from palestra.assets.asset_cfg import ArticulationCfg
from palestra.assets.body_data import find_free_joint
from palestra.assets.root_writer import RootWriter, Selection
from palestra.errors import ConfigError
from palestra.physics import Columns, Engine
from palestra.utils.string import resolve_matching_names, resolve_matching_values

_SCALAR_JOINTS = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))


class Articulation(RootWriter):
    """Bodies joined by hinges and slides, with actuator groups.

    Joint indices count the hinges and slides in the order of the model, without the root's free joint.
    """

    cfg: ArticulationCfg
    data: ArticulationData
    actuators: dict[str, ActuatorBase]

    def edit_spec(self, spec: mujoco.MjSpec) -> None:
        joints = [j for j in spec.joints if int(j.type) in _SCALAR_JOINTS]
        names = [j.name for j in joints]
        owner: dict[str, str] = {}
        for group, cfg in self.cfg.actuators.items():
            where = f"actuator group {group!r} of {self.name!r}"
            _, matched = resolve_matching_names(cfg.joint_names_expr, names, where=where)
            for name in matched:
                if name in owner:
                    raise ConfigError(f"{where}: joint {name!r} already belongs to group {owner[name]!r}")
                owner[name] = group
            _remove_actuators(spec, matched)
            self._add_actuators(spec, cfg, matched, where)
            for what, value in (("armature", cfg.armature), ("frictionloss", cfg.friction)):
                for name, number in _per_joint(value, matched, where).items():
                    setattr(spec.joint(name), what, number)

    def bind(self, engine: Engine) -> None:
        super().bind(engine)
        model = engine.model
        bodies, self.body_names = body_range(model, self.prefix)
        joint_ids = [
            j
            for j in range(model.njnt)
            if bodies.start <= model.jnt_bodyid[j] < bodies.stop and int(model.jnt_type[j]) in _SCALAR_JOINTS
        ]
        self.joint_names = [model.joint(j).name[len(self.prefix) :] for j in joint_ids]
        self.joint_model_columns = columns_of(joint_ids, engine.device)
        self._q_columns = columns_of([int(model.jnt_qposadr[j]) for j in joint_ids], engine.device)
        self._v_columns = columns_of([int(model.jnt_dofadr[j]) for j in joint_ids], engine.device)
        root = find_free_joint(model, bodies)
        self._bind_root(model, root)
        self.data = ArticulationData(engine, bodies, root, self._q_columns, self._v_columns)
        self.data.joint_names, self.data.body_names = self.joint_names, self.body_names
        self.data.allocate(self.num_joints)
        self._set_limits(model, joint_ids)
        self._set_defaults()
        self._bind_actuators(model, joint_ids)

    @property
    def num_joints(self) -> int:
        """Number of hinges and slides."""
        return len(self.joint_names)

    @property
    def num_bodies(self) -> int:
        """Number of bodies."""
        return len(self.body_names)

    @property
    def dof_columns(self) -> Columns:
        """Where the joints are among the degrees of freedom of the model."""
        return self._v_columns

    @property
    def needs_substeps(self) -> bool:
        """Whether an actuator runs between substeps instead of inside the engine."""
        return any(not actuator.in_engine for actuator in self.actuators.values())

    def find_joints(self, name_keys: str | Sequence[str], preserve_order: bool = False) -> tuple[list[int], list[str]]:
        """Return indices and names of joints by regular expression."""
        return resolve_matching_names(name_keys, self.joint_names, preserve_order, f"joints of {self.name!r}")

    def find_bodies(self, name_keys: str | Sequence[str], preserve_order: bool = False) -> tuple[list[int], list[str]]:
        """Return indices and names of bodies by regular expression."""
        return resolve_matching_names(name_keys, self.body_names, preserve_order, f"bodies of {self.name!r}")

    def set_joint_position_target(self, target: Tensor, joint_ids: Ids | None = None) -> None:
        """Command positions, ``(num_envs, k)``, until the next call."""
        self.data.joint_pos_target[:, _index(joint_ids)] = target

    def set_joint_velocity_target(self, target: Tensor, joint_ids: Ids | None = None) -> None:
        """Command velocities, ``(num_envs, k)``, until the next call."""
        self.data.joint_vel_target[:, _index(joint_ids)] = target

    def set_joint_effort_target(self, target: Tensor, joint_ids: Ids | None = None) -> None:
        """Command feed-forward torques, ``(num_envs, k)``, until the next call."""
        self.data.joint_effort_target[:, _index(joint_ids)] = target

    def write_joint_state_to_sim(
        self,
        position: Tensor,
        velocity: Tensor,
        joint_ids: Ids | None = None,
        env_mask: Selection = None,
        env_ids: Selection = None,
    ) -> None:
        """Set joint positions and velocities, ``(num_envs, k)``."""
        selection = env_ids if env_mask is None else env_mask
        for name, value, columns in (("qpos", position, self._q_columns), ("qvel", velocity, self._v_columns)):
            values, mask = self._masked(value, selection)
            self._engine.write(name, values, mask, self._sub_columns(columns, joint_ids))

    def write_joint_stiffness_to_sim(
        self,
        stiffness: Tensor,
        joint_ids: Ids | None = None,
        env_mask: Selection = None,
        env_ids: Selection = None,
    ) -> None:
        """Set position gains, ``(num_envs, k)``, also inside the engine."""
        values, mask = self._masked(stiffness, env_ids if env_mask is None else env_mask)
        self._write_gain("stiffness", values, joint_ids, mask)

    def write_joint_damping_to_sim(
        self,
        damping: Tensor,
        joint_ids: Ids | None = None,
        env_mask: Selection = None,
        env_ids: Selection = None,
    ) -> None:
        """Set velocity gains, ``(num_envs, k)``, also inside the engine."""
        values, mask = self._masked(damping, env_ids if env_mask is None else env_mask)
        self._write_gain("damping", values, joint_ids, mask)

    def write_joint_strength_to_sim(
        self,
        strength: Tensor,
        joint_ids: Ids | None = None,
        env_mask: Selection = None,
        env_ids: Selection = None,
    ) -> None:
        """Set the share of its torque, limit included, that each motor delivers, ``(num_envs, k)``; 1 as configured."""
        values, mask = self._masked(strength, env_ids if env_mask is None else env_mask)
        if self.data.joint_strength is None:
            self.data.joint_strength = torch.ones_like(self.data.joint_stiffness)
        table, index = self.data.joint_strength, _index(joint_ids)
        table[:, index] = values if mask is None else torch.where(mask.unsqueeze(-1), values, table[:, index])
        share = self._in_actuator_order(table)
        gain, force = self._of_actuators("gainprm"), self._of_actuators("forcerange")
        gain[:, :, 0].copy_(share)
        torch.mul(self._compiled_forcerange, share.unsqueeze(-1), out=force)
        for name, values in (("actuator_gainprm", gain), ("actuator_forcerange", force)):
            self._engine.write_model(name, values, mask, self.data._actuators)
        self._write_bias(mask)

    def reset(self, env_mask: Tensor, uniform_int: UniformInt | None = None) -> None:
        mask = env_mask.unsqueeze(-1)
        torch.where(mask, self.data.default_joint_pos, self.data.joint_pos_target, out=self.data.joint_pos_target)
        self.data.joint_vel_target.masked_fill_(mask, 0.0)
        self.data.joint_effort_target.masked_fill_(mask, 0.0)
        if uniform_int is not None:
            for actuator in self.actuators.values():
                actuator.reset(env_mask, uniform_int)

    def reset_to_default(self, env_mask: Tensor | None) -> None:
        """Write the default root and joint state."""
        self._restart(env_mask)
        if not self.is_fixed_base:
            self.write_root_state_to_sim(self.data.default_root_state, env_mask)
        self.write_joint_state_to_sim(self.data.default_joint_pos, self.data.default_joint_vel, env_mask=env_mask)

    def begin_step(self, dt: float) -> None:
        """Remember what finite differences need."""
        self.data.begin_step(dt)

    def write_data_to_sim(self) -> None:
        """Turn joint targets into actuator inputs."""
        data = self.data
        pos_target = data.joint_pos_target
        if data.encoder_bias is not None:  # the servo reads the encoder: it moves the joint to target − bias
            pos_target = pos_target - data.encoder_bias
        for actuator, ids, ctrl in self._actuator_rows:
            ctrl.copy_(
                actuator.compute(
                    pos_target[:, ids],
                    data.joint_vel_target[:, ids],
                    data.joint_effort_target[:, ids],
                    data.joint_pos[:, ids],
                    data.joint_vel[:, ids],
                )
            )

    def _frame_places_asset(self, spec: mujoco.MjSpec) -> bool:
        return not free_joint(spec)

    def _add_actuators(self, spec: mujoco.MjSpec, cfg: ActuatorBaseCfg, names: list[str], where: str) -> None:
        in_engine = cfg.kind == "implicit"
        stiffness, damping = _per_joint(cfg.stiffness, names, where), _per_joint(cfg.damping, names, where)
        effort = _per_joint(cfg.effort_limit, names, where)
        for name in names:
            # One affine actuator a joint: force = input − k_p q − k_d q̇, with the input formed from the targets.
            actuator = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
            actuator.gaintype, actuator.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
            actuator.gainprm[0] = 1.0
            if in_engine:
                actuator.biasprm[1], actuator.biasprm[2] = -stiffness.get(name, 0.0), -damping.get(name, 0.0)
            if name in effort:
                actuator.forcelimited = True
                actuator.forcerange = [-effort[name], effort[name]]

    def _set_limits(self, model: mujoco.MjModel, joint_ids: list[int]) -> None:
        limits = torch.as_tensor(model.jnt_range[joint_ids], dtype=torch.float32, device=self.device)
        limited = torch.as_tensor(model.jnt_limited[joint_ids].astype(bool), device=self.device)
        limits = limits.reshape(-1, 2)
        limits[~limited] = torch.tensor((-float("inf"), float("inf")), device=self.device)
        middle, half = limits.mean(dim=-1), 0.5 * (limits[:, 1] - limits[:, 0])
        factor = self.cfg.soft_joint_pos_limit_factor
        soft = torch.stack((middle - factor * half, middle + factor * half), dim=-1)
        soft[~limited] = limits[~limited]
        self.data.joint_pos_limits = limits.repeat(self.num_envs, 1, 1)
        self.data.soft_joint_pos_limits = soft.repeat(self.num_envs, 1, 1)

    def _set_defaults(self) -> None:
        start = self.cfg.init_state
        state = (*start.pos, *start.rot, *start.lin_vel, *start.ang_vel)
        self.data.default_root_state[:] = torch.tensor(state, device=self.device)
        for target, values, what in (
            (self.data.default_joint_pos, start.joint_pos, "joint_pos"),
            (self.data.default_joint_vel, start.joint_vel, "joint_vel"),
        ):
            if not self.joint_names:
                continue
            where = f"init_state.{what} of {self.name!r}"
            ids, _, numbers = resolve_matching_values(values, self.joint_names, where)
            target[:, ids] = torch.tensor(numbers, dtype=torch.float32, device=self.device)
        low, high = self.data.joint_pos_limits[0].unbind(dim=-1)
        default = self.data.default_joint_pos[0]
        for i in torch.nonzero((default < low - 1e-5) | (default > high + 1e-5)).flatten().tolist():
            raise ConfigError(
                f"init_state.joint_pos of {self.name!r}: {self.joint_names[i]!r} = {default[i]:.4g} lies outside "
                f"its limits [{low[i]:.4g}, {high[i]:.4g}]"
            )
        self.data.joint_pos_target.copy_(self.data.default_joint_pos)

    def _bind_actuators(self, model: mujoco.MjModel, joint_ids: list[int]) -> None:
        self.actuators, self._actuator_rows = {}, []
        self._parameters: dict[str, Tensor] = {}
        self._columns_of: dict[str, Columns] = {}
        order: list[int] = []
        names = [model.actuator(a).name for a in range(model.nu)]
        for group, cfg in self.cfg.actuators.items():
            ids, matched = resolve_matching_names(cfg.joint_names_expr, self.joint_names)
            actuator = make_actuator(cfg, group, matched, ids, self.num_envs, self.device)
            first = names.index(self.prefix + matched[0])
            columns = columns_of(ids, self.device)
            self.actuators[group] = actuator
            self._columns_of[group] = columns
            self._actuator_rows.append((actuator, columns, self._engine.ctrl[:, first : first + len(ids)]))
            order += ids
            for name, value in (
                ("joint_stiffness", actuator.stiffness),
                ("joint_damping", actuator.damping),
                ("joint_effort_limits", actuator.effort_limit),
                ("joint_vel_limits", actuator.velocity_limit),
            ):
                getattr(self.data, name)[:, columns] = value
        if order:
            self._engine.field("actuator_force")  # registered, so that the first step fills it
            start = names.index(self.prefix + self.joint_names[order[0]])
            self.data._actuators = slice(start, start + len(order))
        identity = order == list(range(self.num_joints))
        self.data._actuated = slice(None) if identity else torch.tensor(order, dtype=torch.int64, device=self.device)
        limits = torch.as_tensor(model.actuator_forcerange[self.data._actuators], dtype=torch.float32)
        self._compiled_forcerange = limits.to(self.device)
        in_engine = [-float(actuator.in_engine) for actuator in self.actuators.values() for _ in actuator.joint_ids]
        self._minus_in_engine = torch.tensor(in_engine, device=self.device)

    def _write_gain(self, what: str, values: Tensor, joint_ids: Ids | None, env_mask: Tensor | None) -> None:
        table = getattr(self.data, f"joint_{what}")
        index = _index(joint_ids)
        table[:, index] = values if env_mask is None else torch.where(env_mask.unsqueeze(-1), values, table[:, index])
        for actuator in self.actuators.values():
            getattr(actuator, what).copy_(table[:, self._columns_of[actuator.name]])
        self._write_bias(env_mask)

    def _write_bias(self, env_mask: Tensor | None) -> None:
        """Send the gains to the engine: force = strength (input − k_p q − k_d q̇)."""
        if not any(actuator.in_engine for actuator in self.actuators.values()):
            return
        bias = self._of_actuators("biasprm")
        for column, table in ((1, self.data.joint_stiffness), (2, self.data.joint_damping)):
            torch.mul(self._in_actuator_order(table), self._minus_in_engine, out=bias[:, :, column])
            if self.data.joint_strength is not None:
                bias[:, :, column] *= self._in_actuator_order(self.data.joint_strength)
        self._engine.write_model("actuator_biasprm", bias, env_mask, self.data._actuators)

    def _of_actuators(self, name: str) -> Tensor:
        """Buffer of parameters of all actuators of the asset, ``(num_envs, num_actuators, …)``."""
        if name not in self._parameters:
            compiled = getattr(self._engine.model, f"actuator_{name}")[self.data._actuators]
            compiled = torch.as_tensor(compiled, dtype=torch.float32, device=self.device)
            self._parameters[name] = compiled.unsqueeze(0).repeat(self.num_envs, 1, 1)
        return self._parameters[name]

    def _in_actuator_order(self, table: Tensor) -> Tensor:
        """Return the columns ``(num_envs, num_actuators)`` of a table of all joints."""
        actuated = self.data._actuated
        return table.index_select(1, actuated) if isinstance(actuated, Tensor) else table[:, actuated]

    def _sub_columns(self, columns: Columns, joint_ids: Ids | None) -> Columns:
        if joint_ids is None or (isinstance(joint_ids, slice) and joint_ids == slice(None)):
            return columns
        key = (id(columns), id(joint_ids))
        cached = self._column_cache.get(key)
        if cached is None:
            everything = torch.arange(self._engine.model.nq + self._engine.model.nv, device=self.device)
            cached = (joint_ids, everything[columns][joint_ids])  # keeping joint_ids keeps its id unique
            if not isinstance(joint_ids, Tensor):
                return cached[1]
            self._column_cache[key] = cached
        return cached[1]

    def __init__(self, cfg: ArticulationCfg) -> None:
        super().__init__(cfg)
        self._column_cache: dict[tuple[int, int], tuple[Ids, Tensor]] = {}


def columns_of(ids: list[int], device: torch.device) -> Columns:
    """Return a slice where the ids are contiguous (cheaper to index), else a tensor."""
    if ids and ids == list(range(ids[0], ids[-1] + 1)):
        return slice(ids[0], ids[-1] + 1)
    return torch.tensor(ids, dtype=torch.int64, device=device)


def _remove_actuators(spec: mujoco.MjSpec, joints: list[str]) -> None:
    """Remove a file's own motors of joints that an actuator group drives, and keyframes with their inputs."""
    own = [a for a in spec.actuators if a.trntype == mujoco.mjtTrn.mjTRN_JOINT and a.target in joints]
    for element in [*own, *(spec.keys if own else [])]:
        spec.delete(element)


def _index(ids: Ids | None) -> Ids:
    return slice(None) if ids is None else ids


def _per_joint(value: Gain | None, names: list[str], where: str) -> dict[str, float]:
    if value is None:
        return {}
    if isinstance(value, dict):
        _, matched, numbers = resolve_matching_values(value, names, where)
        return dict(zip(matched, map(float, numbers), strict=True))
    return dict.fromkeys(names, float(value))
