"""Switch off for a while what a task does to imitate a robot's electronics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def ideal_hardware(env: Any) -> Iterator[None]:
    """Let sensors tell the truth and actions arrive at once; dynamics stay as randomized.

    Off are noise, bias, latency, quantization and dropout of observations, encoder bias, action delay, and every event
    or modifier with an attribute ``models_hardware``. Steps are not captured meanwhile.
    """
    manager, events = getattr(env, "observation_manager", None), env.event_manager
    biases = [asset.data.encoder_bias for asset in env.scene.articulations.values()]
    kept = [None if bias is None else bias.clone() for bias in biases]
    delay, capture, paused = env.action_delay, env.capture, events.paused
    clean = False if manager is None else manager.clean
    try:
        env.action_delay, env.capture = None, "off"
        events.paused = paused | frozenset(events.hardware_terms())
        if manager is not None:
            manager.clean = True
        for bias in biases:
            if bias is not None:
                bias.zero_()
        yield
    finally:
        env.action_delay, env.capture, events.paused = delay, capture, paused
        if manager is not None:
            manager.clean = clean
        for bias, values in zip(biases, kept, strict=True):
            if bias is not None:
                bias.copy_(values)
