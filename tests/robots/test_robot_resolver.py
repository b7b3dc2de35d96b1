"""Finding robots: by file, in the library, under MENAGERIE_ROOT, through the Menagerie package."""

from __future__ import annotations

from pathlib import Path

import mujoco
import mujoco_menagerie
import pytest

from palestra import robots
from palestra.errors import ConfigError
from palestra.robots.ant import ANT_CFG
from palestra.robots.franka_panda import FRANKA_PANDA_CFG
from palestra.sim import MjcfFileCfg, SpecCfg

BALL = """
<mujoco model="{name}">
  <worldbody><body name="{name}"><freejoint/><geom size="0.1"/></body></worldbody>
</mujoco>
"""


def write_model(folder: Path, *stems: str) -> None:
    folder.mkdir(parents=True)
    for stem in stems:
        (folder / f"{stem}.xml").write_text(BALL.format(name=stem).strip())


@pytest.fixture(autouse=True)
def _own_menagerie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the tests off the network and off the user's cache."""
    monkeypatch.delenv("MENAGERIE_ROOT", raising=False)
    monkeypatch.setenv("MENAGERIE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MENAGERIE_BASE_URL", (tmp_path / "nowhere").as_uri())


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "menagerie"
    folder.mkdir()
    monkeypatch.setenv("MENAGERIE_ROOT", str(folder))
    return folder


def test_names_are_the_shipped_robots() -> None:
    assert robots.names() == ["ant", "anymal_c", "cartpole", "franka_panda", "unitree_g1", "unitree_go2", "unitree_h1"]


@pytest.mark.parametrize("name", robots.names())
def test_every_shipped_robot_has_a_record_that_loads(name: str) -> None:
    info = robots.get(name)
    assert info.name == name and info.source and info.license
    assert info.path.is_file() and info.path.stem == name
    assert info.spec().compile().nq > 0
    assert robots.resolve(name).record() == {
        "name": name,
        "source": info.source,
        "license": info.license,
        "path": str(info.path),
        "origin": "palestra",
    }


def test_get_names_the_nearest_robot() -> None:
    with pytest.raises(ConfigError, match=r"robot 'unitree_go': did you mean 'unitree_go2'") as error:
        robots.get("unitree_go")
    assert "\n" not in str(error.value)


def test_resolve_knows_menagerie_names_when_it_suggests() -> None:
    with pytest.raises(ConfigError, match="did you mean 'unitree_a1'") as error:
        robots.resolve("unitree_a11")
    assert "\n" not in str(error.value)


def test_resolve_a_file(tmp_path: Path) -> None:
    write_model(tmp_path / "mine", "ball")
    path = tmp_path / "mine" / "ball.xml"
    model = robots.resolve(str(path))
    assert (model.name, model.origin, model.license) == ("ball", "path", "unknown")
    assert model.path == path.resolve()
    assert model.spec().compile().nbody == 2
    (path.parent / "LICENSE").write_text("MIT")
    assert robots.resolve(path).license == f"see {path.parent / 'LICENSE'}"


def test_a_file_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "here", "ant")
    monkeypatch.chdir(tmp_path / "here")
    assert robots.resolve("ant.xml").origin == "path"
    assert robots.resolve("ant").origin == "palestra"


@pytest.mark.parametrize("missing", ["nothing/here.xml", "nothing.urdf", Path("nothing")])
def test_a_missing_file_is_reported(missing: str | Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        robots.resolve(missing)


def test_a_folder_is_not_a_robot(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        robots.resolve(tmp_path)


def test_a_broken_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.xml"
    path.write_text("<mujoco><worldbody><body></worldbody></mujoco>")
    with pytest.raises(ConfigError, match="'broken'.*does not load") as error:
        robots.resolve(path).spec()
    assert "\n" not in str(error.value)


def test_menagerie_root_takes_the_registrys_default_model(root: Path) -> None:
    registered = mujoco_menagerie.get("boston_dynamics_spot")
    default = registered.entry(registered.default_model).file
    write_model(root / "boston_dynamics_spot", "scene", "spot_arm", Path(default).stem)
    model = robots.resolve("boston_dynamics_spot")
    assert model.origin == "menagerie_root" and model.license == registered.license
    assert model.path == root / "boston_dynamics_spot" / default
    assert robots.menagerie("boston_dynamics_spot", entry="spot_arm").path.stem == "spot_arm"


def test_library_wins_over_menagerie_root_but_not_in_menagerie(root: Path) -> None:
    write_model(root / "unitree_go2", "go2")
    assert robots.resolve("unitree_go2").origin == "palestra"
    assert robots.menagerie("unitree_go2").origin == "menagerie_root"


def test_menagerie_root_with_a_robot_of_ones_own(root: Path) -> None:
    write_model(root / "my_robot", "scene", "body")
    (root / "my_robot" / "LICENSE").write_text("MIT")
    model = robots.resolve("my_robot")
    assert model.path.name == "body.xml" and model.license.startswith("see ")
    assert "my_robot" in robots.menagerie_names()


def test_ambiguous_folder_lists_its_models(root: Path) -> None:
    write_model(root / "my_robot", "one", "two", "scene")
    with pytest.raises(ConfigError, match="holds 2 models, name one as entry: 'one', 'two'"):
        robots.resolve("my_robot")
    assert robots.menagerie("my_robot", "two").path.stem == "two"
    with pytest.raises(ConfigError, match="no model 'tow': did you mean 'two'"):
        robots.menagerie("my_robot", "tow")


def test_menagerie_root_must_be_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="MENAGERIE_ROOT=.* is no folder"):
        robots.menagerie("unitree_g1")
    assert robots.resolve("ant").origin == "palestra"


def test_package_uses_its_cache_even_when_menagerie_root_lacks_the_model(root: Path, tmp_path: Path) -> None:
    registered = mujoco_menagerie.get("boston_dynamics_spot")
    cached = mujoco_menagerie.Cache(tmp_path / "cache").model_path(registered)
    write_model(cached, Path(registered.entry(registered.default_model).file).stem)
    (cached / ".complete").touch()
    model = robots.resolve("boston_dynamics_spot")
    assert model.origin == "menagerie" and model.path.parent == cached
    assert model.source.endswith(mujoco_menagerie.commit()[:12])
    assert model.spec().compile().nbody == 2


def test_failed_download_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="MENAGERIE_ROOT.*prefetch unitree_g1") as error:
        robots.menagerie("unitree_g1")
    assert "\n" not in str(error.value)


def test_unknown_menagerie_robot_or_entry() -> None:
    with pytest.raises(ConfigError, match="did you mean 'unitree_g1'"):
        robots.menagerie("unitree_g11")
    with pytest.raises(ConfigError, match="no model 'g1_with_hand': did you mean 'g1_with_hands'"):
        robots.menagerie("unitree_g1", entry="g1_with_hand")


def test_models_fit_the_spawners(root: Path) -> None:
    write_model(root / "my_robot", "ball")
    model = robots.menagerie("my_robot")
    from_file = model.spawn()
    assert isinstance(from_file, MjcfFileCfg) and from_file.build("robot").body("ball") is not None
    first, second = (SpecCfg(func=model.spec).build("robot") for _ in range(2))
    assert isinstance(first, mujoco.MjSpec) and first is not second


def test_two_robots_share_a_scene_through_their_spawners() -> None:
    assert ANT_CFG.spawn is not None
    assert FRANKA_PANDA_CFG.spawn is not None
    scene = mujoco.MjSpec()
    arm = FRANKA_PANDA_CFG.spawn
    for name, spawner in (("ant", ANT_CFG.spawn), ("left", arm), ("right", arm)):
        frame = scene.worldbody.add_frame(pos=[0.0, 0.0, 0.0])
        scene.attach(spawner.build(name), prefix=f"{name}/", frame=frame)
    model = scene.compile()
    alone = robots.get("franka_panda").spec().compile()
    assert model.nq == 15 + 2 * alone.nq
    for side in ("left", "right"):
        for joint in ("joint4", "finger_joint2"):
            assert model.joint(f"{side}/{joint}").range == pytest.approx(alone.joint(joint).range)
            assert model.joint(f"{side}/{joint}").damping == pytest.approx(alone.joint(joint).damping)
        assert model.body_gravcomp[model.body(f"{side}/hand").id] == 1.0
