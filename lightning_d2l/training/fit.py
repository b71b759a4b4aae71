"""One run, from its specification to its record."""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import shlex
import signal
import time
import traceback
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.compose import quote
from lightning_d2l.config.registry import EXACT
from lightning_d2l.config.text import number
from lightning_d2l.data.batches import as_input
from lightning_d2l.data.streams import stream
from lightning_d2l.engine.choice import needs_lightning
from lightning_d2l.engine.chunks import ChunkedModule
from lightning_d2l.engine.loop import Diverged
from lightning_d2l.modules.build import build as build_node
from lightning_d2l.training import checkpoint, console
from lightning_d2l.training.build import NOISE, BuiltRun, build
from lightning_d2l.training.files import BEST, LAST, MetricsFile, Row
from lightning_d2l.training.predictions import save_predictions
from lightning_d2l.training.record import STOPPED, RunRecord, lookup
from lightning_d2l.training.same_data import located, require_same_data
from lightning_d2l.training.signals import Stopped, signals_stop_the_run
from lightning_d2l.training.spec import RunSpec
from lightning_d2l.training.tensorboard import TensorBoard

log = logging.getLogger(__name__)
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def run(spec: RunSpec) -> int:
    """Do one run and record it; returns the exit code: 0 completed, 1 diverged or failed, 2 refused, 128 + signal.

    Raises RequestError, and leaves the folder unchanged, if there is no run in it to resume.
    """
    folder = spec.folder
    folder.mkdir(parents=True, exist_ok=True)
    with console.log_to(folder, verbose=spec.config["verbose"], silent=spec.silent), signals_stop_the_run():
        if spec.resuming:
            spec.config = located(spec.config, RunRecord.read(folder))
        record = RunRecord.of(spec)
        if spec.resuming:
            checkpoint.load_checkpoint(folder / LAST)  # refused before the record is changed
        began = time.monotonic()
        status, message, code = "failed", "", 1
        try:
            record.update(status="running")
            record.update(**train(spec, record))
            status, code = "completed", 0
        except Diverged as error:
            status, message = "diverged", f"diverged: {error}"
        except Stopped as stop:
            message, code = stopped(spec, stop), 128 + stop.signum
        except RequestError as error:
            message, code = f"error: {error}", 2
        except Exception as error:
            full = isinstance(error, OSError) and error.errno in UNWRITABLE
            message = f"error: hydra.run.dir={folder}: {error}" if full else f"failed: {type(error).__name__}: {error}"
            code = 2 if full else 1
            log.log(logging.INFO if spec.config["verbose"] else logging.DEBUG, traceback.format_exc())
        with contextlib.suppress(OSError):  # a full disk was reported above
            record.end(status, message, time.monotonic() - began)
        if message:
            log.error(message)
            log.info("run folder  %s", console.from_here(folder))
        return code


def train(spec: RunSpec, record: RunRecord) -> dict[str, Any]:
    """Build, fit and test; returns the record's outcome. Raises Diverged, RequestError, Stopped, the model's errors."""
    config, folder = spec.config, spec.folder
    if not config["verbose"]:
        console.quiet()
    built, settings = build(spec), config["trainer"]
    if spec.resuming:
        require_same_data(record, built.data)
    record.update(**built.fields())
    log.info("%s", first_line(built))

    start = checkpoint.finished_epochs(checkpoint.load_checkpoint(folder / LAST)) if spec.resuming else 0
    if start > built.max_epochs:
        raise RequestError(f"trainer.max_epochs={built.max_epochs}: must be at least {start}, the epochs of {folder}")
    board = _open_board(built, start)
    line = console.Console(built.data, start, built.max_epochs, bar=not spec.part_of_sweep)
    try:
        best = fit(built, line.row, [board] if board else [])
    finally:
        line.stop()
    final, best = test(built, best)
    if settings["save_predictions"]:
        save_predictions(folder / "predictions.csv", built.data, built.module.net)
    _finish_board(built, board, final)
    outcome = built.outcome(final, best)
    log.info("\n%s\n", summary(outcome))
    here = console.from_here(folder)
    log.info("run folder  %s", here)
    if not spec.part_of_sweep:
        log.info("look at it  tensorboard --logdir %s", "outputs" if here.parts[:1] == ("outputs",) else here)
        log.info("use it      lightning-d2l predict %s", here)
    return outcome


def fit(built: BuiltRun, tell: Any, loggers: list[Any]) -> Row:
    """Train by the loop that `trainer.engine` asks for, from last.ckpt on where the run is resumed.

    Gives each row of metrics to `tell`; returns the best epoch's. Raises RequestError if the fast loop can't train.
    """
    spec, engine = built.spec, built.spec.config["trainer"]["engine"]
    reason = "" if engine == "lightning" else needs_lightning(built.module, built.data)
    if reason and engine == "fast":
        raise RequestError(f"trainer.engine=fast: {reason} needs Lightning's own loop; must be auto or lightning")
    if reason:
        log.info("Lightning's own loop trains: %s needs it", reason)
    io = checkpoint.AtomicCheckpointIO(spec.config["trainer"]["checkpoint_every_n_seconds"])
    recorder = checkpoint.Recorder(spec.folder, io, built.points, built.data.monitor, tell)
    lightning = bool(reason) or engine == "lightning"
    trainer = pl.Trainer(
        **trainer_settings(spec.config, built.max_epochs),
        logger=loggers,
        callbacks=[*([checkpoint.LoggingPoints(built.points)] if lightning else []), recorder],
        plugins=[io],
        default_root_dir=str(spec.folder),
    )
    last = str(spec.folder / LAST) if spec.resuming else None
    torch.manual_seed(stream(NOISE, spec.config["seed"]))
    module = built.module if lightning else ChunkedModule(built.module, built.data, built.points)
    trainer.fit(module, built.data if lightning else None, ckpt_path=last, weights_only=True)
    return recorder.best


def trainer_settings(config: Mapping[str, Any], max_epochs: int = 1) -> dict[str, Any]:
    """How Lightning's Trainer is set up for a run, by the names of its arguments."""
    asked = {name: config["trainer"][name] for name in ("accelerator", "precision")}
    silent = {"enable_progress_bar": False, "enable_model_summary": False}
    return asked | silent | {"max_epochs": max_epochs, "devices": 1, "num_sanity_val_steps": 0}


def test(built: BuiltRun, best: Row) -> tuple[Row, Row]:
    """Final and best metrics, with those on the test split: of the last weights, and of the best epoch's."""
    module, folder = built.module, built.spec.folder
    final = dict(MetricsFile(folder).rows()[-1])
    last = at_best = test_metrics(built)
    if best["epoch"] != final["epoch"]:
        weights = {name: value.clone() for name, value in module.state_dict().items()}
        module.load_state_dict(checkpoint.load_checkpoint(folder / BEST)["state_dict"])
        at_best = test_metrics(built)
        module.load_state_dict(weights)
    return final | last, best | at_best


def test_metrics(built: BuiltRun) -> Row:
    """The metrics of the module's present weights on the test split; raises Diverged if one is not finite."""
    metrics = measured(built)
    for name, value in metrics.items():
        if not torch.tensor(value).isfinite():
            raise Diverged(f"{name} is {value}")
    return metrics


def measured(built: BuiltRun) -> Row:
    """The metrics of the module's present weights on the test split, finite or not."""
    trainer = pl.Trainer(**trainer_settings(built.spec.config), logger=False, enable_checkpointing=False)
    (found,) = trainer.test(built.module, built.data, verbose=False)
    return {name: float(value) for name, value in found.items()}


def _open_board(built: BuiltRun, start: int) -> TensorBoard | None:
    spec = built.spec
    if spec.config["logger"] is None:
        return None
    board: TensorBoard = build_node(spec.config["logger"])
    history = [row for row in MetricsFile(spec.folder).rows() if row["epoch"] <= start]
    board.open(spec.folder, hyperparameters(built), built.module.metric_names, history)
    if not spec.part_of_sweep:
        x = built.data.splits["train"][0][:1]
        board.watch(built.module.net, as_input(x, next(built.module.parameters()).dtype))
    return board


def _finish_board(built: BuiltRun, board: TensorBoard | None, final: Row) -> None:
    """Draw the figures of a single run, and close TensorBoard's file with them and the test metrics."""
    pictures = []
    if not built.spec.part_of_sweep:
        from lightning_d2l.training import figures  # matplotlib: a second that the runs of a sweep need not spend

        exact = built.spec.config["optimizer"]["_target_"] == EXACT
        how = "exact solution" if exact else f"{built.max_epochs} epochs"
        title = f"{built.name}, seed {built.spec.config['seed']}, {how}"
        rows = MetricsFile(built.spec.folder).rows()
        pictures = figures.draw(built.spec.folder, built.data, built.module.net, rows, title)
    if board:
        board.log_metrics({k: v for k, v in final.items() if k.endswith("/test")}, built.max_epochs)
        board.add_pictures(pictures, built.max_epochs)
        board.close()


def hyperparameters(built: BuiltRun) -> dict[str, Any]:
    """What TensorBoard's HParams shows: the settings in which runs mostly differ, and those of the command line."""
    found = {"model": type(built.module.net).__name__, "data": built.data.name, "source": built.data.source}
    usual = ("seed", "optimizer.lr", "optimizer.weight_decay", "data.batch_size", "trainer.max_epochs")
    given = [override.partition("=")[0].lstrip("+~") for override in built.spec.overrides]
    values = {key: lookup(built.spec.config, key)[0] for key in [*usual, *given]}
    return found | {k: v for k, v in values.items() if v is not None and not isinstance(v, Mapping)}


def first_line(built: BuiltRun) -> str:
    """The first line of a run's log."""
    return f"{built.name}: {built.num_parameters:,} parameters, seed {built.spec.config['seed']}"


def summary(outcome: Mapping[str, Any]) -> str:
    """The table at the end of a run, with notes that explain its rows."""
    metrics, notes = outcome["metrics"], []
    final, best = metrics["final"], metrics["best"]
    rows = {"final": final}
    if best["epoch"] != final["epoch"]:
        rows["best"] = best
        lowest = "loss/val" if "loss/val" in best else "loss/train"
        notes.append(f"best: epoch {best['epoch']:.0f}, the lowest {lowest}")
    if "exact" in metrics:
        rows["exact"] = metrics["exact"]
        first, last = (number(outcome["distance_to_exact"][when]) for when in ("at_start", "final"))
        notes.append(f"exact: the analytic solution; the parameters are {last} from it, at the start {first}")
    return "\n".join([console.table(rows), *notes])


def stopped(spec: RunSpec, stop: Stopped) -> str:
    """The error of a run that a signal ended, with the command that resumes the run."""
    overrides = [o for o in spec.overrides if not o.startswith(("resume=", "hydra.run.dir="))]
    folder = str(console.from_here(spec.folder))
    value = folder if re.fullmatch(r"[\w./-]+", folder) else quote(folder, '"')  # the shell's own quotes are single
    command = shlex.join(["python", "train.py", *overrides, f"resume={value}"])
    return f"{STOPPED} {signal.Signals(stop.signum).name}; to resume: {command}"
