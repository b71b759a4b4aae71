"""The options of each group: the files in conf/, what plugins register, and the files of their conf/ folders."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[1]
CONF = next(path for path in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if path.is_dir())
NAME = "train"  # the primary configuration, conf/train.yaml
LISTS = ("callbacks", "logger")  # groups of which a run may have several options


@dataclass(frozen=True)
class Option:
    """An option that a plugin registers: settings of the node of its group, or with "_global_" of the whole."""

    node: Mapping[str, Any]
    package: str | None = None


OPTIONS: dict[tuple[str, str], Option] = {}
"""Registered options by group and name, such as ("model", "LeNet")."""
PLUGIN_FOLDERS: list[Path] = []
"""The conf/ folders of plugins. A file there replaces the registered option of its group and name."""
_stored: set[tuple[str, str]] = set()  # what Hydra has of OPTIONS


def names(group: str) -> list[str]:
    """The names of the options of a group."""
    files = (path.stem for folder in (CONF, *PLUGIN_FOLDERS) for path in (folder / group).glob("*.yaml"))
    return sorted({*files, *(name for of, name in OPTIONS if of == group)})


def store_options(folders: Collection[Path]) -> None:
    """Let Hydra's composition find the registered options, but those that a file in one of the folders replaces."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for path in CONF.glob(
        "hydra/*/*.yaml"
    ):  # such as hydra/launcher=ray of Hydra's own plugin, which is hydra_ray then
        beside: dict[str, Any] = store.repo.get("hydra", {}).get(path.parent.name, {})
        if path.name in beside:  # Hydra would take it for the schema of the file
            beside[f"hydra_{path.name}"] = beside.pop(path.name)
    for group, name in _stored:
        store.repo[group].pop(f"{name}.yaml", None)
    _stored.clear()
    for (group, name), option in OPTIONS.items():
        if not any((folder / group / f"{name}.yaml").is_file() for folder in folders):
            store.store(name, dict(option.node), group, option.package, "plugin")
            _stored.add((group, name))
