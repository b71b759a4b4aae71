"""The configurations of a sweep's jobs: composed by Hydra once for each template, then copied with other values."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from lightning_d2l.compat_hydra import ConfigLoader, Override, OverridesParser, OverrideType, copy_cache
from lightning_d2l.config.compose import SWEEP, plain
from lightning_d2l.config.options import LISTS
from lightning_d2l.config.references import safe_references

PLAIN = (bool, int, float, str, type(None))
REFERENCE = re.compile(r"\$\{([\w.]+)\}")  # the whole value is that of another key
SAME_IN_ALL_JOBS = re.compile(r"\$\{oc\.env:[^${}]*\}")

PATHS_OF_DATA = (("root",), ("path",), ("test_path",))  # `plain` makes them absolute

Path = tuple[str, ...]
"""The keys that lead to a setting, from the outermost."""


@dataclass(frozen=True)
class _Word:
    """An override, its plain value, and what it has in common with those that differ from it in that value alone."""

    override: Override
    key: str
    value: Any
    shape: str


@dataclass(frozen=True)
class _Template:
    """The configuration that Hydra composed for the first of several jobs, pickled, and its `settings`.

    `places` are the nodes with a value that each job has of its own: by their names, the paths in them at which the
    value of an override stands, and the key of that. They are None where only OmegaConf can tell, as for a text with a
    reference in it. Jobs with the same values of a node share it; `made` has the nodes by name and values.
    """

    config: bytes
    settings: dict[str, Any]
    places: dict[str, list[tuple[Path, str]]] | None
    made: dict[tuple[str, str], Any] = field(default_factory=dict)

    def with_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The settings with these values of the overrides."""
        found = dict(self.settings)
        for name, places in (self.places or {}).items():
            of_node = name, repr([values[key] for _, key in places])
            if of_node not in self.made:
                node = found[name]
                for path, key in places:
                    node = _replaced(node, path, values[key])
                self.made[of_node] = node
            found[name] = self.made[of_node]
        return found


class Composer:
    """Composes the same configurations as Hydra's `load_sweep_config`, in a thousandth of the time.

    Jobs that differ in plain values only (`optimizer.lr=0.1`, `seed=3`) share a template: the configuration that
    Hydra composed for the first of them. Each option of a group (`model=mlp`), and anything else that Hydra's grammar
    allows (`+key=1`, `~key`, a dict, a reference), needs its own template. The settings of jobs share the nodes that
    are equal, so nobody may change them.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader, self.master = loader, master
        self._groups = {*map(str, master.hydra.runtime.choices), *LISTS}  # Hydra's choices leave lists out
        self._templates: dict[Path, _Template] = {}
        self._words: dict[str, _Word] = {}
        self._own: dict[Path, list[bool]] = {}
        self._parse = OverridesParser.create().parse_override

    def settings(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The settings of a job as dicts and lists of plain values, all references resolved, without the `hydra` node.

        Raises what Hydra raises, and RequestError on a reference that can't be resolved.
        """
        template, values = self._template(overrides)
        if template.places is not None:
            return template.with_values(values)
        config: DictConfig = pickle.loads(template.config)
        copy_cache(self.master, config)  # ${now:} has one value in all jobs
        for key, value in values.items():
            OmegaConf.update(config, key, value, merge=True)
        return plain(config)

    def _template(self, overrides: Sequence[str]) -> tuple[_Template, dict[str, Any]]:
        """The template of a job, and the plain values by key that the job has in place of the template's."""
        words = [self._words.get(text) or self._word(text) for text in overrides]
        alike = tuple([word.shape for word in words])
        if alike not in self._own:
            self._own[alike] = [self._is_own(word, words) for word in words]
        pairs = list(zip(words, self._own[alike], strict=True))
        structure = tuple([word.shape if own else str(word.override.input_line) for word, own in pairs])
        values = {word.key: word.value for word, own in pairs if own}
        if structure not in self._templates:
            composed = self.loader.load_sweep_config(self.master, list(overrides))
            groups = {str(group) for group in composed.hydra.runtime.choices}
            if not groups <= self._groups:  # an option added a group, whose overrides are no plain values
                self._groups |= groups
                self._words.clear()
                self._own.clear()
                return self._template(overrides)
            self._templates[structure] = self._made(composed, values)
        return self._templates[structure], values

    def _word(self, text: str) -> _Word:
        override = self._parse(text)
        key, value = override.key_or_group, override.value()
        # A list can't replace a dict, as a single value can.
        shape = f"{key}=[]" if isinstance(value, list) else key
        word = _Word(override, key, value, shape if _is_plain(override) and key not in self._groups else text)
        return self._words.setdefault(text, word)

    def _is_own(self, word: _Word, words: Sequence[_Word]) -> bool:
        """Whether a job may have any plain value of an override in place of its template's, beside those of the job."""
        key = word.key
        others = [each.key for each in words if each is not word and each.key not in self._groups]
        met = any(key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.") for other in others)
        return word.shape != str(word.override.input_line) and not met

    def _made(self, composed: DictConfig, values: Mapping[str, Any]) -> _Template:
        """The template that a composed configuration makes for jobs with other `values`."""
        with open_dict(composed), safe_references():
            del composed["hydra"]
            if "reference" not in values:  # that of the study, which is the same in all jobs
                composed.reference = composed.reference
        content: dict[str, Any] = OmegaConf.to_container(composed, resolve=False)  # type: ignore[assignment]
        return _Template(pickle.dumps(composed), plain(composed), _places(content, [*values]))


def _is_plain(override: Override) -> bool:
    """Whether an override replaces a value by a plain one, or by a list of such."""
    value = override.value()
    values = value if isinstance(value, list) else [value]
    return (
        override.type == OverrideType.CHANGE
        and override.package is None
        and not override.key_or_group.startswith("hydra.")
        and all(isinstance(v, PLAIN) and not (isinstance(v, str) and ("${" in v or v == "???")) for v in values)
    )


def _places(content: Mapping[str, Any], keys: Sequence[str]) -> dict[str, list[tuple[Path, str]]] | None:
    """Where the values of `keys` stand in a configuration that is not resolved, as `_Template.places`."""
    found: dict[str, list[tuple[Path, str]]] = {}
    met: set[str] = set()
    for path, value in _settings({name: node for name, node in content.items() if name not in SWEEP}):
        key, named = ".".join(path), value
        while key not in keys and isinstance(named, str) and (reference := REFERENCE.fullmatch(named)):
            key = reference[1]
            named = _at(content, key)
            if named is None or isinstance(named, dict):
                return None
        if key in keys:
            if path[0] == "data" and path[1:] in PATHS_OF_DATA:
                return None
            found.setdefault(path[0], []).append((path[1:], key))
            met.add(key)
        elif "${" in str(named) and not (isinstance(named, str) and SAME_IN_ALL_JOBS.fullmatch(named)):
            return None
    return found if met == {*keys} else None


def _settings(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The values in nested dicts, each with its path."""
    if isinstance(node, dict) and node and all(isinstance(key, str) for key in node):
        for key, value in node.items():
            yield from _settings(value, (*path, key))
    else:
        yield path, node


def _at(content: Mapping[str, Any], key: str) -> Any:
    """The value of a full key, or None."""
    node: Any = content
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _replaced(node: Any, path: Path, value: Any) -> Any:
    """Nested dicts with another value at a path; the dicts beside it are shared."""
    return value if not path else {**node, path[0]: _replaced(node[path[0]], path[1:], value)}
