"""The private and undocumented names of Hydra and OmegaConf that this package uses.

All were seen in Hydra 1.3.8 and OmegaConf 2.3.1. tests/test_compat_hydra.py fails by name when one of them changes.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import initialize_config_dir
from hydra._internal.hydra import Hydra  # the program behind @hydra.main: run, multirun, show_cfg, app_help, ...
from hydra._internal.utils import create_config_search_path, get_args_parser  # what @hydra.main begins with
from hydra.core.config_loader import ConfigLoader  # composes the jobs of a sweep
from hydra.core.global_hydra import GlobalHydra  # the Hydra object that hydra.compose uses
from hydra.core.override_parser.overrides_parser import OverridesParser  # parses `optimizer.lr=0.1,0.2`
from hydra.core.override_parser.types import IntervalSweep, Override, OverrideType, ValueType  # and its results
from hydra.core.plugins import Plugins  # builds the launcher that hydra/launcher names
from hydra.core.utils import JobReturn, env_override  # a job's result; its environment variables while it runs
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.launcher import Launcher
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

__all__ = [
    "BASIC_LAUNCHER", "BASIC_SWEEPER", "ConfigLoader", "Hydra", "IntervalSweep", "JobReturn", "Override",
    "OverrideType", "OverridesParser", "Plugins", "ValueType", "answer", "basic_launcher", "copy_cache", "env_override",
    "get_args_parser", "missing_option", "open_hydra",
    "unmatched_key",
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
def open_hydra(conf: Path, config_dir: str | None = None) -> Iterator[Hydra]:
    """Hydra with the configuration folder `conf`, and the further one of `--config-dir`, as @hydra.main sets it up."""
    with initialize_config_dir(str(conf), job_name="train", version_base="1.3"):
        if config_dir is not None:
            path = create_config_search_path(str(conf))
            path.prepend("command-line", f"file://{Path(config_dir).resolve()}", anchor="schema")
            GlobalHydra.instance().clear()
            Hydra.create_main_hydra2("train", path)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield hydra


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


def copy_cache(source: DictConfig, target: DictConfig) -> None:
    """Give `target` the values that cached resolvers such as ${now:} have in `source`."""
    OmegaConf.copy_cache(from_config=source, to_config=target)


def missing_option(error: HydraException) -> tuple[str, Sequence[str]] | None:
    """The `group/option` that doesn't exist and the group's options, if that is why Hydra can't compose."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        return error.missing_cfg_file, error.options
    return None


def unmatched_key(error: Exception) -> str | None:
    """The key of an override that matches no setting and no group, if that is why Hydra can't compose."""
    found = re.search(r"Could not override '([^'@]+)", str(error))
    return found[1] if found else None
