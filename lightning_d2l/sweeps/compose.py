"""The configurations of a sweep's jobs: composed by Hydra once for each template, then copied with other values."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict

from lightning_d2l.compat_hydra import (
    ConfigLoader,
    Override,
    OverridesParser,
    OverrideType,
    copy_cache,
    get_omega_conf_dumper,
    get_overrides_dirname,
)
from lightning_d2l.config.compose import plain
from lightning_d2l.config.hydra_node import check_hydra

PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Template:
    """What Hydra composed for one job, shared by all jobs that differ from it in plain values only."""

    own: bytes  # the pickled configuration without its `hydra` node, which is the larger part
    nodes: dict[str, Any]  # the whole configuration as dicts and lists, with unresolved references


class Composer:
    """Composes the same configurations as Hydra's `load_sweep_config`, in a hundredth of the time.

    Jobs that differ in plain values only (`optimizer.lr=0.1`, `seed=3`) share a template: the configuration that
    Hydra composed for the first of them. Each option of a group (`model=mlp`), and anything else that Hydra's grammar
    allows (`+key=1`, `~key`, a dict, a reference), needs its own template.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader, self.master = loader, master
        self._groups = {str(group) for group in master.hydra.runtime.choices}
        self._templates: dict[tuple[str, ...], Template] = {}
        self._parse = functools.cache(OverridesParser.create().parse_override)

    def settings(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The settings of a job as dicts and lists of plain values, all references resolved, without the `hydra` node.

        Raises what Hydra raises, and RequestError on a forbidden `hydra` node or a reference that can't be resolved.
        """
        template, values = self._template(self._parsed(overrides))
        return plain(self._copy(template, values))

    def nodes(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The configuration of a job as dicts and lists, with the `hydra` node and with unresolved references.

        Jobs share parts of the result, so it must not be changed. Raises as `settings` does.
        """
        parsed = self._parsed(overrides)
        template, values = self._template(parsed)
        nodes = template.nodes
        try:
            for key, value in values.items():
                nodes = _with(nodes, key.split("."), value)
        except TypeError:  # a part of the key's path is a list or a reference
            nodes = nodes | _containers(self._copy(template, values))
        return nodes | {"hydra": self._described(nodes["hydra"], parsed)}

    def _copy(self, template: Template, values: Mapping[str, Any]) -> DictConfig:
        config: DictConfig = pickle.loads(template.own)
        copy_cache(self.master, config)  # ${now:} has one value in all jobs
        for key, value in values.items():
            OmegaConf.update(config, key, value, merge=True)
        return config

    def _parsed(self, overrides: Sequence[str]) -> list[Override]:
        return [self._parse(text) for text in overrides]

    def _template(self, parsed: list[Override]) -> tuple[Template, dict[str, Any]]:
        """The template of a job, and the plain values by key that the job has in place of the template's."""
        values = {o.key_or_group: o.value() for o in parsed if self._is_plain(o, parsed)}
        structure = tuple(o.key_or_group if o.key_or_group in values else str(o.input_line) for o in parsed)
        if structure not in self._templates:
            composed = self.loader.load_sweep_config(self.master, [str(o.input_line) for o in parsed])
            groups = {str(group) for group in composed.hydra.runtime.choices}
            if not groups <= self._groups:  # an option added a group, whose overrides are no plain values
                self._groups |= groups
                return self._template(parsed)
            nodes = _containers(composed)
            check_hydra(nodes["hydra"])
            with open_dict(composed):
                del composed["hydra"]
            self._templates[structure] = Template(pickle.dumps(composed), nodes)
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

    def _described(self, hydra: dict[str, Any], parsed: list[Override]) -> dict[str, Any]:
        """The `hydra` node with the job's overrides in it."""
        own = [o for o in parsed if not o.is_hydra_override()]
        naming = hydra["job"]["config"]["override_dirname"]
        name = get_overrides_dirname(own, naming["exclude_keys"], naming["item_sep"], naming["kv_sep"])
        task = [o.input_line for o in own]
        return hydra | {
            "overrides": hydra["overrides"] | {"task": task},
            "job": hydra["job"] | {"override_dirname": name},
        }


def _containers(config: DictConfig) -> dict[str, Any]:
    nodes: dict[str, Any] = OmegaConf.to_container(config, resolve=False, enum_to_str=True)  # type: ignore[assignment]
    return nodes


def _with(node: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy of nested dicts with another value at a path; all that is not on the path is shared."""
    first, *rest = path
    return {**node, first: _with(node[first], rest, value) if rest else value}


def write_hydra_files(folder: Path, nodes: Mapping[str, Any], number: int) -> None:
    """Write config.yaml, hydra.yaml and overrides.yaml of a job, as Hydra's own launchers do.

    `nodes` comes from `Composer.nodes`; `folder` is the job's, in that of the sweep.
    """
    hydra = nodes["hydra"]
    if (name := hydra["output_subdir"]) is None:
        return
    hydra = hydra | {
        "job": hydra["job"] | {"id": str(number), "num": number},
        "runtime": hydra["runtime"] | {"output_dir": str(folder.absolute())},
        "sweep": hydra["sweep"] | {"dir": str(folder.parent), "subdir": folder.name},
    }
    files = {
        "config": _yaml({key: node for key, node in nodes.items() if key != "hydra"}),
        "hydra": _yaml(hydra, below="hydra"),
        "overrides": _dumped(hydra["overrides"]["task"]),
    }
    (folder / name).mkdir(parents=True, exist_ok=True)
    for stem, text in files.items():
        (folder / name / f"{stem}.yaml").write_text(text, encoding="utf-8")


def _yaml(nodes: Mapping[str, Any], below: str | None = None) -> str:
    """The YAML of a mapping, or of {below: mapping}, written entry by entry.

    Most entries are the same for all jobs, so their text is cached.
    """
    return (f"{below}:\n" if below else "") + "".join(_entry(pickle.dumps((k, v)), below) for k, v in nodes.items())


@functools.lru_cache(maxsize=1024)
def _entry(pickled: bytes, below: str | None) -> str:
    key, node = pickle.loads(pickled)
    if below is None:
        return _dumped({key: node})
    return _dumped({below: {key: node}}).partition("\n")[2]


def _dumped(content: Any) -> str:
    text = _dump(content, _dumper())
    # libyaml breaks the lines of double-quoted strings, which may contain backslashes, differently.
    return _dump(content, get_omega_conf_dumper()) if "\\" in text else text


def _dump(content: Any, dumper: type) -> str:
    text: str = yaml.dump(content, Dumper=dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)
    return text


@functools.cache
def _dumper() -> type:
    """OmegaConf's YAML dumper; on libyaml, which is ten times as fast, if it is installed."""
    slow = get_omega_conf_dumper()
    if not hasattr(yaml, "CDumper"):
        return slow

    class Dumper(yaml.CDumper):  # type: ignore[misc]
        pass

    Dumper.add_representer(str, slow.str_representer)
    return Dumper
