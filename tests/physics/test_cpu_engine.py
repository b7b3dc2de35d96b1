"""The CPU engine against plain MuJoCo: bit-identical state, exact masked writes, fresh derived fields."""

import mujoco
import numpy as np
import pytest
import torch
from scenes import PENDULUM, World, quadruped_scene, robot_cfg

from palestra.errors import ConfigError
from palestra.physics import make_engine
from palestra.physics.cpu import CpuEngine
from palestra.sim import SimulationCfg

NUM_ENVS = 3
STATE = mujoco.mjtState.mjSTATE_INTEGRATION


def standing(scene) -> CpuEngine:
    """Return the engine of a quadruped scene with all robots in the default pose."""
    scene.reset(torch.ones(scene.num_envs, dtype=torch.bool), lambda low, high, shape: None)
    scene.engine.refresh()
    return scene.engine


def random_ctrl(generator: torch.Generator, engine: CpuEngine) -> torch.Tensor:
    return 20.0 * (2.0 * torch.rand(engine.ctrl.shape, generator=generator) - 1.0)


@pytest.fixture(scope="module")
def quadrupeds():
    return quadruped_scene(NUM_ENVS)


@pytest.fixture
def engine(quadrupeds) -> CpuEngine:
    engine = standing(quadrupeds)
    engine.ctrl.zero_()
    return engine


def test_trajectories_equal_a_plain_mj_step_loop_bit_by_bit(engine: CpuEngine) -> None:
    plain = [mujoco.MjData(engine.model) for _ in range(NUM_ENVS)]
    for i, data in enumerate(plain):
        mujoco.mj_setState(engine.model, data, engine.state_rows()[i].copy(), STATE)
    row = np.empty(mujoco.mj_stateSize(engine.model, STATE))
    generator = torch.Generator().manual_seed(0)
    contacts = 0
    for _ in range(50):
        engine.ctrl.copy_(random_ctrl(generator, engine))
        engine.step(4)
        for i, data in enumerate(plain):
            data.ctrl[:] = engine.ctrl[i].numpy()
            for _ in range(4):
                mujoco.mj_step(engine.model, data)
            contacts += data.ncon
            mujoco.mj_getState(engine.model, data, row, STATE)
            assert np.array_equal(row, engine.state_rows()[i])
    assert contacts > 100  # the robots did lie on the ground


def test_derived_fields_are_those_of_the_new_state(engine: CpuEngine) -> None:
    names = ("xpos", "xquat", "xmat", "cvel", "subtree_com", "geom_xpos", "site_xpos", "qpos", "qvel")
    fields = {name: engine.field(name) for name in names}
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        engine.ctrl.copy_(random_ctrl(generator, engine))
        engine.step(4)
    data = mujoco.MjData(engine.model)
    for i in range(NUM_ENVS):
        mujoco.mj_setState(engine.model, data, engine.state_rows()[i].copy(), STATE)
        mujoco.mj_forward(engine.model, data)
        for name in names:
            np.testing.assert_allclose(fields[name][i].numpy(), getattr(data, name), atol=1e-6, err_msg=name)
    assert fields["qvel"].abs().max() > 0.5


def test_the_number_of_threads_changes_nothing() -> None:
    rows = []
    for threads in (1, 4):
        engine = standing(quadruped_scene(5, threads=threads))
        generator = torch.Generator().manual_seed(2)
        for _ in range(25):
            engine.ctrl.copy_(random_ctrl(generator, engine))
            engine.step(4)
        rows.append(engine.state_rows().copy())
    assert np.array_equal(*rows)


def test_mirrors_keep_their_addresses(quadrupeds, engine: CpuEngine) -> None:
    names = ("qpos", "qvel", "xpos", "cvel", "sensordata", "actuator_force", "ctrl")
    before = {name: (engine.field(name), engine.field(name).data_ptr()) for name in names}
    mask = torch.tensor([True, False, True])
    for _ in range(20):
        engine.step(2)
        engine.reset(mask)
        engine.write("qvel", torch.zeros(NUM_ENVS, engine.model.nv), mask)
        engine.refresh(mask)
        engine.forward()
    for name, (tensor, address) in before.items():
        assert engine.field(name) is tensor
        assert tensor.data_ptr() == address


def test_a_masked_write_leaves_other_rows_untouched_in_float64(engine: CpuEngine) -> None:
    engine.step(7)  # rows that float32 cannot represent
    before = engine.state_rows().copy()
    assert not np.array_equal(before, before.astype(np.float32))
    mask = torch.tensor([False, True, False])
    value = torch.arange(NUM_ENVS * engine.model.nq, dtype=torch.float32).view(NUM_ENVS, -1)
    engine.write("qpos", value, mask)
    after = engine.state_rows()
    assert np.array_equal(after[[0, 2]], before[[0, 2]])
    assert engine.field("qpos")[1].tolist() == value[1].tolist()
    start = 1  # the integration state begins with the time
    assert after[1, start : start + engine.model.nq].tolist() == value[1].tolist()


@pytest.mark.parametrize("columns", [slice(2, 4), torch.tensor([5, 1])])
@pytest.mark.parametrize("mask", [None, torch.tensor([True, False, True])])
def test_writes_into_columns(engine: CpuEngine, columns, mask) -> None:
    before = engine.field("qvel").clone()
    rows = engine.state_rows().copy()
    value = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    version = engine.version
    engine.write("qvel", value, mask, columns)
    expected = before.clone()
    picked = [0, 1, 2] if mask is None else [0, 2]
    for row in picked:
        expected[row, columns] = value[row]
    assert torch.equal(engine.field("qvel"), expected)
    assert engine.version > version
    changed = np.flatnonzero((rows != engine.state_rows()).any(axis=0)) - 1 - engine.model.nq
    assert sorted(changed.tolist()) == ([2, 3] if isinstance(columns, slice) else [1, 5])


def test_writing_nowhere_changes_nothing(engine: CpuEngine) -> None:
    before = engine.state_rows().copy()
    nowhere = torch.zeros(NUM_ENVS, dtype=torch.bool)
    engine.write("qpos", torch.full((NUM_ENVS, engine.model.nq), 9.0), nowhere)
    engine.reset(nowhere)
    engine.refresh(nowhere)
    assert np.array_equal(engine.state_rows(), before)


def test_a_masked_reset_touches_only_its_rows(engine: CpuEngine) -> None:
    force, acceleration = engine.field("actuator_force"), engine.field("qacc")
    engine.ctrl.fill_(3.0)
    engine.step(10)
    before = engine.state_rows().copy()
    engine.reset(torch.tensor([False, False, True]))
    engine.refresh(torch.tensor([False, False, True]))
    assert np.array_equal(engine.state_rows()[:2], before[:2])
    assert engine.field("qpos")[2].tolist() == engine.model.qpos0.astype(np.float32).tolist()
    assert engine.field("qvel")[2].abs().max() == 0.0
    # Nothing of the old episode is left, not even forces of its last step.
    assert force[2].abs().max() == 0.0
    assert acceleration[2].abs().max() == 0.0
    assert force[0].abs().max() > 0.0


def test_refresh_after_a_write_updates_poses_of_the_masked_rows_only(engine: CpuEngine) -> None:
    xpos = engine.field("xpos")
    before = xpos.clone()
    pose = engine.field("qpos").clone()
    pose[:, 0] += 1.0
    mask = torch.tensor([True, False, False])
    engine.write("qpos", pose, mask)
    assert torch.equal(xpos, before)
    engine.refresh(mask)
    assert torch.allclose(xpos[0, 1:, 0], before[0, 1:, 0] + 1.0, atol=1e-6)
    assert torch.equal(xpos[1:], before[1:])


def test_forward_makes_accelerations_current() -> None:
    world = World(num_envs=2, robot=robot_cfg(PENDULUM))
    engine = world.engine
    qacc = engine.field("qacc")
    engine.write("qpos", torch.tensor([[0.0], [0.5]]))
    engine.ctrl.copy_(torch.tensor([[1.0], [0.0]]))
    engine.forward()
    inertia = 2.0 * 0.5**2 + 0.4 * 2.0 * 0.01**2
    # Positive angles about y swing the bob towards -x, and gravity pulls it back.
    expected = [1.0 / inertia, -2.0 * 9.81 * 0.5 * np.sin(0.5) / inertia]
    assert qacc.squeeze(-1).tolist() == pytest.approx(expected, rel=1e-5)
    assert engine.field("time").max() == 0.0


def test_a_doubled_mass_halves_the_acceleration_where_it_was_written() -> None:
    world = World(num_envs=3, robot=robot_cfg(PENDULUM))
    engine = world.engine
    qacc, bob = engine.field("qacc"), engine.model.body("robot/bob").id
    engine.ctrl.fill_(1.0)
    engine.forward()
    single = qacc.clone()
    mask = torch.tensor([False, True, False])
    masses, inertias = engine.model_field("body_mass"), engine.model_field("body_inertia")
    engine.write_model("body_mass", 2.0 * masses, mask)
    engine.write_model("body_inertia", 2.0 * inertias, mask)
    invweight = engine.model_field("dof_invweight0").clone()
    engine.set_const(mask)
    engine.forward()
    assert engine.model_field("body_mass")[:, bob].tolist() == [2.0, 4.0, 2.0]
    assert torch.equal(qacc[[0, 2]], single[[0, 2]])
    assert qacc[1].item() == pytest.approx(0.5 * single[1].item(), rel=1e-6)
    after = engine.model_field("dof_invweight0")
    assert after[1].item() == pytest.approx(0.5 * invweight[1].item(), rel=1e-6)
    assert torch.equal(after[[0, 2]], invweight[[0, 2]])
    assert engine.host_data(1).qacc[0] == pytest.approx(0.5 * engine.host_data(0).qacc[0])


def test_rays_measure_in_multiples_of_their_length() -> None:
    xml = """
    <mujoco><worldbody>
      <body name="ball" pos="0 0 2"><freejoint/><geom type="sphere" size="0.5" mass="1"/></body>
      <body name="other" pos="5 0 1"><freejoint/><geom type="box" size="0.1 0.2 0.3" mass="1"/></body>
    </worldbody></mujoco>
    """
    from palestra.assets import AssetBaseCfg
    from palestra.sim import GroundPlaneCfg

    world = World(num_envs=2, ground=AssetBaseCfg(spawn=GroundPlaneCfg()), robot=robot_cfg(xml, actuators={}))
    engine = world.engine
    pose = engine.model.qpos0.astype(np.float32)
    state = torch.from_numpy(pose).repeat(2, 1)
    state[1, 2] = 3.0  # the second environment's ball is a metre higher
    engine.write("qpos", state)
    origins = torch.tensor([[0.0, 0, 5], [0, 0, 5], [5, -2, 1], [0, 0, 5]]).repeat(2, 1, 1)
    directions = torch.tensor([[0.0, 0, -1], [0, 0, -2], [0, 1, 0], [0, 0, 1]]).repeat(2, 1, 1)
    assert engine.rays(origins, directions).tolist()[0] == pytest.approx([2.5, 1.25, 1.8, -1.0], abs=1e-6)
    assert engine.rays(origins, directions).tolist()[1] == pytest.approx([1.5, 0.75, 1.8, -1.0], abs=1e-6)
    ball = engine.model.body("robot/ball").id
    assert engine.rays(origins, directions, exclude_body=ball)[0].tolist() == pytest.approx([5, 2.5, 1.8, -1.0])
    alone = engine.rays(origins, directions, exclude_body=ball, include_static=False)
    assert alone[0].tolist() == pytest.approx([-1.0, -1.0, 1.8, -1.0])


def test_sparse_and_dense_jacobians_agree() -> None:
    """MuJoCo 4.0.0 has a bug with sparse Jacobians in one scene; the engine therefore chooses dense ones."""
    scene = quadruped_scene(1)
    engine = standing(scene)
    model = engine.model
    assert model.opt.jacobian == mujoco.mjtJacobian.mjJAC_DENSE
    start = engine.state_rows()[0].copy()
    ends = []
    for kind in (mujoco.mjtJacobian.mjJAC_SPARSE, mujoco.mjtJacobian.mjJAC_DENSE):
        model.opt.jacobian = kind
        data = mujoco.MjData(model)
        mujoco.mj_setState(model, data, start, STATE)
        for _ in range(60):
            mujoco.mj_step(model, data)
        assert data.ncon > 0
        ends.append(data.qpos.copy())
    np.testing.assert_allclose(*ends, atol=1e-6)


def test_large_models_keep_sparse_jacobians() -> None:
    spec = mujoco.MjSpec()
    for _ in range(101):
        body = spec.worldbody.add_body()
        body.add_joint(type=mujoco.mjtJoint.mjJNT_SLIDE)
        body.add_geom(size=[0.1, 0, 0], contype=0, conaffinity=0)
    engine = CpuEngine(spec.compile(), 1, SimulationCfg(threads=1))
    assert engine.model.opt.jacobian == mujoco.mjtJacobian.mjJAC_AUTO


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.field("qposs"), "the CPU engine has no data field 'qposs': did you mean 'qpos'"),
        (lambda e: e.write("xpos", torch.zeros(NUM_ENVS, 1)), "field 'xpos' cannot be written"),
        (lambda e: e.model_field("body_masss"), "the CPU engine cannot vary 'body_masss' per environment"),
        (lambda e: e.write_model("nbody", torch.zeros(NUM_ENVS)), "the CPU engine cannot vary 'nbody'"),
    ],
)
def test_unknown_fields_fail_with_one_line(engine: CpuEngine, call, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        call(engine)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "device 'gpu' is unknown; use 'cpu' or 'cuda:0'"),
        ("meta", "device 'meta' has no engine; use 'cpu' or 'cuda:0'"),
    ],
)
def test_unknown_devices(device: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_engine(mujoco.MjModel.from_xml_string("<mujoco/>"), 1, SimulationCfg(device=device))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="PyTorch sees no CUDA GPU here; use --device cpu"):
        make_engine(mujoco.MjModel.from_xml_string("<mujoco/>"), 1, SimulationCfg(device="cuda:0"))


@pytest.mark.parametrize("num_envs", [0, -3])
def test_num_envs_must_be_positive(num_envs: int) -> None:
    with pytest.raises(ConfigError, match=f"num_envs is {num_envs}; it must be 1 or more"):
        make_engine(mujoco.MjModel.from_xml_string("<mujoco/>"), num_envs, SimulationCfg())


def test_host_data_shows_one_environment(engine: CpuEngine) -> None:
    state = engine.field("qpos").clone()
    state[1, 0] = 4.0
    engine.write("qpos", state)
    engine.ctrl[1] = 2.0
    data = engine.host_data(1)
    assert data.qpos[0] == 4.0
    assert data.xpos[1, 0] == pytest.approx(4.0)
    assert data.ctrl.tolist() == [2.0] * engine.model.nu
    assert engine.host_data(0).qpos[0] == 0.0


def test_nan_stays_in_its_row_and_writes_no_log_file(quadrupeds, engine: CpuEngine, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    engine.step(4)
    start = engine.state_rows().copy()
    ends = []
    for poisoned in (False, True):
        engine.state_rows()[:] = start
        if poisoned:
            nan = torch.full((NUM_ENVS, engine.model.nv), float("nan"))
            engine.write("qvel", nan, torch.tensor([False, True, False]))
            assert engine.finite().tolist() == [True, False, True]
        for _ in range(10):
            engine.step(4)
        ends.append(engine.state_rows().copy())
    assert not np.isfinite(ends[1][1]).all()
    assert np.array_equal(ends[0][[0, 2]], ends[1][[0, 2]])
    assert engine.finite().tolist() == [True, False, True]
    engine.reset(torch.tensor([False, True, False]))
    assert engine.finite().all()
    engine.refresh()
    for name, (mirror, _) in engine._mirrors.items():
        assert torch.isfinite(mirror).all(), name
    assert list(tmp_path.iterdir()) == []


def test_the_capacity_probe_covers_a_drop() -> None:
    from palestra.physics.capacity import probe_capacity

    scene = quadruped_scene(1)
    capacity = probe_capacity(scene.model, num_sims=8, num_steps=80)
    data = scene.engine.host_data(0)
    data.qpos[:] = scene.model.qpos0
    most = 0
    for _ in range(200):
        mujoco.mj_step(scene.model, data)
        most = max(most, data.ncon)
    assert most > 0
    assert capacity.contacts >= most
    assert capacity.constraints >= 4 * most


@pytest.mark.parametrize("threads", [1, 2])
def test_a_refresh_keeps_forces_of_the_last_step_and_a_reset_clears_them(threads: int) -> None:
    xml = """
    <mujoco><worldbody><body name="a"><freejoint/><geom size="0.1" mass="1"/><site name="s"/>
      <body name="b" pos="0.3 0 0"><joint name="h" axis="0 1 0"/><geom size="0.05" mass="1"/></body>
    </body></worldbody>
    <sensor><gyro name="gyro" site="s"/><accelerometer name="acc" site="s"/></sensor></mujoco>
    """
    world = World(num_envs=6, sim=SimulationCfg(dt=0.005, threads=threads), robot=robot_cfg(xml))
    engine = world.engine
    names = ("actuator_force", "qacc", "qfrc_actuator", "sensordata")
    for name in names:
        engine.field(name)
    engine.ctrl.copy_(torch.arange(1.0, 7.0).unsqueeze(-1))
    engine.step(3)
    before = {name: engine.field(name).clone() for name in names}
    assert before["actuator_force"].squeeze(-1).tolist() == [1, 2, 3, 4, 5, 6]
    engine.refresh()
    for name in names:
        assert torch.equal(engine.field(name), before[name]), name
    mask = torch.tensor([False, True, True, False, False, True])
    engine.reset(mask)
    engine.refresh(mask)
    for name in names:
        assert torch.equal(engine.field(name)[~mask], before[name][~mask]), name
        assert engine.field(name)[mask].abs().max() == 0.0, name
    engine.field("qfrc_smooth")  # reading a field for the first time disturbs nothing either
    engine.step(1)
    assert engine.field("actuator_force").squeeze(-1).tolist() == [1, 2, 3, 4, 5, 6]


def test_mujocos_profiler_is_off(engine: CpuEngine) -> None:
    stage = mujoco.mjtTimer.mjTIMER_STEP
    data = mujoco.MjData(engine.model)
    mujoco.mj_step(engine.model, data)
    assert (data.timer[stage].number, data.timer[stage].duration) == (1, 0.0)
    mujoco.set_mjcb_time(None)  # the Python package's own clock again
    mujoco.mj_step(engine.model, data)
    assert data.timer[stage].duration > 0.0
    CpuEngine(engine.model, 1, SimulationCfg())
    duration = data.timer[stage].duration
    mujoco.mj_step(engine.model, data)
    assert data.timer[stage].duration == duration


def test_poses_are_refreshed_from_the_moment_that_somebody_reads_them() -> None:
    world = World(2, SimulationCfg(dt=0.01, threads=1), robot=robot_cfg(PENDULUM, joint_pos={"swing": 0.5}))
    reference = mujoco.MjData(world.engine.model)
    engine = world.engine

    def poses(i: int) -> np.ndarray:
        reference.qpos[:] = engine.state_rows()[i, 1 : 1 + engine.model.nq]
        mujoco.mj_kinematics(engine.model, reference)
        return reference.xpos.astype(np.float32)

    engine.step(5)  # nobody has read a pose
    distance = engine.rays(torch.tensor([[[0.0, 0.0, 9.0]]] * 2), torch.tensor([[[0.0, 0.0, -1.0]]] * 2))
    assert distance.shape == (2, 1)
    for _ in range(3):
        for i in range(2):
            np.testing.assert_array_equal(engine.field("xpos")[i].numpy(), poses(i))
        engine.step(2)
