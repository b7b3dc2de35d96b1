"""Config files as skrl's users write them: ``seed``, ``models``, ``memory``, ``agent``, ``trainer`` at the top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from palestra.errors import ConfigError

_SECTIONS = ("models", "memory", "trainer")
_IGNORED = {
    "agent": ("random_timesteps", "learning_starts"),  # of off-policy agents; skrl ignores them too
    "trainer": ("close_environment_at_exit", "stochastic_evaluation"),  # palestra closes; its eval takes the mean
}
_NULL_MEANS_EMPTY = "_kwargs"


def native_overlay(values: dict[str, Any]) -> dict[str, Any] | None:
    """Turn the values of a skrl config file into an overlay with ``agent`` at its root.

    The names of skrl 1 are understood too: ``lambda``, ``clip_predicted_values``, ``state_preprocessor`` and ``STATES``
    for what the policy sees.

    Args:
        values: what the file holds; it is left alone.

    Returns:
        The overlay, or None if the file has another form.

    Raises:
        ConfigError: the file asks for something that a run of ``palestra train`` does not have.
    """
    agent = values.get("agent")
    if not any(name in values for name in _SECTIONS) and not (isinstance(agent, Mapping) and "class" in agent):
        return None
    for name in ("agent", *_SECTIONS):
        if not isinstance(values.get(name, {}), Mapping):
            raise ConfigError(f"{name}: expected a mapping, got {values[name]!r}")
    native = _copy({name: values[name] for name in ("models", "memory", "agent", "trainer") if name in values})
    for name, keys in _IGNORED.items():
        for key in keys:
            native.get(name, {}).pop(key, None)
    overlay: dict[str, Any] = {**values, **native}
    if "agent" in native:
        _rename_version_1(native["agent"])
        overlay.update(_agent(native["agent"], native.get("trainer", {})))
    if "models" in native:
        _states_of_version_1(native["models"])
    return {"resolved": True, "agent": _rename_classes(overlay)}  # resolved: settings of a scheduler replace another's


def _agent(agent: dict[str, Any], trainer: dict[str, Any]) -> dict[str, Any]:
    """Take out of the agent's section what is not its own here, and return it as entries of the root."""
    for name in [name for name, value in agent.items() if name.endswith(_NULL_MEANS_EMPTY) and value is None]:
        agent[name] = {}
    for name in ("learning_rate", "learning_rate_scheduler", "learning_rate_scheduler_kwargs"):
        if isinstance(agent.get(name), list):  # skrl takes one for each model, and PPO the first
            agent[name] = agent[name][0]
    if agent.get("rewards_shaper", 0) is None:
        del agent["rewards_shaper"]
    if "rewards_shaper_scale" in agent and agent["rewards_shaper_scale"] is None:
        agent["rewards_shaper_scale"] = 1.0
    root = _experiment(agent.get("experiment") or {}, agent.get("rollouts"))
    if "experiment" in agent:
        agent["experiment"] = {k: v for k, v in (agent["experiment"] or {}).items() if k not in _OF_THE_RUN}
    if isinstance(agent.get("rollouts"), int) and isinstance(trainer.get("timesteps"), int) and agent["rollouts"] > 0:
        root["max_iterations"] = max(1, trainer.pop("timesteps") // agent["rollouts"])
    return root


_OF_THE_RUN = ("directory", "experiment_name", "checkpoint_interval", "store_separately", "wandb", "wandb_kwargs")


def _experiment(experiment: Mapping[str, Any], rollouts: Any) -> dict[str, Any]:
    """Return what skrl's experiment settings are for a run folder."""
    root: dict[str, Any] = {}
    if experiment.get("directory"):
        root["experiment_name"] = experiment["directory"]
    if experiment.get("experiment_name"):
        root["run_name"] = experiment["experiment_name"]
    interval = experiment.get("checkpoint_interval")
    if isinstance(interval, int) and interval > 0 and isinstance(rollouts, int) and rollouts > 0:
        root["save_interval"] = max(1, interval // rollouts)
    if experiment.get("wandb"):
        root["logger"] = "wandb"
        project = (experiment.get("wandb_kwargs") or {}).get("project")
        root.update({} if project is None else {"wandb_project": project})
    if experiment.get("store_separately"):
        raise ConfigError("agent.experiment.store_separately: a checkpoint is one file here; set it to false")
    return root


def _rename_version_1(agent: dict[str, Any]) -> None:
    """Give an agent's settings the names of skrl 2, as skrl's ``Runner`` does."""
    if "lambda" in agent:
        agent["gae_lambda"] = agent.pop("lambda")
    if not agent.pop("clip_predicted_values", True):
        agent["value_clip"] = 0.0
    for part in ("", "_kwargs"):
        if f"state_preprocessor{part}" in agent and f"observation_preprocessor{part}" not in agent:
            agent[f"observation_preprocessor{part}"] = agent.pop(f"state_preprocessor{part}")
        if f"shared_state_preprocessor{part}" in agent:
            agent[f"state_preprocessor{part}"] = agent.pop(f"shared_state_preprocessor{part}")


def _states_of_version_1(models: dict[str, Any]) -> None:
    """Let ``STATES`` be ``OBSERVATIONS`` where the policy itself takes it in, as skrl 1 called what a policy sees."""
    networks = [n for model in models.values() if isinstance(model, dict) for n in _networks(model)]
    of_policy = _networks(models.get("policy") or {})
    inputs = [n["input"] for n in networks if isinstance(n.get("input"), str)]
    sees_states = any("STATES" in n["input"] for n in of_policy if isinstance(n.get("input"), str))
    if sees_states and not any("OBSERVATIONS" in text for text in inputs):
        for network in networks:
            if isinstance(network.get("input"), str):
                network["input"] = network["input"].replace("STATES", "OBSERVATIONS")


def _networks(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    networks = model.get("network")
    return [n for n in networks if isinstance(n, dict)] if isinstance(networks, list) else []


def _rename_classes(value: Any) -> Any:
    """Return ``value`` with ``class_name`` for each key ``class``."""
    if isinstance(value, Mapping):
        return {("class_name" if k == "class" else k): _rename_classes(v) for k, v in value.items()}
    return value


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value
