"""Rotations against MuJoCo's own functions, against numbers worked out by hand, and as properties."""

import math

import mujoco
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from palestra.utils import math as pm

PI = math.pi
HALF = math.sqrt(0.5)


def t(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def quats(count: int = 64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return pm.normalize(torch.randn(count, 4, generator=generator, dtype=torch.float64))


def vectors(count: int = 64, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


number = st.floats(-3.0, 3.0, allow_nan=False, width=32)
vector = st.tuples(number, number, number).map(lambda v: t(*v))
unit_quat = (
    st.tuples(number, number, number, number)
    .filter(lambda q: sum(x * x for x in q) > 0.01)
    .map(lambda q: pm.normalize(t(*q)))
)


def close(actual: Tensor, expected: Tensor, tol: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected.to(actual.dtype), atol=tol, rtol=0.0)


"""Against MuJoCo."""


def test_quat_mul_apply_and_inverse_agree_with_mujoco() -> None:
    a, b, v = quats(seed=0), quats(seed=1), vectors()
    for actual, call, inputs in (
        (pm.quat_mul(a, b), mujoco.mju_mulQuat, (a, b)),
        (pm.quat_apply(a, v), lambda out, vec, quat: mujoco.mju_rotVecQuat(out, vec, quat), (v, a)),
        (
            pm.quat_apply_inverse(a, v),
            lambda out, vec, quat: mujoco.mju_rotVecQuat(out, vec, quat * np.array([1, -1, -1, -1])),
            (v, a),
        ),
    ):
        for i in range(len(actual)):
            expected = np.zeros(actual.shape[-1])
            call(expected, *(x[i].numpy() for x in inputs))
            np.testing.assert_allclose(actual[i].numpy(), expected, atol=1e-12)


def test_matrices_agree_with_mujoco_both_ways() -> None:
    q = quats()
    matrices = pm.matrix_from_quat(q)
    back = pm.quat_from_matrix(matrices)
    for i in range(len(q)):
        expected = np.zeros(9)
        mujoco.mju_quat2Mat(expected, q[i].numpy())
        np.testing.assert_allclose(matrices[i].numpy().ravel(), expected, atol=1e-12)
        quat = np.zeros(4)
        mujoco.mju_mat2Quat(quat, matrices[i].numpy().ravel().copy())
        np.testing.assert_allclose(back[i].numpy(), quat * (1 if quat[0] >= 0 else -1), atol=1e-9)


def test_angle_axis_and_rotation_vector_agree_with_mujoco() -> None:
    axes, angles = pm.normalize(vectors()), 3.0 * quats()[:, 0]
    q = pm.quat_from_angle_axis(angles, axes)
    vec = pm.axis_angle_from_quat(q)
    for i in range(len(q)):
        expected = np.zeros(4)
        mujoco.mju_axisAngle2Quat(expected, axes[i].numpy(), float(angles[i]))
        np.testing.assert_allclose(q[i].numpy(), expected, atol=1e-12)
        velocity = np.zeros(3)
        mujoco.mju_quat2Vel(velocity, q[i].numpy(), 1.0)
        np.testing.assert_allclose(vec[i].numpy(), velocity, atol=1e-9)


def test_euler_angles_agree_with_mujoco() -> None:
    roll, pitch, yaw = 0.3, -0.7, 2.1
    expected = np.zeros(4)
    mujoco.mju_euler2Quat(expected, np.array([roll, pitch, yaw]), "XYZ")  # fixed axes in MuJoCo's notation
    actual = pm.quat_from_euler_xyz(t(roll), t(pitch), t(yaw))[0]
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-12)
    for angle, original in zip(pm.euler_xyz_from_quat(actual), (roll, pitch, yaw), strict=True):
        assert float(angle) == pytest.approx(original, abs=1e-9)


def test_box_minus_agrees_with_mujoco_in_the_parent_frame() -> None:
    a, b = quats(seed=4), quats(seed=5)
    actual = pm.quat_box_minus(a, b)
    for i in range(len(a)):
        difference = np.zeros(3)
        mujoco.mju_subQuat(difference, a[i].numpy(), b[i].numpy())  # in the frame of b
        expected = np.zeros(3)
        mujoco.mju_rotVecQuat(expected, difference, b[i].numpy())
        np.testing.assert_allclose(actual[i].numpy(), expected, atol=1e-9)


"""By hand."""


def test_a_quarter_turn_about_z() -> None:
    q = t(HALF, 0, 0, HALF)
    close(pm.quat_apply(q, t(1, 0, 0)), t(0, 1, 0))
    close(pm.quat_apply_inverse(q, t(1, 0, 0)), t(0, -1, 0))
    close(pm.matrix_from_quat(q), torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]))
    close(pm.axis_angle_from_quat(q), t(0, 0, PI / 2))
    close(pm.quat_from_angle_axis(t(PI / 2), t(0, 0, 5.0)[None])[0], q)
    assert pm.quat_rotate is pm.quat_apply and pm.quat_rotate_inverse is pm.quat_apply_inverse


def test_yaw_alone() -> None:
    q = pm.quat_from_euler_xyz(t(0.4), t(-0.5), t(1.2))
    close(pm.yaw_quat(q), t(math.cos(0.6), 0, 0, math.sin(0.6))[None])
    close(pm.quat_apply_yaw(q, t(1, 0, 3)[None]), t(math.cos(1.2), math.sin(1.2), 3)[None])


def test_error_magnitude_is_the_angle_between() -> None:
    identity, turned = t(1, 0, 0, 0), pm.quat_from_angle_axis(t(0.3), t(1, 1, 0)[None])[0]
    assert float(pm.quat_error_magnitude(identity, turned)) == pytest.approx(0.3)
    assert float(pm.quat_error_magnitude(identity, -turned)) == pytest.approx(0.3)
    small = pm.quat_from_angle_axis(torch.tensor([1e-4]), torch.tensor([[0.0, 1.0, 0.0]]))[0]
    assert float(pm.quat_error_magnitude(identity.float(), small)) == pytest.approx(1e-4, rel=1e-3)


def test_axis_angle_of_tiny_and_negated_rotations() -> None:
    close(pm.axis_angle_from_quat(t(1, 0, 0, 0)), t(0, 0, 0))
    close(pm.axis_angle_from_quat(t(1, 1e-8, 0, 0)), t(2e-8, 0, 0), 1e-12)
    close(pm.axis_angle_from_quat(t(-HALF, 0, 0, -HALF)), t(0, 0, PI / 2))


@pytest.mark.parametrize(
    "quat",
    [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, HALF, HALF, 0), (0.5, -0.5, 0.5, -0.5)],
)
def test_quat_from_matrix_where_some_components_vanish(quat: tuple[float, ...]) -> None:
    close(pm.quat_from_matrix(pm.matrix_from_quat(t(*quat))), t(*quat), 1e-12)


def test_wrap_to_pi() -> None:
    angles = t(0.0, 3.0, 3.5, -3.5, 7.0, -10.0)
    close(pm.wrap_to_pi(angles), t(0.0, 3.0, 3.5 - 2 * PI, 2 * PI - 3.5, 7.0 - 2 * PI, 4 * PI - 10.0), 1e-12)


def test_scalars() -> None:
    low, high = t(-1.0, 0.0), t(3.0, 10.0)
    close(pm.scale_transform(t(1.0, 10.0), low, high), t(0.0, 1.0))
    close(pm.unscale_transform(t(0.5, -1.0), low, high), t(2.0, 0.0))
    close(pm.saturate(t(-5.0, 4.0), low, high), t(-1.0, 4.0))
    close(pm.normalize(t(3.0, 4.0)), t(0.6, 0.8))
    close(pm.normalize(t(0.0, 0.0)), t(0.0, 0.0))
    close(pm.copysign(2.0, t(-3.0, 5.0)), t(-2.0, 2.0))
    close(pm.quat_inv(t(2.0, 0, 0, 0)), t(0.5, 0, 0, 0))
    close(pm.quat_unique(t(-0.6, 0.8, 0, 0)), t(0.6, -0.8, 0, 0))


def test_euler_wraps_to_two_pi_on_request() -> None:
    q = pm.quat_from_euler_xyz(t(-0.1), t(0.0), t(-0.2))
    roll, _, yaw = pm.euler_xyz_from_quat(q, wrap_to_2pi=True)
    assert float(roll) == pytest.approx(2 * PI - 0.1) and float(yaw) == pytest.approx(2 * PI - 0.2)


def test_frames_by_hand() -> None:
    # Frame 1 stands at (1, 0, 0), turned a quarter about z; frame 2 stands at (2, 0, 0) in it, unturned.
    t01, q01, identity = t(1, 0, 0), t(HALF, 0, 0, HALF), t(1, 0, 0, 0)
    t02, q02 = pm.combine_frame_transforms(t01, q01, t(2, 0, 0), identity)
    close(t02, t(1, 2, 0))
    close(q02, q01)
    t12, q12 = pm.subtract_frame_transforms(t01, q01, t02, q02)
    close(t12, t(2, 0, 0))
    close(q12, identity)
    close(pm.combine_frame_transforms(t01, q01)[0], t01)
    close(pm.subtract_frame_transforms(t01, q01)[0], t(0, 1, 0))
    close(pm.transform_points(t(2, 0, 0)[None], t01, q01), t(1, 2, 0)[None])
    batch = pm.transform_points(t(2, 0, 0).expand(2, 3, 3), t01.expand(2, 3), q01.expand(2, 4))
    close(batch, t(1, 2, 0).expand(2, 3, 3))


def test_pose_error_by_hand() -> None:
    position, rotation = pm.compute_pose_error(t(0, 0, 1), t(1, 0, 0, 0), t(1, 0, 1), t(HALF, HALF, 0, 0))
    close(position, t(1, 0, 0))
    close(rotation, t(PI / 2, 0, 0))
    _, quat = pm.compute_pose_error(t(0, 0, 1), t(1, 0, 0, 0), t(1, 0, 1), t(HALF, HALF, 0, 0), "quat")
    close(quat, t(HALF, HALF, 0, 0))
    with pytest.raises(ValueError, match="allowed: 'quat', 'axis_angle'"):
        pm.compute_pose_error(t(0, 0, 1), t(1, 0, 0, 0), t(1, 0, 1), t(1, 0, 0, 0), "euler")  # type: ignore[arg-type]


def test_slerp_by_hand() -> None:
    start, end = t(1, 0, 0, 0), t(math.cos(0.5), math.sin(0.5), 0, 0)
    close(pm.quat_slerp(start, end, 0.25), t(math.cos(0.125), math.sin(0.125), 0, 0))
    close(pm.quat_slerp(start, -end, 0.25), t(math.cos(0.125), math.sin(0.125), 0, 0))
    close(pm.quat_slerp(start, start, 0.7), start)
    both = pm.quat_slerp(start.expand(2, 4), end.expand(2, 4), torch.tensor([[0.0], [1.0]], dtype=torch.float64))
    close(both, torch.stack((start, end)))


@pytest.mark.parametrize("angles", [(0.3, PI / 2, -0.4), (0.3, -PI / 2, -0.4), (0.0, PI / 2, 0.0), (1.0, PI / 2, -3.0)])
def test_euler_angles_at_the_pole_give_the_same_rotation(angles: tuple[float, ...]) -> None:
    q = pm.quat_from_euler_xyz(*t(*angles))
    roll, pitch, yaw = pm.euler_xyz_from_quat(q)
    assert float(roll) == 0.0 and abs(float(yaw)) <= PI
    assert float(pm.quat_error_magnitude(pm.quat_from_euler_xyz(roll, pitch, yaw), q)) < 1e-6


"""Properties."""


@settings(max_examples=60, deadline=None)
@given(unit_quat, unit_quat, vector)
def test_apply_of_a_product_is_the_product_of_applies(q: Tensor, p: Tensor, v: Tensor) -> None:
    close(pm.quat_apply(pm.quat_mul(q, p), v), pm.quat_apply(q, pm.quat_apply(p, v)), 1e-8)


@settings(max_examples=60, deadline=None)
@given(unit_quat, vector)
def test_inverse_undoes(q: Tensor, v: Tensor) -> None:
    close(pm.quat_apply_inverse(q, pm.quat_apply(q, v)), v, 1e-9)
    close(pm.quat_apply(pm.quat_conjugate(q), v), pm.quat_apply_inverse(q, v), 1e-9)
    close(pm.quat_mul(pm.quat_inv(q), q), t(1, 0, 0, 0), 1e-9)


@settings(max_examples=60, deadline=None)
@given(unit_quat)
def test_conversions_come_back(q: Tensor) -> None:
    same = pm.quat_unique(q)
    assert float(pm.quat_error_magnitude(pm.quat_from_matrix(pm.matrix_from_quat(q)), same)) < 1e-7
    assert float(pm.quat_error_magnitude(pm.quat_from_euler_xyz(*pm.euler_xyz_from_quat(q)), same)) < 1e-4
    vec = pm.axis_angle_from_quat(q)
    back = pm.quat_from_angle_axis(torch.linalg.vector_norm(vec), vec)
    assert float(pm.quat_error_magnitude(back, same)) < 1e-5


@settings(max_examples=60, deadline=None)
@given(vector, unit_quat, vector, unit_quat)
def test_combine_and_subtract_are_inverse(t01: Tensor, q01: Tensor, t12: Tensor, q12: Tensor) -> None:
    back_t, back_q = pm.subtract_frame_transforms(t01, q01, *pm.combine_frame_transforms(t01, q01, t12, q12))
    close(back_t, t12, 1e-8)
    close(back_q, q12, 1e-8)


@settings(max_examples=60, deadline=None)
@given(st.floats(-1000.0, 1000.0))
def test_wrapped_angles_have_the_same_sine(angle: float) -> None:
    wrapped = float(pm.wrap_to_pi(t(angle)))
    assert abs(wrapped) <= PI + 1e-12
    assert math.sin(wrapped) == pytest.approx(math.sin(angle), abs=1e-9)
    assert math.cos(wrapped) == pytest.approx(math.cos(angle), abs=1e-9)


"""Shapes and samples."""


def test_leading_dimensions_broadcast() -> None:
    q, v = quats(5).float().view(5, 1, 4), vectors(7).float()
    turned = pm.quat_apply(q, v)
    assert turned.shape == (5, 7, 3)
    close(turned[3, 2], pm.quat_apply(q[3, 0], v[2]), 1e-6)
    close(pm.quat_apply_inverse(q, turned), v.expand(5, 7, 3), 1e-5)
    assert pm.matrix_from_quat(q).shape == (5, 1, 3, 3)
    assert pm.quat_from_matrix(pm.matrix_from_quat(q)).shape == (5, 1, 4)
    assert pm.quat_mul(q, q.view(1, 5, 4)).shape == (5, 5, 4)


def test_samples_stay_in_range_and_follow_the_generator() -> None:
    def draw(seed: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return [
            pm.sample_uniform(-2.0, torch.tensor([1.0, 3.0]), (4000, 2), "cpu", generator),
            pm.sample_log_uniform(0.01, 100.0, 4000, "cpu", generator),
            pm.sample_gaussian(5.0, 2.0, 4000, "cpu", generator),
            pm.random_orientation(4000, "cpu", generator),
            pm.random_yaw_orientation(4000, "cpu", generator),
        ]

    uniform, log_uniform, gaussian, orientation, yaw = draw(3)
    assert uniform.min() >= -2.0 and uniform[:, 0].max() < 1.0 and uniform[:, 1].max() < 3.0
    assert uniform[:, 1].mean() == pytest.approx(0.5, abs=0.1)
    assert log_uniform.min() >= 0.01 and log_uniform.max() <= 100.0
    assert log_uniform.log().mean() == pytest.approx(0.0, abs=0.15)
    assert gaussian.mean() == pytest.approx(5.0, abs=0.15) and gaussian.std() == pytest.approx(2.0, abs=0.1)
    close(torch.linalg.vector_norm(orientation, dim=-1), torch.ones(4000), 1e-5)
    # Uniform over rotations: the turned axis has no preferred direction.
    assert pm.quat_apply(orientation, torch.tensor([0.0, 0.0, 1.0])).mean(dim=0).abs().max() < 0.05
    close(pm.quat_apply(yaw, torch.tensor([0.0, 0.0, 1.0])), torch.tensor([0.0, 0.0, 1.0]).expand(4000, 3), 1e-6)
    assert pm.quat_apply(yaw, torch.tensor([1.0, 0.0, 0.0])).mean(dim=0)[:2].abs().max() < 0.05
    assert all(torch.equal(a, b) for a, b in zip(draw(3), draw(3), strict=True))
    close(pm.default_orientation(2, "cpu"), torch.tensor([[1.0, 0, 0, 0], [1, 0, 0, 0]]))


"""On a GPU."""


def single(*inputs: Tensor) -> list[Tensor]:
    return [x.to(torch.float32) for x in inputs]


def strided(x: Tensor) -> Tensor:
    """The same numbers, not side by side, as in a row of a robot's state."""
    return torch.cat((x, x, x), dim=-1)[..., x.shape[-1] : 2 * x.shape[-1]]


def assert_kernels_agree(kernels, device: str) -> None:
    a, b, v = (strided(x).to(device) for x in single(quats(seed=0), quats(seed=1), vectors()))
    for function, inputs in (("quat_mul", (a, b)), ("quat_apply", (a, v)), ("quat_apply_inverse", (a, v))):
        expected = getattr(pm, function)(*(x.double() for x in inputs))
        close(getattr(kernels, function)(*inputs), expected, 2e-6)
    roll, pitch, yaw = v.unbind(dim=-1)
    expected = pm.quat_from_euler_xyz(roll.double(), pitch.double(), yaw.double())
    close(kernels.quat_from_euler_xyz(roll, pitch, yaw), expected, 2e-6)


def test_warp_kernels_agree_with_torch() -> None:
    pytest.importorskip("warp", reason="Warp comes with the cuda extra")
    if torch.cuda.is_available():
        pytest.skip("the GPU test covers it")
    from palestra.utils import math_warp

    assert_kernels_agree(math_warp, "cpu")


@pytest.mark.gpu
def test_kernels_are_used_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from palestra.utils import math_warp

    assert_kernels_agree(pm, "cuda:0")
    used = []
    monkeypatch.setattr(math_warp, "quat_apply", lambda *inputs: used.append(inputs))
    a, v = (x.to("cuda:0") for x in single(quats(), vectors()))
    pm.quat_apply(a, v)
    assert len(used) == 1
    pm.quat_apply(a[0], v)  # one rotation for all
    assert len(used) == 1
