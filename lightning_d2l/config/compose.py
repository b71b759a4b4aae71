"""Compose and check the configuration of a command line before Hydra acts on it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from lightning_d2l.compat_hydra import (
    Hydra,
    Override,
    OverridesParser,
    Quote,
    QuotedString,
    ValueType,
    open_hydra,
)
from lightning_d2l.config import hydra_node, registry
from lightning_d2l.config.check import RequestError, check, check_sweep, targets, unknown_key
from lightning_d2l.config.config_dir import MOST_REFERENCES, check_config_dir
from lightning_d2l.config.explain import explained, first_value, stray
from lightning_d2l.config.loader import OwnLoader
from lightning_d2l.config.loggers import missing_extra
from lightning_d2l.config.options import CONF, LISTS, NAME, PLUGIN_FOLDERS, names, store_options
from lightning_d2l.config.other_data import for_other_data
from lightning_d2l.config.places import make_paths_absolute
from lightning_d2l.config.program import train_words
from lightning_d2l.config.references import safe_references, variables_named_in

LONGEST = 20_000  # characters of one override
SWEEP = ("sweep", "study")  # nodes of a configuration that belong to a whole sweep, not to a run

GROUPS = {path.relative_to(CONF).as_posix() for path in CONF.rglob("*") if path.is_dir()}


def _names_options(override: Override, value: Any) -> bool:
    """Whether an override of a group gives it an option or several to sweep over, or takes it away."""
    if value is None:
        return override.is_delete() or override.key_or_group in ("experiment", "study", "debug")
    if isinstance(value, list) and override.key_or_group in LISTS:
        return all(isinstance(name, str) for name in value)
    return isinstance(value, str) or override.is_sweep_override()


def parse(overrides: Sequence[str]) -> list[Override]:
    """Parse overrides such as `optimizer.lr=0.1` and refuse those that could run code.

    Raises RequestError on a syntax error and an unregistered `_target_`.
    """
    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        if len(text) > LONGEST or text.count("${") > MOST_REFERENCES:
            raise RequestError(f"{text[:40]}...: must have at most {LONGEST:,} characters")
        try:
            override = parser.parse_override(text)
            if not override.key_or_group:
                raise HydraException
        except (HydraException, RecursionError):
            hint = stray(text) or " (quote lists and blanks: 'key=[1, 2]')"
            raise RequestError(f"{text}: not of the form key=value{hint}") from None
        key, value = override.key_or_group, override.value()
        if key.rpartition(".")[2] == "_target_":
            choices = (ValueType.CHOICE_SWEEP, ValueType.SIMPLE_CHOICE_SWEEP)
            several = override.sweep_string_iterator() if override.value_type in choices else [value]
            value = [{"_target_": str(name).strip("'\"")} for name in several]
        tables = (*registry.TABLES.values(), hydra_node.TARGETS)
        if unknown := [t for t in targets(value) if not any(t in table for table in tables)]:
            raise RequestError(f"{key}: _target_={unknown[0]} is not registered, so it is not run")
        if key.startswith("hydra.searchpath") and "pkg://" in text:
            raise RequestError(f"{text}: must be a folder; pkg:// would import a package")
        if key in GROUPS and not _names_options(override, value):
            raise RequestError(f"{text}: must be one of {', '.join(names(key))}")
        parsed.append(override)
    return parsed


def compose_checked(overrides: Sequence[str], *, config_dir: str | None = None, multirun: bool = False) -> DictConfig:
    """What `composed` returns, with the folder of `--config-dir`."""
    with hydra_with(config_dir, overrides):
        return composed(overrides, multirun=multirun)


@contextmanager
def hydra_with(config_dir: str | None, overrides: Sequence[str]) -> Iterator[Hydra]:
    """Hydra with the configuration folder of this package and a further one, whose files are checked before."""
    if config_dir is not None:
        check_config_dir(config_dir)
    for folder in PLUGIN_FOLDERS:
        check_config_dir(str(folder), "conf folder of a plugin")
    for override in overrides:
        if override.lstrip("+").startswith("hydra.searchpath="):
            folders = parse([override])[0].value()
            for folder in folders if isinstance(folders, list) else []:
                check_config_dir(str(folder).removeprefix("file://"), "hydra.searchpath")
    before = HydraConfig.instance().cfg
    try:
        further = {} if config_dir is None else {"command-line": Path(config_dir)}
        further |= {f"plugin-{number}": folder for number, folder in enumerate(PLUGIN_FOLDERS)}
        with variables_named_in(overrides), open_hydra(CONF, further) as hydra:
            store_options(further.values())
            hydra.config_loader = OwnLoader(hydra.config_loader)
            yield hydra
    finally:
        HydraConfig.instance().cfg = before


def composed(overrides: Sequence[str], *, multirun: bool = False, complete: bool = True) -> DictConfig:
    """The configuration of a command line, checked; inside `hydra_with`. Its `hydra` node holds no reference.

    For a multirun (or hydra.mode=MULTIRUN, which a study sets) each swept key has its first value, and the settings
    of the runs are not checked; `sweeps` checks them job by job. Unless it must be `complete`, no setting of a run is.

    Raises RequestError that names the key, the value and what is allowed.
    """
    parsed = parse(overrides)
    parsed += parse(for_other_data(NAME, parsed))
    single = [re.sub(r"^(\+*sweep\.prune)=(?=\w+$)", r"\1.rule=", text) for o in parsed if (text := first_value(o))]
    try:
        config = compose(NAME, single, return_hydra_config=True)
        _name_study(config)
        hydra_node.resolve_hydra(config, keys_of(parsed))
        with safe_references():
            of_sweep = {k: v for k, v in config.items() if k in SWEEP}
            of_sweep = {
                k: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for k, v in of_sweep.items()
            }
    except yaml.YAMLError as error:
        raise RequestError(" ".join(str(error).split())[:300]) from error
    except RecursionError as error:
        raise RequestError("a file of the configuration names itself, or nests too deep") from error
    except RequestError:
        raise
    except Exception as error:  # whatever Hydra makes of words that it does not expect
        raise explained(error, parsed) from error
    check_sweep(of_sweep)
    if unknown := [str(key) for key in config if key not in (*registry.RUN.rules, *SWEEP, "hydra")]:
        raise unknown_key(unknown[0], [*registry.RUN.rules, *SWEEP])
    if not complete:
        return config
    with open_dict(config):  # what the command line says, and nothing that a file adds to it
        config.hydra.overrides.hydra = [str(o.input_line) for o in parsed if o.is_hydra_override()]
        config.hydra.overrides.task = [str(o.input_line) for o in parsed if not o.is_hydra_override()]
    # What ${hydra:runtime.cwd} refers to, until a job starts.
    HydraConfig.instance().cfg = OmegaConf.masked_copy(config, "hydra")  # type: ignore[assignment]
    if multirun or is_multirun(config):
        config.hydra.mode = RunMode.MULTIRUN
        if config.hydra.sweeper._target_ not in hydra_node.OURS:  # ours check every job before they write anything
            check(plain(config))
        _check_data_root(config)
        return config
    if swept := [o for o in parsed if o.is_sweep_override()]:
        key = swept[0].key_or_group
        raise RequestError(
            f"{swept[0].input_line}: several values need -m before them, a list needs brackets: '{key}=[...]'"
        )
    check(own := plain(config))
    if wrong := missing_extra(own):
        raise RequestError(wrong)
    _check_data_root(config)
    return config


def _name_study(config: DictConfig) -> None:
    """Give a study whose file has no name for it that of the file: its sweep's folder begins so."""
    chosen = config.hydra.runtime.choices.get("study")
    if isinstance(chosen, str) and isinstance(config.get("study"), DictConfig) and not config.study.get("name"):
        with open_dict(config.study):
            config.study.name = chosen.rpartition("/")[2]


def _check_data_root(config: DictConfig) -> None:
    with safe_references():
        root = OmegaConf.select(config, "data.root", throw_on_resolution_failure=False)
    if isinstance(root, str) and os.path.lexists(root) and not os.path.isdir(root):
        raise RequestError(f"data.root={root}: must be a folder")


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def keys_of(parsed: Sequence[Override]) -> frozenset[str]:
    """The keys and groups that a command line sets."""
    return frozenset(str(o.key_or_group) for o in parsed)


def is_multirun(config: DictConfig) -> bool:
    """Whether a composed configuration sets hydra.mode=MULTIRUN, as that of a study does."""
    return bool(config.hydra.mode == RunMode.MULTIRUN)


def command_of_run(config: Mapping[str, Any] | DictConfig, overrides: Sequence[str]) -> str:
    """The command that does one run with these overrides, also if a study is among them."""
    alone = ["hydra.mode=RUN"] if set(config.get("study") or ()) - {"reference"} else []
    return shlex.join([*train_words(), *overrides, *alone])


def plain(config: DictConfig, folder: str | None = None) -> dict[str, Any]:
    """The settings of a run in a configuration, as dicts and lists of plain values with all references resolved.

    Relative paths of data are made absolute from `folder`, by default the current one; an empty one is none.
    """
    try:
        with safe_references():
            own = {str(key): config[key] for key in config if key not in ("hydra", *SWEEP)}
            nodes = {key: node for key, node in own.items() if OmegaConf.is_config(node)}
            own |= {k: OmegaConf.to_container(v, resolve=True, throw_on_missing=True) for k, v in nodes.items()}
    except MissingMandatoryValue as error:
        raise RequestError(f"{error.full_key}: must be given, as in {error.full_key}=VALUE") from error
    except OmegaConfBaseException as error:
        raise RequestError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise RequestError("a setting refers to itself, or nests too deep") from error
    make_paths_absolute(own.get("data"), folder)
    return own


# Settings that are paths: a value such as 2024 or 1e5 is the name of a folder.
FOLDERS = ("resume", "sweep.resume")  # that exist, so that the text is taken as it is
PATHS = (*FOLDERS, "data.root", "data.path", "data.test_path", "hydra.run.dir", "hydra.sweep.dir")


def with_literal_paths(overrides: Sequence[str]) -> list[str]:
    """Overrides in which a path that is typed without quotes is text, whatever Hydra's grammar would make of it."""
    return [_with_literal_path(text) for text in overrides]


def _with_literal_path(text: str) -> str:
    key, equals, value = text.partition("=")
    name = key.lstrip("+")
    if name not in PATHS or value in ("", "null") or value[0] in "'\"[{":
        return text
    is_other = re.fullmatch(r"[+-]?[\d_.]+(e[+-]?\d+)?|true|false|inf|nan", value, re.IGNORECASE)
    if is_other or (name in FOLDERS and not re.fullmatch(r"[\w./~-]+", value, re.ASCII)):
        return f"{key}{equals}{quote(value)}"
    return text


def quote(text: str, mark: str = "'") -> str:
    """Text as a quoted value of Hydra's override grammar, in which `${` is no reference."""
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    return QuotedString(escaped, Quote.single if mark == "'" else Quote.double).with_quotes()


def path_override(key: str, folder: str) -> str:
    """The override that gives `key` a folder of any name, inside a command that is quoted for the shell afterwards."""
    bare = re.fullmatch(r"[\w./-]+", folder, re.ASCII) and folder not in ("null", "latest")
    return f"{key}={folder if bare else quote(folder, chr(34))}"  # the shell's own quotes are single


def literal(value: str) -> str:
    """The text that `quote` quoted, from the value that Hydra's parser found."""
    return re.sub(r"(\\*)\\\$\{", lambda match: f"{match[1][::2]}${{", value)
