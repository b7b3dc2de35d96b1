"""Another model of the same robot: names are taken over, strangers are refused."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from palestra.cli.main import main
from palestra.config import load_env_cfg, make
from palestra.deploy.sim2sim.other_model import OtherModelCfg
from palestra.errors import ConfigError
from palestra.robots.unitree_go2 import ROBOT
from palestra.sim import MjcfFileCfg

Change = Callable[[str], str]


def renamed(text: str) -> str:
    """Return the model with a Menagerie model's habits: few names, motors of its own, passive joints, more mass."""
    text = text.replace('name="base_link"', 'name="base"').replace('<freejoint name="root"/>', "<freejoint/>")
    text = re.sub(r'<geom name="(base|head|.._thigh|.._calf)"', "<geom", text)
    text = re.sub(r'<geom name="(..)_foot"', r'<geom name="\1"', text)
    text = re.sub(r'<site name=".._foot"[^>]*/>', "", text)
    text = re.sub(r'"(.._(?:hip|thigh|calf))_joint"', r'"\1"', text)
    text = text.replace('damping="0.1"', 'damping="2"').replace('mass="6.921"', 'mass="7.921"')
    motor = '<actuator><motor name="own" joint="FL_hip"/></actuator><sensor><jointpos joint="FL_hip"/></sensor>'
    exclude = '<contact><exclude body1="base" body2="FL_thigh"/></contact>'
    return text.replace("</worldbody>", f"</worldbody>{motor}{exclude}")


def written(folder: Path, *changes: Change) -> OtherModelCfg:
    text = ROBOT.path.read_text()
    for change in changes:
        changed = change(text)
        assert changed != text
        text = changed
    (folder / "go2.xml").write_text(text)
    return OtherModelCfg(own=ROBOT.spawn(), other=MjcfFileCfg(asset_path=str(folder / "go2.xml")))


def test_names_are_the_tasks_and_the_mechanics_the_new_models(tmp_path):
    model = written(tmp_path, renamed).build("robot").compile()
    own = ROBOT.spec().compile()
    for kind in ("body", "joint"):
        count = {"body": own.nbody, "joint": own.njnt}[kind]
        names = [[getattr(m, kind)(i).name for i in range(count)] for m in (own, model)]
        assert [n for n in names[0] if n != "root"] == [n for n in names[1] if n]
    for name in ("base", "head", "FL_thigh", "FL_calf", "FL_foot", "RR_foot"):
        np.testing.assert_allclose(model.geom(name).pos, own.geom(name).pos)
        assert model.geom(name).type == own.geom(name).type
    for name in ("imu", "FL_foot", "RR_foot"):
        np.testing.assert_allclose(model.site(name).pos, own.site(name).pos, atol=1e-12)
    assert (model.nu, model.nsensor, model.nexclude) == (0, 0, 1)
    assert model.body_mass.sum() == pytest.approx(own.body_mass.sum() + 1.0)
    assert set(model.dof_damping[6:]) == {2.0}


def test_a_task_runs_with_it(tmp_path):
    spawn = written(tmp_path, renamed)
    found = []
    for changed in (False, True):
        cfg = load_env_cfg("Velocity-Flat-Go2-Play")
        cfg.scene.num_envs, cfg.sim.threads = 1, 1
        if changed:
            cfg.scene.robot.spawn = spawn
        env = make("Velocity-Flat-Go2-Play", cfg=cfg)
        robot, feet = env.scene["robot"], env.scene["feet"]
        found.append((robot.joint_names, robot.body_names, feet.data.net_forces_w.shape, env.observation_dims))
        mass = env.engine.model.body_mass.sum()
        env.close()
    assert found[0] == found[1] and found[0][2][1] == 4
    assert mass == pytest.approx(ROBOT.spec().compile().body_mass.sum() + 1.0)


def leg_removed(text: str) -> str:
    return re.sub(r'<joint name="RR_calf_joint"[^>]*/>', "", text)


def legs_exchanged(text: str) -> str:
    return text.replace('"FL_', '"XX_').replace('"FR_', '"FL_').replace('"XX_', '"FR_')


def axis_turned(text: str) -> str:
    return text.replace('<joint axis="1 0 0"', '<joint axis="-1 0 0"')


def shin_longer(text: str) -> str:
    return text.replace('<body name="RL_calf" pos="0 0 -0.213">', '<body name="RL_calf" pos="0 0 -0.313">')


def base_fixed(text: str) -> str:
    return text.replace('<freejoint name="root"/>', "")


def joint_added(text: str) -> str:
    return text.replace(
        '<site name="imu"', '<body name="tail"><joint name="wag"/><geom size="0.01"/></body><site name="imu"'
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (leg_removed, "it lacks RR_calf"),
        (joint_added, "the task's robot has no wag"),
        (legs_exchanged, "in another order.*: FR_hip, FR_thigh"),
        (axis_turned, "joint 'FL_hip_joint' moves along or about another axis"),
        (shin_longer, "joint 'RL_calf_joint' is 0.10 m from"),
        (base_fixed, "one of the two has a fixed base"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        written(tmp_path, change).build("robot")


def test_broken_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not load"):
        written(tmp_path, lambda text: text[:-20]).build("robot")


def test_the_command_refuses_before_it_runs_anything(tmp_path, monkeypatch, capsys):
    (tmp_path / "unitree_go1").mkdir()
    written(tmp_path / "unitree_go1", leg_removed)
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    checkpoint = tmp_path / "model.pth"
    checkpoint.touch()
    words = ["sim2sim", "Velocity-Flat-Go2", "--checkpoint", str(checkpoint), "--num_episodes=1"]
    assert main([*words, "--menagerie=unitree_go1"]) == 2
    assert "--menagerie unitree_go1: the model does not fit Velocity-Flat-Go2-Play" in capsys.readouterr().err
    assert main([*words, "--variant=odd:sim.nonsense=1"]) == 2
    assert "simulation 'odd': env.sim.nonsense: unknown key" in capsys.readouterr().err
    assert not (tmp_path / "sim2sim").exists()
