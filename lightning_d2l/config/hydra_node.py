"""The `hydra` node of a configuration: resolved here, and refused if anything in it could run other code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from lightning_d2l.compat_hydra import BASIC_LAUNCHER, BASIC_SWEEPER
from lightning_d2l.config.check import RequestError, check_settings, targets
from lightning_d2l.config.references import safe_references
from lightning_d2l.config.rules import COUNT, POSITIVE, REAL, SEED, Rule, Settings, real, whole

_INTEGER = Rule("a whole number", lambda v: isinstance(v, int) and not isinstance(v, bool))
_METRIC = Rule(
    "of validation data, such as loss/val; a metric that settings were chosen by is no estimate for new data",
    lambda v: str(v).endswith("/val"),
)
_OVERRIDES = Rule("overrides by key, or null", lambda v: v is None or isinstance(v, Mapping))
_COUNT_OR_NULL = Rule("a whole number from 1 on, or null", lambda v: v is None or COUNT.accepts(v))
_WORD_OR_NULL = Rule("one line of text, or null", lambda v: v is None or _is_word(str(v) if isinstance(v, int) else v))
_GPUS = Rule("a number of GPUs, such as 1 or a100:1, or null", lambda v: _COUNT_OR_NULL.accepts(v) or _is_word(v))
_GB = Rule("a number above 0, or null", lambda v: v is None or POSITIVE.accepts(v))
_LINES = Rule("a list of lines, or null", lambda v: v is None or (isinstance(v, list) and all(map(_is_word, v))))
_OPTIONS = Rule(
    "options of sbatch, each with one line of text, a number or true",
    lambda v: isinstance(v, Mapping) and all(_is_word(name) and _is_word(str(value)) for name, value in v.items()),
)
_SHARES = Rule("a number above 0, and a whole one above 1", lambda v: POSITIVE.accepts(v) and (v < 1 or v == int(v)))
_SHARES_OR_NONE = Rule("0, or a number above 0, and a whole one above 1", lambda v: v == 0 or _SHARES.accepts(v))
_RESOURCES = Rule(
    "amounts by the names of resources that Ray's nodes have, or null",
    lambda v: v is None or (isinstance(v, Mapping) and all(_is_word(k) and _SHARES.accepts(n) for k, n in v.items())),
)
_VECTORIZED = {"min_members": _INTEGER, "max_members": _INTEGER, "memory": REAL}
_CHUNKS = {"chunk_size": _COUNT_OR_NULL, "retries": whole(0), **_VECTORIZED}
# The settings of our launchers and sweepers. The vectorized launcher itself reports a number out of range, and then
# trains the runs one at a time.
OURS = {
    f"hydra_plugins.lightning_d2l_sweeps.{name}": Settings(rules)
    for name, rules in {
        "GridSweeper": {"params": _OVERRIDES},
        "OptunaSweeper": {
            "num_trials": COUNT, "batch_size": COUNT, "metric": _METRIC, "seed": SEED, "params": _OVERRIDES,
        },
        "SequentialLauncher": {},
        "VectorizedLauncher": _VECTORIZED,
        "ProcessesLauncher": {
            "workers": _COUNT_OR_NULL, "threads": _COUNT_OR_NULL, **_CHUNKS,
        },
        "RayLauncher": {
            "address": _WORD_OR_NULL, "num_cpus": _SHARES, "num_gpus": _SHARES_OR_NONE, "resources": _RESOURCES,
            "node_timeout": real("[0, inf)"), **_CHUNKS,
        },
        "SlurmLauncher": {
            "workers": COUNT, "timeout_min": COUNT, "cpus_per_task": COUNT, "gpus_per_node": _GPUS,
            "mem_gb": _GB, "array_parallelism": _COUNT_OR_NULL, "signal_delay_s": COUNT, "max_num_timeout": whole(0),
            "additional_parameters": _OPTIONS, "setup": _LINES, "srun_args": _LINES,
            **dict.fromkeys(
                ("partition", "account", "qos", "gres", "mem_per_cpu", "constraint", "exclude", "comment"),
                _WORD_OR_NULL,
            ),
            **_CHUNKS,
        },
    }.items()
}  # fmt: skip
# Launchers and sweepers of other packages are plugins that the user chose to install.
TARGETS = {
    *OURS,
    BASIC_LAUNCHER,
    BASIC_SWEEPER,
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
    "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
}
# Settings of launchers that are commands, words of one, or where they run: only the command line may give them.
COMMANDS = ("setup", "python", "additional_parameters", "srun_args", "init_commands", "env_set", "ray", "address")
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
# The only file that a log of Hydra's may be written to, as Hydra's own default says it.
LOG_FILE = "${hydra.runtime.output_dir}/${hydra.job.name}.log"
# References that have a value in a job alone, and the settings that may hold them.
_OF_A_JOB = r"(?:[\w,=.-]|\$\{hydra\.job\.(?:num|id|name|override_dirname)\})+"
_LATE = {r"hydra\.sweep\.subdir": _OF_A_JOB, r"hydra\.\w+_logging\.handlers\.\w+\.filename": re.escape(LOG_FILE)}


def resolve_hydra(config: DictConfig, words: frozenset[str] = frozenset()) -> None:
    """Replace every reference in the `hydra` node of a configuration by its value, and check what that comes to.

    `words` are the keys that the command line sets. Raises RequestError on anything that could run other code, build
    an object, or write outside the folder of a run.
    """
    node = config.hydra
    try:
        with safe_references(), read_write(node):
            OmegaConf.set_struct(node, False)
            raw: Any = OmegaConf.to_container(node.job, resolve=False)
            node.job.override_dirname = str(raw["override_dirname"]).replace("${", "{")  # a part of a folder's name
            _resolve(node, "hydra")
    except OmegaConfBaseException as error:
        raise RequestError(f"{error.full_key or 'hydra'}: {str(error).splitlines()[0]}") from error
    check_hydra(OmegaConf.to_container(node, resolve=False, enum_to_str=True), words)  # type: ignore[arg-type]


def _resolve(node: Any, path: str) -> None:
    for key in list(node) if isinstance(node, DictConfig) else range(len(node)):
        place = f"{path}.{key}"
        if OmegaConf.is_missing(node, key) or place == "hydra.overrides":  # which holds the words of the command line
            continue
        if OmegaConf.is_interpolation(node, key):
            raw: Any = OmegaConf.to_container(node, resolve=False)
            try:
                value = node[key]
            except InterpolationToMissingValueError:
                if any(re.fullmatch(at, place) and re.fullmatch(what, str(raw[key])) for at, what in _LATE.items()):
                    continue
                raise
            node[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        elif OmegaConf.is_config(child := node[key]):
            _resolve(child, place)


def check_hydra(node: Mapping[str, Any], words: frozenset[str] = frozenset()) -> None:
    """Check a resolved `hydra` node; see `resolve_hydra`."""
    _check_targets(node)
    for key, allowed in _EMPTY.items():
        value = _at(node, key)
        if value:
            raise RequestError(f"hydra.{key}: must be empty; {allowed}")
    for key, rule in _RULES.items():
        if not rule.accepts(value := _at(node, key)):
            raise RequestError(f"hydra.{key}={value}: must be {rule.allowed}")
    subdir = _at(node, "sweep.subdir")
    if subdir and subdir != _at(node, "job.override_dirname") and not _is_below(subdir):
        raise RequestError(f"hydra.sweep.subdir={subdir}: must be the path of a folder below the sweep's")
    for key in ("job_logging", "hydra_logging"):
        _check_logging(node.get(key), f"hydra.{key}")
    for key in COMMANDS:
        if key in (node.get("launcher") or {}) and node["launcher"][key] and f"hydra.launcher.{key}" not in words:
            what = "says where code runs" if key == "address" else "runs commands"
            raise RequestError(f"hydra.launcher.{key}: {what}, so it must be given on the command line")


def _check_targets(node: Mapping[str, Any]) -> None:
    """A `_target_` may stand at the top of the launcher and of the sweeper alone."""
    inner = {**node}
    for part in ("launcher", "sweeper"):
        given = node.get(part) or {}
        target = given.get("_target_", "") if isinstance(given, Mapping) else str(given)
        if target not in TARGETS:
            raise RequestError(f"hydra.{part}: _target_={target} is not registered, so it is not run")
        inner[part] = {k: v for k, v in given.items() if k != "_target_"}
        if settings := OURS.get(target):
            check_settings(inner[part], settings, f"hydra.{part}.")
    for target in targets(inner):
        raise RequestError(f"hydra: _target_={target} is not registered, so it is not run")


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != "" and value.isprintable()


def _one_name(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"[\w,=+@ -][\w,=+@ .-]*", value))


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != "" and value.isprintable()


_PATH = Rule("the path of a folder, without control characters", _is_path)
_NAME = Rule("the name of a file, without a folder", _one_name)
_RULES = {
    "run.dir": _PATH,
    "sweep.dir": _PATH,
    "job.name": _NAME,
    "output_subdir": Rule("the name of a folder, or null", lambda v: v is None or v == ".hydra" or _one_name(v)),
}
_EMPTY = {
    "callbacks": "a callback could run other code",
    "job.env_copy": "environment variables are not copied",
    "job.env_set": "set environment variables in the shell, before the program starts",
}


def _is_below(value: Any) -> bool:
    return _is_path(value) and not value.startswith("/") and ".." not in value.split("/")


def _at(node: Mapping[str, Any], key: str) -> Any:
    for part in key.split("."):
        node = (node or {}).get(part)  # type: ignore[assignment]
    return node


# What each entry of a logging configuration may hold, by the section that it stands in.
_LOGGING: dict[str, Callable[[str, Any], bool]] = {
    "formatters": lambda key, v: (
        key in ("format", "datefmt", "style", "log_colors")
        or (key == "class" and v in ("logging.Formatter", "colorlog.ColoredFormatter"))
        or (key == "()" and v == "colorlog.ColoredFormatter")
    ),
    "handlers": lambda key, v: (
        key in ("level", "formatter", "encoding")
        or (key == "class" and v in ("logging.StreamHandler", "logging.FileHandler", "logging.NullHandler"))
        or (key == "stream" and v in STREAMS)
        or (key == "filename" and v == LOG_FILE)
        or (key == "mode" and v == "a")
    ),
    "loggers": lambda key, v: key in ("level", "handlers", "propagate"),
}


def _check_logging(node: Any, path: str) -> None:
    if node is None:
        return
    if not isinstance(node, Mapping):
        raise RequestError(f"{path}={node}: must be a group of settings")
    for value in _leaves(node):
        if "://" in str(value) and value not in STREAMS:  # logging imports what ext:// names
            raise RequestError(f"{path}: {value} is not registered, so it is not run")
    for section, value in node.items():
        if section in _LOGGING and isinstance(value or {}, Mapping):
            for name, entry in (value or {}).items():
                for key, setting in entry.items() if isinstance(entry, Mapping) else [("", entry)]:
                    if not _LOGGING[section](str(key), setting):
                        shown = f"{path}.{section}.{name}: {key}={setting}"
                        raise RequestError(f"{shown} is not registered, so it is not run")
        elif section == "root" and isinstance(value or {}, Mapping) and (value or {}).keys() <= {"level", "handlers"}:
            continue
        elif section not in ("version", "disable_existing_loggers", "incremental"):
            raise RequestError(f"{path}.{section}: is not registered, so it is not run")


def _leaves(node: Any) -> Iterator[Any]:
    for value in node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else [node]:
        if isinstance(value, (Mapping, list)):
            yield from _leaves(value)
        else:
            yield value
