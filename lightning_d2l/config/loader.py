"""The loader that Hydra's launchers and sweepers compose their jobs with: every job is checked as the first one was."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from lightning_d2l.compat_hydra import ConfigLoader, words_of
from lightning_d2l.config.hydra_node import resolve_hydra
from lightning_d2l.config.references import variables_named_in


class SafeLoader(ConfigLoader):
    """Hydra's loader; the `hydra` node of each job is resolved and checked before a launcher gets it."""

    def __init__(self, loader: ConfigLoader, keys: frozenset[str]) -> None:
        """`keys` are those that the command line sets."""
        self.loader, self.keys = loader, keys

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        config = self.loader.load_sweep_config(master_config, sweep_overrides)
        given = words_of(master_config)
        with variables_named_in([*given.hydra, *given.task, *sweep_overrides]):
            resolve_hydra(config, self.keys)
        return config

    def load_configuration(self, *arguments: Any, **settings: Any) -> DictConfig:
        return self.loader.load_configuration(*arguments, **settings)

    def compute_defaults_list(self, *arguments: Any, **settings: Any) -> Any:
        return self.loader.compute_defaults_list(*arguments, **settings)

    def get_group_options(self, *arguments: Any, **settings: Any) -> list[str]:
        options: list[str] = self.loader.get_group_options(*arguments, **settings)
        return options

    def list_groups(self, parent_name: str) -> list[str]:
        groups: list[str] = self.loader.list_groups(parent_name)
        return groups

    def get_search_path(self) -> Any:
        return self.loader.get_search_path()

    def get_sources(self) -> Any:
        return self.loader.get_sources()
