"""Videos of a policy at work: H.264, in real time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from palestra.envs.base import RLEnv
from palestra.envs.memory import forget
from palestra.view.renderer import EnvRenderer

MOST_FPS = 30.0
"""Frames per second that a video does not exceed; environments step faster than that."""

Policy = Callable[[dict[str, Any]], Tensor]


def record_video(env: RLEnv, policy: Policy, path: Path, seconds: float = 10.0, seed: int | None = None) -> Path:
    """Reset the environment, let the policy act and film it; the file appears whole or not at all.

    Args:
        env: the environment; ``env.cfg.viewer`` says what is filmed.
        policy: observation groups to actions ``(num_envs, num_actions)``.
        path: ``.mp4`` file to write; its folder is made.
        seconds: length of the video (s of simulated time, which is the same).
        seed: seed of the episodes.

    Returns:
        ``path``.

    Raises:
        RenderingUnavailableError: the machine cannot draw; nothing is written then.
    """
    import imageio.v2 as imageio

    steps_per_frame = max(1, round(1.0 / (MOST_FPS * env.step_dt)))
    renderer = EnvRenderer(env)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.tmp.mp4")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        writer: Any = imageio.get_writer(
            partial,
            format="FFMPEG",  # type: ignore[arg-type] - the name of a plugin
            fps=1.0 / (env.step_dt * steps_per_frame),
            codec="libx264",
            quality=7,
            macro_block_size=2,  # H.264 halves the colour planes: even sizes are enough
            ffmpeg_log_level="error",
            output_params=["-movflags", "+faststart"],
        )
        with contextlib.closing(writer):  # its own context manager leaves ffmpeg running after an error
            obs, _ = env.reset(seed=seed)
            forget(policy)
            for step in range(round(seconds / env.step_dt)):
                if step % steps_per_frame == 0:
                    writer.append_data(renderer.frame())
                obs, _, terminated, time_outs, _ = env.step_in_place(policy(obs))
                forget(policy, terminated | time_outs)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
        renderer.close()
    return path
