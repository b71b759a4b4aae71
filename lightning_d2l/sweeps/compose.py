"""The configurations of a sweep's jobs: composed by Hydra once for each template, then copied with other values."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from lightning_d2l.compat_hydra import ConfigLoader, Override, OverridesParser, OverrideType, copy_cache
from lightning_d2l.config.compose import SWEEP, plain
from lightning_d2l.config.options import LISTS
from lightning_d2l.config.references import safe_references

PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class _Template:
    """A composed configuration without the `hydra` node, pickled in two parts.

    `varied` is a DictConfig. `fixed` are the nodes, as plain values, that are the same in all jobs: OmegaConf takes a
    hundred times as long for a node. `order` is that of all nodes of a job.
    """

    varied: bytes
    fixed: bytes
    order: tuple[str, ...]

    @classmethod
    def of(cls, config: DictConfig, changed: set[str]) -> _Template:
        """Split a configuration; `changed` are the nodes in which a job has values of its own."""
        content: dict[str, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
        texts = {key: str(node) for key, node in content.items()}
        references = [text for text in texts.values() if "${" in text]
        fixed = {
            key: node
            for key, node in content.items()
            if key not in (*changed, "data")
            and (key in SWEEP or not any(mark in texts[key] for mark in ("${", "???")))
            and not any(key in text for text in references)
        }
        varied = copy.deepcopy(config)
        with open_dict(varied):
            for key in fixed:
                del varied[key]
        order = tuple(key for key in content if key not in SWEEP)
        fixed = {key: node for key, node in fixed.items() if key in order}
        return cls(pickle.dumps(varied), pickle.dumps(fixed), order)


class Composer:
    """Composes the same configurations as Hydra's `load_sweep_config`, in a hundredth of the time.

    Jobs that differ in plain values only (`optimizer.lr=0.1`, `seed=3`) share a template: the configuration that
    Hydra composed for the first of them. Each option of a group (`model=mlp`), and anything else that Hydra's grammar
    allows (`+key=1`, `~key`, a dict, a reference), needs its own template.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader, self.master = loader, master
        self._groups = {*map(str, master.hydra.runtime.choices), *LISTS}  # Hydra's choices leave lists out
        self._templates: dict[tuple[str, ...], _Template] = {}
        self._parse = functools.cache(OverridesParser.create().parse_override)

    def settings(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The settings of a job as dicts and lists of plain values, all references resolved, without the `hydra` node.

        Raises what Hydra raises, and RequestError on a reference that can't be resolved.
        """
        template, values = self._template([self._parse(text) for text in overrides])
        config: DictConfig = pickle.loads(template.varied)
        copy_cache(self.master, config)  # ${now:} has one value in all jobs
        for key, value in values.items():
            OmegaConf.update(config, key, value, merge=True)
        found = plain(config) | pickle.loads(template.fixed)
        return {key: found[key] for key in template.order}

    def _template(self, parsed: list[Override]) -> tuple[_Template, dict[str, Any]]:
        """The template of a job, and the plain values by key that the job has in place of the template's."""
        values = {o.key_or_group: o.value() for o in parsed if self._is_plain(o, parsed)}
        # A list can't replace a dict, as a single value can.
        lists = {key: f"{key}=[]" if isinstance(value, list) else key for key, value in values.items()}
        structure = tuple(lists.get(o.key_or_group) or str(o.input_line) for o in parsed)
        if structure not in self._templates:
            composed = self.loader.load_sweep_config(self.master, [str(o.input_line) for o in parsed])
            groups = {str(group) for group in composed.hydra.runtime.choices}
            if not groups <= self._groups:  # an option added a group, whose overrides are no plain values
                self._groups |= groups
                return self._template(parsed)
            with open_dict(composed), safe_references():
                del composed["hydra"]
                if "reference" not in values:  # that of the study, which is the same in all jobs
                    composed.reference = composed.reference
            self._templates[structure] = _Template.of(composed, {key.partition(".")[0] for key in values})
        return self._templates[structure], values

    def _is_plain(self, override: Override, parsed: list[Override]) -> bool:
        key, value = override.key_or_group, override.value()
        values = value if isinstance(value, list) else [value]
        others = [o.key_or_group for o in parsed if o is not override and o.key_or_group not in self._groups]
        return (
            override.type == OverrideType.CHANGE
            and override.package is None
            and not key.startswith("hydra.")
            and key not in self._groups
            and all(isinstance(v, PLAIN) and not (isinstance(v, str) and ("${" in v or v == "???")) for v in values)
            and not any(key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.") for other in others)
        )
