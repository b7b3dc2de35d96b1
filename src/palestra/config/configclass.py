"""``@configclass``: a dataclass whose class attributes are all fields and whose defaults are copied."""

import copy
import dataclasses
import enum
import functools
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Self, TypeVar, cast, dataclass_transform, overload

from palestra.errors import ConfigError, did_you_mean

MISSING: Any = dataclasses.MISSING
"""``dataclasses.MISSING``, typed so that ``num_envs: int = MISSING`` passes a type checker."""

T = TypeVar("T")

_ATOMIC_TYPES = (
    bool, int, float, complex, str, bytes, type(None), type, types.FunctionType, types.BuiltinFunctionType,
    types.ModuleType, range, enum.Enum, types.EllipsisType,
)  # fmt: skip


class ConfigFieldError(ConfigError, TypeError):
    """A constructor argument that no field of the config class takes."""


class Config:
    """The methods that every ``@configclass`` has; inherit from it only to show them to a type checker."""

    __config_owners__: ClassVar[dict[str, type]]
    """Field name to the class whose body annotated it (absent when no class did)."""

    __hash__ = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Hook that runs after the fields are set; ``super().__post_init__()`` may always be called."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and same_value(vars(self), vars(other))

    def __repr__(self) -> str:
        shown = (f"{k}={'MISSING' if v is MISSING else repr(v)}" for k, v in vars(self).items())
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        duplicate = copy_value(self)
        memo[id(self)] = duplicate
        return duplicate

    def copy(self) -> Self:
        """Return an independent copy; only functions and classes are shared."""
        return copy_value(self)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed; ``__post_init__`` does not run again.

        Raises:
            ConfigFieldError: a name in ``changes`` is no attribute of this config.
        """
        unknown = [name for name in changes if name not in vars(self)]
        if unknown:
            raise _unknown_field(type(self), unknown[0], list(vars(self)))
        duplicate = copy_value(self)
        for name, value in changes.items():
            setattr(duplicate, name, copy_value(value))
        return duplicate

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as nested dictionaries, functions and classes as ``"module:name"``."""
        return _to_plain(self)

    def validate(self, prefix: str = "") -> None:
        """Check that every field has a value, then call every ``validate_config()`` of the tree.

        Args:
            prefix: path of this config in a larger tree, for the message, such as ``"env"``.

        Raises:
            ConfigError: fields are still ``MISSING``; the message lists the path of each.
        """
        validate(self, prefix)


def validate(config: object, prefix: str = "") -> None:
    """Check a config tree as ``Config.validate`` does; usable on any config or container of configs."""
    missing = [path for path, value in walk(config, prefix) if value is MISSING]
    if missing:
        raise ConfigError(
            f"{type(config).__name__}: no value for {', '.join(repr(p) for p in missing)}: "
            "set it in the config class, in its constructor or by an override"
        )
    for path, value in walk(config, prefix):
        check = getattr(value, "validate_config", None)
        if check is not None and is_config(value):
            try:
                check()
            except ConfigError as error:
                raise ConfigError(f"{path}: {error}" if path else str(error)) from error


def is_config(value: object) -> bool:
    """Return whether ``value`` is an instance of a config class (or of any dataclass)."""
    return hasattr(type(value), "__dataclass_fields__") and hasattr(value, "__dict__")


def walk(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield ``(dotted path, value)`` of a tree of configs, dictionaries, lists and tuples, parents first."""
    yield path, value
    if is_config(value):
        children = [(k, v) for k, v in vars(value).items() if not k.startswith("_")]
    elif isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list | tuple):
        children = list(enumerate(value))
    else:
        return
    for key, child in children:
        yield from walk(child, f"{path}.{key}" if path else str(key))


def copy_value(value: T) -> T:
    """Copy a config value in depth; functions, classes and modules are shared."""
    kind = type(value)
    if isinstance(value, _ATOMIC_TYPES) or kind is slice or value is MISSING:
        return value
    if kind is dict:
        return cast(T, {k: copy_value(v) for k, v in cast(dict, value).items()})
    if kind is list:
        return cast(T, [copy_value(v) for v in cast(list, value)])
    if kind is tuple:
        return cast(T, tuple(copy_value(v) for v in cast(tuple, value)))
    if isinstance(value, Config) or hasattr(kind, "__config_owners__"):
        duplicate = kind.__new__(kind)
        duplicate.__dict__.update({k: copy_value(v) for k, v in vars(value).items()})
        return duplicate
    return copy.deepcopy(value)


def same_value(a: object, b: object) -> bool:
    """Return whether two config values are equal; arrays are compared entry by entry."""
    if a is b:
        return True
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_value(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and type(a) is type(b):
        other = cast(list | tuple, b)
        return len(a) == len(other) and all(same_value(x, y) for x, y in zip(a, other, strict=True))
    if hasattr(a, "shape") and hasattr(b, "shape"):
        left, right = cast(Any, a), cast(Any, b)
        return left.shape == right.shape and left.dtype == right.dtype and bool((left == right).all())
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    return bool(a == b)


def callable_name(value: Any) -> str:
    """Return ``"module:qualified.name"`` of a function or class, or the ``repr`` of another callable."""
    name = getattr(value, "__qualname__", None)
    if name is None:
        if isinstance(value, functools.partial):
            given = [repr(a) for a in value.args] + [f"{k}={v!r}" for k, v in value.keywords.items()]
            return f"partial({', '.join([callable_name(value.func), *given])})"
        return f"{type(value).__module__}:{type(value).__qualname__}()"
    return f"{value.__module__}:{name}"


def _to_plain(value: Any) -> Any:
    """Return ``value`` with configs as dictionaries and callables as names; containers keep their types."""
    if is_config(value):
        return {k: _to_plain(v) for k, v in vars(value).items() if not k.startswith("_")}
    if isinstance(value, dict):
        return {k: _to_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        items = [_to_plain(v) for v in value]
        return tuple(items) if isinstance(value, tuple) else items
    if value is not MISSING and callable(value):
        return callable_name(value)
    return value


def _unknown_field(cls: type, name: str, names: list[str]) -> ConfigFieldError:
    return ConfigFieldError(f"{cls.__name__} has no field {name!r}: {did_you_mean(name, names)}")


@overload
def configclass(cls: type[T], /) -> type[T]: ...
@overload
def configclass() -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(field_specifiers=(dataclasses.field,))
def configclass(cls: type | None = None, /) -> Any:
    """Make a config class: a dataclass for trees of settings, as a user of Isaac Lab writes them.

    - Every class attribute is a field, annotated or not; an attribute that overrides an inherited field keeps
      the field's place and annotation. Methods, properties, nested class definitions, ``ClassVar`` and names
      that start with an underscore are no fields.
    - Defaults, and values given to the constructor, are copied: no two instances share a mutable value.
    - Fields without a default are ``MISSING`` until they are set; ``validate()`` lists those that still are.
    - ``__post_init__`` runs last. ``to_dict``, ``replace``, ``copy``, ``validate`` are those of ``Config``.
    """
    return _make_config_class if cls is None else _make_config_class(cls)


def _make_config_class(cls: type) -> type:
    if "__slots__" in cls.__dict__:
        raise ConfigError(f"{cls.__name__}: a config class cannot have __slots__")
    annotations = inspect.get_annotations(cls)
    inherited: dict[str, dataclasses.Field] = {}
    owners: dict[str, type] = {}
    for base in reversed(cls.__mro__[1:]):
        inherited.update(getattr(base, "__dataclass_fields__", {}))
        owners.update(getattr(base, "__config_owners__", {}))
    owners.update((name, cls) for name in annotations)
    ordered: dict[str, Any] = {}
    for name in _definition_order(cls, annotations):
        if name in annotations:
            ordered[name] = annotations[name]
        elif name in inherited:
            ordered[name] = inherited[name].type
        else:
            ordered[name] = Any
    cls.__annotations__ = ordered
    for name, hint in ordered.items():
        _wrap_default(cls, name, hint, inherited.get(name))
    new: Any = cls
    new.__config_owners__ = owners
    own_init = "__init__" in cls.__dict__
    if not cls.__doc__:
        cls.__doc__ = f"Settings of {cls.__qualname__}."
    dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
    if not issubclass(cls, Config):
        for name in _METHODS:
            if not _defined(cls, name):
                setattr(cls, name, Config.__dict__[name])
        if cls.__hash__ is object.__hash__:
            new.__hash__ = None
    if not own_init:
        new.__init__ = _make_init(cls)
    return cls


_METHODS = ("__post_init__", "__eq__", "__repr__", "__deepcopy__", "copy", "replace", "to_dict", "validate")


def _definition_order(cls: type, annotations: dict[str, Any]) -> list[str]:
    """Return the field names of a class body in the order in which the body defines them."""
    order: list[str] = []
    pending = iter(annotations)
    for name, value in cls.__dict__.items():
        if name in annotations:
            for annotated in pending:
                order.append(annotated)
                if annotated == name:
                    break
        elif _is_field_value(cls, name, value):
            order.append(name)
    order.extend(pending)
    return order


def _is_field_value(cls: type, name: str, value: object) -> bool:
    """Return whether an attribute without an annotation is a setting, not a method or a nested class."""
    if name.startswith("_"):
        return False
    if isinstance(value, type):
        return value.__name__ != name
    if isinstance(value, types.FunctionType):
        first = next(iter(value.__code__.co_varnames[: value.__code__.co_argcount]), None)
        return first != "self" and value.__qualname__ != f"{cls.__qualname__}.{name}"
    return not hasattr(type(value), "__get__")  # properties, class methods and other descriptors


def _wrap_default(cls: type, name: str, hint: Any, parent: dataclasses.Field | None) -> None:
    """Wrap a mutable default in a factory that copies it; give a field without default its parent's."""
    if str(hint).startswith(_NO_FIELD) or hint is dataclasses.KW_ONLY:
        return
    default = cls.__dict__.get(name, MISSING)
    if isinstance(default, dataclasses.Field):
        if default.default is not MISSING and not isinstance(default.default, _ATOMIC_TYPES):
            default.default_factory = functools.partial(copy_value, default.default)
            default.default = MISSING
        if default.default is MISSING and default.default_factory is MISSING:
            default.default_factory = _missing
    elif default is MISSING and name not in cls.__dict__ and parent is not None:
        if parent.default_factory is MISSING:
            setattr(cls, name, parent.default)
        else:
            setattr(cls, name, dataclasses.field(default_factory=parent.default_factory))
    elif default is MISSING:
        setattr(cls, name, dataclasses.field(default_factory=_missing))
    elif not isinstance(default, _ATOMIC_TYPES):  # slices too: unhashable before Python 3.12
        setattr(cls, name, dataclasses.field(default_factory=functools.partial(copy_value, default)))


_NO_FIELD = ("ClassVar", "typing.ClassVar", "t.ClassVar")


def _missing() -> Any:
    return MISSING


def _defined(cls: type, name: str) -> bool:
    return any(name in base.__dict__ for base in cls.__mro__ if base is not object)


def _make_init(cls: type) -> Callable[..., None]:
    """Return ``__init__`` of a config class: fields in declaration order, by position or by keyword."""
    fields = dataclasses.fields(cls)
    no_factory = dataclasses.MISSING
    plan = [(f.name, f.default, None if f.default_factory is no_factory else f.default_factory) for f in fields]
    positional = [f.name for f in fields if f.init and not f.kw_only]
    settable = frozenset(f.name for f in fields if f.init)

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if len(args) > len(positional):
            raise ConfigFieldError(
                f"{cls.__name__} takes at most {len(positional)} positional arguments, {len(args)} were given"
            )
        for name, value in zip(positional, args, strict=False):
            if name in kwargs:
                raise ConfigFieldError(f"{cls.__name__}: field {name!r} was given twice")
            kwargs[name] = value
        for name in kwargs:
            if name not in settable:
                raise _unknown_field(cls, name, sorted(settable))
        values = self.__dict__
        for name, default, factory in plan:
            if name in kwargs:
                values[name] = copy_value(kwargs[name])
            else:
                values[name] = default if factory is None else factory()
        self.__post_init__()

    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)]
    for kind, kw_only in (
        (inspect.Parameter.POSITIONAL_OR_KEYWORD, False),
        (inspect.Parameter.KEYWORD_ONLY, True),
    ):
        parameters += [
            inspect.Parameter(f.name, kind, default=... if f.default is MISSING else f.default, annotation=f.type)
            for f in fields
            if f.init and f.kw_only is kw_only
        ]
    init.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    init.__name__ = "__init__"
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init
