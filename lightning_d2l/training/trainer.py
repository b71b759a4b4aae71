"""Lightning's Trainer for a run: its arguments, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from traceback import extract_tb
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from lightning_d2l.compat_lightning import CHATTY_LOGGERS, leave_signals
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.trainer import NO_LIMIT, USUAL_EPOCHS, arguments
from lightning_d2l.training.ranks import Environment

PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}
PROFILE = "profile"  # how the names of a profiler's files begin, in the run's folder
LIGHTNING = ("pytorch_lightning", "lightning_fabric")
# What the Trainer of a test has in common with that of the training.
TESTED = ("accelerator", "precision", "inference_mode", "deterministic", "benchmark", "limit_test_batches",
          "fast_dev_run")  # fmt: skip


def fit_settings(config: Mapping[str, Any], *plugins: Any, place: Environment | None = None) -> dict[str, Any]:
    """How the Trainer of a run is set up, by the names of its arguments, for Lightning's own loop.

    It trains in this process alone unless there are several devices, also within an allocation of SLURM or another
    cluster.
    """
    asked = arguments(config["trainer"])
    usual = {"enable_checkpointing": True, "num_sanity_val_steps": 0}
    found = asked | {name: value for name, value in usual.items() if not asked[name]}
    if asked["max_epochs"] is None:
        limited = asked["max_steps"] != -1 or asked["max_time"] is not None
        found["max_epochs"] = -1 if limited else USUAL_EPOCHS
    silent = {"enable_progress_bar": False, "enable_model_summary": bool(asked["enable_model_summary"])}
    return found | silent | devices(asked) | {"plugins": [place or Environment(), *plugins]}


def fast_settings(config: Mapping[str, Any], max_epochs: int, *plugins: Any) -> dict[str, Any]:
    """How the Trainer of the fast loop is set up, which counts epochs alone."""
    return fit_settings(config, *plugins) | {"max_epochs": -1 if max_epochs == NO_LIMIT else max_epochs}


def test_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """How the Trainer of a test is set up, which measures each sample once: on one device."""
    asked = arguments(config["trainer"])
    silent = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "enable_checkpointing", "logger"), False)
    one = {"devices": asked["devices"][:1] if isinstance(asked["devices"], list) else 1, "strategy": "auto"}
    return {name: asked[name] for name in TESTED} | silent | devices(asked | one) | {"plugins": [Environment()]}


def finder_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """How the Trainer is set up that searches a setting before the run: on one device, and without its limits."""
    found, without = test_settings(config), ("fast_dev_run", "limit_test_batches")
    kept = ("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm")
    found |= {name: config["trainer"][name] for name in kept} | {"num_sanity_val_steps": 0}
    return {name: value for name, value in found.items() if name not in without}


def devices(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Where the Trainer computes."""
    return {name: asked[name] for name in ("accelerator", "devices", "strategy", "num_nodes")}


def made_trainer(settings: Mapping[str, Any], folder: Path | None = None, **more: Any) -> pl.Trainer:
    """A Trainer, whose profiler writes into `folder`; raises RequestError, in Lightning's words, if it refuses."""
    profiler = settings.get("profiler")
    if profiler in PROFILERS and folder is not None:
        more["profiler"] = PROFILERS[profiler](dirpath=str(folder), filename=PROFILE)
    try:
        trainer = pl.Trainer(**{**settings, **more}, default_root_dir=None if folder is None else str(folder))
    except Exception as error:
        raise RequestError(refusal(error)) from error
    leave_signals(trainer)
    return trainer


def refusal(error: BaseException) -> str:
    """The line about settings that Lightning refuses."""
    words = " ".join(str(error).split()) or type(error).__name__
    return f"trainer: {words[:400]}"


def is_refusal(error: BaseException) -> bool:
    """Whether Lightning itself raised an error, and neither torch nor the model."""
    frames = extract_tb(error.__traceback__)
    return bool(frames) and any(f"{name}/" in frames[-1].filename.replace("\\", "/") for name in LIGHTNING)


_accepted: set[str] = set()  # settings, as text, that a Trainer was made with


def check_trainer(config: Mapping[str, Any]) -> None:
    """Raise RequestError, in Lightning's words, if the Trainer refuses the settings of a run."""
    key = json.dumps(config["trainer"], sort_keys=True, default=str)
    if key not in _accepted:
        with flags_kept(), _silence():
            made_trainer(fit_settings(config), logger=False)
        _accepted.add(key)


@contextlib.contextmanager
def flags_kept() -> Iterator[None]:
    """Put back the settings of torch that a Trainer changes for the whole process."""
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warns)
        torch.backends.cudnn.benchmark = benchmark


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in CHATTY_LOGGERS]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
