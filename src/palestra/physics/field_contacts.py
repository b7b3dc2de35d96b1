"""Which contacts with height fields :mod:`palestra.physics.field_contacts_warp` finds, and the text that finds them."""

from __future__ import annotations

from importlib.resources import files

import mujoco
import numpy as np

MOST_CONTACTS = 4
"""Contacts of a geom with a height field."""

KINDS = (mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_BOX)
"""Geoms that it knows; the others are left to MuJoCo Warp."""


def own_pairs(model: mujoco.MjModel, pairs: np.ndarray) -> np.ndarray:
    """Return which pairs of geoms are a height field and a geom of a known kind, bool ``(num_pairs,)``.

    Args:
        model: the model.
        pairs: ids of geoms, ``(num_pairs, 2)``.
    """
    kinds = model.geom_type[pairs]
    field = kinds == int(mujoco.mjtGeom.mjGEOM_HFIELD)
    known = np.isin(kinds, [int(kind) for kind in KINDS])
    return (field[:, 0] & known[:, 1]) | (known[:, 0] & field[:, 1])


def body() -> str:
    """Return the text, CUDA C++."""
    return files("palestra.physics").joinpath("field_contacts.cu").read_text(encoding="utf-8")
