"""Environment stepping against the bare engine: what managers, sensors, resets and copies cost.

    python benchmarks/cpu/env_step.py Velocity-Flat-Go2 --num_envs 1024 --threads 2

Both sides step the very same compiled model with the same number of substeps, in turns, and the medians of the
repeats are compared. The bare loop writes random controls and calls ``Batch.step``; the environment takes random
actions through its public ``step``. Target: ratio ≥ 0.75.
"""

import argparse
import json
import statistics
import time

import palestra  # isort: skip  # before PyTorch, so that its idle threads sleep

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--num_envs", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help="control steps in a repeat")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    env = palestra.make(args.task, num_envs=args.num_envs, seed=0)
    env.reset()
    model, decimation = env.engine.model, env.cfg.decimation
    bare = Batch(model, args.num_envs, args.threads)
    qpos, ctrl = bare.bind("qpos"), bare.bind("ctrl")
    bare.reset()
    qpos[:] = env.engine.field("qpos").double().numpy()
    generator = torch.Generator().manual_seed(0)

    def step_env() -> None:
        env.step(0.3 * torch.randn(args.num_envs, env.num_actions, generator=generator))

    def step_bare() -> None:
        ctrl[:] = env.engine.ctrl.numpy() + 0.01 * np.random.standard_normal(ctrl.shape)
        bare.step(nstep=decimation, stage=int(mujoco.mjtStage.mjSTAGE_NONE))

    times: dict[str, list[float]] = {"env": [], "bare": []}
    for repeat in range(args.repeats + 1):
        for name, function in (("env", step_env), ("bare", step_bare)):
            start = time.perf_counter()
            for _ in range(args.steps):
                function()
            if repeat:
                times[name].append((time.perf_counter() - start) / args.steps)
    rates = {name: args.num_envs / statistics.median(values) for name, values in times.items()}
    result = {
        "task": args.task,
        "num_envs": args.num_envs,
        "threads": args.threads,
        "env_steps_per_s": round(rates["env"]),
        "bare_batch_steps_per_s": round(rates["bare"]),
        "ratio": round(rates["env"] / rates["bare"], 3),
        "spread": {k: [round(args.num_envs / max(v)), round(args.num_envs / min(v))] for k, v in times.items()},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
