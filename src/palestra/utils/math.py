"""Rotations, frames and samples as batched torch functions without host synchronisation.

Quaternions are ``(w, x, y, z)``, unit length, stored in the last dimension; leading dimensions broadcast.
Each function is a handful of torch calls, because on small batches the number of calls is the cost.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from palestra.utils.fused import on_gpu

TWO_PI = 2.0 * math.pi

"""Scalars."""


def scale_transform(x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Map values from ``[lower, upper]`` to ``[-1, 1]``; values outside stay outside."""
    return (2.0 * x - (lower + upper)) / (upper - lower)


def unscale_transform(x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Map values from ``[-1, 1]`` to ``[lower, upper]``; the inverse of :func:`scale_transform`."""
    return 0.5 * (x * (upper - lower) + (lower + upper))


def saturate(x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Clamp values to ``[lower, upper]``; bounds broadcast."""
    return torch.maximum(torch.minimum(x, upper), lower)


def normalize(x: Tensor, eps: float = 1e-9) -> Tensor:
    """Scale vectors of the last dimension to unit length; one shorter than ``eps`` is divided by ``eps``."""
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(eps)


def wrap_to_pi(angles: Tensor) -> Tensor:
    """Wrap angles (rad) to ``[-pi, pi]``."""
    return torch.sub(angles, torch.round(angles / TWO_PI), alpha=TWO_PI)


def copysign(mag: float, other: Tensor) -> Tensor:
    """Return ``|mag|`` with the signs of ``other``, in its shape."""
    return torch.copysign(torch.full_like(other, abs(mag)), other)


"""Quaternion algebra."""


def quat_mul(q1: Tensor, q2: Tensor) -> Tensor:
    """Multiply quaternions: the rotation ``q2`` followed by ``q1``. Shape ``(..., 4)``."""
    if _fits_kernels(q1, q2):
        return _kernels().quat_mul(q1, q2)
    w1, v1 = q1[..., :1], q1[..., 1:]
    w2, v2 = q2[..., :1], q2[..., 1:]
    vector = torch.addcmul(torch.addcmul(_cross(v1, v2), w1, v2), w2, v1)
    return torch.cat((w1 * w2 - (v1 * v2).sum(dim=-1, keepdim=True), vector), dim=-1)


def quat_conjugate(q: Tensor) -> Tensor:
    """Negate the vector part: the inverse rotation of a unit quaternion."""
    return torch.cat((q[..., :1], -q[..., 1:]), dim=-1)


def quat_inv(q: Tensor, eps: float = 1e-9) -> Tensor:
    """Invert quaternions that need not have unit length."""
    return quat_conjugate(q) / q.square().sum(dim=-1, keepdim=True).clamp_min(eps)


def quat_unique(q: Tensor) -> Tensor:
    """Of the two quaternions ``q`` and ``-q`` of one rotation, return that with a non-negative real part."""
    return torch.where(q[..., :1] < 0.0, -q, q)


def quat_apply(quat: Tensor, vec: Tensor) -> Tensor:
    """Rotate vectors from the frame of ``quat`` to its parent. Shapes ``(..., 4)`` and ``(..., 3)``."""
    if _fits_kernels(quat, vec):
        return _kernels().quat_apply(quat, vec)
    axis = quat[..., 1:]
    turned = _cross(axis, vec)
    return torch.addcmul(vec, quat[..., :1], turned, value=2.0).add_(_cross(axis, turned), alpha=2.0)


def quat_apply_inverse(quat: Tensor, vec: Tensor) -> Tensor:
    """Rotate vectors from the parent into the frame of ``quat``. Shapes ``(..., 4)`` and ``(..., 3)``."""
    if _fits_kernels(quat, vec):
        return _kernels().quat_apply_inverse(quat, vec)
    axis = quat[..., 1:]
    turned = _cross(vec, axis)
    return torch.addcmul(vec, quat[..., :1], turned, value=2.0).add_(_cross(turned, axis), alpha=2.0)


quat_rotate = quat_apply
quat_rotate_inverse = quat_apply_inverse


def yaw_quat(quat: Tensor) -> Tensor:
    """Return the rotation about the vertical axis alone (the yaw of the z-y-x Euler angles)."""
    w, x, y, z = quat.unbind(dim=-1)
    half = 0.5 * torch.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    zero = torch.zeros_like(half)
    return torch.stack((torch.cos(half), zero, zero, torch.sin(half)), dim=-1)


def quat_apply_yaw(quat: Tensor, vec: Tensor) -> Tensor:
    """Rotate vectors by the yaw of ``quat`` alone."""
    return quat_apply(yaw_quat(quat), vec)


def quat_error_magnitude(q1: Tensor, q2: Tensor) -> Tensor:
    """Return the angle (rad, in ``[0, pi]``) between two orientations."""
    difference = quat_mul(q1, quat_conjugate(q2))
    return 2.0 * torch.atan2(torch.linalg.vector_norm(difference[..., 1:], dim=-1), difference[..., 0].abs())


def quat_box_minus(q1: Tensor, q2: Tensor) -> Tensor:
    """Return the rotation vector (rad, parent frame) that turns ``q2`` into ``q1``. Shape ``(..., 3)``."""
    return axis_angle_from_quat(quat_mul(q1, quat_conjugate(q2)))


def quat_slerp(q1: Tensor, q2: Tensor, tau: float | Tensor) -> Tensor:
    """Interpolate from ``q1`` (``tau`` 0) to ``q2`` (``tau`` 1) at constant speed on the shorter arc.

    Args:
        q1: start, shape ``(..., 4)``.
        q2: end, shape ``(..., 4)``.
        tau: a number, or a tensor that broadcasts against ``(..., 1)``.
    """
    cosine = (q1 * q2).sum(dim=-1, keepdim=True)
    end = torch.where(cosine < 0.0, -q2, q2)
    angle = torch.acos(cosine.abs().clamp_max(1.0))
    sine = torch.sin(angle)
    # Where both coincide the sine vanishes and linear weights are the limit.
    safe = sine.clamp_min(1e-6)
    near = sine < 1e-6
    start_weight = torch.where(near, torch.ones_like(sine) - tau, torch.sin((1.0 - tau) * angle) / safe)
    end_weight = torch.where(near, torch.zeros_like(sine) + tau, torch.sin(tau * angle) / safe)
    return normalize(start_weight * q1 + end_weight * end)


"""Conversions."""


def quat_from_euler_xyz(roll: Tensor, pitch: Tensor, yaw: Tensor) -> Tensor:
    """Return the quaternion of rotations about the fixed axes x, then y, then z (rad). Shape ``(..., 4)``."""
    if roll.dim() == 1 and _fits_kernels(roll, pitch, yaw):
        return _kernels().quat_from_euler_xyz(roll, pitch, yaw)
    half = 0.5 * torch.stack(torch.broadcast_tensors(roll, pitch, yaw), dim=-1)
    (cr, cp, cy), (sr, sp, sy) = torch.cos(half).unbind(dim=-1), torch.sin(half).unbind(dim=-1)
    # q_z q_y q_x: first the product of the rotations about y and x, (cp·cr, cp·sr, sp·cr, -sp·sr), then z's columns.
    about_y = torch.stack((cp, cp, sp, -sp), dim=-1)
    about_x = torch.stack((cr, sr, cr, sr), dim=-1)
    inner = about_y * about_x
    turned = torch.stack((-inner[..., 3], -inner[..., 2], inner[..., 1], inner[..., 0]), dim=-1)
    return torch.addcmul(cy.unsqueeze(-1) * inner, sy.unsqueeze(-1), turned)


def euler_xyz_from_quat(quat: Tensor, wrap_to_2pi: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Return roll, pitch and yaw (rad) about the fixed axes x, y, z.

    At a pitch of ±π/2 only the sum or difference of roll and yaw is defined; roll is then zero.

    Args:
        quat: shape ``(..., 4)``.
        wrap_to_2pi: return angles in ``[0, 2 pi)`` instead of ``[-pi, pi]``.
    """
    w, x, y, z = quat.unbind(dim=-1)
    sine = (2.0 * (w * y - z * x)).clamp(-1.0, 1.0)
    pitch = torch.asin(sine)
    roll = torch.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
    yaw = torch.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    locked = sine.abs() > 1.0 - 4.0 * torch.finfo(quat.dtype).eps
    roll = torch.where(locked, 0.0, roll)
    yaw = torch.where(locked, wrap_to_pi(-2.0 * sine.sign() * torch.atan2(x, w)), yaw)
    if wrap_to_2pi:
        return roll % TWO_PI, pitch % TWO_PI, yaw % TWO_PI
    return roll, pitch, yaw


def quat_from_angle_axis(angle: Tensor, axis: Tensor) -> Tensor:
    """Return the quaternion of a turn by ``angle`` (rad, ``(...)``) about ``axis`` ``(..., 3)``."""
    half = 0.5 * angle.unsqueeze(-1)
    vector = normalize(axis) * torch.sin(half)
    return torch.cat((torch.cos(half).expand_as(vector[..., :1]), vector), dim=-1)


def axis_angle_from_quat(quat: Tensor, eps: float = 1e-6) -> Tensor:
    """Return the rotation vector, axis times angle (rad, shorter way round). Shape ``(..., 3)``."""
    quat = quat_unique(quat)
    vector = quat[..., 1:]
    sine = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    angle = 2.0 * torch.atan2(sine, quat[..., :1])
    # angle / sin(angle / 2) tends to 2 as the angle vanishes.
    return vector * torch.where(sine > eps, angle / sine.clamp_min(eps), 2.0)


def matrix_from_quat(quat: Tensor) -> Tensor:
    """Return rotation matrices of shape ``(..., 3, 3)``."""
    w, x, y, z = quat.unbind(dim=-1)
    xx, yy, zz = x * x, y * y, z * z
    xy, xz, yz, wx, wy, wz = x * y, x * z, y * z, w * x, w * y, w * z
    return torch.stack(
        (
            *(1.0 - 2.0 * (yy + zz), 2.0 * (xy - wz), 2.0 * (xz + wy)),
            *(2.0 * (xy + wz), 1.0 - 2.0 * (xx + zz), 2.0 * (yz - wx)),
            *(2.0 * (xz - wy), 2.0 * (yz + wx), 1.0 - 2.0 * (xx + yy)),
        ),
        dim=-1,
    ).unflatten(-1, (3, 3))


def quat_from_matrix(matrix: Tensor) -> Tensor:
    """Return the quaternions of rotation matrices of shape ``(..., 3, 3)``; the real part is not negative.

    Each of the four components can be divided by; the largest is chosen (Shepperd, 1978), so that no branch
    depends on the data.
    """
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix.flatten(-2).unbind(dim=-1)
    # Row i is 4 q_i q: every row is the quaternion up to its length and sign.
    rows = torch.stack(
        (
            *(1.0 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01),
            *(m21 - m12, 1.0 + m00 - m11 - m22, m10 + m01, m02 + m20),
            *(m02 - m20, m10 + m01, 1.0 - m00 + m11 - m22, m21 + m12),
            *(m10 - m01, m02 + m20, m21 + m12, 1.0 - m00 - m11 + m22),
        ),
        dim=-1,
    ).unflatten(-1, (4, 4))
    best = rows.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    row = rows.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    return quat_unique(normalize(row))


"""Frames."""


def combine_frame_transforms(
    t01: Tensor, q01: Tensor, t12: Tensor | None = None, q12: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compose the pose of frame 1 in 0 with that of 2 in 1; return the pose of 2 in 0.

    Args:
        t01: position of frame 1 in frame 0 (m), shape ``(..., 3)``.
        q01: orientation of frame 1 in frame 0, shape ``(..., 4)``.
        t12: position of frame 2 in frame 1; None is zero.
        q12: orientation of frame 2 in frame 1; None is the identity.
    """
    q02 = q01 if q12 is None else quat_mul(q01, q12)
    t02 = t01 if t12 is None else t01 + quat_apply(q01, t12)
    return t02, q02


def subtract_frame_transforms(
    t01: Tensor, q01: Tensor, t02: Tensor | None = None, q02: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the pose of frame 2 in frame 1 from the poses of both in frame 0.

    Args:
        t01: position of frame 1 in frame 0 (m), shape ``(..., 3)``.
        q01: orientation of frame 1 in frame 0, shape ``(..., 4)``.
        t02: position of frame 2 in frame 0; None is zero.
        q02: orientation of frame 2 in frame 0; None is the identity.
    """
    q10 = quat_conjugate(q01)
    q12 = q10 if q02 is None else quat_mul(q10, q02)
    t12 = quat_apply(q10, -t01 if t02 is None else t02 - t01)
    return t12, q12


def transform_points(points: Tensor, pos: Tensor | None = None, quat: Tensor | None = None) -> Tensor:
    """Carry points from a frame to its parent.

    Args:
        points: shape ``(num_points, 3)`` for one frame or ``(N, num_points, 3)`` for N frames.
        pos: position of the frame (m), shape ``(3,)`` or ``(N, 3)``; None is zero.
        quat: orientation of the frame, shape ``(4,)`` or ``(N, 4)``; None is the identity.
    """
    if quat is not None:
        points = quat_apply(quat.unsqueeze(-2), points)
    if pos is not None:
        points = points + pos.unsqueeze(-2)
    return points


def compute_pose_error(
    t01: Tensor,
    q01: Tensor,
    t02: Tensor,
    q02: Tensor,
    rot_error_type: Literal["quat", "axis_angle"] = "axis_angle",
) -> tuple[Tensor, Tensor]:
    """Return what carries pose 1 to pose 2: the position difference (m) and the rotation, both in frame 0.

    Args:
        t01: current position, shape ``(..., 3)``.
        q01: current orientation, shape ``(..., 4)``.
        t02: desired position.
        q02: desired orientation.
        rot_error_type: ``"axis_angle"`` for a rotation vector ``(..., 3)`` (rad), or ``"quat"``.
    """
    if rot_error_type not in ("quat", "axis_angle"):
        raise ValueError(f"rot_error_type is {rot_error_type!r}; allowed: 'quat', 'axis_angle'")
    error = quat_mul(q02, quat_conjugate(q01))
    return t02 - t01, error if rot_error_type == "quat" else axis_angle_from_quat(error)


"""Samples. Terms of an environment draw from ``env.rng``, whose streams do not depend on ``num_envs``."""


def default_orientation(num: int, device: torch.device | str) -> Tensor:
    """Return ``num`` identity quaternions, shape ``(num, 4)``."""
    quat = torch.zeros(num, 4, device=device)
    quat[:, 0] = 1.0
    return quat


def random_orientation(num: int, device: torch.device | str, generator: torch.Generator | None = None) -> Tensor:
    """Return ``num`` quaternions uniform over all rotations, shape ``(num, 4)``."""
    return normalize(torch.randn(num, 4, device=device, generator=generator))


def random_orientation_from(unit: Tensor) -> Tensor:
    """Map numbers that are uniform in [0, 1), ``(num, 3)``, to rotations that are uniform over all, ``(num, 4)``.

    Shoemake, "Uniform random rotations", Graphics Gems III, 1992.
    """
    u, first, second = unit[:, 0], 2.0 * torch.pi * unit[:, 1], 2.0 * torch.pi * unit[:, 2]
    a, b = (1.0 - u).clamp_min(0.0).sqrt(), u.sqrt()
    return torch.stack((b * torch.cos(second), a * torch.sin(first), a * torch.cos(first), b * torch.sin(second)), -1)


def random_yaw_orientation(num: int, device: torch.device | str, generator: torch.Generator | None = None) -> Tensor:
    """Return ``num`` quaternions uniform over the turns about the vertical axis, shape ``(num, 4)``."""
    half = sample_uniform(-0.5 * math.pi, 0.5 * math.pi, num, device, generator)
    zero = torch.zeros_like(half)
    return torch.stack((torch.cos(half), zero, zero, torch.sin(half)), dim=-1)


def sample_uniform(
    lower: float | Tensor,
    upper: float | Tensor,
    size: int | tuple[int, ...],
    device: torch.device | str,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw uniformly from ``[lower, upper)``; bounds broadcast against ``size``."""
    return torch.rand(_shape(size), device=device, generator=generator) * (upper - lower) + lower


def sample_log_uniform(
    lower: float | Tensor,
    upper: float | Tensor,
    size: int | tuple[int, ...],
    device: torch.device | str,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw numbers whose logarithm is uniform between those of ``lower`` and ``upper`` (both positive)."""
    return torch.exp(sample_uniform(_log(lower), _log(upper), size, device, generator))


def sample_gaussian(
    mean: float | Tensor,
    std: float | Tensor,
    size: int | tuple[int, ...],
    device: torch.device | str,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw from a normal distribution; ``mean`` and ``std`` broadcast against ``size``."""
    return torch.randn(_shape(size), device=device, generator=generator) * std + mean


def _fits_kernels(*inputs: Tensor) -> bool:
    """Whether inputs can go to :mod:`palestra.utils.math_warp`."""
    if not inputs[0].is_cuda:
        return False
    dims, rows = inputs[0].dim(), inputs[0].shape[:1]
    fits = dims in (1, 2) and all(x.dim() == dims and x.shape[:1] == rows and not x.requires_grad for x in inputs)
    return fits and on_gpu(*inputs)


def _kernels() -> Any:
    from palestra.utils import math_warp

    return math_warp


def _cross(a: Tensor, b: Tensor) -> Tensor:
    if a.dim() != b.dim():  # torch broadcasts sizes here, but not the number of dimensions
        a, b = torch.broadcast_tensors(a, b)
    return torch.linalg.cross(a, b)


def _shape(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else size


def _log(value: float | Tensor) -> float | Tensor:
    return torch.log(value) if isinstance(value, Tensor) else math.log(value)
