"""Randomization on the GPU: the same draws and the same physics as on the CPU, inside the recorded step."""

import itertools
from typing import Any

import pytest
import torch

from palestra.config import load_env_cfg, make
from palestra.envs import mdp
from palestra.managers import CurriculumTermCfg, EventTermCfg, SceneEntityCfg

pytestmark = pytest.mark.gpu

FIELDS = (
    "body_mass",
    "body_inertia",
    "body_ipos",
    "body_subtreemass",
    "dof_invweight0",
    "geom_friction",
    "geom_solref",
    "dof_frictionloss",
    "dof_damping",
    "dof_armature",
    "jnt_range",
    "actuator_gainprm",
    "actuator_biasprm",
    "actuator_forcerange",
    "opt.gravity",
)


def everything() -> dict[str, EventTermCfg]:
    """All randomization terms at once, of mode ``reset``."""
    robot, base = SceneEntityCfg("robot"), SceneEntityCfg("robot", body_names=["base_link"])
    scale = {"asset_cfg": robot, "operation": "scale"}
    terms: dict[Any, dict[str, Any]] = {
        mdp.randomize_rigid_body_material: {
            "static_friction_range": (0.4, 1.2),
            "dynamic_friction_range": (0.4, 1.2),
            "restitution_range": (0.0, 0.3),
            "num_buckets": 16,
            "asset_cfg": robot,
        },
        mdp.randomize_rigid_body_mass: {**scale, "mass_distribution_params": (0.8, 1.2)},
        mdp.add_body_mass: {"asset_cfg": base, "mass_distribution_params": (0.0, 2.0)},
        mdp.randomize_rigid_body_inertia: {**scale, "inertia_distribution_params": (0.9, 1.1)},
        mdp.randomize_rigid_body_com: {"asset_cfg": base, "com_range": {"x": (-0.03, 0.03)}},
        mdp.randomize_actuator_gains: {
            **scale,
            "stiffness_distribution_params": (0.8, 1.2),
            "damping_distribution_params": (0.8, 1.2),
            "distribution": "log_uniform",
        },
        mdp.randomize_motor_strength: {"strength_distribution_params": (0.9, 1.1)},
        mdp.randomize_joint_parameters: {
            "asset_cfg": robot,
            "friction_distribution_params": (0.0, 0.1),
            "damping_distribution_params": (0.0, 0.1),
            "armature_distribution_params": (0.0, 0.005),
            "lower_limit_distribution_params": (-0.05, 0.05),
            "upper_limit_distribution_params": (-0.05, 0.05),
            "operation": "add",
        },
        mdp.randomize_physics_scene_gravity: {
            "gravity_distribution_params": ([0.0, 0.0, -0.3], [0.0, 0.0, 0.3]),
            "operation": "add",
        },
        mdp.apply_external_force_torque: {"force_range": (-2.0, 2.0), "torque_range": (-0.2, 0.2), "asset_cfg": base},
        mdp.randomize_action_delay: {"delay_range": (0, 2)},
        mdp.randomize_encoder_bias: {"bias_range": (-0.02, 0.02)},
    }
    return {f.__name__: EventTermCfg(func=f, mode="reset", params=p) for f, p in terms.items()}


def build(device: str, num_envs: int = 8, curriculum: Any = None) -> Any:
    cfg = load_env_cfg("Velocity-Flat-Go2")
    cfg.observations.policy.enable_corruption = False
    cfg.events = {**{name: term for name, term in vars(cfg.events).items() if term is not None}, **everything()}
    cfg.curriculum = curriculum
    env = make("Velocity-Flat-Go2", num_envs=num_envs, device=device, cfg=cfg, seed=4)
    env.reset(seed=4)
    return env


def test_fields_and_first_steps_agree_with_the_cpu() -> None:
    envs = [build(device) for device in ("cpu", "cuda:0")]
    for name in FIELDS:
        a, b = (env.engine.model_field(name).cpu() for env in envs)
        torch.testing.assert_close(b, a, rtol=2e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    for k in range(7):  # later a knee meets the ground, a substep earlier here than there
        a, b = (
            env.step(torch.full((8, 12), 0.2 * (-1) ** k, device=env.device))[0]["policy"].cpu()[:, :36] for env in envs
        )
        torch.testing.assert_close(b, a, rtol=0.0, atol=0.05)


def test_the_recorded_step_randomizes_and_the_curricula_advance() -> None:
    stages = CurriculumTermCfg(
        func=mdp.event_range_stages,
        params={
            "event_name": "randomize_rigid_body_mass",
            "parameter": "mass_distribution_params",
            "initial_range": (1.0, 1.0),
            "num_stages": 3,
            "metric": "length",
            "thresholds": 0.0,
            "window": 16,
        },
    )
    env = build("cuda:0", num_envs=64, curriculum={"masses": stages})
    assert env.capture == "auto"
    base = env.engine.model.body("robot/base_link").id
    action = torch.zeros(64, 12, device=env.device)
    ratios = []
    for _ in range(12):
        env.episode_length_buf.fill_(env.max_episode_length - 1)  # every episode ends in every step
        env.step_in_place(action)
        ratios.append(env.engine.model_field("body_inertia")[:, base + 1, 0].clone())
    assert env._captured_step.is_recorded
    for before, after in itertools.pairwise(ratios[4:]):
        assert (before != after).float().mean() > 0.9  # a replay draws anew
    term: Any = env.curriculum_manager.class_terms()["masses"]
    assert int(term.stage) == 2
    low, high = env.event_manager.adjustable_range("randomize_rigid_body_mass", "mass_distribution_params").tolist()
    assert (low, high) == pytest.approx((0.8, 1.2))
    assert env.check_health() == []
    assert torch.isfinite(env.engine.field("qpos")).all()
