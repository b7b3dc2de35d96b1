"""The CUDA engine against the CPU engine. Run with ``pytest -m gpu`` on a machine with a GPU."""

import mujoco
import pytest
import torch
from scenes import HINGES, World, quadruped_scene, robot_cfg

from palestra.assets import AssetBaseCfg, RigidObjectCfg
from palestra.errors import ConfigError
from palestra.physics import Engine, make_engine
from palestra.robots.unitree_go2 import UNITREE_GO2_CFG
from palestra.sensors import ContactSensorCfg, ImuCfg
from palestra.sim import CuboidCfg, GroundPlaneCfg, SimulationCfg

pytestmark = pytest.mark.gpu

if torch.cuda.is_available():
    from palestra.physics import cuda as cuda_engine
    from palestra.physics.cuda import CudaEngine, can_branch

DEVICES = ("cpu", "cuda:0")
NUM_ENVS = 5
BODIES = '<body name="b"><joint name="j"/><geom size="0.1"/></body>'
FREE_ARM = HINGES.replace("<geom ", '<geom contype="0" conaffinity="0" ')


def sim(device: str, **settings) -> SimulationCfg:
    return SimulationCfg(**{"dt": 0.005, "device": device, "threads": 1, **settings})


def arms(device: str, **settings) -> World:
    return World(NUM_ENVS, sim(device, **settings), robot=robot_cfg(FREE_ARM))


def box_world(device: str, **settings) -> World:
    box = RigidObjectCfg(
        spawn=CuboidCfg(size=(0.2, 0.3, 0.1), mass=2.0), init_state=RigidObjectCfg.InitialStateCfg(pos=(0, 0, 0.4))
    )
    return World(
        NUM_ENVS,
        sim(device, **settings),
        ground=AssetBaseCfg(spawn=GroundPlaneCfg()),
        box=box,
        contact=ContactSensorCfg(prim_path="box/body", track_air_time=True),
        imu=ImuCfg(prim_path="box/body"),
    )


def swing(world: World, steps: int) -> None:
    """Let the arms fall from different states."""
    device = world.engine.device
    start = torch.linspace(-0.4, 0.4, 3 * NUM_ENVS, device=device).view(NUM_ENVS, 3)
    world.robot.write_joint_state_to_sim(start, -start)
    world.robot.set_joint_effort_target(0.05 * start)
    world.engine.refresh()
    world.run(steps // 4, decimation=4)


def tilted(world: World) -> None:
    device = world.engine.device
    state = world.scene["box"].data.default_root_state.clone()
    angle = torch.linspace(0.0, 0.4, NUM_ENVS, device=device)
    state[:, 3], state[:, 4] = torch.cos(angle / 2), torch.sin(angle / 2)
    state[:, 7] = 0.2
    world.scene["box"].write_root_state_to_sim(state)
    world.engine.refresh()


@pytest.fixture(scope="module", params=[True, False], ids=["graph", "eager"])
def gpu_arms(request) -> World:
    return arms("cuda:0", use_cuda_graph=request.param)


def test_a_contact_free_scene_agrees_within_1e_4_after_100_steps(gpu_arms: World) -> None:
    cpu = arms("cpu")
    gpu_arms.reset()
    for world in (cpu, gpu_arms):
        swing(world, 100)
    assert cpu.robot.data.joint_vel.abs().max() > 0.5
    for name in ("qpos", "qvel", "xpos", "xquat", "cvel", "subtree_com", "actuator_force"):
        a, b = cpu.engine.field(name), gpu_arms.engine.field(name).cpu()
        assert a.shape == b.shape and a.dtype == b.dtype == torch.float32
        torch.testing.assert_close(b, a, atol=1e-4, rtol=0, msg=lambda m, name=name: f"{name}: {m}")
    for name in ("body_lin_vel_w", "body_ang_vel_w", "body_com_pos_w", "applied_torque", "joint_acc", "root_pos_w"):
        a, b = getattr(cpu.robot.data, name), getattr(gpu_arms.robot.data, name).cpu()
        torch.testing.assert_close(b, a, atol=2e-3 if name == "joint_acc" else 1e-4, rtol=0)


def test_xmat_is_flat_on_both_engines(gpu_arms: World) -> None:
    cpu = arms("cpu")
    gpu_arms.reset()
    for name in ("xmat", "ximat", "geom_xmat"):
        a, b = cpu.engine.field(name), gpu_arms.engine.field(name)
        gpu_arms.engine.refresh()
        assert a.shape == b.shape
        torch.testing.assert_close(b.cpu()[:, 1:], a[:, 1:], atol=1e-5, rtol=0)


def test_a_dropped_box_settles_at_the_same_pose_within_2_mm() -> None:
    ends = {}
    for device in DEVICES:
        world = box_world(device)
        tilted(world)
        world.run(400, decimation=2)
        data = world.scene["box"].data
        ends[device] = (data.root_pos_w.cpu(), data.projected_gravity_b.cpu(), data.root_vel_w.cpu())
        weight = world.scene["contact"].data.net_forces_w[:, 0].cpu()
        assert weight[:, 2].tolist() == pytest.approx([2 * 9.81] * NUM_ENVS, rel=0.01)
        assert world.scene["imu"].data.lin_acc_b[:, 2].tolist() == pytest.approx([9.81] * NUM_ENVS, rel=0.01)
        assert (world.scene["contact"].data.current_contact_time > 1.0).all()
        assert world.engine.overflow().lines() == []
    torch.testing.assert_close(ends["cuda:0"][0], ends["cpu"][0], atol=2e-3, rtol=0)
    torch.testing.assert_close(ends["cuda:0"][1], ends["cpu"][1], atol=1e-2, rtol=0)
    assert ends["cuda:0"][2].abs().max() < 0.05


def test_a_quadruped_lands_on_its_feet_on_both_engines() -> None:
    heights = {}
    for device in DEVICES:
        scene = quadruped_scene(NUM_ENVS, device=device)
        scene.reset(torch.ones(NUM_ENVS, dtype=torch.bool, device=scene.device), lambda low, high, shape: None)
        scene.engine.refresh()
        for _ in range(100):
            scene.begin_step(0.02)
            scene.write_data_to_sim()
            scene.engine.step(4)
            scene.update(0.02)
        data = scene["robot"].data
        assert (data.projected_gravity_b[:, 2] < -0.99).all()
        heights[device] = data.root_pos_w[:, 2].cpu()
        assert scene.engine.overflow().lines() == []
    torch.testing.assert_close(heights["cuda:0"], heights["cpu"], atol=2e-3, rtol=0)


def test_masked_writes_and_resets(gpu_arms: World) -> None:
    gpu_arms.reset()
    swing(gpu_arms, 20)
    engine = gpu_arms.engine
    names = ("qpos", "qvel", "actuator_force", "sensordata")
    address = {n: engine.field(n).data_ptr() for n in names}
    before = {n: engine.field(n).clone() for n in names}
    mask = gpu_arms.mask(1, 3)
    value = torch.arange(NUM_ENVS * 2.0, device=engine.device).view(NUM_ENVS, 2)
    columns = torch.tensor([2, 0], device=engine.device)
    engine.write("qvel", value, mask, columns)
    assert engine.field("qvel")[1].tolist() == [3.0, before["qvel"][1, 1].item(), 2.0]
    others = ~mask
    assert torch.equal(engine.field("qvel")[others], before["qvel"][others])
    gpu_arms.reset(1, 3)
    assert engine.field("qpos")[1].abs().max() == engine.field("qvel")[1].abs().max() == 0.0
    assert engine.field("actuator_force")[mask].abs().max() == 0.0  # nothing of the old episode
    assert before["actuator_force"][others].abs().max() > 0.0
    for name in names:
        assert torch.equal(engine.field(name)[others], before[name][others]), name
        assert engine.field(name).data_ptr() == address[name]


def test_a_doubled_mass_halves_the_acceleration_where_it_was_written() -> None:
    spinner = """
    <mujoco><worldbody><body name="wheel"><joint name="axle" axis="0 0 1"/>
      <geom type="cylinder" size="0.2 0.05" mass="2" contype="0" conaffinity="0"/></body></worldbody></mujoco>
    """
    results = {}
    for device in DEVICES:
        world = World(NUM_ENVS, sim(device), robot=robot_cfg(spinner))
        engine = world.engine
        engine.field("qacc")
        engine.step(2)  # a captured graph must notice the new arrays
        world.reset()
        mask = world.mask(2, 4)
        engine.write_model("body_mass", 2.0 * engine.model_field("body_mass"), mask)
        engine.write_model("body_inertia", 2.0 * engine.model_field("body_inertia"), mask)
        engine.set_const(mask)
        engine.ctrl.fill_(1.0)
        engine.forward()
        inertia = 0.5 * 2.0 * 0.2**2
        expected = [1 / inertia, 1 / inertia, 0.5 / inertia, 1 / inertia, 0.5 / inertia]
        assert engine.field("qacc").flatten().tolist() == pytest.approx(expected, rel=1e-4)
        engine.step(4)
        speeds = [a * 4 * 0.005 for a in expected]
        assert engine.field("qvel").flatten().tolist() == pytest.approx(speeds, rel=1e-4)
        invweight = engine.model_field("dof_invweight0").flatten().cpu()
        results[device] = (invweight, engine.model_field("body_subtreemass").cpu())
    for a, b in zip(results["cpu"], results["cuda:0"], strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=0)


def test_gains_reach_the_captured_substeps() -> None:
    world = arms("cuda:0")
    world.run(2, decimation=2)
    stiffness = torch.full((NUM_ENVS, 3), 10.0, device=world.engine.device)
    world.robot.write_joint_stiffness_to_sim(stiffness, env_mask=world.mask(1))
    state = torch.full((NUM_ENVS, 3), 0.2, device=world.engine.device)
    world.robot.write_joint_state_to_sim(state, torch.zeros_like(state))
    world.run(1, decimation=1)
    torque = world.robot.data.applied_torque
    assert torque[1].tolist() == pytest.approx([-2.0] * 3, rel=1e-3)
    assert torque[[0, 2, 3, 4]].abs().max() == 0.0


def test_rays() -> None:
    results = {}
    for device in DEVICES:
        world = box_world(device)
        shape = (NUM_ENVS, 3, 3)
        origins = torch.tensor([[0.0, 0, 2], [1, 0, 2], [0, 0, 2]], device=device).expand(shape)
        directions = torch.tensor([[0.0, 0, -1], [0, 0, -2], [0, 0, 1]], device=device).expand(shape)
        everything = world.engine.rays(origins, directions)
        box = world.engine.model.body("box/body").id
        without = world.engine.rays(origins, directions, exclude_body=box)
        moving = world.engine.rays(origins, directions, include_static=False)
        assert everything[3].tolist() == pytest.approx([1.55, 1.0, -1.0], abs=1e-5)  # kept while others are cast
        assert without[0].tolist() == pytest.approx([2.0, 1.0, -1.0], abs=1e-5)
        assert moving[0].tolist() == pytest.approx([1.55, -1.0, -1.0], abs=1e-5)
        results[device] = everything.cpu()
    torch.testing.assert_close(results["cuda:0"], results["cpu"], atol=1e-5, rtol=0)


def test_an_overflow_is_counted_once_and_names_the_setting() -> None:
    world = box_world("cuda:0", njmax=2, nconmax=20)
    state = world.scene["box"].data.default_root_state.clone()
    state[:, 2] = 0.045
    world.scene["box"].write_root_state_to_sim(state)
    world.engine.refresh()
    world.run(1, decimation=2)
    world.reset(0)  # a reset in between must not hide it
    assert world.engine.overflow().lines() == [
        f"{NUM_ENVS} environments overflowed: raise sim.njmax (contacts or constraints were dropped)"
    ]
    world.reset()
    assert world.engine.overflow().lines() == []


def test_nan_stays_in_its_world() -> None:
    ends = []
    for poisoned in (False, True):
        world = box_world("cuda:0")
        tilted(world)
        if poisoned:
            nan = torch.full((NUM_ENVS, 6), float("nan"), device=world.engine.device)
            world.engine.write("qvel", nan, world.mask(2))
        world.run(100, decimation=2)
        ends.append(world.engine.field("qpos").clone())
        if poisoned:
            assert world.engine.finite().tolist() == [True, True, False, True, True]
            world.reset(2)
            assert world.engine.finite().all()
            world.run(1)
            for name in ("qpos", "qvel", "xpos", "sensordata"):
                assert torch.isfinite(world.engine.field(name)).all(), name
    others = [0, 1, 3, 4]
    torch.testing.assert_close(ends[1][others], ends[0][others], atol=1e-3, rtol=0)


def test_unknown_fields_and_devices(gpu_arms: World) -> None:
    engine: Engine = gpu_arms.engine
    for call in (
        lambda: engine.field("qposs"),
        lambda: engine.write("xpos", torch.zeros(1)),
        lambda: engine.model_field("body_masss"),
        lambda: make_engine(engine.model, 1, sim(f"cuda:{torch.cuda.device_count()}")),
    ):
        with pytest.raises(ConfigError) as error:
            call()
        assert "\n" not in str(error.value)


def test_host_data_shows_one_world(gpu_arms: World) -> None:
    gpu_arms.reset()
    swing(gpu_arms, 8)
    data = gpu_arms.engine.host_data(2)
    assert data.qpos.tolist() == pytest.approx(gpu_arms.engine.field("qpos")[2].tolist())
    assert data.xpos[-1].tolist() == pytest.approx(gpu_arms.engine.field("xpos")[2, -1].tolist(), abs=1e-5)


def test_a_step_in_branches_holds_equalities() -> None:
    """A gripper whose fingers mirror each other, and a body that hangs on another one, against the CPU."""
    ends = {}
    text = (
        '<mujoco><worldbody><body name="a" pos="0 0 1"><joint name="u" axis="0 1 0" damping=".1"/>'
        '<geom size=".05" pos=".2 0 0"/><body pos=".2 0 0"><joint name="v" axis="0 1 0" damping=".1"/>'
        '<geom size=".05" pos=".2 0 0"/></body></body><body name="c" pos=".4 0 1.2"><freejoint/><geom size=".03"/></body>'
        '</worldbody><equality><joint joint1="u" joint2="v" polycoef="0 -1 0 0 0"/>'
        '<connect body1="c" body2="a" anchor="0 0 -.1"/></equality></mujoco>'
    )
    spec = mujoco.MjSpec.from_string(text)
    for device in DEVICES:
        settings = sim(device)
        settings.apply_to(spec)
        engine = make_engine(spec.compile(), NUM_ENVS, settings)
        if device != "cpu":
            assert isinstance(engine, CudaEngine) and engine._newton is not None
        for _ in range(12):
            engine.step(4)
        ends[device] = engine.field("qpos").cpu()
    assert ends["cpu"].abs().max() > 0.1
    torch.testing.assert_close(ends["cuda:0"], ends["cpu"], atol=5e-3, rtol=0)


@pytest.mark.parametrize("integrator", ["implicitfast", "implicit", "euler"])
def test_a_step_in_branches_is_the_engines_own_step(integrator: str) -> None:
    """Robots that fall on their feet, with contact sensors, against the engine's own order of the stages."""
    world = World(
        64,
        sim("cuda:0", integrator=integrator),
        ground=AssetBaseCfg(spawn=GroundPlaneCfg()),
        robot=UNITREE_GO2_CFG,
        feet=ContactSensorCfg(prim_path="robot/.*_foot", match="geoms"),
        imu=ImuCfg(prim_path="robot/base_link"),
    )
    engine = world.engine
    assert isinstance(engine, CudaEngine) and engine._branch is not None
    fields = ("qpos", "qvel", "sensordata", "qacc_warmstart", "actuator_force", "qfrc_constraint")
    start = torch.rand(64, engine.model.nv, generator=torch.Generator().manual_seed(0)).to(engine.device)
    results = []
    for branch in (engine._branch, None):
        engine._branch = branch
        engine._graphs.clear()
        world.reset()
        engine.write("qvel", start - 0.5)
        for _ in range(5):
            engine.step(20)
        results.append({name: engine.field(name).clone() for name in fields})
    assert results[1]["qfrc_constraint"].abs().max() > 10.0  # feet are on the ground
    for name in fields:
        scale = float(results[1][name].abs().max())
        close = torch.isclose(results[0][name], results[1][name], atol=1e-3 * scale, rtol=0)
        assert close.float().mean() > 0.97, name  # contacts are summed in any order, and to land is chaotic


@pytest.mark.parametrize("cone", ["pyramidal", "elliptic"])
def test_the_fused_solver_finds_the_engines_own_solution(cone: str) -> None:
    """Robots thrown onto the ground: both solvers take a step from the very same states."""
    world = World(
        256,
        sim("cuda:0", cone=cone, iterations=50, ls_iterations=30, nconmax=40, njmax=150),
        ground=AssetBaseCfg(spawn=GroundPlaneCfg()),
        robot=UNITREE_GO2_CFG,
    )
    engine = world.engine
    assert isinstance(engine, CudaEngine)
    fused = engine._newton
    assert fused is not None
    start = torch.rand(256, engine.model.nv, generator=torch.Generator().manual_seed(0)).to(engine.device)
    engine.write("qvel", 4.0 * start - 2.0)
    contacts = 0
    for _ in range(20):
        engine._newton = fused
        engine._graphs.clear()
        engine.step(10)
        state = {name: engine.field(name).clone() for name in ("qpos", "qvel", "qacc_warmstart")}
        results = []
        for solver in (fused, None):
            engine._newton = solver
            engine._graphs.clear()
            for name, value in state.items():
                engine.write(name, value)
            engine.step(1)
            results.append((engine.field("qvel").clone(), engine.field("qfrc_constraint").clone()))
        contacts += int((results[1][1].abs().amax(1) > 1.0).sum())
        for ours, theirs in zip(*results, strict=True):
            error = (ours - theirs).abs().amax(1) / (1.0 + theirs.abs().amax(1))
            assert error.quantile(0.99) < 2e-3 and error.max() < 0.05
    assert contacts > 1000
    assert engine.overflow().lines() == []


def test_the_unconstrained_acceleration_comes_back_when_somebody_reads_it() -> None:
    world = World(4, sim("cuda:0"), robot=UNITREE_GO2_CFG)
    world.run(2)
    falling = world.engine.field("qacc_smooth")
    world.run(1)
    assert falling[:, 2].tolist() == pytest.approx([-9.81] * 4, rel=1e-2)


def test_models_whose_stages_need_each_other_are_stepped_in_order() -> None:
    def branches(xml: str, **option: int) -> bool:
        spec = mujoco.MjSpec.from_string(f"<mujoco><worldbody>{BODIES}</worldbody>{xml}</mujoco>")
        for name, value in option.items():
            setattr(spec.option, name, value)
        return can_branch(spec.compile())

    assert branches("") and branches('<actuator><motor joint="j"/></actuator>')
    assert not branches('<actuator><adhesion body="b" ctrlrange="0 1"/></actuator>')
    assert branches('<equality><weld body1="b"/></equality>')
    assert not branches('<tendon><fixed><joint joint="j" coef="1"/></fixed></tendon>')
    assert not branches("", integrator=int(mujoco.mjtIntegrator.mjINT_RK4))
    assert not branches("", enableflags=int(mujoco.mjtEnableBit.mjENBL_ENERGY))


def test_one_process_simulates_on_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cuda_engine._CLAIMED, "device", torch.device("cuda:7"))
    with pytest.raises(ConfigError, match="already simulates on cuda:7: start another process for cuda:0"):
        arms("cuda:0")


FIELD = """
<mujoco>
  <asset><hfield name="ground" nrow="321" ncol="161" size="40 80 0.6 0.5"/></asset>
  <worldbody>
    <geom name="ground" type="hfield" hfield="ground"/>
    <body name="ball" pos="{x} {y} 1.2"><freejoint/><geom size="0.03" mass="0.3"/></body>
    <body name="rod" pos="{x2} {y} 1.2"><freejoint/><geom type="capsule" size="0.03 0.2" mass="0.5" euler="0 90 0"/></body>
    <body name="box" pos="{x} {y2} 1.2"><freejoint/><geom type="box" size="0.3 0.2 0.1" mass="3"/></body>
    <body name="tube" pos="{x2} {y2} 1.2"><freejoint/><geom type="cylinder" size="0.1 0.2" mass="1"/></body>
  </worldbody>
</mujoco>
"""


@pytest.mark.parametrize("place", [(0.3, 0.2), (37.1, -76.4)])
def test_things_come_to_rest_on_a_height_field_as_on_the_cpu(place: tuple[float, float]) -> None:
    x, y = place
    model = mujoco.MjModel.from_xml_string(FIELD.format(x=x, y=y, x2=x + 1.6, y2=y + 1.7))
    rows = torch.arange(321).view(-1, 1)
    model.hfield_data[:] = (0.5 + 0.004 * (rows % 2) * torch.ones(1, 161)).flatten().numpy()  # ridges of 2 mm
    heights = {}
    for device in DEVICES:
        engine = make_engine(model, 2, sim(device, nconmax=32, njmax=160))
        engine.step(600)
        assert engine.field("qvel")[:, 2::6].abs().max() < 0.05
        heights[device] = engine.field("xpos")[0, 1:, 2].cpu()
    torch.testing.assert_close(heights["cuda:0"], heights["cpu"], atol=5e-3, rtol=0.0)


def test_feet_that_hit_the_ground_hard_stay_near_its_surface() -> None:
    """MuJoCo Warp's own contacts with a height field are metres deep once in some ten thousand such landings."""
    model = mujoco.MjModel.from_xml_string(FIELD.format(x=0, y=0, x2=3, y2=3))
    generator = torch.Generator().manual_seed(0)
    model.hfield_data[:] = torch.rand(321 * 161, generator=generator).numpy()
    num_envs = 2048
    engine = make_engine(model, num_envs, sim("cuda:0", nconmax=32, njmax=160))
    qpos, qvel = engine.field("qpos").clone(), torch.zeros_like(engine.field("qvel"))
    for start in (0, 7, 14):
        qpos[:, start] = torch.rand(num_envs, generator=generator).to("cuda:0") * 70.0 - 35.0
        qpos[:, start + 1] = torch.rand(num_envs, generator=generator).to("cuda:0") * 150.0 - 75.0
    qvel[:, :3] = 6.0 * torch.rand(num_envs, 3, generator=generator).to("cuda:0") - 3.0
    qvel[:, 2] = -6.0
    engine.write("qpos", qpos)
    engine.write("qvel", qvel)
    for _ in range(100):
        engine.step(4)
        assert engine.field("qvel").view(num_envs, 4, 6)[:, :3, :3].abs().max() < 12.0
        assert engine.field("qpos")[:, 2].min() > -0.1
