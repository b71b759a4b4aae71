"""Calls from Python as the words of a command line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.compose import parse, quote

FLAGS = ("-h", "--help", "--hydra-help", "-c", "--cfg", "-i", "--info", "-sc", "--shell-completion", "-p", "--package",
         "--resolve", "-r", "--run", "-m", "--multirun", "--version")  # fmt: skip
BARE = re.compile(r"[A-Za-z_][\w./+-]*", re.ASCII)
"""Text that means the same with and without quotes inside a list."""


def words_of(words: Sequence[str], settings: Mapping[str, Any], *, several: bool) -> list[str]:
    """The words of a call: those that it gives, then its keywords as `key=value`.

    A text is what stands behind the `=` on a command line; None is null, a list one value, and a mapping the settings
    of a group. A tuple, range or array holds `several` values of a sweep. Raises RequestError on anything else.
    """
    for word in words:
        if not isinstance(word, str):
            raise RequestError(f"{_short(word)}: must be a text such as 'optimizer.lr=0.1', not {type(word).__name__}")
        if word.partition("=")[0] in FLAGS:
            raise RequestError(f"{word}: belongs on a command line; in Python train does one run, sweep does several")
        if not word.partition("=")[0].strip():
            raise RequestError(f"{word!r}: must be of the form key=value")
    found = [f"{key}={_text(key, value, several=several)}" for key, value in _flat(settings)]
    made = [*words, *(word if several else _single(word) for word in found)]
    if not several:
        for word in made:
            _require_one_value(word)
    return made


def _flat(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _text(key: str, value: Any, *, several: bool) -> str:
    value = _plain(value)
    if isinstance(value, str):
        return value
    if isinstance(value, (tuple, range, set, frozenset)):
        if not several:
            raise RequestError(f"{key}={_short(value)}: several values are for lightning_d2l.sweep; use a list for one")
        if isinstance(value, range) and len(value) > 1:
            return f"range({value.start},{value.stop}{f',{value.step}' if value.step != 1 else ''})"
        if not value:
            raise RequestError(f"{key}={_short(value)}: holds no value")
        return ",".join(_inner(key, each) for each in value)
    if isinstance(value, os.PathLike):
        return quote(os.fspath(value))
    return _inner(key, value)


def _inner(key: str, value: Any) -> str:
    """A value as Hydra's grammar writes it, also inside a list."""
    value = _plain(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, os.PathLike):
        return quote(os.fspath(value))
    if isinstance(value, str):
        return value if BARE.fullmatch(value) and value not in ("null", "true", "false", "nan", "inf") else quote(value)
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_inner(key, each) for each in value)}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_inner(key, str(name))}:{_inner(key, each)}" for name, each in value.items()) + "}"
    what = f"a {type(value).__name__}" if not isinstance(value, type) else f"the class {value.__name__}"
    raise RequestError(
        f"{key}: is {what}; must be text, a number, true or false, None, or lists and mappings of these\n"
        "objects of your own are registered by lightning_d2l.register, or trained by lightning_d2l.fit"
    )


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy and torch as Python's."""
    if hasattr(value, "tolist") and hasattr(value, "ndim"):
        made = value.tolist()
        return tuple(made) if isinstance(made, list) else made
    return value


def _single(word: str) -> str:
    """A keyword of a single run; what is no value of Hydra's grammar, such as a file name with blanks, is text."""
    key, _, value = word.partition("=")
    try:
        parse([word])
    except RequestError as error:
        if "not of the form" not in str(error):
            raise
        return f"{key}={quote(value)}"
    return word


def _require_one_value(word: str) -> None:
    if word.startswith("-") or "=" not in word:
        return
    for override in parse([word]):
        if override.is_sweep_override():
            raise RequestError(
                f"{word}: several values are for lightning_d2l.sweep; a list needs brackets: "
                f"'{override.key_or_group}=[...]'"
            )


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
