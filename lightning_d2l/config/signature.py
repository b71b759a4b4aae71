"""The settings that a registered class or function takes: names, rules and defaults, from its signature."""

from __future__ import annotations

import collections.abc
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from lightning_d2l.config.rules import FLAG, NULL, REAL, Rule, Settings, choice, either, list_of

REQUIRED = "???"  # OmegaConf's mark of a value that must be given
ANY = Rule("a plain value", lambda v: True)
_WHOLE = Rule("a whole number", lambda v: isinstance(v, int) and not isinstance(v, bool))
_TEXT = Rule("text", lambda v: isinstance(v, str))
_LIST = Rule("a list", lambda v: isinstance(v, list))
_GROUP = Rule("a group of settings, such as {a: 1}", lambda v: isinstance(v, Mapping))
_SIMPLE: dict[Any, Rule] = {
    int: _WHOLE, float: REAL, bool: FLAG, str: _TEXT, None: NULL, type(None): NULL, Path: _TEXT, os.PathLike: _TEXT,
    list: _LIST, tuple: _LIST, set: _LIST, dict: _GROUP, Any: ANY, object: ANY, inspect.Parameter.empty: ANY,
}  # fmt: skip
_LISTS = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_LIBRARIES = ("torch", "pytorch_lightning", "lightning")
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


class SignatureError(Exception):
    """What is registered takes something that no configuration can give."""


def settings_of(target: Callable[..., Any], skip: Iterable[str] = ()) -> Settings:
    """The settings of a class or function, but for the parameters in `skip`; those with a default may be left out.

    Raises SignatureError if it takes what is not plain and has no default.
    """
    required, optional, is_open = _parts(target, skip)
    return Settings(required, open=is_open, optional={name: rule for name, (rule, _) in optional.items()})


def defaults_of(target: Callable[..., Any], skip: Iterable[str] = ()) -> dict[str, Any]:
    """The value of each setting that `settings_of` finds, "???" for one that must be given."""
    required, optional, _ = _parts(target, skip)
    found = dict.fromkeys(required, REQUIRED) | {name: value for name, (_, value) in optional.items()}
    return {name: found[name] for name in parameters(target) if name in found}  # in the order of the signature


def parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a class or function by name; raises SignatureError if it tells none."""
    try:
        return inspect.signature(target).parameters
    except (ValueError, TypeError) as error:
        raise SignatureError(f"its parameters are not known ({error})") from error


def takes_any(target: Callable[..., Any]) -> bool:
    """Whether a class or function takes **settings of any names, by a signature that is not that of its library."""
    init = getattr(target, "__init__", None)
    if isinstance(target, type) and str(getattr(init, "__module__", "")).partition(".")[0] in _LIBRARIES:
        return False  # torch.nn.Module.__init__(*args, **kwargs) refuses all of them
    return any(p.kind == p.VAR_KEYWORD for p in parameters(target).values())


def _parts(
    target: Callable[..., Any], skip: Iterable[str]
) -> tuple[dict[str, Rule], dict[str, tuple[Rule, Any]], bool]:
    """The rules of required settings, the rules and defaults of the others, and whether any further may be given."""
    required: dict[str, Rule] = {}
    optional: dict[str, tuple[Rule, Any]] = {}
    hints, left_out = _hints(target), frozenset(skip)
    for name, parameter in parameters(target).items():
        if name in left_out or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        rule = _rule(hints.get(name, parameter.annotation))
        has_default = parameter.default is not parameter.empty
        default = plain(parameter.default) if has_default else None
        if has_default and (rule is None or default is NOT_PLAIN or parameter.kind == parameter.POSITIONAL_ONLY):
            continue  # no configuration can give it, so its default is always used
        if rule is None or parameter.kind == parameter.POSITIONAL_ONLY:
            raise SignatureError(f"its parameter {parameter} has no default, and is not plain data")
        if not has_default:
            required[name] = rule
        else:
            optional[name] = (rule if rule.accepts(default) else either(rule, _only(default)), default)
    return required, optional, takes_any(target)


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Annotations, those written as text evaluated; `Any` for one that can't be, as if it were not there."""
    function = getattr(target, "func", target)  # of functools.partial
    function = inspect.unwrap(function.__init__ if isinstance(function, type) else function)  # type: ignore[misc]
    names, found = getattr(function, "__globals__", {}), {}
    for name, kind in getattr(function, "__annotations__", {}).items():
        try:
            found[name] = typing.get_type_hints(types.SimpleNamespace(__annotations__={name: kind}), names)[name]
        except Exception:  # such as a name that is imported for type checkers alone
            found[name] = Any
    return found


class _NotPlain:
    """The mark of a value that can't stand in a configuration."""


NOT_PLAIN = _NotPlain()


def plain(value: Any) -> Any:
    """A value as lists, dicts, text, numbers, booleans and None; NOT_PLAIN for any other."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (list, tuple)):
        items = [plain(item) for item in value]
        return NOT_PLAIN if NOT_PLAIN in items else items
    if isinstance(value, Mapping):
        found = {key: plain(item) for key, item in value.items()}
        return NOT_PLAIN if NOT_PLAIN in found.values() or not all(isinstance(key, str) for key in found) else found
    return NOT_PLAIN


def _only(default: Any) -> Rule:
    """The default that the annotation does not allow, such as None for an int."""
    return NULL if default is None else Rule(str(default), lambda v: v == default)


def _rule(kind: Any) -> Rule | None:
    """The rule of an annotation; None if no plain value fits it."""
    try:
        if kind in _SIMPLE:
            return _SIMPLE[kind]
    except TypeError:  # not hashable
        return None
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, TypeVar):
        return ANY
    if origin is typing.Annotated or origin in (typing.Final, typing.ClassVar, typing.Required, typing.NotRequired):
        return _rule(inner[0])
    if origin is Literal:
        return _literal(inner)
    if origin in (Union, types.UnionType):
        rules = [rule for part in inner if (rule := _rule(part)) is not None]
        return None if not [r for r in rules if r is not NULL] else either(*rules)
    if origin in _LISTS or kind in _LISTS:
        return _list(origin, inner)
    if origin in _MAPPINGS or kind in _MAPPINGS or typing.is_typeddict(kind):
        return _GROUP
    if origin is os.PathLike:
        return _TEXT
    if isinstance(kind, typing.NewType):
        return _rule(kind.__supertype__)
    return None


def _literal(values: tuple[Any, ...]) -> Rule:
    if all(isinstance(value, str) for value in values):
        return choice(*values)
    shown = ", ".join("null" if v is None else str(v).lower() if isinstance(v, bool) else str(v) for v in values)
    return Rule(f"one of {shown}", lambda v: any(v == value and type(v) is type(value) for value in values))


def _list(origin: Any, inner: tuple[Any, ...]) -> Rule | None:
    items = [part for part in inner if part is not Ellipsis]
    rules = [_rule(part) for part in items]
    if any(rule is None for rule in rules):
        return None
    found = [rule for rule in rules if rule is not None]
    if not found or (len(found) == 1 and found[0] is ANY):
        return _LIST
    if origin is tuple and Ellipsis not in inner:
        kinds = ", ".join(rule.allowed for rule in found)
        return Rule(
            f"a list of {len(found)}: {kinds}",
            lambda v: (
                isinstance(v, list)
                and len(v) == len(found)
                and all(r.accepts(x) for r, x in zip(found, v, strict=True))
            ),
        )
    return list_of(found[0], min_length=0)
