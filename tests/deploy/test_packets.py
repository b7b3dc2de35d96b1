"""What goes over the network: whole, in the right order, and nothing that was damaged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palestra.deploy.link import Link, LinkSettings
from palestra.deploy.packets import (
    COMMAND,
    HELLO,
    Layout,
    pack,
    pack_command,
    pack_state,
    unpack,
    unpack_command,
    unpack_state,
)
from palestra.deploy.robot import RobotCommand, RobotState
from palestra.errors import ConfigError

LAYOUT = Layout(("hip", "knee"), {"height": 3}, floating_base=True, lockstep=False, state_rate=500.0)
numbers = st.floats(-1e6, 1e6)


@given(st.lists(numbers, min_size=16, max_size=16), st.booleans(), st.floats(0.0, 1e6), st.integers(0, 2**40))
def test_a_state_arrives_as_it_was_sent(values, contact, stamp, sequence):
    v = np.array(values)
    sent = RobotState(stamp, v[:2], v[2:4], v[4:6], v[6:9], v[9:13], contact, {"height": v[13:]})
    packet = unpack(pack_state(sent, LAYOUT, sequence))
    assert packet is not None and packet.sequence == sequence % 2**32
    found = unpack_state(packet, LAYOUT)
    assert found is not None
    assert (found.stamp, found.base_contact) == (stamp, contact)
    for name in ("joint_pos", "joint_vel", "joint_effort", "base_ang_vel", "base_quat"):
        np.testing.assert_array_equal(getattr(found, name), getattr(sent, name))
    np.testing.assert_array_equal(found.extra["height"], v[13:])


@given(st.lists(numbers, min_size=10, max_size=10), st.sampled_from(["control", "damping", "off"]))
def test_a_command_arrives_as_it_was_sent(values, mode):
    sent = RobotCommand(*np.array(values).reshape(5, 2), mode=mode)
    packet = unpack(pack_command(sent, 7, 1.5))
    assert packet is not None and packet.kind == COMMAND
    found = unpack_command(packet, LAYOUT)
    assert found is not None and found.mode == mode
    for name in ("joint_pos_target", "joint_vel_target", "joint_effort", "stiffness", "damping"):
        np.testing.assert_array_equal(getattr(found, name), getattr(sent, name))


@given(st.integers(0, 30), st.integers(1, 255))
def test_a_packet_with_one_wrong_byte_is_none(place, change):
    data = bytearray(pack(HELLO, 3, 0.25, b"0123456789"))
    data[place % len(data)] ^= change
    assert unpack(bytes(data)) is None


@given(st.binary(max_size=200))
def test_noise_is_no_packet(data):
    assert unpack(data) is None


def test_bodies_of_the_wrong_length_and_infinite_commands_are_none():
    short = unpack(pack(COMMAND, 1, 0.0, b"\0" * 72))
    assert short is not None and unpack_command(short, LAYOUT) is None and unpack_state(short, LAYOUT) is None
    bad = RobotCommand(*np.full((5, 2), np.inf))
    packet = unpack(pack_command(bad, 1, 0.0))
    assert packet is not None and unpack_command(packet, LAYOUT) is None


@given(st.sampled_from([b"", b"{}", b"[1]", b'{"joint_names": 3}', b"\xff\xfe", b'{"joint_names":["a"],"extra":[]}']))
def test_a_description_that_is_none(body):
    assert Layout.from_json(body) is None


def test_a_description_arrives_as_it_was_sent():
    assert Layout.from_json(LAYOUT.to_json()) == LAYOUT


def test_a_link_delays_and_loses_as_told():
    link: Link[int] = Link(LinkSettings(latency=0.01, loss=0.2), seed=5)
    for k in range(5000):
        link.send(k, 0.001 * k)
    assert link.receive(0.00999) == []
    arrived = link.receive(10.0)
    assert [when for when, _ in arrived] == pytest.approx([0.001 * k + 0.01 for _, k in arrived])
    assert 0.18 < link.lost / link.sent < 0.22 and len(arrived) == 5000 - link.lost
    again: Link[int] = Link(LinkSettings(latency=0.01, loss=0.2), seed=5)
    for k in range(5000):
        again.send(k, 0.001 * k)
    assert again.receive(10.0) == arrived


def test_jitter_is_half_normal_and_lets_packets_overtake():
    link: Link[int] = Link(LinkSettings(latency=0.01, jitter=0.004), seed=1)
    for k in range(4000):
        link.send(k, 0.001 * k)
    arrived = link.receive(100.0)
    late = np.array([when - 0.001 * k - 0.01 for when, k in arrived])
    assert late.min() >= 0.0
    assert late.mean() == pytest.approx(0.004 * np.sqrt(2.0 / np.pi), rel=0.05)  # the mean of |N(0, σ²)|
    order = [k for _, k in arrived]
    assert order != sorted(order) and sorted(order) == list(range(4000))


@pytest.mark.parametrize("settings", [{"latency": -0.1}, {"jitter": float("nan")}, {"loss": 1.0}, {"loss": -0.1}])
def test_links_that_cannot_be(settings):
    with pytest.raises(ConfigError, match="it must be"):
        LinkSettings(**settings)
