"""The gait clock and the reward for walking to it, by hand."""

import math
from typing import Any

import pytest
import torch

from palestra.assets import Articulation
from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.envs.mdp.entities import entity
from palestra.envs.mdp.io import describe_observation
from palestra.errors import ConfigError
from palestra.managers import RewardTermCfg, SceneEntityCfg
from palestra.sensors import ContactSensor

from .conftest import CommandsCfg, MakeEnv, same

DT = 0.02


def gait_cfg(
    frequency: tuple[float, float] = (2.0, 2.0),
    duty_factor: tuple[float, float] = (0.6, 0.6),
    offsets: Any = None,
    time: float = 100.0,
) -> mdp.GaitPhaseCommandCfg:
    """The walker's hand and base are its feet: the base is half a cycle behind."""
    return mdp.GaitPhaseCommandCfg(
        resampling_time_range=(time, time),
        offsets={"hand": 0.0, "base": 0.5} if offsets is None else offsets,
        ranges=mdp.GaitPhaseCommandCfg.Ranges(frequency=frequency, duty_factor=duty_factor),
    )


def gait_term(env: ManagerBasedRLEnv, **settings: Any) -> mdp.GaitPhaseCommand:
    term = mdp.GaitPhaseCommand(gait_cfg(**settings), env)
    term.reset(env.all_envs)
    return term


def test_the_clock_by_hand(env: ManagerBasedRLEnv) -> None:
    term = gait_term(env)
    address = term.command.data_ptr()
    term.phase.fill_(0.3)
    for _ in range(5):
        term.compute(DT)
    # 0.3 + 5 · 0.02 s · 2 Hz = 0.5; the base is at 0.5 + 0.5, which is 0.
    same(term.phase, 0.5)
    same(term.command, [0.0, 0.0, -1.0, 1.0, 1.0, 1.0])
    assert term.desired_contact.all()
    for _ in range(5):
        term.compute(DT)
    # The hand at 0.7 swings (0.6 is over), the base at 0.2 stands.
    hand, base = 2 * math.pi * 0.7, 2 * math.pi * 0.2
    same(term.command, [math.sin(hand), math.sin(base), math.cos(hand), math.cos(base), 0.0, 1.0])
    for _ in range(10):
        term.compute(DT)
    same(term.phase, 0.1)  # 0.7 + 0.4 - 1
    assert term.command.data_ptr() == address


def test_feet_stand_for_the_duty_factor(env: ManagerBasedRLEnv) -> None:
    term = gait_term(env, frequency=(1.0, 1.0), duty_factor=(0.35, 0.35))
    term.phase.fill_(0.01)
    standing = torch.zeros(3, 2)
    for _ in range(50):  # a whole cycle
        term.compute(DT)
        standing += term.command[:, 4:]
    same(standing / 50, 0.35, tol=0.021)


def test_the_clock_goes_on_without_a_jump_when_it_is_drawn_anew(env: ManagerBasedRLEnv) -> None:
    term = gait_term(env, frequency=(1.0, 4.0), duty_factor=(0.2, 0.8), time=0.06)
    seen = []
    for _ in range(12):
        env.rng.advance()
        before, frequency = term.command.clone(), term.frequency.clone()
        term.compute(DT)
        seen.append(term.frequency.clone())
        # Turned by exactly the angle of a step with the frequency that held during it.
        turn = torch.complex(term.command[:, 2:4], term.command[:, :2]) / torch.complex(before[:, 2:4], before[:, :2])
        same(turn.angle(), (2 * math.pi * DT * frequency).unsqueeze(-1).expand(3, 2), tol=1e-4)
    assert len(torch.stack(seen)[:, 0].unique()) == 5  # drawn four times in 0.24 s, after the first
    assert term.duty_factor.min() >= 0.2 and term.duty_factor.max() <= 0.8


def test_draws_fill_their_ranges_and_a_reset_keeps_the_others(make_env: MakeEnv) -> None:
    env = make_env(num_envs=300)
    term = gait_term(env, frequency=(1.0, 3.0), duty_factor=(0.4, 0.6))
    assert 1.0 <= term.frequency.min() < 1.05 and 2.95 < term.frequency.max() <= 3.0
    assert 0.4 <= term.duty_factor.min() < 0.41 and 0.59 < term.duty_factor.max() <= 0.6
    assert 0.0 <= term.phase.min() < 0.02 and 0.98 < term.phase.max() < 1.0
    before = {name: value.clone() for name, value in term.state().items()} | {"command": term.command.clone()}
    mask = torch.arange(300) < 50
    env.rng.advance()
    term.reset(mask)
    for name, value in (term.state() | {"command": term.command}).items():
        assert torch.equal(value[50:], before[name][50:]), name
        assert name == "time_left" or (value[:50] != before[name][:50]).any(), name
    assert (term.phase[:50] != before["phase"][:50]).all()


def test_ranges_can_be_written_on_the_device(env: ManagerBasedRLEnv) -> None:
    term = gait_term(env)
    term.ranges["frequency"].fill_(3.0)
    term.reset(env.all_envs)
    same(term.frequency, 3.0)
    assert term.ranges_state()["ranges"][0].tolist() == [3.0, 3.0]
    term.cfg.ranges.frequency = (1.5, 1.5)
    term.apply_cfg()
    term.reset(env.all_envs)
    same(term.frequency, 1.5)
    term.cfg.ranges.duty_factor = (0.5, 1.5)
    with pytest.raises(ConfigError, match="duty_factor"):
        term.apply_cfg()


def test_entries_have_names(env: ManagerBasedRLEnv) -> None:
    term = gait_term(env)
    names = ["hand/phase_sin", "base/phase_sin", "hand/phase_cos", "base/phase_cos", "hand/contact", "base/contact"]
    assert list(term.io.entries) == names and len(names) == term.command.shape[1]
    env.command_manager._terms["gait"] = term
    entries = describe_observation(env, mdp.generated_commands, {"command_name": "gait"}, 6)
    assert [(e.name, e.units, e.frame) for e in entries] == [(name, "1", "") for name in names]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"offsets": {}}, r"gait command: offsets is empty; it must be {foot: share of the cycle}"),
        ({"offsets": {"hand": "half"}}, r"gait command: offsets\['hand'\] is 'half'; it must be a share of the cycle"),
        ({"offsets": {"hand": math.inf}}, r"offsets\['hand'\] is inf"),
        ({"frequency": (0.0, 1.0)}, r"ranges.frequency is \(0.0, 1.0\); it must be above 0 and at most 25 Hz"),
        ({"frequency": (2.0, 26.0)}, "half the control rate"),
        ({"frequency": (2.0, 1.0)}, "low must not exceed high"),
        ({"duty_factor": (-0.1, 0.5)}, r"ranges.duty_factor is \(-0.1, 0.5\); it must be within \[0, 1\]"),
        ({"duty_factor": (0.5, 1.1)}, r"must be within \[0, 1\]"),
        ({"duty_factor": 0.5}, r"duty_factor is 0\.5; it must be \(low, high\)"),
    ],
)
def test_bad_clocks(env: ManagerBasedRLEnv, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        gait_term(env, **settings)


# --- the reward -------------------------------------------------------------------------------------------------------


def walking(make_env: MakeEnv, params: dict[str, Any] | None = None, **gait: Any) -> ManagerBasedRLEnv:
    params = {"command_name": "gait", "sensor_cfg": SceneEntityCfg("contacts", body_names=["base", "hand"])} | (
        params or {}
    )
    commands = {"velocity": CommandsCfg().velocity, "gait": gait_cfg(**gait)}
    term = RewardTermCfg(func=mdp.feet_gait, weight=1.0, params={k: v for k, v in params.items() if v is not None})
    return make_env(commands=commands, rewards={"gait": term})


def gait_reward(env: ManagerBasedRLEnv) -> torch.Tensor:
    env.reward_manager.compute(DT, torch.ones(env.num_envs, dtype=torch.bool))
    return env.reward_manager.step_values[0]


def test_feet_that_agree_with_the_clock(make_env: MakeEnv) -> None:
    env = walking(make_env)
    command = env.command_manager.get_term("gait")
    forces = entity(env, "contacts", ContactSensor).data.net_forces_w  # of base, arm and hand
    forces.zero_()
    forces[:, 1, 2] = 50.0  # the arm is no foot
    command.desired_contact.copy_(torch.tensor([[True, False], [False, False], [True, True]]))  # hand, base
    same(gait_reward(env), torch.tensor([0.5, 1.0, 0.0]))
    forces[:, 2, 0] = 3.0  # the hand touches, pushed sideways
    same(gait_reward(env), torch.tensor([1.0, 0.5, 0.5]))
    forces[:, 0, 2] = 0.9  # below the threshold of 1 N
    same(gait_reward(env), torch.tensor([1.0, 0.5, 0.5]))
    forces[:, 0, 2] = 1.1
    same(gait_reward(env), torch.tensor([0.5, 0.0, 1.0]))


def test_the_threshold_is_in_newtons(make_env: MakeEnv) -> None:
    env = walking(make_env, {"threshold": 5.0})
    env.command_manager.get_term("gait").desired_contact.fill_(True)
    forces = entity(env, "contacts", ContactSensor).data.net_forces_w
    forces.zero_()
    forces[:, 0, 2], forces[:, 2, 2] = 4.0, 6.0
    same(gait_reward(env), 0.5)


def test_who_is_told_to_stand_has_all_feet_on_the_ground(make_env: MakeEnv) -> None:
    env = walking(make_env, {"velocity_command_name": "velocity", "standing_below": 0.2})
    forces = entity(env, "contacts", ContactSensor).data.net_forces_w
    forces.zero_()
    forces[:, 0, 2] = 50.0  # the base alone touches
    env.command_manager.get_term("gait").desired_contact.fill_(False)
    velocity = env.command_manager.get_command("velocity")
    velocity.copy_(torch.tensor([[0.0, 0.0, 0.21], [0.1, 0.1, 0.1], [0.0, -0.3, 0.0]]))  # norms 0.21, 0.17, 0.3
    same(gait_reward(env), torch.tensor([0.5, 0.5, 0.5]))
    forces[:, 2, 2] = 50.0  # and the hand
    same(gait_reward(env), torch.tensor([0.0, 1.0, 0.0]))


def test_feet_in_the_air_are_to_be_at_a_height(make_env: MakeEnv) -> None:
    params = {
        "target_height": 0.5,
        "sensor_cfg": SceneEntityCfg("contacts", body_names=["base", "hand"]),
        "asset_cfg": SceneEntityCfg("robot", body_names=["base", "hand"]),
    }
    env = make_env(rewards={"swing": RewardTermCfg(func=mdp.feet_swing_height_l2, weight=-1.0, params=params)})
    forces = entity(env, "contacts", ContactSensor).data.net_forces_w_history
    forces.zero_()
    env.reset(seed=0)
    base, _, hand = (entity(env, "robot", Articulation).data.body_pos_w[0, :, 2] - env.scene.env_origins[0, 2]).tolist()
    env.reward_manager.compute(DT, torch.ones(3, dtype=torch.bool))
    same(env.reward_manager.step_values[0][0], (base - 0.5) ** 2 + (hand - 0.5) ** 2)
    forces[:, 0, 0, 1] = -50.0  # the base pushed something, at the newest of the forces
    env.reward_manager.compute(DT, torch.ones(3, dtype=torch.bool))
    same(env.reward_manager.step_values[0][0], (hand - 0.5) ** 2)


def test_a_step_uses_the_clock_that_the_policy_saw(make_env: MakeEnv) -> None:
    env = walking(make_env, duty_factor=(0.5, 0.5))
    env.command_manager.get_term("gait").phase.fill_(0.48)
    env.command_manager.get_term("gait")._update_command()  # the hand stands, the base swings
    env.step(torch.zeros(3, 4))  # in the air: no foot touches
    same(env.reward_manager.step_values[0], 0.5)
    env.command_manager.get_term("gait").desired_contact.fill_(False)
    env.step(torch.zeros(3, 4))
    same(env.reward_manager.step_values[0], 1.0)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"command_name": "velocity"}, "command 'velocity' is a UniformVelocityCommand; it must be a GaitPhaseComm"),
        ({"command_name": "pace"}, "no command term 'pace'"),
        ({"command_name": None}, "parameter 'command_name' is missing; it takes command_name, sensor_cfg, threshold"),
        ({"sensor_cfg": SceneEntityCfg("imu")}, "entity 'imu' is a Imu; the term needs a ContactSensor"),
        (
            {"sensor_cfg": SceneEntityCfg("contacts")},
            r"sensor_cfg selects \['base', 'arm', 'hand'\]; the feet of command 'gait' are \['hand', 'base'\]",
        ),
        (
            {"sensor_cfg": SceneEntityCfg("contacts", body_ids=[0, 1])},
            r"sensor_cfg selects \['base', 'arm'\]; the feet of command 'gait' are \['hand', 'base'\]",
        ),
    ],
)
def test_feet_and_clock_must_fit(make_env: MakeEnv, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^reward term 'gait': {message}"):
        walking(make_env, params)
