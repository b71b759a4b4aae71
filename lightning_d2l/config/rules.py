"""The rules of settings: which values each may take, as data that a check can read and a message can quote."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Rule:
    """Which values one setting may have. `words` completes the sentence "must be ...", or returns what does."""

    words: str | Callable[[], str]
    accepts: Callable[[Any], bool]

    @property
    def allowed(self) -> str:
        return self.words if isinstance(self.words, str) else self.words()


@dataclass(frozen=True)
class Settings:
    """A group of settings: every name in `rules` must be there, with a value that its rule accepts.

    `shorthand` is the rule for one value in place of the whole group, such as `model.init=zeros`. Settings that are
    `optional` may be left out. An `open` group may have further settings of any plain values.
    """

    rules: Mapping[str, Setting]
    shorthand: Rule | None = None
    open: bool = False
    optional: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """A group of settings from which an object is built; the `_target_` must be a key of `table`."""

    table: Mapping[str, Settings]
    optional: bool = False


@dataclass(frozen=True)
class Named:
    """Groups of settings by name, from each of which an object is built; each `_target_` must be a key of `table`."""

    table: Mapping[str, Settings]


Setting = Rule | Settings | Built | Named
ANYTHING = Settings({}, open=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def whole(low: int, high: float = math.inf) -> Rule:
    """A whole number of at least `low` and at most `high`."""
    allowed = f"a whole number from {low} {f'to {high}' if high < math.inf else 'up'}"
    return Rule(allowed, lambda v: _is_number(v) and isinstance(v, int) and low <= v <= high)


def real(interval: str) -> Rule:
    """A number in an interval such as "(0, inf)" or "[0, 1)"."""
    low, high = (float(end) for end in interval[1:-1].split(","))

    def accepts(v: Any) -> bool:
        above = _is_number(v) and (v > low or (v == low and interval[0] == "["))
        return above and (v < high or (v == high and interval[-1] == "]"))

    return Rule(f"a number in {interval}" if math.isfinite(low) else "a number", accepts)


def choice(*options: str) -> Rule:
    """One of the names given."""
    return Rule(f"one of {', '.join(options)}", lambda v: v in options)


def names_of(*tables: Iterable[str]) -> Rule:
    """One of the names in tables that may grow later, such as those of losses."""
    return Rule(
        lambda: f"one of {', '.join(name for table in tables for name in table)}",
        lambda v: isinstance(v, str) and any(v in table for table in tables),
    )


def list_of(rule: Rule, *, min_length: int = 1) -> Rule:
    """A list whose every item obeys `rule`."""
    return Rule(
        lambda: f"a list{' of at least one item' if min_length else ''}, each {rule.allowed}",
        lambda v: isinstance(v, list) and len(v) >= min_length and all(map(rule.accepts, v)),
    )


def one_or_list(rule: Rule) -> Rule:
    """What `rule` accepts, or a list of at least one such value."""
    return Rule(lambda: f"{rule.allowed}, or a list of such", either(rule, list_of(rule)).accepts)


def either(*rules: Rule) -> Rule:
    """What any one of the rules accepts."""
    return Rule(lambda: " or ".join(r.allowed for r in rules), lambda v: any(r.accepts(v) for r in rules))


# Rules that many settings share.
NULL = Rule("null", lambda v: v is None)
FLAG = Rule("true or false", lambda v: isinstance(v, bool))
TEXT = Rule("text", lambda v: isinstance(v, str) and v != "")
COUNT = whole(1)
SEED = whole(0, 2**63 - 1)
REAL = real("(-inf, inf)")
POSITIVE = real("(0, inf)")
NOT_NEGATIVE = real("[0, inf)")
FRACTION = real("[0, 1)")
