"""How a trained walking policy moves its feet.

    python benchmarks/locomotion/gait.py runs/velocity_flat_g1/<run> [--num_envs 64] [--seconds 10]

Runs the task's -Play variant and prints, over all feet and over the environments whose commanded planar speed is above
0.3 m/s: strides a second, share of the time on the ground (duty factor), mean duration of a swing, mean of the highest
point of each swing above the foot's height in stance, slip of standing feet, share of the time with no foot on the
ground, and the share of other bodies' contacts. The scene needs a contact sensor ``feet``.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from palestra.assets import Articulation
from palestra.cli.arguments import CommandParser, add_environment_flags, normalise, parse, require_target
from palestra.cli.configuration import find_trained, task_configs
from palestra.cli.play import build
from palestra.sensors import ContactSensor

WARM_UP_S = 2.0
"""Left out at the start: the robot falls onto its feet and starts to walk."""


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures of one policy."""
    trained = find_trained(require_target(args, "run", "gait.py runs/velocity_flat_g1/<run>"), args)
    args.num_envs = args.num_envs or 64
    configs = task_configs(trained.task, args, trained.run)
    env, policy = build(configs, Path(trained.checkpoint))
    robot, feet = env.scene["robot"], env.scene["feet"]
    assert isinstance(robot, Articulation) and isinstance(feet, ContactSensor)
    names = [name for name in feet.body_names if name in robot.body_names]
    if names:
        ids = [robot.body_names.index(name) for name in names]
        height_of = lambda: robot.data.body_pos_w[:, ids, 2]  # noqa: E731
        velocity_of = lambda: robot.data.body_lin_vel_w[:, ids, :2]  # noqa: E731
    else:  # feet that are geoms have no frames of their own
        height_of = velocity_of = None
    command = env.command_manager.get_term("base_velocity")
    groups, _ = env.reset(seed=configs.env.seed)
    rows: dict[str, list[Tensor]] = {"contact": [], "height": [], "slip": [], "moving": [], "ended": []}
    for step in range(round((WARM_UP_S + args.seconds) / env.step_dt)):
        groups, _, terminated, time_outs, _ = env.step(policy(groups))
        if step * env.step_dt < WARM_UP_S:
            continue
        rows["contact"].append(feet.data.net_forces_w.norm(dim=-1) > 1.0)
        rows["height"].append(height_of() if height_of else torch.zeros_like(rows["contact"][-1], dtype=torch.float32))
        rows["slip"].append(velocity_of().norm(dim=-1) if velocity_of else torch.zeros_like(rows["height"][-1]))
        rows["moving"].append(command.command[:, :2].norm(dim=-1) > 0.3)
        rows["ended"].append(terminated | time_outs)
    contact, height, slip, moving, ended = (torch.stack(rows[name]) for name in rows)
    env.close()
    return figures(contact, height, slip, moving, ended, env.step_dt)


def figures(
    contact: torch.Tensor,
    height: torch.Tensor,
    slip: torch.Tensor,
    moving: torch.Tensor,
    ended: torch.Tensor,
    dt: float,
) -> dict[str, float]:
    """Return the figures of recorded feet.

    Args:
        contact: which feet touch the ground, ``(steps, num_envs, num_feet)``.
        height: of the feet's frames (m), the same shape.
        slip: horizontal speed of the feet (m/s), the same shape.
        moving: who is told to move, ``(steps, num_envs)``.
        ended: whose episode ended, ``(steps, num_envs)``.
        dt: control period (s).
    """
    walking = moving.unsqueeze(-1).expand_as(contact)
    stance_height = height[contact & walking].median()
    swings, peaks = [], []
    for env in range(contact.shape[1]):
        for foot in range(contact.shape[2]):
            length, peak = 0, 0.0
            for step in range(contact.shape[0]):
                if ended[step, env] or not moving[step, env]:
                    length, peak = -1, 0.0  # a swing that was cut off does not count
                elif not contact[step, env, foot]:
                    length, peak = (length + 1 if length >= 0 else -1), max(peak, float(height[step, env, foot]))
                else:
                    if length > 0:
                        swings.append(length * dt)
                        peaks.append(peak - float(stance_height))
                    length, peak = 0, 0.0
    total = float(walking.sum()) * dt
    return {
        "strides_per_s": len(swings) / total,
        "duty_factor": float(contact[walking].float().mean()),
        "swing_s": sum(swings) / max(len(swings), 1),
        "swing_height_m": sum(peaks) / max(len(peaks), 1),
        "slip_m_per_s": float(slip[contact & walking].mean()),
        "no_foot_down": float((~contact.any(dim=-1))[moving].float().mean()),
        "episodes_ended": float(ended.float().sum() / ended.shape[1]),
    }


def main() -> None:
    """Measure and print."""
    parser = CommandParser(prog="gait.py", description=__doc__)
    parser.target = "RUN_OR_TASK"
    add_environment_flags(parser)
    parser.add_argument("--checkpoint", metavar="FILE")
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parse(parser, normalise(sys.argv[1:]))
    print(json.dumps(measure(args), indent=2))


if __name__ == "__main__":
    main()
