"""One run, from its specification to its record."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.given import is_given
from lightning_d2l.config.optimizers import EXACT
from lightning_d2l.config.places import LOCK
from lightning_d2l.config.program import from_here
from lightning_d2l.config.trainer import arguments
from lightning_d2l.data.streams import stream
from lightning_d2l.engine.choice import needs_lightning
from lightning_d2l.engine.chunks import ChunkedModule
from lightning_d2l.engine.loop import Diverged
from lightning_d2l.training import console
from lightning_d2l.training.averaged import are_averaged, measure_averaged
from lightning_d2l.training.build import NOISE, BuiltRun, build
from lightning_d2l.training.caller import tell_caller
from lightning_d2l.training.extras import Loggers, optional
from lightning_d2l.training.files import LAST, UNWRITABLE, Row, reason_of
from lightning_d2l.training.finders import finders, search, with_found
from lightning_d2l.training.folders import missing_folders, remove_empty
from lightning_d2l.training.lock import hold
from lightning_d2l.training.measure import test
from lightning_d2l.training.predictions import save_predictions
from lightning_d2l.training.pruned import Ended
from lightning_d2l.training.ranks import Environment, RankFailed, together
from lightning_d2l.training.record import RUN_FILE, STOPPED, RunRecord
from lightning_d2l.training.recorder import LoggingPoints, Recorder, remove_checkpoints
from lightning_d2l.training.resume import command_to_resume, place_to_resume
from lightning_d2l.training.same_data import located, require_same_data
from lightning_d2l.training.signals import Signals, Stopped, signals_stop_the_run
from lightning_d2l.training.spec import RunSpec
from lightning_d2l.training.summary import Judge, first_line, judged, tell_end, told
from lightning_d2l.training.trainer import (
    fast_settings,
    finder_settings,
    fit_settings,
    flags_kept,
    is_refusal,
    made_trainer,
    refusal,
)

log = logging.getLogger(__name__)
Builder = Callable[[RunSpec], BuiltRun]


def run(spec: RunSpec, built_by: Builder = build, judge: Judge | None = None) -> int:
    """Do one run and record it; returns the exit code: 0 ended well, 1 diverged or failed, 2 refused, 128 + signal.

    The folder is held meanwhile. Raises RequestError, and leaves the folder unchanged, if another process holds it, if
    a new run's folder holds a run, or if the run can't be resumed. A new run of a sweep that is refused is recorded.
    `built_by` builds the run, and `judge` gives the diagnosis of a single one.
    """
    folder, what = spec.folder, place_of(spec)
    made = missing_folders(folder)
    with signals_stop_the_run() as signals:
        try:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RequestError(f"{what}: cannot be written ({error.strerror})") from error
            verbose = spec.config["verbose"]
            with hold(folder, what), console.log_to(folder, verbose=verbose, silent=spec.silent, wait=True) as log_file:
                code = _recorded(spec, signals, log_file, built_by, None if spec.part_of_sweep else judge)
        except Stopped as stop:  # before the folder was held
            code = 128 + stop.signum
        finally:
            with contextlib.suppress(OSError):  # nothing is left of a request that was refused
                if os.listdir(folder) == [LOCK]:
                    (folder / LOCK).unlink()
                remove_empty(made)
    return 128 + signals.received if signals.received else code


def place_of(spec: RunSpec) -> str:
    """The override that names a run's folder, as messages begin."""
    new = "folder" if is_given(spec.config) else "hydra.run.dir"
    return f"{'resume' if spec.resuming else new}={spec.folder}"


def _recorded(
    spec: RunSpec, signals: Signals, log_file: console.LogFile, built_by: Builder, judge: Judge | None
) -> int:
    """Train and record how it ended; nothing is written before the run has been checked."""
    began, folder = time.monotonic(), spec.folder
    status, message, code, outcome = "failed", "", 1, {}
    if not spec.resuming and (folder / RUN_FILE).exists():
        raise RequestError(f"{place_of(spec)}: holds a run already; choose another folder, or resume={folder}")
    if spec.resuming:
        spec.config = located(spec.config, RunRecord.read(folder))
    record = RunRecord.of(spec)
    try:
        try:
            train(spec, record, began, log_file.start, signals, built_by, judge)
        finally:
            signals.end()
        code = 0
    except Diverged as error:
        status, message = "diverged", f"diverged: {error}"
        outcome = judged(spec, record, "diverged", {}, judge)
    except Ended as end_of_run:
        status, message, code, outcome = end_of_run.status, end_of_run.message, 0, end_of_run.outcome
    except RankFailed as error:
        message = f"failed: {error}" + (f"; to resume: {command_to_resume(spec)}" if log_file.started else "")
    except Stopped as stop:
        message, code = _stopped_by(spec, stop, log_file, record)
    except RequestError as error:
        if not log_file.started and (spec.resuming or not spec.part_of_sweep):
            raise
        message, code = f"error: {error}", 2
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # a model may raise any
        message, code = f"failed: {type(error).__name__}: {error}", 1
        if tell_caller(error):
            message, code = _stopped_by(spec, Stopped(signal.SIGINT), log_file, record)
        if unwritable := _unwritable(spec, error):
            message, code = unwritable, 2
        log.log(logging.INFO if spec.config["verbose"] else logging.DEBUG, traceback.format_exc())
    if log_file.started or not (spec.resuming or code > 128):
        try:
            log_file.start()
            if not record.completed:  # else it is on the disk, and what went wrong since is no part of the run
                record.end(status, message, time.monotonic() - began, **outcome)
        except OSError as error:
            if code < 2:  # else it was reported above
                message, code = _unwritable(spec, error) or f"error: {place_of(spec)}: {error}", 2
    if message:
        if code == 2:
            tell_caller(RequestError(message.removeprefix("error: ")))
        log.error(message)
        if log_file.started and code != 2:
            log.info("\n".join([*told(outcome), f"run folder  {from_here(folder)}"]))
    return code


def _stopped_by(spec: RunSpec, stop: Stopped, log_file: console.LogFile, record: RunRecord) -> tuple[str, int]:
    """The error of a run that a signal ended, and its exit code."""
    message = stopped(spec, stop) if log_file.started else f"{STOPPED} {stop.name}"
    if record.completed:
        message = f"{STOPPED} {stop.name}; the run is complete, but some of its figures may be missing"
    return message, 128 + stop.signum


def _unwritable(spec: RunSpec, error: BaseException) -> str:
    """The message about a run's folder that can't be written, or an empty string for any other error."""
    if not isinstance(error, OSError):
        return ""
    if not spec.folder.exists():
        return f"error: {place_of(spec)}: the folder was removed while the run was training"
    return f"error: {place_of(spec)}: {reason_of(error)}" if error.errno in UNWRITABLE else ""


def train(
    spec: RunSpec,
    record: RunRecord,
    began: float,
    begin: Callable[[], None],
    signals: Signals,
    build: Builder,
    judge: Judge | None,
) -> None:
    """Build, fit, test, record the outcome, and then draw. Raises Diverged, RequestError, Stopped, the model's errors.

    `began` is when, by the monotonic clock. `begin` is called before the first file is written, when all that was asked
    for has been checked.
    """
    config, folder = spec.config, spec.folder
    if config["verbose"]:
        console.no_advertisements()
    else:
        console.quiet()
    if spec.number:
        console.said_before()
    if finders(config):
        if spec.resuming and (folder / LAST).exists():
            spec.found = record.fields.get("found") or {}
        spec.found = spec.found or search(spec, finder_settings(config))
        spec.config = config = with_found(config, spec.found)
    built, settings = build(spec), config["trainer"]
    start = 0
    if spec.resuming:
        require_same_data(record, built.data)
        start, built.rows = place_to_resume(folder, built.module, built.points)
    log.info("%s", first_line(built))
    loggers = Loggers(spec, record.fields.get("loggers"), built.loggers)
    bar = not spec.silent and settings["enable_progress_bar"] is not False
    line = console.Console(built.data, start, built.max_epochs, bar=bar)

    def first_write() -> None:
        begin()
        record.update(**built.fields())
        if ids := loggers.open(built, record.fields.get("data")):
            record.update(loggers=ids)

    def tell(row: Row) -> None:
        line.row(row)
        if signals.received:  # its exception was lost, as in a destructor
            raise Stopped(signals.received)
        built.watch(built.rows)

    with flags_kept(), loggers:
        try:
            best = fit(built, tell, loggers.of_trainer, first_write)
        finally:
            line.stop()
        final, best = test(built, best)
        if settings["save_predictions"]:
            with optional("predictions.csv"):
                save_predictions(folder / "predictions.csv", built.data, built.net)
        if settings["enable_checkpointing"] is False:  # they were needed to measure the best epoch
            remove_checkpoints(folder)
        outcome = judged(spec, record, "completed", built.outcome(final, best), judge)
        record.end("completed", "", time.monotonic() - began, **outcome)  # whatever becomes of the figures
        loggers.finish(built, final)
    tell_end(spec, outcome, loggers.commands())


def fit(
    built: BuiltRun,
    tell: Callable[[Row], None],
    loggers: list[Any],
    begin: Callable[[], object] = list,
    place: Environment | None = None,
) -> Row:
    """Train by the loop that `trainer.engine` asks for, from last.ckpt on where the run is resumed.

    Gives each row of metrics to `tell` and to `built.rows`; returns the best epoch's. `begin` is called before the
    first file is written. `place` is that of this process among those of the run; rank 0 starts the others. Raises
    RequestError if the fast loop can't train, if Lightning refuses a setting, or if the checkpoint can't be used.
    """
    spec, settings, place = built.spec, built.spec.config["trainer"], place or Environment()
    lightning, folder = by_lightning(built), spec.folder
    recorder = Recorder(built, settings["checkpoint_every_n_seconds"], tell, begin)
    validates = settings["val_check_interval"] is None and settings["check_val_every_n_epoch"] is not None
    watching = [LoggingPoints(built.points, validates=validates)] if lightning else []
    trainer = made_trainer(
        fit_settings(spec.config, recorder.io, place=place)
        if lightning
        else fast_settings(spec.config, built.max_epochs, recorder.io),
        folder,
        logger=loggers,
        callbacks=[*built.callbacks, *watching, recorder],
    )
    last = str(folder / LAST) if spec.resuming and (folder / LAST).exists() else None
    supervised = None if lightning else built.supervised
    module = ChunkedModule(supervised, built.data, built.points) if supervised else built.module
    try:
        with together(spec, trainer.world_size, place):
            torch.manual_seed(stream(NOISE, spec.config["seed"], *[place.rank] * bool(place.rank)))
            trainer.fit(module, built.data if lightning else None, ckpt_path=last, weights_only=True)
    except (RequestError, Diverged, RankFailed, Ended):
        raise
    except Exception as error:
        if recorder.began or (last is None and not is_refusal(error)):
            raise
        if last is None:
            raise RequestError(refusal(error)) from error
        reason = f"{type(error).__name__}: {(str(error).strip() or 'no reason').splitlines()[0]}"
        raise RequestError(f"{last}: the run can't continue from it ({reason[:200]})") from error
    if not recorder.began and place.rank == 0:  # no epoch was left to train
        recorder.begin(int(built.rows[-1]["epoch"]) if built.rows else 0)
    if place.rank == 0 and are_averaged(built):
        return measure_averaged(built, recorder.best)
    return recorder.best


def by_lightning(built: BuiltRun) -> bool:
    """Whether Lightning's own loop trains; raises RequestError if `trainer.engine` forbids what is needed."""
    settings = built.spec.config["trainer"]
    if settings["engine"] == "lightning":
        return True
    reason = needs_lightning(built.module, built.data, built.callbacks, arguments(settings))
    if reason and settings["engine"] == "fast":
        raise RequestError(f"trainer.engine=fast: {reason} needs Lightning's own loop; must be auto or lightning")
    if reason and (built.spec.config["optimizer"] or {}).get("_target_") == EXACT:
        raise RequestError(f"{reason}: must be left out for optimizer=exact, which takes no steps")
    if reason:
        log.info("Lightning's own loop trains: %s needs it", reason)
    return bool(reason)


def stopped(spec: RunSpec, stop: Stopped) -> str:
    """The error of a run that a signal ended, with the command that resumes the run."""
    return f"{STOPPED} {stop.name}; to resume: {command_to_resume(spec)}"
