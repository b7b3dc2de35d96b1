"""A run at Weights & Biases: its numbers, configuration and videos; ``WANDB_MODE=offline`` keeps it on this machine."""

from __future__ import annotations

import math
import secrets
from pathlib import Path
from typing import Any

from palestra.config.yaml_io import load_overlay
from palestra.errors import ConfigError

ID_FILE = "wandb_run_id"
"""File in the run folder that holds the run's name at Weights & Biases, so that a resumed run continues it."""


class WandbRun:
    """One run: named after its folder, grouped by its experiment, with ``config.yaml`` as its configuration.

    Args:
        folder: the run's folder; the package keeps its own files in ``wandb/`` there.
        project: project of the run.

    Raises:
        ConfigError: the package is not installed, or nobody is logged in.
    """

    def __init__(self, folder: Path, project: str) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ConfigError("--logger wandb is not installed: pip install 'palestra[wandb]'") from error
        folder = folder.resolve()  # the package's own process may have another working directory
        id_file = folder / ID_FILE
        run_id = id_file.read_text().strip() if id_file.exists() else secrets.token_hex(4)
        config_file = folder / "config.yaml"
        try:
            self._run: Any = wandb.init(
                project=project,
                group=folder.parent.name,
                name=folder.name,
                id=run_id,
                resume="allow",
                dir=folder,
                config=dict(load_overlay(config_file)) if config_file.exists() else None,
                settings=wandb.Settings(console="off", quiet=True),  # no capture of the live table, no charts in text
            )
        except wandb.Error as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise ConfigError(f"--logger wandb: {reason} (or set WANDB_MODE=offline)") from error
        id_file.write_text(f"{run_id}\n")
        self._run.define_metric("iteration")
        self._run.define_metric("*", step_metric="iteration")  # a resumed run may repeat iterations

    def write(self, row: dict[str, float | int]) -> None:
        """Log the finite numbers of an iteration."""
        self._run.log({name: value for name, value in row.items() if math.isfinite(value)})

    def write_video(self, path: Path, iteration: int) -> None:
        """Upload an ``.mp4`` video of the policy after ``iteration`` iterations."""
        import wandb

        self._run.log({"video": wandb.Video(str(path), format="mp4"), "iteration": iteration})

    def close(self) -> None:
        """Send what is buffered."""
        self._run.finish()
