"""Event terms that give each environment its own physics, hardware errors and disturbances.

All are classes: what an event needs of the model is looked up, and bad ranges are refused, when the environment is
built. Each is then called as ``term(env, env_mask, …)``. Values are drawn anew from the compiled ones at every call, so
that nothing compounds; see ``docs/randomization.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mujoco
import torch
from torch import Tensor

from palestra.assets import Articulation, RigidObject
from palestra.assets.articulation import columns_of
from palestra.envs.mdp.entities import entity, select
from palestra.envs.rng import RandomStream
from palestra.errors import ConfigError
from palestra.managers import EventTermCfg, ManagerTermBase, SceneEntityCfg
from palestra.managers.manager_base import with_defaults
from palestra.physics import Columns
from palestra.utils.buffers import DelayBuffer
from palestra.utils.distributions import (
    Distribution,
    Range,
    check_choices,
    check_range,
    check_ranges,
    check_result,
    draw,
    draw_integers,
    limits,
    randomized,
)
from palestra.utils.noise import Operation, combine

if TYPE_CHECKING:
    from palestra.envs.base import BaseEnv

__all__ = [
    "add_body_mass",
    "apply_external_force_torque",
    "randomize_action_delay",
    "randomize_actuator_gains",
    "randomize_encoder_bias",
    "randomize_joint_parameters",
    "randomize_motor_strength",
    "randomize_physics_scene_gravity",
    "randomize_rigid_body_com",
    "randomize_rigid_body_inertia",
    "randomize_rigid_body_mass",
    "randomize_rigid_body_material",
]

ROBOT = SceneEntityCfg("robot")
_LEAST_MASS = 1e-6  # kg; and kg·m² of inertia: an engine divides by both
_OFF_CENTRE = 2e-6  # m; MuJoCo takes frames for the same within a micrometre
_SOME_FRICTION = 1e-6  # N·m; enough for the constraint row to exist


class RandomizationTerm(ManagerTermBase):
    """Base of the terms: parameters with their defaults, and checks when the environment is built.

    Attributes:
        params: arguments of the term, those with default values included; scene entities are resolved.
    """

    cfg: EventTermCfg

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        self.params = with_defaults(type(self), cfg.params)
        asset_cfg = self.params.get("asset_cfg")
        if asset_cfg is ROBOT:
            asset_cfg = SceneEntityCfg(ROBOT.name)
            asset_cfg.resolve(env.scene)
        self.asset_cfg: SceneEntityCfg = asset_cfg  # type: ignore[assignment]
        check_choices(self.params.get("operation", "add"), self.params.get("distribution", "uniform"))
        check_ranges(self.params)

    @property
    def operation(self) -> Operation:
        """The configured operation."""
        return self.params["operation"]

    @property
    def distribution(self) -> Distribution:
        """The configured distribution."""
        return self.params["distribution"]

    def check_result(self, name: str, default: Tensor, least: float, strict: bool = False) -> None:
        """Refuse a range that leads below ``least``."""
        check_result(name, default, self.params[name], self.operation, self.distribution, least, strict)


class _BodyTerm(RandomizationTerm):
    """A term about bodies.

    Attributes:
        body_ids: the selected bodies of the model.
        bodies: the same as columns of the model's fields.
        num_bodies: their number.
    """

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        asset = env.scene[self.asset_cfg.name]
        if not isinstance(asset, Articulation | RigidObject):
            raise ConfigError(f"entity {self.asset_cfg.name!r} is a {type(asset).__name__}; it has no bodies to change")
        self.asset: Articulation | RigidObject = asset
        bodies = _places(asset.data.body_columns, self.asset_cfg.body_ids, env.engine.model.nbody)
        self.body_ids, self.num_bodies = bodies, len(bodies)
        self.bodies: Columns = columns_of(bodies, env.device)

    def default(self, name: str) -> Tensor:
        """Compiled values of a body field, ``(1, num_bodies, …)``."""
        return self._env.model_edits.default(name)[:, self.bodies]


class randomize_rigid_body_mass(_BodyTerm):  # noqa: N801 - a term, named like the functions
    """Change masses (kg). By default inertias change in proportion, as if the density did."""

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        self._default = self.default("body_mass")
        self.default("body_inertia")
        self.check_result("mass_distribution_params", self._default, 0.0, strict=True)

    def __call__(
        self,
        env: BaseEnv,
        env_mask: Tensor,
        asset_cfg: SceneEntityCfg,
        mass_distribution_params: Range,
        operation: Operation,
        distribution: Distribution = "uniform",
        recompute_inertia: bool = True,
        min_mass: float = _LEAST_MASS,
    ) -> None:
        """Draw masses.

        Args:
            env: the environment.
            env_mask: environments, bool ``(num_envs,)``.
            asset_cfg: the asset and its bodies.
            mass_distribution_params: parameters of the distribution (kg, or factors for ``"scale"``).
            operation: ``"add"``, ``"scale"`` or ``"abs"``, applied to the compiled mass.
            distribution: what is drawn.
            recompute_inertia: whether inertias are multiplied by the same ratio as masses.
            min_mass: smallest mass (kg); smaller draws are raised to it.
        """
        mass = randomized(env.rng, self._default, mass_distribution_params, operation, distribution)
        env.model_edits.set_mass(mass.clamp_min(min_mass), env_mask, self.bodies, recompute_inertia)


class add_body_mass(_BodyTerm):  # noqa: N801
    """Attach payloads: point masses at the centres of mass, on top of ``randomize_rigid_body_mass``."""

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        mass = self.default("body_mass")
        params, distribution = self.params["mass_distribution_params"], self.params["distribution"]
        check_result("mass_distribution_params", mass, params, "add", distribution, 0.0, strict=True)
        self._lightest = _LEAST_MASS - mass

    def __call__(
        self,
        env: BaseEnv,
        env_mask: Tensor,
        asset_cfg: SceneEntityCfg,
        mass_distribution_params: Range,
        distribution: Distribution = "uniform",
    ) -> None:
        """Draw payloads.

        Args:
            env: the environment.
            env_mask: environments, bool ``(num_envs,)``.
            asset_cfg: the asset and its bodies.
            mass_distribution_params: parameters of the distribution (kg).
            distribution: what is drawn.
        """
        payload = draw(env.rng, mass_distribution_params, (self.num_bodies,), distribution)
        env.model_edits.set_payload(torch.maximum(payload, self._lightest), env_mask, self.bodies)


class randomize_rigid_body_inertia(_BodyTerm):  # noqa: N801
    """Change principal moments of inertia (kg·m²), each by a draw of its own, at the same mass.

    A moment is at most the sum of the other two, as for every real body.
    """

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        self._default = self.default("body_inertia")
        self.check_result("inertia_distribution_params", self._default, 0.0, strict=True)

    def __call__(
        self,
        env: BaseEnv,
        env_mask: Tensor,
        asset_cfg: SceneEntityCfg,
        inertia_distribution_params: Range,
        operation: Operation,
        distribution: Distribution = "uniform",
    ) -> None:
        """Draw moments.

        Args:
            env: the environment.
            env_mask: environments, bool ``(num_envs,)``.
            asset_cfg: the asset and its bodies.
            inertia_distribution_params: parameters of the distribution (kg·m², or factors for ``"scale"``).
            operation: ``"add"``, ``"scale"`` or ``"abs"``, applied to the compiled moments.
            distribution: what is drawn.
        """
        drawn = randomized(env.rng, self._default, inertia_distribution_params, operation, distribution)
        a, b, c = drawn.clamp_min(1e-12).unbind(dim=-1)
        a = torch.minimum(a, b + c)
        b = torch.minimum(b, a + c)
        env.model_edits.set_inertia(torch.stack((a, b, torch.minimum(c, a + b)), dim=-1), env_mask, self.bodies)


class randomize_rigid_body_com(_BodyTerm):  # noqa: N801
    """Move centres of mass by an offset, the same for all selected bodies of an environment."""

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        for axis in self.params["com_range"]:
            if axis not in ("x", "y", "z"):
                raise ConfigError(f"com_range: no axis {axis!r}; allowed: 'x', 'y', 'z'")
        self._default = self.default("body_ipos")
        self.default("body_mass")

    @staticmethod
    def edit_spec(spec: mujoco.MjSpec, params: Mapping[str, Any]) -> None:
        """Compile the bodies with a general inertial frame.

        MuJoCo takes shortcuts for bodies whose inertial frame is the body's own or a geom's (``body_simple``,
        ``body_sameframe``, ``geom_sameframe``); a centre of mass that moves later would be ignored, or take the geom
        along. An offset of two micrometres rules them out.
        """
        try:
            model = spec.copy().compile()
        except ValueError:
            return  # the scene's own compilation tells why
        for body in _spec_bodies(spec, params):
            compiled = model.body(body.name)
            body.explicitinertial = True
            body.mass, body.inertia, body.iquat = compiled.mass[0], compiled.inertia, compiled.iquat
            body.ipos = compiled.ipos + (_OFF_CENTRE, 0.0, 0.0)
            body.fullinertia = [math.nan] * 6

    def __call__(
        self, env: BaseEnv, env_mask: Tensor, com_range: Mapping[str, Range], asset_cfg: SceneEntityCfg
    ) -> None:
        """Draw offsets.

        Args:
            env: the environment.
            env_mask: environments, bool ``(num_envs,)``.
            com_range: ``{axis: (low, high)}`` with axes ``x y z`` of the body's frame (m); others stay.
            asset_cfg: the asset and its bodies.
        """
        unit = env.rng.uniform(0.0, 1.0, (3,))
        parts = []
        for column, axis in enumerate("xyz"):
            low, high = limits(com_range.get(axis, (0.0, 0.0)), 0)
            parts.append(unit[:, column] * (high - low) + low)
        offset = torch.stack(parts, dim=-1).unsqueeze(1)
        env.model_edits.write("body_ipos", self._default + offset, env_mask, self.bodies)
        env.model_edits.changed(env_mask)


class randomize_rigid_body_material(_BodyTerm):  # noqa: N801
    r"""Change friction and restitution of the bodies' geoms.

    MuJoCo has one coefficient of sliding friction. It becomes the dynamic coefficient; the static one is only its upper
    limit if ``make_consistent`` is set. A contact takes the coefficients of the geom with the higher priority, so that
    the geoms of this term get a priority of at least 1 and what they touch does not matter.

    Restitution :math:`e` becomes the damping ratio :math:`ζ = -\ln e / \sqrt{π² + \ln² e}` of the contact, with which
    a linear spring and damper throws back a share :math:`e` of the speed, at the compiled stiffness: ``solref`` is
    :math:`(τ ζ_0 / ζ, ζ)` for a compiled :math:`(τ, ζ_0)`. A ball that falls 0.5 m comes back with 0.26, 0.43, 0.62,
    0.81 and 0.95 of its speed for :math:`e` of 0.2, 0.4, 0.6, 0.8 and 0.95. A range of ``(0, 0)`` leaves ``solref`` as
    compiled.
    """

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        model: mujoco.MjModel = env.engine.model
        bodies = set(self.body_ids)
        solid = (model.geom_contype | model.geom_conaffinity) != 0
        geoms = [g for g in range(model.ngeom) if int(model.geom_bodyid[g]) in bodies and solid[g]]
        if not geoms:
            raise ConfigError(f"the selected bodies of {self.asset_cfg.name!r} have no geom that collides")
        self.geoms, self._num_geoms = columns_of(geoms, env.device), len(geoms)
        self._friction = env.model_edits.default("geom_friction")[:, self.geoms]
        for name in ("static_friction_range", "dynamic_friction_range"):
            low, _ = limits(self.params[name], 0)
            if not isinstance(low, Tensor) and low < 0.0:
                raise ConfigError(f"{name} is {self.params[name]}; friction must be 0 or more")
        low, high = limits(self.params["restitution_range"], 0)
        if not isinstance(low, Tensor) and not 0.0 <= float(low) <= float(high) <= 1.0:
            raise ConfigError(f"restitution_range is {(low, high)}; it must lie within [0, 1]")
        self._bounces = isinstance(high, Tensor) or high > 0.0
        if self._bounces:
            self._solref = env.model_edits.default("geom_solref")[:, self.geoms]
            if bool((self._solref <= 0.0).any()):
                raise ConfigError(
                    "restitution needs geoms whose solref is (time constant, damping ratio), not negative"
                )
        buckets = self.params["num_buckets"]
        if not isinstance(buckets, int) or buckets < 1:
            raise ConfigError(f"num_buckets is {buckets!r}; it must be a whole number of 1 or more")
        # Materials are drawn as environments are: from a stream whose "environments" are the buckets.
        self._units = RandomStream(env.seed_value, buckets, env.device).uniform(0.0, 1.0, (3,))

    @staticmethod
    def edit_spec(spec: mujoco.MjSpec, params: Mapping[str, Any]) -> None:
        """Give the geoms priority over what they touch."""
        for body in _spec_bodies(spec, params):
            for geom in body.geoms:
                geom.priority = max(geom.priority, 1)

    def __call__(
        self,
        env: BaseEnv,
        env_mask: Tensor,
        static_friction_range: Range,
        dynamic_friction_range: Range,
        restitution_range: Range,
        num_buckets: int,
        asset_cfg: SceneEntityCfg,
        make_consistent: bool = False,
    ) -> None:
        """Assign each geom one of ``num_buckets`` materials that were drawn when the environment was built.

        Args:
            env: the environment.
            env_mask: environments, bool ``(num_envs,)``.
            static_friction_range: of the materials (1); see the class.
            dynamic_friction_range: of the materials (1).
            restitution_range: of the materials, within [0, 1].
            num_buckets: number of materials.
            asset_cfg: the asset and its bodies.
            make_consistent: whether the dynamic coefficient is at most the static one.
        """
        bucket = env.rng.integers(0, self._units.shape[0] - 1, (self._num_geoms,))
        unit = self._units.index_select(0, bucket.flatten()).view(*bucket.shape, 3)
        static, dynamic, restitution = (
            _within(bounds, unit[..., k])
            for k, bounds in enumerate((static_friction_range, dynamic_friction_range, restitution_range))
        )
        sliding = torch.minimum(dynamic, static) if make_consistent else dynamic
        rest = self._friction[..., 1:].expand(env.num_envs, -1, -1)
        env.model_edits.write("geom_friction", torch.cat((sliding.unsqueeze(-1), rest), dim=-1), env_mask, self.geoms)
        if self._bounces:
            log = restitution.clamp(1e-4, 0.999).log()
            ratio = -log / torch.sqrt(math.pi**2 + log.square())
            ratio = torch.where(restitution > 0.0, ratio, self._solref[..., 1])
            time = self._solref[..., 0] * self._solref[..., 1] / ratio
            env.model_edits.write("geom_solref", torch.stack((time, ratio), dim=-1), env_mask, self.geoms)


class _JointTerm(RandomizationTerm):
    """A term about joints of an articulation."""

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        self.asset = entity(env, self.asset_cfg.name, Articulation)
        self.joints: Any = self.asset_cfg.joint_ids

    def of_joints(self, columns: Columns) -> Columns:
        """Places of the selected joints in a field of the model, from those of all joints of the asset."""
        model = self._env.engine.model
        return columns_of(_places(columns, self.joints, max(model.njnt, model.nv)), self.device)


class randomize_actuator_gains(_JointTerm):  # noqa: N801
    """Change stiffness (N·m/rad) and damping (N·m·s/rad) of the joints' position and velocity servos."""

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        actuated = {j for actuator in self.asset.actuators.values() for j in actuator.joint_ids}
        if not actuated & set(_places(slice(None), self.joints, self.asset.num_joints)):
            raise ConfigError(f"the selected joints of {self.asset_cfg.name!r} have no actuator")
        self._defaults: dict[str, Tensor] = {}
        for what in ("stiffness", "damping"):
            if self.params[f"{what}_distribution_params"] is not None:
                self._defaults[what] = select(getattr(self.asset.data, f"joint_{what}")[:1], self.joints).clone()
                self.check_result(f"{what}_distribution_params", self._defaults[what], 0.0)
        if any(actuator.in_engine for actuator in self.asset.actuators.values()):
            env.model_edits.default("actuator_biasprm")

    def __call__(
        self,
        env: BaseEnv,
        env_mask: Tensor,
        asset_cfg: SceneEntityCfg,
        stiffness_distribution_params: Range | None = None,
        damping_distribution_params: Range | None = None,
        operation: Operation = "abs",
        distribution: Distribution = "uniform",
    ) -> None:
        """Draw gains.

        Args:
            env: the environment.
            env_mask: environments, bool ``(num_envs,)``.
            asset_cfg: the articulation and its joints.
            stiffness_distribution_params: parameters of the distribution of stiffness; ``None`` leaves it.
            damping_distribution_params: the same for damping.
            operation: ``"add"``, ``"scale"`` or ``"abs"``, applied to the configured gains.
            distribution: what is drawn.
        """
        for what, params, write in (
            ("stiffness", stiffness_distribution_params, self.asset.write_joint_stiffness_to_sim),
            ("damping", damping_distribution_params, self.asset.write_joint_damping_to_sim),
        ):
            if params is not None:
                gains = randomized(env.rng, self._defaults[what], params, operation, distribution)
                write(gains.clamp_min(0.0), self.joints, env_mask)


class randomize_motor_strength(_JointTerm):  # noqa: N801
    """Let motors deliver only a share of their torque, limit included: worn magnets, a low battery."""

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        params, distribution = self.params["strength_distribution_params"], self.params["distribution"]
        check_result("strength_distribution_params", torch.ones(1), params, "abs", distribution, 0.0)
        for name in ("actuator_gainprm", "actuator_biasprm", "actuator_forcerange"):
            env.model_edits.default(name)

    def __call__(
        self,
        env: BaseEnv,
        env_mask: Tensor,
        strength_distribution_params: Range,
        asset_cfg: SceneEntityCfg = ROBOT,
        distribution: Distribution = "uniform",
    ) -> None:
        """Draw shares.

        Args:
            env: the environment.
            env_mask: environments, bool ``(num_envs,)``.
            strength_distribution_params: parameters of the distribution of the share (1).
            asset_cfg: the articulation and its joints.
            distribution: what is drawn.
        """
        width = self.asset.data.joint_stiffness[:1, self.joints].shape[1]
        strength = draw(env.rng, strength_distribution_params, (width,), distribution)
        self.asset.write_joint_strength_to_sim(strength.clamp_min(0.0), self.joints, env_mask)


class randomize_joint_parameters(_JointTerm):  # noqa: N801
    """Change dry friction, viscous damping, armature and limits of joints."""

    _FIELDS = (("friction", "dof_frictionloss"), ("damping", "dof_damping"), ("armature", "dof_armature"))

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        self._dofs = self.of_joints(self.asset.dof_columns)
        self._defaults: dict[str, Tensor] = {}
        for what, field in self._FIELDS:
            name = f"{what}_distribution_params"
            if self.params[name] is not None:
                self._defaults[what] = default = env.model_edits.default(field)[:, self._dofs]
                self.check_result(name, default, 0.0)
                if self.operation == "scale" and not bool((default > _SOME_FRICTION).any()):
                    raise ConfigError(f"{name}: the joints have no {what} to scale; use operation 'add' or 'abs'")
        self._limited = [w for w in ("lower", "upper") if self.params[f"{w}_limit_distribution_params"] is not None]
        if self._limited:
            self._prepare_limits(env)

    @staticmethod
    def edit_spec(spec: mujoco.MjSpec, params: Mapping[str, Any]) -> None:
        """Give frictionless joints a trace of friction, so that buffers are sized for its constraint rows."""
        if params.get("friction_distribution_params") is None:
            return
        for joint in _spec_elements(spec, params, "joint"):
            if joint.type != mujoco.mjtJoint.mjJNT_FREE and joint.frictionloss == 0.0:
                joint.frictionloss = _SOME_FRICTION

    def __call__(
        self,
        env: BaseEnv,
        env_mask: Tensor,
        asset_cfg: SceneEntityCfg,
        friction_distribution_params: Range | None = None,
        armature_distribution_params: Range | None = None,
        damping_distribution_params: Range | None = None,
        lower_limit_distribution_params: Range | None = None,
        upper_limit_distribution_params: Range | None = None,
        operation: Operation = "abs",
        distribution: Distribution = "uniform",
    ) -> None:
        """Draw parameters; those that are ``None`` stay.

        Args:
            env: the environment.
            env_mask: environments, bool ``(num_envs,)``.
            asset_cfg: the articulation and its joints.
            friction_distribution_params: dry friction (N·m or N).
            armature_distribution_params: inertia of the rotor at the joint (kg·m² or kg).
            damping_distribution_params: viscous damping of the joint itself (N·m·s/rad or N·s/m), besides a servo's.
            lower_limit_distribution_params: lower position limit (rad or m).
            upper_limit_distribution_params: upper position limit (rad or m); at least the lower one.
            operation: ``"add"``, ``"scale"`` or ``"abs"``, applied to the compiled values.
            distribution: what is drawn.
        """
        drawn = (friction_distribution_params, damping_distribution_params, armature_distribution_params)
        for (what, field), params in zip(self._FIELDS, drawn, strict=True):
            if params is None:
                continue
            values = randomized(env.rng, self._defaults[what], params, operation, distribution)
            env.model_edits.write(field, values.clamp_min(0.0), env_mask, self._dofs)
            if what == "armature":
                env.model_edits.changed(env_mask)
        if self._limited:
            ends = (lower_limit_distribution_params, upper_limit_distribution_params)
            self._randomize_limits(env, env_mask, ends, operation, distribution)

    def _prepare_limits(self, env: BaseEnv) -> None:
        self._joint_columns = self.of_joints(self.asset.joint_model_columns)
        model = env.engine.model
        for joint in _places(self.asset.joint_model_columns, self.joints, model.njnt):
            if not model.jnt_limited[joint]:
                name = model.joint(joint).name.rpartition("/")[2]
                raise ConfigError(f"joint {name!r} has no limits to change; leave it out of asset_cfg")
        self._limits = env.model_edits.default("jnt_range")[:, self._joint_columns]

    def _randomize_limits(
        self,
        env: BaseEnv,
        env_mask: Tensor,
        ends: Sequence[Range | None],
        operation: Operation,
        distribution: Distribution,
    ) -> None:
        lower, upper = (
            self._limits[..., k].expand(env.num_envs, -1)
            if params is None
            else randomized(env.rng, self._limits[..., k], params, operation, distribution)
            for k, params in enumerate(ends)
        )
        bounds = torch.stack((lower, torch.maximum(lower, upper)), dim=-1)
        env.model_edits.write("jnt_range", bounds, env_mask, self._joint_columns)
        middle, half = bounds.mean(dim=-1, keepdim=True), 0.5 * (bounds[..., 1:] - bounds[..., :1])
        factor = self.asset.cfg.soft_joint_pos_limit_factor
        soft = torch.cat((middle - factor * half, middle + factor * half), dim=-1)
        mask = env_mask.view(-1, 1, 1)
        for table, values in (
            (self.asset.data.joint_pos_limits, bounds),
            (self.asset.data.soft_joint_pos_limits, soft),
        ):
            table[:, self.joints] = torch.where(mask, values, table[:, self.joints])


class randomize_physics_scene_gravity(RandomizationTerm):  # noqa: N801
    """Change gravity (m/s²), each environment's own; ``projected_gravity_b`` follows its direction."""

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        self._default = env.model_edits.default("opt.gravity")
        self._read(self.params["gravity_distribution_params"], self.distribution)

    def _read(self, value: Any, distribution: Distribution) -> None:
        """Take two vectors from the parameters."""
        try:
            low, high = value
            pairs = [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
        except (TypeError, ValueError):
            pairs = []
        if len(pairs) != 3:
            raise ConfigError(
                f"gravity_distribution_params is {value!r}; it must be two lists of three numbers, such as "
                "([0.0, 0.0, -0.4], [0.0, 0.0, 0.4])"
            )
        for axis, pair in zip("xyz", pairs, strict=True):
            check_range(f"gravity_distribution_params along {axis}", pair, distribution)
        self._given = value
        self._low, self._high = torch.tensor(pairs, device=self.device).unbind(dim=-1)

    def __call__(
        self,
        env: BaseEnv,
        env_mask: Tensor,
        gravity_distribution_params: tuple[list[float], list[float]],
        operation: Operation,
        distribution: Distribution = "uniform",
    ) -> None:
        """Draw gravity.

        Args:
            env: the environment.
            env_mask: environments, bool ``(num_envs,)``.
            gravity_distribution_params: least and largest vector (or mean and deviation), m/s² or factors.
            operation: ``"add"``, ``"scale"`` or ``"abs"``, applied to the configured gravity.
            distribution: what is drawn.
        """
        if gravity_distribution_params is not self._given:  # modify_term_cfg has changed it
            self._read(gravity_distribution_params, distribution)
        if distribution == "gaussian":
            drawn = env.rng.normal(0.0, 1.0, (3,)) * self._high + self._low
        elif distribution == "log_uniform":
            drawn = env.rng.uniform(self._low.log(), self._high.log(), (3,)).exp()
        else:
            drawn = env.rng.uniform(self._low, self._high, (3,))
        gravity = drawn if operation == "abs" else combine(self._default, drawn, operation)
        env.model_edits.write("opt.gravity", gravity, env_mask)
        size = torch.linalg.vector_norm(gravity, dim=-1, keepdim=True)
        known = env_mask.unsqueeze(-1) & (size > 1e-6)  # without gravity nothing points down
        down = gravity / size.clamp_min(1e-6)
        for asset in env.scene.assets.values():
            vector = asset.data.GRAVITY_VEC_W  # type: ignore[attr-defined]
            torch.where(known, down, vector, out=vector)


class apply_external_force_torque(_BodyTerm):  # noqa: N801
    """Push bodies with a constant force and torque until the next call or reset.

    Both are in the world frame, at each body's centre of mass; every body and axis has a draw of its own.
    """

    def __call__(
        self,
        env: BaseEnv,
        env_mask: Tensor,
        force_range: Range,
        torque_range: Range,
        asset_cfg: SceneEntityCfg = ROBOT,
    ) -> None:
        """Draw wrenches.

        Args:
            env: the environment.
            env_mask: environments, bool ``(num_envs,)``.
            force_range: least and largest component (N).
            torque_range: least and largest component (N·m).
            asset_cfg: the asset and its bodies.
        """
        force = draw(env.rng, force_range, (self.num_bodies, 3))
        torque = draw(env.rng, torque_range, (self.num_bodies, 3))
        env.engine.write("xfrc_applied", torch.cat((force, torque), dim=-1), env_mask, self.bodies)


class randomize_action_delay(RandomizationTerm):  # noqa: N801
    """Hold all actions back by a number of control steps; until the first one arrives, the action is zero.

    What the policy sees of its last action is what it sent.
    """

    models_hardware = True

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        bounds = self.params["delay_range"]
        if any(float(x) != int(x) for x in bounds) or bounds[0] < 0:
            raise ConfigError(f"delay_range is {bounds}; it must be two whole numbers of control steps, 0 or more")
        if env.action_delay is not None:
            raise ConfigError("the environment already has an action delay; keep one such event")
        env.action_delay = self._delay = DelayBuffer(int(bounds[1]), env.num_envs, env.device, fill=False)

    def __call__(self, env: BaseEnv, env_mask: Tensor, delay_range: Range = (1, 3)) -> None:
        """Draw delays.

        Args:
            env: the environment.
            env_mask: environments, bool ``(num_envs,)``.
            delay_range: least and largest delay (control steps); a curriculum may not exceed the configured largest.
        """
        self._delay.set_time_lag(draw_integers(env.rng, delay_range), env_mask)

    def reset(self, env_mask: Tensor) -> None:
        """Forget the actions of the episodes that ended."""
        self._delay.reset(env_mask)


class randomize_encoder_bias(_JointTerm):  # noqa: N801
    """Let joint encoders read too much or too little, by an offset of their own.

    Joint position observations carry it (``biased=False`` asks for the truth), and position servos, which read the same
    encoders, stop as far from their target on the other side.
    """

    models_hardware = True

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        if self.asset.data.encoder_bias is None:
            self.asset.data.encoder_bias = torch.zeros_like(self.asset.data.joint_stiffness)
        self._bias: Tensor = self.asset.data.encoder_bias

    def __call__(
        self,
        env: BaseEnv,
        env_mask: Tensor,
        bias_range: Range,
        asset_cfg: SceneEntityCfg = ROBOT,
        distribution: Distribution = "uniform",
    ) -> None:
        """Draw biases.

        Args:
            env: the environment.
            env_mask: environments, bool ``(num_envs,)``.
            bias_range: parameters of the distribution (rad or m).
            asset_cfg: the articulation and its joints.
            distribution: what is drawn.
        """
        present = self._bias[:, self.joints]
        drawn = draw(env.rng, bias_range, (present.shape[1],), distribution)
        self._bias[:, self.joints] = torch.where(env_mask.unsqueeze(-1), drawn, present)


def _places(columns: Columns, ids: Any, count: int) -> list[int]:
    """Return the entries ``ids`` of ``columns`` of a field with ``count`` entries, as numbers."""
    return torch.arange(count)[_on_host(columns)][_on_host(ids)].tolist()


def _on_host(ids: Any) -> Any:
    return ids.cpu() if isinstance(ids, Tensor) else ids


def _within(bounds: Range, unit: Tensor) -> Tensor:
    """Map numbers from [0, 1) into a range."""
    low, high = limits(bounds, unit.dim() - 1)
    return unit * (high - low) + low


def _spec_bodies(spec: mujoco.MjSpec, params: Mapping[str, Any]) -> list[Any]:
    return _spec_elements(spec, params, "body")


def _spec_elements(spec: mujoco.MjSpec, params: Mapping[str, Any], kind: str) -> list[Any]:
    """Return the bodies or joints of an assembled spec that a term's ``asset_cfg`` names; none if it names nothing."""
    from palestra.utils.string import resolve_matching_names

    asset_cfg = params.get("asset_cfg", ROBOT)
    prefix = f"{asset_cfg.name}/"
    elements = {e.name: e for e in {"body": spec.bodies, "joint": spec.joints}[kind] if e.name.startswith(prefix)}
    names = getattr(asset_cfg, f"{kind}_names")
    if names is None or not elements:
        return list(elements.values())
    try:
        _, matched = resolve_matching_names(names, [name[len(prefix) :] for name in elements])
    except ConfigError:
        return []  # told when the term is bound
    return [elements[prefix + name] for name in matched]
