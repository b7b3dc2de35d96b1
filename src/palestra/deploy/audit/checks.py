"""The checklist, in order, and how it is run."""

from __future__ import annotations

from collections.abc import Callable

from palestra.deploy.audit import (
    exported,
    ground,
    motion,
    observations,
    randomization,
    safety,
    simulators,
    success,
    tracking,
    training,
)
from palestra.deploy.audit.result import Check
from palestra.deploy.audit.subject import Subject

Checker = Callable[[Subject], Check]

CHECKS: dict[str, Checker] = {
    "reward-shares": training.reward_shares,
    "curriculum-stage": training.curriculum,
    "randomization": randomization.randomization,
    "exported-files": exported.exported_files,
    "control-period": exported.exported_task,
    "privileged": exported.privileged,
    "normalizer": observations.normalizer,
    "runtime": exported.runtime,
    "action-scale": motion.action_scale,
    "endurance": motion.endurance,
    "tracking": tracking.moves_without_tracking,
    "standing-still": tracking.standing_pays,
    "falling": tracking.falls_for_reward,
    "vibration": motion.vibration,
    "ground-contact": ground.ground_contact,
    "feet": ground.feet_lift,
    "success": success.success,
    "safety-limits": safety.limits,
    "safety-trips": safety.trips,
    "safety-nominal": safety.nominal,
    "sim2sim": simulators.sim2sim,
}
"""All checks by their ids, in the order of the report."""
