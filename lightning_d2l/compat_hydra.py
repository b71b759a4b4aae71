"""The private and undocumented names of Hydra and OmegaConf that this package uses.

All were seen in Hydra 1.3.8 and OmegaConf 2.3.1. tests/test_compat_hydra.py fails by name when one of them changes.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks  # what Hydra calls around jobs: here nothing
from hydra._internal.hydra import Hydra  # the program behind @hydra.main: compose, show_cfg, app_help, ...
from hydra._internal.utils import create_config_search_path, get_args_parser  # what @hydra.main begins with
from hydra.core.config_loader import ConfigLoader  # composes the jobs of a sweep
from hydra.core.global_hydra import GlobalHydra  # the Hydra object that hydra.compose uses
from hydra.core.override_parser.overrides_parser import OverridesParser  # parses `optimizer.lr=0.1,0.2`
from hydra.core.override_parser.types import (  # and its results
    IntervalSweep,
    Override,
    OverrideType,
    Quote,
    QuotedString,
    RangeSweep,
    ValueType,
)
from hydra.core.plugins import Plugins  # builds the launcher that hydra/launcher names
from hydra.core.utils import JobReturn, configure_log, run_job  # a job's result; logging; one job, as Hydra does it
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.base import Container  # every reference of a configuration is resolved by its methods

__all__ = [
    "BASIC_LAUNCHER", "BASIC_SWEEPER", "ConfigLoader", "Hydra", "IntervalSweep", "JobReturn", "Override",
    "OverrideType", "OverridesParser", "Plugins", "Quote", "QuotedString", "RangeSweep", "ValueType", "answer",
    "basic_launcher", "copy_cache", "get_args_parser", "hydra_set_aside", "missing_option",
    "multirun", "open_hydra", "resolved_by", "run", "unmatched_key", "words_of",
]  # fmt: skip

# The `_target_` of hydra/launcher=basic and hydra/sweeper=basic.
BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def basic_launcher() -> Launcher:
    """A launcher of the class hydra/launcher=basic, which trains one job after another.

    Hydra loads its class anew when it looks for plugins, so it must not be imported before.
    """
    launcher: Launcher = get_class(BASIC_LAUNCHER)()
    return launcher


@contextmanager
def open_hydra(conf: Path, further: Mapping[str, Path] | None = None) -> Iterator[Hydra]:
    """Hydra with the configuration folder `conf`, and further ones by their providers, as @hydra.main sets it up."""
    with initialize_config_dir(str(conf), job_name="train", version_base="1.3"):
        if further:
            path = create_config_search_path(str(conf))
            for provider, folder in further.items():
                path.prepend(provider, f"file://{folder.resolve()}", anchor="schema")
            GlobalHydra.instance().clear()
            Hydra.create_main_hydra2("train", path)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield hydra


@contextmanager
def hydra_set_aside() -> Iterator[None]:
    """In this block no Hydra is initialised, whether or not the program that runs has initialised its own."""
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = before  # the instance itself is another one after open_hydra


def answer(hydra: Hydra, name: str, parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Print what `--help`, `--hydra-help`, `--cfg`, `--info` or `--shell-completion` asks of the config `name`."""
    if args.help:
        hydra.app_help(name, parser, args)
    elif args.hydra_help:
        hydra.hydra_help(name, parser, args)
    elif args.cfg:
        hydra.show_cfg(name, args.overrides, args.cfg, args.package, args.resolve)
    elif args.info:
        hydra.show_info(args.info, name, args.overrides)
    else:
        hydra.shell_completion(name, args.overrides)


class Words(NamedTuple):
    """The overrides of a command line: those of Hydra's own settings, and those of the runs."""

    hydra: list[str]
    task: list[str]


def words_of(config: DictConfig) -> Words:
    """The overrides that a configuration with its `hydra` node was composed from, as they were typed."""
    given = OmegaConf.to_container(config.hydra.overrides, resolve=False)
    return Words(list(given["hydra"]), list(given["task"]))  # type: ignore[index, call-overload]


def run(config: DictConfig, loader: ConfigLoader, task: Callable[[DictConfig], Any]) -> Any:
    """Call `task` for one job in the folder hydra.run.dir, with this very configuration; returns what it returns."""
    context = HydraContext(config_loader=loader, callbacks=Callbacks())
    done = run_job(task, config, job_dir_key="hydra.run.dir", job_subdir_key=None, hydra_context=context)
    return done.return_value


def multirun(config: DictConfig, loader: ConfigLoader, task: Callable[[DictConfig], Any]) -> Any:
    """Let the configuration's sweeper do its jobs, each composed by `loader`; returns what the sweeper returns."""
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    context = HydraContext(config_loader=loader, callbacks=Callbacks())
    sweeper = Plugins.instance().instantiate_sweeper(config=config, hydra_context=context, task_function=task)
    return sweeper.sweep(arguments=words_of(config).task)


# Called with the name and the arguments of every resolver, and with None and each value that a reference resolved to.
_Resolution = Callable[[str | None, Any], None]
_resolution: ContextVar[_Resolution | None] = ContextVar("_resolution", default=None)
_evaluate_custom_resolver = Container._evaluate_custom_resolver
_resolve_parse_tree = Container.resolve_parse_tree


def _watched_resolver(
    self: Container, key: Any, node: Any, inter_type: str, inter_args: tuple[Any, ...], inter_args_str: tuple[str, ...]
) -> Any:
    if (watch := _resolution.get()) is not None:
        watch(inter_type, inter_args)
    return _evaluate_custom_resolver(self, key, node, inter_type, inter_args, inter_args_str)


def _watched_tree(self: Container, *arguments: Any, **named: Any) -> Any:
    value = _resolve_parse_tree(self, *arguments, **named)
    if (watch := _resolution.get()) is not None:
        watch(None, value)
    return value


Container._evaluate_custom_resolver = _watched_resolver  # type: ignore[method-assign]
Container.resolve_parse_tree = _watched_tree  # type: ignore[method-assign]


@contextmanager
def resolved_by(watch: _Resolution) -> Iterator[None]:
    """In this block, and in this thread alone, `watch` is told of every reference, and may raise to refuse it."""
    token = _resolution.set(watch)
    try:
        yield
    finally:
        _resolution.reset(token)


def copy_cache(source: DictConfig, target: DictConfig) -> None:
    """Give `target` the values that cached resolvers such as ${now:} have in `source`."""
    OmegaConf.copy_cache(from_config=source, to_config=target)


def missing_option(error: HydraException) -> tuple[str, Sequence[str]] | None:
    """The `group/option` that doesn't exist and the group's options, if that is why Hydra can't compose.

    Of a list of options Hydra does not tell those of the group.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        return error.missing_cfg_file, error.options
    found = re.search(r"Could not load '([^']+/[^']+)'", str(error))
    return (found[1], ()) if found else None


def unmatched_key(error: Exception) -> str | None:
    """The key of an override that matches no setting and no group, if that is why Hydra can't compose."""
    found = re.search(r"Could not override '([^'@]+)", str(error))
    return found[1] if found else None
