"""Config files in RSL-RL's own form."""

from collections.abc import Mapping
from typing import Any

_MARKS = {"algorithm", "actor", "critic", "policy", "num_steps_per_env"}
"""Keys of which RSL-RL's form has at least one at its root, or below ``runner``."""

_OF_OTHERS = ("neptune_project", "multi_gpu", "empirical_normalization")
"""Keys of RSL-RL's form without a place here."""


def native_overlay(values: dict[str, Any]) -> dict[str, Any] | None:
    """Return a file in RSL-RL's form with ``agent`` at its root, or None for another form.

    Both of RSL-RL's forms are taken: settings at the root, and settings below ``runner``. A ``policy`` of RSL-RL
    before 4.0 becomes ``actor`` and ``critic``.
    """
    if "agent" in values or "env" in values:
        return None
    runner = values.get("runner")
    agent = {**values, **runner} if isinstance(runner, Mapping) else dict(values)
    agent.pop("runner", None)
    if not _MARKS & agent.keys():
        return None
    policy = agent.pop("policy", None)
    if isinstance(policy, Mapping):
        normalised = bool(agent.get("empirical_normalization"))
        for model in ("actor", "critic"):
            agent[model] = {**_model(policy, model, normalised), **agent.get(model, {})}
    return {"agent": {key: value for key, value in agent.items() if key not in _OF_OTHERS}}


def _model(policy: Mapping[str, Any], model: str, normalised: bool) -> dict[str, Any]:
    """Return the actor's or the critic's part of an actor-critic's config."""
    recurrent = policy.get("class_name") == "ActorCriticRecurrent"
    out: dict[str, Any] = {"class_name": "RNNModel" if recurrent else "MLPModel"}
    out["obs_normalization"] = policy.get(f"{model}_obs_normalization", normalised)
    names = {f"{model}_hidden_dims": "hidden_dims", "activation": "activation"}
    if recurrent:
        names |= {name: name for name in ("rnn_type", "rnn_hidden_dim", "rnn_num_layers")}
    out |= {new: policy[old] for old, new in names.items() if old in policy}
    if model == "actor":
        noise = {"init_noise_std": "init_std", "noise_std_type": "std_type"}
        out["distribution_cfg"] = {new: policy[old] for old, new in noise.items() if old in policy}
        if policy.get("state_dependent_std"):
            out["distribution_cfg"]["class_name"] = "HeteroscedasticGaussianDistribution"
    return out
