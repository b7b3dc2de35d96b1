"""What randomization buys: policies trained with and without it, tested on robots that training never had.

    python benchmarks/robustness/robustness.py --out robustness                 # minutes on a GPU
    python benchmarks/robustness/robustness.py --out robustness --tasks Reach-Franka --device cpu

For each task a policy is trained on the task and one on its ``-DR`` variant, with the registered agents. Both are then
tested without noise on grids of conditions that last for the whole test: link masses and joint friction (or friction of
the ground), motor strength and action delay, payload and motor strength. Each cell is the mean over ``--episodes``
environments and one whole episode each. The score of Reach-Franka is the share that reaches its target, that of
Velocity-Flat-Go2 the mean tracking reward, between 0 and 1, over the 20 s of an episode, 0 once the robot has fallen.
``results.json`` holds every cell, ``TASK.png`` the heat maps; the table counts the cells inside the randomized ranges.
Exit status: 0 done, 2 bad arguments.
"""

import argparse
import copy
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import palestra  # isort: skip  # before PyTorch, so that its idle threads sleep

import matplotlib
import numpy as np
import torch

from palestra.config import load_agent_cfg, load_env_cfg
from palestra.envs import mdp
from palestra.integrations import policy_of
from palestra.managers import EventTermCfg, SceneEntityCfg
from palestra.rl import OnPolicyRunner
from palestra.rl.checkpoint import load_checkpoint

matplotlib.use("Agg")
from matplotlib import pyplot

ROBOT = SceneEntityCfg("robot")


@dataclass(frozen=True)
class Axis:
    """One condition: an event whose range is set to one value in each environment.

    Attributes:
        label: what it is, with its unit.
        event: the event.
        parameters: names of its ranges, all of them set.
        values: what is tested.
        nominal: value of the unchanged robot.
        trained: range that the randomized policy was trained on; None where it never varied.
    """

    label: str
    event: Any
    parameters: tuple[str, ...]
    values: tuple[float, ...]
    nominal: float
    trained: tuple[float, float] | None


def event(func: Any, **params: Any) -> EventTermCfg:
    """Return an event of every reset."""
    return EventTermCfg(func=func, mode="reset", params=params)


def masses(bodies: list[str]) -> Axis:
    """Masses of all these bodies, as multiples."""
    selected = SceneEntityCfg("robot", body_names=bodies)
    params: dict[str, Any] = {"asset_cfg": selected, "mass_distribution_params": (1.0, 1.0), "operation": "scale"}
    return Axis(
        "mass of all links / nominal",
        event(mdp.randomize_rigid_body_mass, **params),
        ("mass_distribution_params",),
        (0.4, 0.55, 0.7, 0.85, 1.0, 1.15, 1.3, 1.6, 2.0),
        1.0,
        (0.7, 1.3),
    )


def payload(body: str, values: tuple[float, ...], most: float) -> Axis:
    """A point mass on a body."""
    selected = SceneEntityCfg("robot", body_names=[body])
    made = event(mdp.add_body_mass, asset_cfg=selected, mass_distribution_params=(0.0, 0.0))
    return Axis("payload (kg)", made, ("mass_distribution_params",), values, 0.0, (0.0, most))


def strength(asset_cfg: SceneEntityCfg, weakest: float) -> Axis:
    """Torque that motors give, as a share of what they are asked for."""
    made = event(mdp.randomize_motor_strength, asset_cfg=asset_cfg, strength_distribution_params=(1.0, 1.0))
    values = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)
    return Axis("motor strength / nominal", made, ("strength_distribution_params",), values, 1.0, (weakest, 1.1))


def delay(most: int) -> Axis:
    """Control steps that actions come late."""
    made = event(mdp.randomize_action_delay, delay_range=(0, 8))
    return Axis("action delay (control steps)", made, ("delay_range",), (0, 1, 2, 3, 4, 5, 6), 0.0, (0.0, float(most)))


ARM = SceneEntityCfg("robot", joint_names=["joint[1-7]"])
JOINT_FRICTION = Axis(
    "dry joint friction (N m)",
    event(mdp.randomize_joint_parameters, asset_cfg=ARM, friction_distribution_params=(0.0, 0.0), operation="add"),
    ("friction_distribution_params",),
    (0.0, 0.5, 1.0, 1.5, 2.0, 4.0, 6.0, 8.0, 10.0),
    0.0,
    (0.0, 1.0),
)
GROUND_FRICTION = Axis(
    "friction of feet / nominal (0.8)",
    event(
        mdp.randomize_rigid_body_material,
        asset_cfg=SceneEntityCfg("robot", body_names=[".*"]),
        static_friction_range=(0.8, 0.8),
        dynamic_friction_range=(0.8, 0.8),
        restitution_range=(0.0, 0.0),
        num_buckets=1,
    ),
    ("static_friction_range", "dynamic_friction_range"),
    (0.04, 0.08, 0.12, 0.2, 0.32, 0.5, 0.75, 1.0, 1.25, 1.5),
    1.0,
    (0.25 / 0.8, 1.25 / 0.8),
)
SCALES = {GROUND_FRICTION.label: 0.8}
"""Factor from an axis's values to those of its event."""

EXPERIMENTS: dict[str, list[tuple[Axis, Axis]]] = {
    "Reach-Franka": [
        (masses(["link[1-7]", "hand"]), JOINT_FRICTION),
        (strength(ARM, 0.6), delay(3)),
        (payload("hand", (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0), 3.0), strength(ARM, 0.6)),
    ],
    "Velocity-Flat-Go2": [
        (masses([".*"]), GROUND_FRICTION),
        (strength(ROBOT, 0.6), delay(2)),
        (payload("base_link", (0.0, 2.0, 4.0, 6.0, 8.0, 10.0), 4.0), strength(ROBOT, 0.6)),
    ],
}
"""Task to its pairs of axes; the randomized policy is that of ``TASK-DR``."""


def train(task: str, seed: int, args: argparse.Namespace) -> Path:
    """Train a task with its registered agent and return the checkpoint."""
    folder = args.out / f"{task}-{seed}"
    checkpoint = folder / "nn" / "last.pth"
    if checkpoint.is_file():
        return checkpoint
    cfg, agent = load_env_cfg(task), load_agent_cfg(task)
    cfg.sim.device, cfg.seed, agent.seed = args.device, seed, seed
    if args.num_envs:
        cfg.scene.num_envs = args.num_envs
    agent.logger = "none"
    env = palestra.make(task, cfg=cfg)
    try:
        OnPolicyRunner(env, agent, folder, task=task).learn()
    finally:
        env.close()
    return checkpoint


def test(task: str, checkpoint: Path, axes: tuple[Axis, Axis], args: argparse.Namespace) -> np.ndarray:
    """Return the score of each cell, ``(len(x), len(y))``."""
    x, y = axes
    cells = list(itertools.product(x.values, y.values))
    cfg = load_env_cfg(task)
    starts = {name: term for name, term in vars(cfg.events).items() if name.startswith("reset")}
    cfg.events = {**starts, "x": copy.deepcopy(x.event), "y": copy.deepcopy(y.event)}
    cfg.scene.num_envs, cfg.sim.device, cfg.seed = len(cells) * args.episodes, args.device, 1000
    cfg.observations.policy.enable_corruption = False
    env: Any = palestra.make(task, cfg=cfg)
    try:
        for k, axis in enumerate(axes):
            values = torch.tensor([cell[k] for cell in cells], device=env.device).repeat_interleave(args.episodes)
            for parameter in axis.parameters:
                live = env.event_manager.adjustable_range("xy"[k], parameter, per_env=True)
                live.copy_((values * SCALES.get(axis.label, 1.0)).unsqueeze(-1))
        scores = first_episodes(env, policy_of(load_checkpoint(checkpoint), env.device))
    finally:
        env.close()
    return scores.view(len(x.values), len(y.values), args.episodes).mean(dim=-1).cpu().numpy()


def first_episodes(env: Any, policy: Any) -> torch.Tensor:
    """Return the score of each environment's first episode, ``(num_envs,)``."""
    obs, _ = env.reset()
    running = torch.ones(env.num_envs, dtype=torch.bool, device=env.device)
    score = torch.zeros(env.num_envs, device=env.device)
    terms = env.reward_manager.active_terms
    tracking = terms.index("track_lin_vel_xy_exp") if "track_lin_vel_xy_exp" in terms else None
    with torch.no_grad():
        for _ in range(env.max_episode_length + 1):
            obs, _, terminated, time_outs, _ = env.step_in_place(policy(obs))
            if tracking is None:
                score += env.succeeded & running
            else:
                score += env.reward_manager.step_values[tracking] * (running & ~terminated) / env.max_episode_length
            running &= ~(terminated | time_outs)
    return score


def inside(axis: Axis, values: np.ndarray) -> np.ndarray:
    """Which values the randomized policy was trained on."""
    low, high = axis.trained if axis.trained is not None else (axis.nominal, axis.nominal)
    return (values >= low - 1e-6) & (values <= high + 1e-6)


def kept(scores: np.ndarray, axes: tuple[Axis, Axis]) -> np.ndarray:
    """Scores as shares of that of the unchanged robot."""
    x, y = axes
    return scores / max(float(scores[x.values.index(x.nominal), y.values.index(y.nominal)]), 1e-6)


def draw(task: str, results: list[dict[str, Any]], path: Path) -> None:
    """Heat maps: a row for each pair of axes, the plain policy left, the randomized one right."""
    figure, panels = pyplot.subplots(len(results), 2, figsize=(11, 3.6 * len(results)), squeeze=False)
    for row, result in zip(panels, results, strict=True):
        x, y = result["axes"]
        for panel, who in zip(row, ("plain", "randomized"), strict=True):
            scores = np.array(result[who])
            image = panel.imshow(scores.T, origin="lower", vmin=0.0, vmax=1.0, cmap="viridis", aspect="auto")
            panel.set_xticks(range(len(x.values)), [f"{v:g}" for v in x.values])
            panel.set_yticks(range(len(y.values)), [f"{v:g}" for v in y.values])
            panel.set(xlabel=x.label, ylabel=y.label, title=f"{task}, {who}")
            for i, j in itertools.product(range(len(x.values)), range(len(y.values))):
                shade = "black" if scores[i, j] > 0.6 else "white"
                panel.text(i, j, f"{scores[i, j]:.2f}", ha="center", va="center", color=shade, fontsize=6)
            columns, rows = (np.flatnonzero(inside(axis, np.array(axis.values))) for axis in (x, y))
            corner, size = (columns[0] - 0.5, rows[0] - 0.5), (len(columns), len(rows))
            panel.add_patch(pyplot.Rectangle(corner, *size, fill=False, edgecolor="red", linewidth=2))
            figure.colorbar(image, ax=panel)
    figure.suptitle("score; red: what the randomized policy was trained on")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def summarize(task: str, results: list[dict[str, Any]]) -> list[str]:
    """One line a grid: nominal scores, and what both keep where the plain policy keeps less than half."""
    lines = []
    for result in results:
        x, y = axes = result["axes"]
        plain, randomized = (np.array(result[who]) for who in ("plain", "randomized"))
        at = x.values.index(x.nominal), y.values.index(y.nominal)
        hard = kept(plain, axes) < 0.5
        trained = np.outer(inside(x, np.array(x.values)), inside(y, np.array(y.values)))
        cells = []
        for where in (hard & trained, hard):
            share = kept(randomized, axes)[where]
            well = int((share >= 0.7).sum())
            cells.append(f"{well} of {share.size}" + (f" (median {np.median(share):.0%})" if share.size else ""))
        lines.append(
            f"| {task} | {x.label} × {y.label} | {plain[at]:.2f} / {randomized[at]:.2f} | "
            f"{plain[trained].min():.2f} / {randomized[trained].min():.2f} | {cells[0]} | {cells[1]} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, results.json and heat maps")
    parser.add_argument("--tasks", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS))
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--num_envs", type=int, default=0, help="environments in training (0: the task's own number)")
    parser.add_argument("--episodes", type=int, default=32, help="environments of each cell")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    table = [
        "| task | grid | nominal, plain / randomized | worst in the trained ranges | kept ≥ 70 % where plain < 50 %, "
        "in the trained ranges | the same, whole grid |",
        "| --- " * 6 + "|",
    ]
    everything = {}
    for task in args.tasks:
        results: list[dict[str, Any]] = []
        for axes in EXPERIMENTS[task]:
            scores = {
                who: test(variant, train(variant, args.seed, args), axes, args).round(4).tolist()
                for who, variant in (("plain", task), ("randomized", f"{task}-DR"))
            }
            results.append({"axes": axes, **scores})
            print("\n".join(summarize(task, results[-1:])), flush=True)
        draw(task, results, args.out / f"{task}.png")
        table += summarize(task, results)
        everything[task] = [
            {
                **{
                    k: {"label": a.label, "values": a.values, "trained": a.trained}
                    for k, a in zip("xy", r["axes"], strict=True)
                },
                "plain": r["plain"],
                "randomized": r["randomized"],
            }
            for r in results
        ]
        (args.out / "results.json").write_text(json.dumps(everything) + "\n")
    (args.out / "table.md").write_text("\n".join(table) + "\n")
    print("\n".join(table))


if __name__ == "__main__":
    main()
