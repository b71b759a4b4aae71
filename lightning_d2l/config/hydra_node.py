"""What the `hydra` node of a configuration may build: launchers, sweepers and plain log handlers, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lightning_d2l.compat_hydra import BASIC_LAUNCHER, BASIC_SWEEPER
from lightning_d2l.config.check import RequestError, check_settings, targets
from lightning_d2l.config.registry import COUNT, REAL, SEED, Rule, Settings

_INTEGER = Rule("a whole number", lambda v: isinstance(v, int) and not isinstance(v, bool))
_METRIC = Rule(
    "of validation data, such as loss/val; a metric that settings were chosen by is no estimate for new data",
    lambda v: str(v).endswith("/val"),
)
_OVERRIDES = Rule("overrides by key, or null", lambda v: v is None or isinstance(v, Mapping))
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
        "VectorizedLauncher": {"min_members": _INTEGER, "max_members": _INTEGER, "memory": REAL},
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
LOGGING_CLASSES = ("logging.StreamHandler", "logging.FileHandler", "logging.Formatter", "colorlog.ColoredFormatter")
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")


def check_hydra(node: Mapping[str, Any]) -> None:
    """Check an unresolved `hydra` node; raises RequestError on anything in it that could run other code."""
    for target in targets(node):
        if target not in TARGETS:
            raise RequestError(f"hydra: _target_={target} is not registered, so it is not run")
    for part in ("launcher", "sweeper"):
        given = node.get(part) or {}
        if settings := OURS.get(given.get("_target_", "")):
            check_settings({k: v for k, v in given.items() if k != "_target_"}, settings, f"hydra.{part}.")
    for key in ("job_logging", "hydra_logging"):
        for name, value in _leaves(node.get(key) or {}):
            runs_code = str(value).startswith("ext://") and value not in STREAMS
            if name == "()" or runs_code or (name == "class" and value not in LOGGING_CLASSES):
                raise RequestError(f"hydra.{key}: {name}={value} is not registered, so it is not run")


def _leaves(node: Any) -> Iterator[tuple[str, Any]]:
    for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
        if isinstance(value, (Mapping, list)):
            yield from _leaves(value)
        else:
            yield str(key), value
