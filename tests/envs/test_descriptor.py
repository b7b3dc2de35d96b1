"""The machine-readable description: names, slices, units and numbers of every entry."""

import json

import pytest

import palestra
from palestra.cli.info import print_tables
from palestra.config import load_env_cfg
from palestra.config.registry import task_ids
from palestra.envs.descriptor import describe

LEGS = [f"{leg}_{part}_joint" for leg in ("FL", "FR", "RL", "RR") for part in ("hip", "thigh", "calf")]


def description_of(task: str, change=None) -> dict:
    cfg = load_env_cfg(task)
    if change is not None:
        change(cfg)
    env = palestra.make(task, num_envs=1, cfg=cfg)
    try:
        return describe(env, task)
    finally:
        env.close()


@pytest.fixture(scope="module")
def go2() -> dict:
    return description_of("Velocity-Flat-Go2")


def test_the_description_survives_json(go2):
    assert json.loads(json.dumps(go2, allow_nan=False)) == go2
    assert go2["task"] == "Velocity-Flat-Go2"
    assert go2["format"] == 1


def test_control_period(go2):
    assert go2["control"] == {
        "step_dt": pytest.approx(0.02),
        "physics_dt": 0.005,
        "decimation": 4,
        "rate": pytest.approx(50.0),
        "episode_length_s": 20.0,
        "max_episode_length": 1000,
        "action_delay": [0, 0],
    }


def test_observation_slices_cover_the_group_in_order(go2):
    policy = go2["observations"]["policy"]
    assert policy["width"] == 45 and policy["concatenated"]
    assert {t["name"]: t["slice"] for t in policy["terms"]} == {
        "base_ang_vel": [0, 3],
        "projected_gravity": [3, 6],
        "velocity_commands": [6, 9],
        "joint_pos": [9, 21],
        "joint_vel": [21, 33],
        "actions": [33, 45],
    }
    entries = [entry for term in policy["terms"] for entry in term["entries"]]
    assert [entry["index"] for entry in entries] == list(range(45))


def test_observation_entries_have_names_units_and_frames(go2):
    terms = {t["name"]: t for t in go2["observations"]["policy"]["terms"]}
    assert terms["base_ang_vel"]["entries"][1] == {
        "index": 1, "name": "base_ang_vel/y", "units": "rad/s", "frame": "base", "age": 0
    }  # fmt: skip
    critic = {t["name"]: t for t in go2["observations"]["critic"]["terms"]}
    assert critic["base_lin_vel"]["entries"][1] == {
        "index": 46, "name": "base_lin_vel/y", "units": "m/s", "frame": "base", "age": 0
    }  # fmt: skip
    assert [e["units"] for e in terms["velocity_commands"]["entries"]] == ["m/s", "m/s", "rad/s"]
    assert terms["joint_pos"]["joint_names"] == LEGS
    assert [e["name"] for e in terms["joint_vel"]["entries"]] == [f"joint_vel/{name}" for name in LEGS]
    assert terms["actions"]["entries"][0]["name"] == "actions/joint_pos/FL_hip_joint"
    assert terms["base_ang_vel"]["noise"]["n_max"] == 0.2
    assert terms["actions"]["noise"] is None
    assert terms["joint_pos"]["func"].endswith(":joint_pos_rel")


def test_noise_that_is_turned_off_is_not_described():
    play = description_of("Velocity-Flat-Go2-Play")
    assert all(term["noise"] is None for term in play["observations"]["policy"]["terms"])


def test_action_entries_have_scale_and_offset(go2):
    actions = go2["actions"]
    assert actions["width"] == 12
    (term,) = actions["terms"]
    assert term["slice"] == [0, 12] and term["target"] == "joint_position"
    assert term["joint_names"] == LEGS
    assert term["scale"] == [0.25] * 12
    assert term["offset"] == pytest.approx([0.1, 0.8, -1.5, -0.1, 0.8, -1.5, 0.1, 1.0, -1.5, -0.1, 1.0, -1.5])
    assert term["entries"][3] == {"index": 3, "name": "joint_pos/FR_hip_joint", "units": "rad"}


def test_joints_have_defaults_gains_and_limits(go2):
    robot = go2["articulations"]["robot"]
    assert robot["joint_names"] == LEGS
    assert robot["default_joint_pos"][:3] == [0.1, 0.8, -1.5]  # the shortest decimals, not float32's digits
    assert robot["stiffness"] == [25.0] * 12 and robot["damping"] == [0.5] * 12
    assert robot["effort_limits"][:3] == [23.7, 23.7, 45.43]
    assert robot["velocity_limits"][:3] == [30.1, 30.1, 15.7]
    low, high = robot["position_limits"][2]
    assert low < -1.5 < high < 0.0
    assert robot["joint_types"] == ["hinge"] * 12 and robot["is_fixed_base"] is False


def test_commands_rewards_and_terminations_are_listed(go2):
    command = go2["commands"]["base_velocity"]
    assert command["width"] == 3
    assert command["ranges"]["lin_vel_x"] == [-1.0, 1.0]
    weights = {r["name"]: r["weight"] for r in go2["rewards"]}
    assert weights["track_lin_vel_xy_exp"] == 1.5 and weights["dof_acc_l2"] == -2.5e-7
    assert [(t["name"], t["time_out"]) for t in go2["terminations"]] == [("time_out", True), ("base_contact", False)]
    assert [(e["name"], e["mode"]) for e in go2["events"]] == [
        ("reset_base", "reset"),
        ("reset_robot_joints", "reset"),
    ]


def test_a_group_of_rewards_is_described_and_shown(capsys):
    def grouped(cfg):
        cfg.rewards.upright.group = "task"

    description = description_of("Cartpole", grouped)
    assert [(r["name"], r["group"]) for r in description["rewards"]] == [("upright", "task"), ("fallen", "")]
    print_tables(description)
    header = next(line for line in capsys.readouterr().out.splitlines() if "function" in line)
    assert header.split() == ["name", "group", "weight", "function", "parameters"]
    print_tables(description_of("Cartpole"))
    header = next(line for line in capsys.readouterr().out.splitlines() if "function" in line)
    assert header.split() == ["name", "weight", "function", "parameters"]


def test_history_gives_every_past_value_its_own_entry():
    def remember(cfg):
        cfg.observations.policy.pole_angle.history_length = 3

    policy = description_of("Cartpole", remember)["observations"]["policy"]
    assert policy["width"] == 6
    angle = next(t for t in policy["terms"] if t["name"] == "pole_angle")
    assert angle["slice"] == [2, 5] and angle["width"] == 1 and angle["history"] == 3
    assert [(e["index"], e["age"]) for e in angle["entries"]] == [(2, 2), (3, 1), (4, 0)]  # the newest is the last


def test_slides_are_in_metres_and_what_has_no_limit_is_null():
    cartpole = description_of("Cartpole")
    terms = {t["name"]: t for t in cartpole["observations"]["policy"]["terms"]}
    assert terms["cart_pos"]["entries"][0]["units"] == "m"
    assert terms["pole_vel"]["entries"][0]["units"] == "rad/s"
    assert cartpole["actions"]["terms"][0]["entries"][0]["units"] == "N"
    assert cartpole["articulations"]["robot"]["position_limits"][1] == [None, None]


def test_a_direct_environment_has_indices_or_the_names_that_it_gives(monkeypatch):
    from palestra.tasks.classic.cartpole_direct import CartpoleEnv

    with monkeypatch.context() as patch:
        patch.delattr(CartpoleEnv, "io_descriptor")
        plain = description_of("Cartpole-Direct")
    (term,) = plain["observations"]["policy"]["terms"]
    assert [e["name"] for e in term["entries"]] == ["0", "1", "2", "3"]
    assert plain["actions"]["width"] == 1 and plain["rewards"] == []
    assert plain["articulations"]["robot"]["joint_names"] == ["slider_to_cart", "cart_to_pole"]

    names = ["x", {"name": "x_dot", "units": "m/s", "frame": "world"}, "angle", "angle_dot"]
    given = {"observations": {"policy": names}, "actions": ["force"]}
    monkeypatch.setattr(CartpoleEnv, "io_descriptor", lambda env: given, raising=False)
    named = description_of("Cartpole-Direct")
    entries = named["observations"]["policy"]["terms"][0]["entries"]
    assert entries[1] == {"index": 1, "name": "x_dot", "units": "m/s", "scale": None, "frame": "world", "age": 0}
    assert named["actions"]["terms"][0]["entries"] == [{"index": 0, "name": "force", "units": "", "scale": None}]


@pytest.mark.parametrize("task", ["Cartpole", "Reach-Franka"])
def test_a_direct_task_describes_the_numbers_of_its_manager_based_twin(task: str):
    def units(name: str) -> list[str]:
        return [e["units"] for t in description_of(name)["observations"]["policy"]["terms"] for e in t["entries"]]

    assert units(f"{task}-Direct") == units(task)
    joints = description_of(f"{task}-Direct")["actions"]["terms"][0]["entries"]
    assert len(joints) == description_of(task)["actions"]["width"] and all(e["units"] for e in joints)


@pytest.mark.parametrize("task", task_ids())
def test_every_number_of_every_task_has_a_unit(task: str):
    description = description_of(task)
    terms = [t for group in description["observations"].values() for t in group["terms"]]
    entries = [e for t in terms + description["actions"]["terms"] for e in t["entries"]]
    assert [e["name"] for e in entries if not e["units"]] == []


def test_gains_are_the_configured_ones_whatever_an_event_did(go2):
    """A description goes to a robot: what was randomized in environment 0 must not."""
    cfg = load_env_cfg("Velocity-Flat-Go2")
    env = palestra.make("Velocity-Flat-Go2", num_envs=2, cfg=cfg)
    try:
        robot = env.scene["robot"]
        robot.write_joint_stiffness_to_sim(3.0 * robot.data.joint_stiffness)
        robot.write_joint_damping_to_sim(2.0 * robot.data.joint_damping)
        robot.data.joint_pos_limits *= 0.5
        robot.data.joint_effort_limits *= 0.5
        assert robot.data.joint_stiffness[0, 0] == 75.0
        assert describe(env, "Velocity-Flat-Go2")["articulations"] == go2["articulations"]
    finally:
        env.close()
