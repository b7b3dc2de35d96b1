"""Assembly of the scene: prefixes, the model for rendering, errors in one line."""

import mujoco
import pytest
import torch
from scenes import HINGES, QuadrupedSceneCfg, World, robot_cfg, spawn

from palestra.assets import ArticulationCfg, AssetBaseCfg, RigidObjectCfg
from palestra.errors import ConfigError
from palestra.robots.unitree_go2 import UNITREE_GO2_CFG
from palestra.scene import InteractiveScene, InteractiveSceneCfg
from palestra.sensors import ContactSensorCfg, SensorBaseCfg
from palestra.sim import DistantLightCfg, DomeLightCfg, GroundPlaneCfg, SimulationCfg
from palestra.terrains import TerrainImporterCfg
from palestra.utils import configclass
from palestra.view.visual_model import visual_model


def test_two_robots_of_one_model_do_not_clash() -> None:
    world = World(
        2,
        robot=robot_cfg(HINGES, joint_pos={"shoulder": 0.1}),
        robot2=robot_cfg(HINGES, pos=(0.0, 2.0, 0.0), joint_pos={"shoulder": -0.2}),
    )
    first, second = world.scene["robot"], world.scene["robot2"]
    assert first.joint_names == second.joint_names == ["shoulder", "elbow", "slide"]
    assert first.body_names == second.body_names
    assert first.data.joint_pos[0].tolist() == pytest.approx([0.1, 0, 0])
    assert second.data.joint_pos[0].tolist() == pytest.approx([-0.2, 0, 0])
    second.write_joint_state_to_sim(torch.full((2, 3), 0.3), torch.zeros(2, 3), env_mask=world.mask(1))
    assert first.data.joint_pos[1].tolist() == pytest.approx([0.1, 0, 0])
    assert second.data.joint_pos[:, 1].tolist() == pytest.approx([0.0, 0.3])
    second.set_joint_effort_target(torch.ones(2, 3))
    world.run(1)
    assert first.data.applied_torque.abs().max() == 0.0
    assert second.data.applied_torque.tolist() == [[1.0] * 3] * 2
    assert second.data.root_pos_w[0].tolist() == pytest.approx([0.0, 2.0, 0.0])
    names = [world.engine.model.joint(i).name for i in range(world.engine.model.njnt)]
    assert len(set(names)) == 6


def test_the_model_of_pictures_has_the_same_state_and_more_geoms() -> None:
    scene = InteractiveScene(QuadrupedSceneCfg(num_envs=1), SimulationCfg(threads=1))
    scene.build()
    model, visual = scene.model, visual_model(scene)
    for size in ("nq", "nv", "nu", "nbody", "njnt", "nsensor"):
        assert getattr(model, size) == getattr(visual, size), size
    assert visual.ngeom > model.ngeom
    assert visual.body_mass.tolist() == pytest.approx(model.body_mass.tolist())
    assert [visual.body(i).name for i in range(visual.nbody)] == [model.body(i).name for i in range(model.nbody)]


def test_the_options_of_the_simulation_reach_the_model() -> None:
    sim = SimulationCfg(
        dt=0.002, gravity=(0, 0, -1.62), integrator="euler", cone="elliptic", iterations=7, impratio=3.0
    )
    option = World(1, sim, robot=robot_cfg(HINGES)).engine.model.opt
    assert (option.timestep, option.iterations, option.impratio) == (0.002, 7, 3.0)
    assert option.gravity.tolist() == [0, 0, -1.62]
    assert option.integrator == mujoco.mjtIntegrator.mjINT_EULER
    assert option.cone == mujoco.mjtCone.mjCONE_ELLIPTIC


def test_the_dome_light_wins_whatever_the_order() -> None:
    lights = {"dome": AssetBaseCfg(spawn=DomeLightCfg(intensity=500.0)), "sun": AssetBaseCfg(spawn=DistantLightCfg())}
    for order in (("dome", "sun"), ("sun", "dome")):
        model = World(1, robot=robot_cfg(HINGES), **{name: lights[name] for name in order}).engine.model
        assert model.vis.headlight.ambient.tolist() == pytest.approx([0.2] * 3)
        assert model.nlight == 1


def test_terrain_importer_makes_a_plane() -> None:
    world = World(1, terrain=TerrainImporterCfg(static_friction=0.6), robot=robot_cfg(HINGES))
    geom = world.engine.model.geom("terrain/plane")
    assert geom.friction[0] == pytest.approx(0.6)
    assert geom.type[0] == mujoco.mjtGeom.mjGEOM_PLANE


def test_entities_by_name() -> None:
    cfg = QuadrupedSceneCfg(num_envs=3)
    scene = InteractiveScene(cfg, SimulationCfg(threads=1))
    scene.build()
    assert scene.keys() == ["robot"]
    assert scene["robot"] is scene.articulations["robot"]
    assert scene.env_origins.shape == (3, 3)
    with pytest.raises(ConfigError, match="the scene has no entity 'robto': did you mean 'robot'"):
        scene["robto"]


def test_an_entity_set_to_none_is_left_out() -> None:
    @configclass
    class SceneCfg(InteractiveSceneCfg):
        ground = AssetBaseCfg(spawn=GroundPlaneCfg())
        robot: ArticulationCfg = robot_cfg(HINGES)
        feet: ContactSensorCfg = ContactSensorCfg(prim_path="robot/rod")

    cfg = SceneCfg(num_envs=1)
    cfg.feet = None
    cfg.ground = None
    scene = InteractiveScene(cfg, SimulationCfg(threads=1))
    scene.build()
    assert scene.keys() == ["robot"]
    assert scene.model.nsensor == 0
    assert [scene.model.geom(i).type[0] for i in range(scene.model.ngeom)].count(int(mujoco.mjtGeom.mjGEOM_PLANE)) == 0


@pytest.mark.parametrize(
    ("entities", "message"),
    [
        ({"thing": SimulationCfg()}, "scene.thing is a SimulationCfg; it must be an asset or sensor configuration"),
        (
            {"eye": SensorBaseCfg(prim_path="robot/base")},
            "scene.eye is a SensorBaseCfg; sensors are ContactSensorCfg, ImuCfg, FrameTransformerCfg",
        ),
        (
            {"robot": robot_cfg("<mujoco><worldbody><body name='b'><freejoint/></body></worldbody></mujoco>", {})},
            "the scene does not compile: ",
        ),
    ],
)
def test_bad_scenes_fail_with_one_line(entities: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        World(1, **entities)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("num_envs", [0, -1, 2.5])
def test_bad_numbers_of_environments(num_envs) -> None:
    with pytest.raises(ConfigError, match="it must be a whole number of 1 or more"):
        InteractiveScene(InteractiveSceneCfg(num_envs=num_envs), SimulationCfg())


def test_direct_environments_may_add_entities_before_building() -> None:
    from palestra.assets import Articulation, RigidObject
    from palestra.sim import SphereCfg

    scene = InteractiveScene(InteractiveSceneCfg(num_envs=1), SimulationCfg(threads=1))
    scene.articulations["robot"] = Articulation(UNITREE_GO2_CFG)
    scene.rigid_objects["ball"] = RigidObject(RigidObjectCfg(spawn=SphereCfg(radius=0.1)))
    scene.clone_environments(copy_from_source=False)
    scene.filter_collisions(global_prim_paths=[])
    scene.build()
    assert scene.keys() == ["robot", "ball"]
    assert scene["ball"].body_names == ["body"]


def test_a_file_that_does_not_load(tmp_path) -> None:
    from palestra.sim import MjcfFileCfg

    path = tmp_path / "broken.xml"
    path.write_text("<mujoco><worldbody><body></worldbody></mujoco>")
    cfg = robot_cfg(HINGES)
    cfg.spawn = MjcfFileCfg(asset_path=str(path))
    with pytest.raises(ConfigError) as error:
        World(1, robot=cfg)
    assert str(error.value).startswith("asset 'robot': broken.xml does not load: ")
    assert "\n" not in str(error.value)
    assert spawn(HINGES).build("x").worldbody.first_body().name == "base"
