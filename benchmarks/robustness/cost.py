"""What randomization costs: steps of Velocity-Flat-Go2 without any, and with everything at once.

    python benchmarks/robustness/cost.py --out cost --device cuda:0
    python benchmarks/robustness/cost.py --out cost --device cpu

``startup`` gives every environment a robot of its own once (materials, masses, payload, centre of mass, inertia, joint
parameters) and draws gains, motor strength, gravity, encoder bias, action delay, pushes and wrenches at resets and
intervals, as recommended; ``reset`` draws all of it in every episode. Both have sensors with latency, noise, bias,
quantization and dropout. Ranges are 0.1 % wide, so that robots move alike and only the drawing costs. Episodes last
20 s, as in training, or 1 s. The variants take turns; ratios are medians over turns. Exit status: 0.
"""

import argparse
import copy
import json
import statistics
import time
from pathlib import Path
from typing import Any

import palestra  # isort: skip  # before PyTorch, so that its idle threads sleep

import torch

from palestra.config import load_env_cfg
from palestra.envs import mdp
from palestra.managers import EventTermCfg, SceneEntityCfg
from palestra.tasks.locomotion import velocity_flat_go2
from palestra.utils.noise import SensorNoiseModelCfg, UniformNoiseCfg

TASK = "Velocity-Flat-Go2"
ROBOT, BODIES = SceneEntityCfg("robot"), SceneEntityCfg("robot", body_names=[".*"])


def all_events(mode: str) -> dict[str, Any]:
    """Return the starts and every randomization event; what changes the robot itself has the given mode."""
    trunk = SceneEntityCfg("robot", body_names=["base_link"])
    nearly = (0.999, 1.001)
    terms: dict[str, tuple[str, Any, dict[str, Any]]] = {
        "materials": (
            mode,
            mdp.randomize_rigid_body_material,
            {
                "asset_cfg": BODIES,
                "static_friction_range": (0.799, 0.801),
                "dynamic_friction_range": (0.799, 0.801),
                "restitution_range": (0.0, 0.0),
                "num_buckets": 64,
            },
        ),
        "masses": (
            mode,
            mdp.randomize_rigid_body_mass,
            {"asset_cfg": BODIES, "mass_distribution_params": nearly, "operation": "scale"},
        ),
        "payload": (mode, mdp.add_body_mass, {"asset_cfg": trunk, "mass_distribution_params": (0.0, 0.001)}),
        "com": (mode, mdp.randomize_rigid_body_com, {"asset_cfg": trunk, "com_range": {"x": (-1e-4, 1e-4)}}),
        "inertia": (
            mode,
            mdp.randomize_rigid_body_inertia,
            {"asset_cfg": BODIES, "inertia_distribution_params": nearly, "operation": "scale"},
        ),
        "joints": (
            mode,
            mdp.randomize_joint_parameters,
            {
                "asset_cfg": ROBOT,
                "friction_distribution_params": nearly,
                "damping_distribution_params": nearly,
                "armature_distribution_params": nearly,
                "operation": "scale",
            },
        ),
        "gains": (
            "reset",
            mdp.randomize_actuator_gains,
            {
                "asset_cfg": ROBOT,
                "stiffness_distribution_params": nearly,
                "damping_distribution_params": nearly,
                "operation": "scale",
                "distribution": "log_uniform",
            },
        ),
        "strength": ("reset", mdp.randomize_motor_strength, {"strength_distribution_params": nearly}),
        "gravity": (
            "reset",
            mdp.randomize_physics_scene_gravity,
            {"gravity_distribution_params": ([0.0, 0.0, -1e-3], [0.0, 0.0, 1e-3]), "operation": "add"},
        ),
        "encoders": ("reset", mdp.randomize_encoder_bias, {"asset_cfg": ROBOT, "bias_range": (-1e-4, 1e-4)}),
        "delay": ("reset", mdp.randomize_action_delay, {"delay_range": (0, 2)}),
        "push": ("interval", mdp.push_by_setting_velocity, {"velocity_range": {"x": (-1e-3, 1e-3)}}),
        "wrench": (
            "interval",
            mdp.apply_external_force_torque,
            {"asset_cfg": trunk, "force_range": (-1e-2, 1e-2), "torque_range": (-1e-3, 1e-3)},
        ),
    }
    events: dict[str, Any] = dict(vars(velocity_flat_go2.EnvCfg().events))
    for name, (when, func, params) in terms.items():
        events[name] = EventTermCfg(func=func, mode=when, params=copy.deepcopy(params))
        if when == "interval":
            events[name].interval_range_s = (5.0, 10.0)
    return events


def build(variant: str, episode_length_s: float, args: argparse.Namespace) -> Any:
    """Return the environment of a variant: ``plain``, ``startup`` or ``reset``."""
    cfg = load_env_cfg(TASK)
    cfg.scene.num_envs, cfg.sim.device, cfg.seed = args.num_envs, args.device, 1
    cfg.episode_length_s = episode_length_s
    if variant != "plain":
        cfg.events = all_events(variant)
        for name in ("joint_pos", "joint_vel"):
            getattr(cfg.observations.policy, name).noise = SensorNoiseModelCfg(
                noise_cfg=UniformNoiseCfg(n_min=-0.01, n_max=0.01),
                bias_noise_cfg=UniformNoiseCfg(n_min=-0.01, n_max=0.01),
                delay_range=(0, 2),
                dropout=0.02,
                resolution=0.001,
            )
    return palestra.make(TASK, cfg=cfg)


def step_ms(env: Any, steps: int) -> float:
    """Return the time of one step (ms)."""
    action = torch.zeros(env.num_envs, env.num_actions, device=env.device)
    wait = torch.cuda.synchronize if env.device.type == "cuda" else (lambda: None)
    wait()
    begun = time.perf_counter()
    for _ in range(steps):
        env.step_in_place(action)
    wait()
    return 1e3 * (time.perf_counter() - begun) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json")
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--num_envs", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=50, help="steps of a turn")
    parser.add_argument("--turns", type=int, default=7)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    results = []
    print("| device | episodes | mode | step (ms) | / plain |\n| --- | --- | --- | --- | --- |")
    for length in (20.0, 1.0):
        envs = {variant: build(variant, length, args) for variant in ("plain", "startup", "reset")}
        for env in envs.values():
            env.reset()
            step_ms(env, 20)
        times: dict[str, list[float]] = {variant: [] for variant in envs}
        for _ in range(args.turns):
            for variant, env in envs.items():
                times[variant].append(step_ms(env, args.steps))
        for variant, values in times.items():
            ratio = statistics.median(a / b for a, b in zip(values, times["plain"], strict=True))
            row = {"device": args.device, "num_envs": args.num_envs, "episode_s": length, "mode": variant}
            results.append({**row, "step_ms": [round(v, 3) for v in values], "ratio": round(ratio, 4)})
            print(
                f"| {args.device} | {length:g} s | {variant} | {statistics.median(values):.2f} | {ratio:.3f} |",
                flush=True,
            )
        for env in envs.values():
            env.close()
    (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
