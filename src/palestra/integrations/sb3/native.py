"""Configuration files in the form of RL Baselines3 Zoo and of Isaac Lab's ``sb3_ppo_cfg.yaml``."""

from __future__ import annotations

import ast
from typing import Any

from palestra.errors import ConfigError

MARKS = {"n_steps", "batch_size", "n_epochs", "gae_lambda", "ent_coef", "vf_coef", "n_timesteps", "policy_kwargs"}
"""Keys by which such a file is known."""

WHOLE = {"n_envs", "n_timesteps", "n_steps", "batch_size", "n_epochs"}
"""Numbers that such a file may write as ``1e6``."""

UNUSED = {"env_wrapper", "vec_env_wrapper", "frame_stack", "callback", "monitor_kwargs", "env_kwargs", "vec_env_kwargs"}
"""Keys of RL Zoo that ask for what a task of Palestra decides itself."""


def native_overlay(values: dict[str, Any]) -> dict[str, Any] | None:
    """Return a file's values below ``agent`` (and ``env``, for ``n_envs``), or None for a file in another form.

    RL Zoo's files name an environment at their root; one with a single environment is taken, whatever its name.

    Raises:
        ConfigError: several environments, or a setting that has no counterpart.
    """
    if {"env", "agent", "task"} & set(values):
        return None
    tables = {name: value for name, value in values.items() if isinstance(value, dict) and MARKS & set(value)}
    if not MARKS & set(values):
        if len(tables) > 1:
            raise ConfigError(f"the file is for several environments ({', '.join(tables)}): keep one")
        if not tables or len(values) > 1:
            return None
        (values,) = tables.values()
    agent = {name: value for name, value in values.items() if name not in UNUSED}
    for name in UNUSED & set(values):
        if values[name]:
            raise ConfigError(f"{name} has no counterpart here: the task itself says what the environment is")
    for name in WHOLE & set(agent):
        if isinstance(agent[name], float) and agent[name].is_integer():  # 1e6
            agent[name] = int(agent[name])
    overlay: dict[str, Any] = {"agent": agent}
    if "n_envs" in agent:
        overlay["env"] = {"scene": {"num_envs": agent.pop("n_envs")}}
    if isinstance(agent.get("policy_kwargs"), str):
        agent["policy_kwargs"] = _parse("policy_kwargs", agent["policy_kwargs"])
    normalize = _normalization(agent)
    if normalize:
        agent["vec_normalize"] = normalize
    return overlay


def _normalization(agent: dict[str, Any]) -> dict[str, Any]:
    """Take the keys about normalisation out of ``agent``, and return them for ``vec_normalize``."""
    wanted = agent.pop("normalize", False)
    out: dict[str, Any] = {}
    if wanted:
        out = {"norm_obs": True, "norm_reward": True}
        out |= _parse("normalize", wanted) if isinstance(wanted, str) else wanted if isinstance(wanted, dict) else {}
    for name, field in (("normalize_input", "norm_obs"), ("normalize_value", "norm_reward"), ("clip_obs", "clip_obs")):
        if name in agent:
            out[field] = agent.pop(name)
    return out


def _parse(name: str, text: str) -> dict[str, Any]:
    """Return what ``"dict(net_arch=[64], activation_fn=nn.ReLU)"`` means; nothing is run.

    Raises:
        ConfigError: anything but literals, ``dict(…)`` and dotted names.
    """
    try:
        value = _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{name} is {text!r}: expected dict(…) of plain values ({error})") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{name} is {text!r}: expected dict(…)")
    return value


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {
            _value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True) if key is not None
        }
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Attribute):  # nn.ReLU
        return node.attr
    return ast.literal_eval(node)
