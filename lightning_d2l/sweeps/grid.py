"""The jobs of a command line: every combination of the swept values, each with a name."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from lightning_d2l.compat_hydra import (
    ConfigLoader,
    Override,
    OverridesParser,
    OverrideType,
    QuotedString,
    RangeSweep,
    ValueType,
)
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.escape import file_name

MOST_JOBS = 1_000_000


class Grid(NamedTuple):
    """The swept keys, the overrides of each job by its name, and the values that mean the same as an earlier one."""

    varied: list[str]
    jobs: dict[str, list[str]]
    repeated: list[str]


def grid(arguments: Sequence[str], loader: ConfigLoader | None = None, params: Sequence[str] = ()) -> Grid:
    """Every combination of the values in `arguments`, and in `params` for the keys that these do not give.

    The values of the last key change fastest; a key of `params`, such as an axis of a study, keeps its place when the
    command line changes it. The overrides of a job are in the order of `arguments`, and compose as those of a single
    run. Overrides of the sweep itself (`sweep.on_error=stop`) are left out. A value that means the same as an earlier
    one of its key (1.0 and 1) is left out too.

    Raises RequestError on a swept key that has no value, or can't be swept, and on more than MOST_JOBS jobs.
    """
    kept = in_force(arguments, loader, params)
    repeated: list[str] = []
    axes = {place: discrete_values(o, repeated) for place, o in enumerate(kept) if o.is_sweep_override()}
    if (number := math.prod(map(len, axes.values()))) > MOST_JOBS:
        raise RequestError(f"{', '.join(str(kept[place].input_line) for place in axes)}: {_too_many(number)}")
    given = map(_target, _parsed([*params, *arguments], loader))
    first = {key: place for place, key in reversed(list(enumerate(given)))}
    order = sorted(axes, key=lambda place: (first[_target(kept[place])], place))
    keys = {place: _shown(_target(kept[place])) for place in order}
    overrides: list[list[str]] = []
    names: list[str] = []
    for combination in itertools.product(*(axes[place] for place in order)):
        chosen = dict(zip(order, combination, strict=True))
        overrides.append([f"{start(o)}={chosen[n]}" if n in chosen else str(o.input_line) for n, o in enumerate(kept)])
        names.append(_name([(keys[place], value) for place, value in chosen.items()], len(names)))
    times = Counter(names)
    names = [name if times[name] == 1 else f"{name}-{number}" for number, name in enumerate(names)]
    return Grid(list(dict.fromkeys(keys.values())), dict(zip(names, overrides, strict=True)), repeated)


def in_force(
    arguments: Sequence[str], loader: ConfigLoader | None = None, params: Sequence[str] = ()
) -> list[Override]:
    """The overrides in `arguments` in their order, but for those of the sweep itself and those that are replaced.

    Those of `params` come first, but for the keys that `arguments` give.

    Raises RequestError on a swept key that can't be swept.
    """
    found, given = [], _parsed(arguments, loader)
    keys = set(map(_target, given))
    for override in [*(o for o in _parsed(params, loader) if _target(o) not in keys), *given]:
        key = override.key_or_group
        of_sweep = key.partition(".")[0] == "sweep"
        if override.is_sweep_override() and (of_sweep or key in ("study", "study.reference", "resume")):
            raise RequestError(f"{override.input_line}: must have one value; it can't be swept")
        if key == "resume" and override.value() is not None:
            raise RequestError(f"{override.input_line}: is for one run; for a sweep it is sweep.resume=FOLDER")
        if not of_sweep:
            found.append(override)
    return [o for place, o in enumerate(found) if not _is_replaced(o, found[place + 1 :], loader)]


def start(override: Override) -> str:
    """What comes before the equals sign of an override."""
    return str(override.input_line).partition("=")[0]


def _parsed(arguments: Sequence[str], loader: ConfigLoader | None) -> list[Override]:
    return OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))


def _target(override: Override) -> tuple[str, str | None]:
    return override.key_or_group, override.package


def _shown(target: tuple[str, str | None]) -> str:
    key, package = target
    return key if package is None else f"{key}@{package}"


def _is_replaced(override: Override, later: Sequence[Override], loader: ConfigLoader | None) -> bool:
    """Whether the configuration is the same without this override, whichever values are chosen.

    A dict is merged with what is there, so that neither replaces the other. The option of a group is the last that is
    chosen; of any other key, an override between the two (`~key`, `key.part=1`) may need the first.
    """
    if override.type not in (OverrideType.CHANGE, OverrideType.FORCE_ADD) or _may_be_dict(override):
        return False
    key = override.key_or_group
    group = loader is not None and bool(loader.get_group_options(key))
    for other in later:
        same = _target(other) == _target(override)
        if same and other.type == override.type and not _may_be_dict(other):
            return True
        name = other.key_or_group
        if not group and (same or name == key or name.startswith(f"{key}.") or key.startswith(f"{name}.")):
            return False
    return False


def _may_be_dict(override: Override) -> bool:
    value = override.value()
    if override.value_type in (ValueType.CHOICE_SWEEP, ValueType.SIMPLE_CHOICE_SWEEP):
        return any(isinstance(element, Mapping) for element in override.sweep_iterator())
    return isinstance(value, Mapping)


def discrete_values(override: Override, repeated: list[str]) -> list[str]:
    """The values of a swept key as text, each once; those that mean the same as an earlier one are added to `repeated`.

    Raises RequestError if there is none, or if they can't be counted.
    """
    if not override.is_discrete_sweep():
        raise RequestError(
            f"{override.input_line}: an interval is for hydra/sweeper=optuna; a grid takes values, or range(...)"
        )
    if isinstance(values := override.value(), RangeSweep) and _length(values) > MOST_JOBS:
        raise RequestError(f"{override.input_line}: {_too_many(_length(values))}")
    texts = _listed(override, override.sweep_string_iterator)
    if not texts:
        raise RequestError(f"{override.input_line}: no value in it; a sweep needs at least one")
    found: dict[Hashable, str] = {}
    for value, text in zip(_listed(override, override.sweep_iterator), texts, strict=True):
        same = found.get(key := meaning(value))
        if same is None:
            found[key] = text
        else:
            repeated.append(f"{override.key_or_group}={text}{'' if same == text else f' (as {same})'}")
    return list(found.values())


def _length(values: RangeSweep) -> int:
    """The number of values of range(...), which are not listed for it."""
    start, stop, step = float(values.start or 0), float(values.stop or 0), float(values.step or 1)
    length = (stop - start) / step
    return math.ceil(length) if 0 < length < math.inf else 0


def _too_many(number: int) -> str:
    return f"{number:,} runs; must be at most {MOST_JOBS:,}"


def _listed(override: Override, values: Callable[[], Any]) -> list[Any]:
    """All values of a swept key; shuffle(...) has one order for one text, or else a sweep could not be resumed."""
    before = random.getstate()
    random.seed(str(override.input_line))
    try:
        return list(values())
    finally:
        random.setstate(before)


def meaning(value: Any) -> Hashable:
    """Equal for values that mean the same in a configuration: 1 and 1.0, a text with and without quotes."""
    if isinstance(value, QuotedString):
        value = value.text
    if isinstance(value, Mapping):
        pairs = ((str(meaning(key)), meaning(each)) for key, each in value.items())
        return (dict, tuple(sorted(pairs, key=lambda pair: pair[0])))
    if isinstance(value, (list, tuple)):
        return (list, tuple(meaning(each) for each in value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (float, "nan" if isinstance(value, float) and math.isnan(value) else value)
    return (type(value), value)


def _name(chosen: Sequence[tuple[str, str]], number: int) -> str:
    """The swept values: num_hiddens=64,seed=3; a key is written in full if another one has the same last part."""
    if not chosen:
        return str(number)
    keys = dict.fromkeys(key for key, _ in chosen)
    last = Counter(key.rpartition(".")[2] for key in keys)
    short = {key: key if last[part := key.rpartition(".")[2]] > 1 else part for key in keys}
    text = ",".join(f"{short[key]}={value}" for key, value in chosen)
    return file_name(re.sub(r"['\"\\]", "", text))
