"""What memory is worth: Cartpole without velocities, learned by a policy without memory and by recurrent ones.

    pip install 'palestra[rsl-rl]'
    python benchmarks/libraries/memory.py --threads 2

Each learner trains with its registered config and 256 environments, and is then measured over 100 episodes with its
mean actions. A balanced episode returns 500, which is the best. The policy without memory is the task's own baseline;
it is trained on Cartpole with velocities too, to show that its settings are not what it lacks. The LSTM is the GRU's
config with ``rnn_type="lstm"``.
"""

import argparse
import json
import time

import palestra  # isort: skip  # before PyTorch, so that its idle threads sleep

import torch

from palestra.config import load_agent_cfg
from palestra.envs.evaluation import evaluate
from palestra.integrations import OURS, make_trainer, policy_of
from palestra.rl.console import TrainingConsole
from palestra.rl.distributed import ALONE

TASK = "Cartpole-NoVelocity"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each learner: 1, 2, …")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--episodes", type=int, default=100)
    args = parser.parse_args()
    rows = []
    for name, task, library, rnn_type in (
        ("no memory, velocities seen", "Cartpole", OURS, None),
        ("no memory", TASK, OURS, None),
        ("RSL-RL GRU", TASK, "rsl_rl", "gru"),
        ("RSL-RL LSTM", TASK, "rsl_rl", "lstm"),
    ):
        for seed in range(1, args.seeds + 1):
            row = {"learner": name, "task": task, "seed": seed, **measure(task, library, rnn_type, seed, args)}
            rows.append(row)
            print(f"{name:<28} seed {seed}  return {row['return']:5.0f} of 500  {row['seconds']:4.0f} s", flush=True)
    print(json.dumps(rows))


def measure(task: str, library: str, rnn_type: str | None, seed: int, args: argparse.Namespace) -> dict[str, float]:
    torch.set_num_threads(args.threads)
    cfg = load_agent_cfg(task, library)
    cfg.seed = seed
    cfg.logger = "none"
    if rnn_type is not None:
        cfg.actor.rnn_type = cfg.critic.rnn_type = rnn_type
    env = palestra.make(task, seed=seed)
    started = time.perf_counter()
    trainer = make_trainer(library, env, cfg, task, ALONE)
    trainer.console = TrainingConsole(quiet=True)
    trainer.learn()
    seconds = time.perf_counter() - started
    content = {"library": library, **trainer._content()}
    result = evaluate(env, policy_of(content), args.episodes, seed=seed + 1000)
    env.close()
    return {"return": result.return_mean, "std": result.return_std, "seconds": seconds}


if __name__ == "__main__":
    main()
