"""Contact and constraint capacities for the CUDA engine, probed on the CPU.

MuJoCo Warp's buffers are fixed, and rows beyond them are dropped. The probe drops the scene from random joint
positions and orientations with random controls, which piles up more contacts than a working policy
does, and adds a margin. What it cannot see (objects that a task later stacks, other terrains) shows up as an
overflow count with the setting to raise.
"""

import mujoco
import numpy as np
from mujoco import batch as mujoco_batch

from palestra.physics.base import Capacity

_MARGIN = 1.25


def probe_capacity(model: mujoco.MjModel, num_sims: int = 64, num_steps: int = 120, seed: int = 0) -> Capacity:
    """Return capacities that cover everything seen in ``num_sims`` random drops of ``num_steps`` steps."""
    rng = np.random.default_rng(seed)
    sims = mujoco_batch.Batch(model, num_sims, 0)
    ncon, nefc = sims.bind("ncon"), sims.bind("nefc")
    sims.reset(stage=int(mujoco.mjtStage.mjSTAGE_NONE))
    _scatter(model, sims.bind("qpos"), rng)
    ctrl = sims.bind("ctrl")
    contacts = constraints = 0
    for _ in range(max(num_steps // 4, 1)):
        ctrl[:] = rng.uniform(-1.0, 1.0, ctrl.shape) * _ctrl_scale(model)
        sims.step(nstep=4)
        contacts, constraints = max(contacts, int(ncon.max())), max(constraints, int(nefc.max()))
    return Capacity(int(contacts * _MARGIN) + 4, int(constraints * _MARGIN) + 8)


def _scatter(model: mujoco.MjModel, qpos: np.ndarray, rng: np.random.Generator) -> None:
    for joint in range(model.njnt):
        address = model.jnt_qposadr[joint]
        kind = model.jnt_type[joint]
        if kind == mujoco.mjtJoint.mjJNT_FREE:
            quat = rng.normal(size=(len(qpos), 4))
            qpos[:, address + 3 : address + 7] = quat / np.linalg.norm(quat, axis=1, keepdims=True)
        elif kind in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE) and model.jnt_limited[joint]:
            low, high = model.jnt_range[joint]
            qpos[:, address] = rng.uniform(low, high, len(qpos))


def _ctrl_scale(model: mujoco.MjModel) -> np.ndarray:
    limits = np.abs(model.actuator_forcerange).max(axis=1, initial=0.0) if model.nu else np.zeros(0)
    return np.where(limits > 0, limits, 1.0)
