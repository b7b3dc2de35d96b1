"""What skrl's network definitions may say.

skrl turns a definition into Python source and executes it. A definition may come from a checkpoint or a file that
somebody else wrote, so that only these words and operations get through.
"""

import ast
import keyword
from collections.abc import Iterable
from typing import Any

from palestra.errors import ConfigError, did_you_mean

ACTIVATIONS = ("elu", "leaky_relu", "relu", "selu", "sigmoid", "softmax", "softplus", "softsign", "tanh")
"""Activations that skrl's model instantiators know."""

INPUTS = ("OBSERVATIONS", "STATES", "ACTIONS")
"""What a network can take in: the policy's observations, the critic's states, the actions taken."""

OUTPUTS = ("ACTIONS", "ONE")
"""What a network can give out: a number for each action, or one number."""

_INPUT_FUNCTIONS = ("concatenate", "permute", "one_hot_encoding")
_SPACES = ("OBSERVATION_SPACE", "STATE_SPACE", "ACTION_SPACE")
_UNITS = ("ONE", "NUM_OBSERVATIONS", "NUM_STATES", "NUM_ACTIONS", "OBSERVATIONS", "STATES", "ACTIONS")
_LAYERS = ("linear", "conv2d", "flatten")
_NODES = (
    ast.Expression, ast.Name, ast.Load, ast.Call, ast.Tuple, ast.List, ast.Subscript, ast.Slice, ast.Constant,
    ast.UnaryOp, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div,
)  # fmt: skip


def names_in(expression: str) -> set[str]:
    """Return the names in an expression."""
    return {node.id for node in ast.walk(_parse("expression", expression)) if isinstance(node, ast.Name)}


def check_input(what: str, expression: str, containers: Iterable[str] = ()) -> None:
    """Refuse an input expression that is none, such as ``OBSERVATIONS`` or ``concatenate([net, ACTIONS])``.

    Args:
        what: name of the field, for the message.
        expression: what the user wrote.
        containers: names of the networks before this one, which it may take in.

    Raises:
        ConfigError: an unknown name or operation.
    """
    _check(what, expression, (*INPUTS, *containers, *_SPACES), _INPUT_FUNCTIONS)


def check_output(what: str, expression: str, containers: Iterable[str] = ()) -> None:
    """Refuse an output expression that is none, such as ``ACTIONS`` or ``2 * tanh(ACTIONS)``.

    Raises:
        ConfigError: an unknown name or operation.
    """
    _check(what, expression, (*OUTPUTS, *containers), (*ACTIVATIONS, "concatenate"))


def check_name(what: str, name: str) -> None:
    """Refuse a network's name that is no Python name.

    Raises:
        ConfigError: it is none.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name in (*INPUTS, *_SPACES):
        raise ConfigError(f"{what} is {name!r}: it must be a name of letters, digits and '_', such as 'net'")


def check_layer(what: str, layer: Any) -> None:
    """Refuse a layer that is none: a width, ``flatten``, or ``{linear|conv2d|flatten: …}``.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(layer, int) and not isinstance(layer, bool):
        if layer < 1:
            raise ConfigError(f"{what} is {layer}: a layer has at least 1 unit")
        return
    if layer == "flatten":
        return
    if not isinstance(layer, dict) or len(layer) != 1:
        raise ConfigError(f"{what} is {layer!r}: expected a number of units, 'flatten' or {{conv2d: {{…}}}}")
    ((kind, settings),) = layer.items()
    if kind not in _LAYERS:
        raise ConfigError(f"{what} is a layer {kind!r}: {did_you_mean(str(kind), _LAYERS)}")
    for name, value in settings.items() if isinstance(settings, dict) else [("", settings)]:
        if not (name == "" or str(name).isidentifier()) or not _is_setting(value):
            raise ConfigError(f"{what}: layer {kind!r} cannot have {name or 'the setting'} = {value!r}")


def check_activations(what: str, activations: str | list[str], num_layers: int) -> None:
    """Refuse activations that skrl does not know; an empty name is none.

    Raises:
        ConfigError: unknown, or neither one for all layers nor one for each.
    """
    for name in [activations] if isinstance(activations, str) else activations:
        if name and name not in ACTIVATIONS:
            raise ConfigError(f"{what} is {name!r}: {did_you_mean(name, ACTIVATIONS)}")
    if isinstance(activations, list) and len(activations) not in (0, 1, num_layers):
        raise ConfigError(
            f"{what} has {len(activations)} entries for {num_layers} layers: give one for all or for each"
        )


def _check(what: str, expression: str, names: tuple[str, ...], functions: tuple[str, ...]) -> None:
    tree = _parse(what, expression)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, _NODES) or (isinstance(node, ast.Call) and node.keywords):
            raise ConfigError(f"{what} is {expression!r}: skrl's networks take names, numbers, + - * / and [ ] only")
        allowed = functions if id(node) in called else names
        if isinstance(node, ast.Name) and node.id not in allowed:
            raise ConfigError(f"{what} is {expression!r}: unknown name {node.id!r}: {did_you_mean(node.id, allowed)}")


def _parse(what: str, expression: str) -> ast.Expression:
    try:
        return ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ConfigError(f"{what} is {expression!r}: this is no expression") from error


def _is_setting(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_setting(item) for item in value)
    return isinstance(value, bool | int) or value in _UNITS or value in ("same", "valid", "SAME", "VALID")
