"""The plugins of a run: what its record holds of them, and whether they are there when the run is used."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lightning_d2l.config import registry
from lightning_d2l.config.check import RequestError, flat
from lightning_d2l.config.escape import terminal
from lightning_d2l.config.program import PLUGIN
from lightning_d2l.plugins import LOADED, REGISTERED, Plugin
from lightning_d2l.plugins.registering import GROUPS

_KINDS = {group: kind for kind, group in GROUPS.items()}
_NAMED = {"init": "initialisation", "init.name": "initialisation", "activation": "activation"}
"""The ends of the keys of a model that name something registered, with its kind."""
_told: set[str] = set()  # warnings


def plugins_of(config: Mapping[str, Any], overrides: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What a record holds of the plugins from which something in a run's configuration comes.

    A plugin whose conf/ folder has an option that `overrides` choose is one of them.
    """
    if not REGISTERED:
        return []
    made = (REGISTERED.get(key) for key in _names(config))
    found = {id(one.plugin): one.plugin for one in made if one}
    for plugin in LOADED.values():
        if plugin.conf and any(_is_option(plugin, text) for text in overrides):
            found[id(plugin)] = plugin
    return [plugin.as_record() for plugin in found.values()]


def plugins_of_all(configs: Iterable[Mapping[str, Any]], overrides: Sequence[str]) -> list[dict[str, Any]]:
    """What a record holds of the plugins of several configurations and the overrides that made them."""
    if not REGISTERED:
        return []
    found: list[dict[str, Any]] = []
    for config in [*configs, {}]:
        found += [entry for entry in plugins_of(config, () if config else overrides) if entry not in found]
    return found


def _is_option(plugin: Plugin, override: str) -> bool:
    group, _, names = override.lstrip("+").partition("=")
    files = [f"{group}/{name.strip()}.yaml" for name in names.strip("[]").split(",")]
    return plugin.conf is not None and len(override) < 1000 and any((plugin.conf / file).is_file() for file in files)


def _names(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The kind and the name of everything in a configuration that a plugin may have registered."""
    for group, kind in _KINDS.items():
        node = config.get(group)
        if isinstance(node, Mapping):
            for part in [node] if "_target_" in node else node.values():
                if isinstance(part, Mapping) and isinstance(part.get("_target_"), str):
                    yield kind, part["_target_"]
    if isinstance(config.get("loss"), str):
        yield "loss", config["loss"]
    metrics = config.get("metrics")
    for name in metrics if isinstance(metrics, list) else ():
        yield "metric", str(name)
    model = config.get("model")
    if isinstance(model, Mapping) and "." in str(model.get("_target_")):  # to a registered model they may mean anything
        for key, value in flat(model).items():
            for end, kind in _NAMED.items():
                if isinstance(value, str) and (key == end or key.endswith(f".{end}")):
                    yield kind, value
    study = config.get("study")
    if isinstance(study, Mapping) and isinstance(study.get("theory"), str):
        yield "theory", study["theory"]


def require_plugins(fields: Mapping[str, Any], what: str, *, every: bool = False, same: bool = False) -> None:
    """Raise RequestError if something in the record `fields` comes from a plugin that is not there.

    `what` begins the message, which names the plugin and never loads it. With `every` each recorded plugin must be
    there, as where a command line is composed again. A plugin whose content has changed is warned of, or refused if
    it must be the `same`.
    """
    recorded = fields.get("plugins") or []
    if not recorded:
        return
    config = fields.get("config") or {"study": fields.get("study")}
    lacking = [(kind, name) for kind, name in _names(config) if not _is_known(kind, name)]
    there = [(entry, _present(entry)) for entry in recorded]
    absent = [entry for entry, plugin in there if plugin is None]
    if lacking or (absent and every):
        thing = f"its {lacking[0][0]} {lacking[0][1]} comes from" if lacking else "was made with"
        raise RequestError(f"{what}: {thing} a plugin that is not loaded\n{_advice([*absent, *recorded][0])}")
    for entry, plugin in there:
        if plugin and (plugin.sha256, plugin.beside) != (entry["sha256"], entry.get("sha256_beside", "")):
            if same:
                raise RequestError(f"{what}: has another content of the plugin {plugin}; install one for all")
            warning = f"{what}: the plugin {plugin} has changed since"
            if warning not in _told:
                _told.add(warning)
                print(f"warning: {terminal(warning)}", file=sys.stderr)


def _is_known(kind: str, name: str) -> bool:
    if kind in GROUPS:
        return name in registry.TABLES[GROUPS[kind]] or "." in name  # names with a dot are never a plugin's
    known: dict[str, Any] = {
        "loss": (*registry.CLASS_LOSSES, *registry.NUMBER_LOSSES, *registry.LOSSES_OF_PLUGINS),
        "metric": registry.METRICS, "theory": (*registry.OWN_THEORIES, *registry.THEORIES),
        "initialisation": registry.INITIALISATIONS, "activation": registry.ACTIVATIONS,
    }  # fmt: skip
    return name in known[kind]


def _present(entry: Mapping[str, Any]) -> Plugin | None:
    """The loaded plugin that a record holds: of the same content, else of the same name."""
    loaded = {id(plugin): plugin for plugin in [*LOADED.values(), *(made.plugin for made in REGISTERED.values())]}
    alike = [plugin for plugin in loaded.values() if plugin.sha256 == entry["sha256"]]
    same = ("name", "module", "package")
    held = [(plugin, plugin.as_record()) for plugin in loaded.values()]
    alike += [plugin for key in same for plugin, here in held if here.get(key) and here.get(key) == entry.get(key)]
    return next(iter(alike), None)


def _advice(entry: Mapping[str, Any]) -> str:
    """Which plugin to name or install."""
    module, file, package = (entry.get(key) for key in ("module", "file", "package"))
    flag = shlex.join([PLUGIN, str(module or file)])
    if package:
        version = f"=={entry['version']}" if entry.get("version") else ""
        return f"install {package}{version}, or name its module, if you trust it: {flag}"
    if module:
        return f"name its module, if you trust it: {flag} ({file})"
    if file:
        return f"name its file, if you trust it: {flag}"
    return "it was registered in an interactive session; register it again there, or put it into a file"
