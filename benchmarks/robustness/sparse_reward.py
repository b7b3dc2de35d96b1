"""Dense against sparse reward: Reach-Franka after 200 iterations with each, evaluated over 500 episodes.

    python benchmarks/robustness/sparse_reward.py --seeds 1 2 3 --out sparse

``sparse`` keeps only the bonus at the target. Prints the success rate of the mean actions, and how often the noise of
an untrained policy meets the target, which is what the sparse reward has to learn from. Exit status: 0.
"""

import argparse
import json
import statistics
from pathlib import Path

import palestra  # isort: skip  # before PyTorch, so that its idle threads sleep

import torch

from palestra.config import load_agent_cfg, load_env_cfg
from palestra.envs.evaluation import evaluate
from palestra.integrations import policy_of
from palestra.rl import OnPolicyRunner
from palestra.rl.checkpoint import load_checkpoint

TASK = "Reach-Franka"


def run(preset: str, seed: int, args: argparse.Namespace) -> dict[str, object]:
    """Train once and evaluate."""
    cfg, agent = load_env_cfg(TASK), load_agent_cfg(TASK)
    cfg.reward_preset, cfg.sim.device, cfg.seed, agent.seed = preset, args.device, seed, seed
    agent.max_iterations, agent.logger = args.iterations, "none"
    folder = args.out / f"{preset}-{seed}"
    env = palestra.make(TASK, cfg=cfg)
    try:
        std = agent.actor.init_std
        noise = evaluate(env, lambda _: std * torch.randn(env.num_envs, env.num_actions, device=env.device), 1024, seed)
        OnPolicyRunner(env, agent, folder, task=TASK).learn()
        trained = evaluate(env, policy_of(load_checkpoint(folder / "nn" / "last.pth"), env.device), args.episodes, seed)
    finally:
        env.close()
    return {"reward": preset, "seed": seed, "success": trained.success_rate, "success_of_noise": noise.success_rate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and results.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    results = []
    for seed in args.seeds:
        for preset in ("dense", "sparse"):
            results.append(run(preset, seed, args))
            print(json.dumps(results[-1]), flush=True)
            (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print("| reward | success after training, median [least, most] | of noise alone |")
    print("| --- | --- | --- |")
    for preset in ("dense", "sparse"):
        rows = [r for r in results if r["reward"] == preset]
        rates = [float(r["success"]) for r in rows]  # type: ignore[arg-type]
        noise = statistics.median(float(r["success_of_noise"]) for r in rows)  # type: ignore[arg-type]
        print(f"| {preset} | {statistics.median(rates):.1%} [{min(rates):.1%}, {max(rates):.1%}] | {noise:.1%} |")


if __name__ == "__main__":
    main()
