"""The loaders that compose configurations: Hydra's, with what every configuration of this package needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, open_dict

from lightning_d2l.compat_hydra import ConfigLoader, words_of
from lightning_d2l.config import registry
from lightning_d2l.config.hydra_node import resolve_hydra
from lightning_d2l.config.references import variables_named_in

USUAL_OPTIMIZER = "sgd"  # of conf/train.yaml


class _Loader(ConfigLoader):
    """A loader that does what another does."""

    def __init__(self, loader: ConfigLoader) -> None:
        self.loader = loader

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        return self.loader.load_sweep_config(master_config, sweep_overrides)

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


class OwnLoader(_Loader):
    """Hydra's loader; a model that has its own optimizer gets no other unless the request names one.

    In the defaults of a configuration a model comes before the optimizer, so that its file can't choose that.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        super().__init__(loader)
        self.whole = frozenset(registry.WHOLE_MODELS)  # also in the process of a worker that this is sent to

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        return self._without_optimizer(self.loader.load_sweep_config(master_config, sweep_overrides), sweep_overrides)

    def load_configuration(
        self, config_name: str | None, overrides: list[str], *arguments: Any, **settings: Any
    ) -> DictConfig:
        config = self.loader.load_configuration(config_name, overrides, *arguments, **settings)
        return self._without_optimizer(config, overrides)

    def _without_optimizer(self, config: DictConfig, overrides: Sequence[str]) -> DictConfig:
        model = config.get("model") if self.whole else None
        if model and model.get("_target_") in self.whole:
            named = any(text.lstrip("+").startswith(("optimizer=", "optimizer.")) for text in overrides)
            if not named and config.hydra.runtime.choices.get("optimizer") == USUAL_OPTIMIZER:
                with open_dict(config):
                    config.optimizer = None
        return config


class SafeLoader(_Loader):
    """The loader that Hydra's launchers and sweepers compose their jobs with.

    The `hydra` node of each job is resolved and checked, as the first one was, before a launcher gets it.
    """

    def __init__(self, loader: ConfigLoader, keys: frozenset[str]) -> None:
        """`keys` are those that the command line sets."""
        super().__init__(loader)
        self.keys = keys

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        config = self.loader.load_sweep_config(master_config, sweep_overrides)
        given = words_of(master_config)
        with variables_named_in([*given.hydra, *given.task, *sweep_overrides]):
            resolve_hydra(config, self.keys)
        return config
