"""One run, from its configuration to its record."""

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
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.compose import quote
from lightning_d2l.config.text import number
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.batches import as_input, stream
from lightning_d2l.modules.base import Diverged, SupervisedModule
from lightning_d2l.training import console
from lightning_d2l.training.build import NOISE, Prepared, built, prepare
from lightning_d2l.training.checkpoint import AtomicCheckpointIO, Recorder, finished_epochs, load_checkpoint
from lightning_d2l.training.files import BEST, LAST, MetricsFile
from lightning_d2l.training.predictions import save_predictions
from lightning_d2l.training.record import STOPPED, Record, git_revision, read_record, versions
from lightning_d2l.training.signals import Stopped, signals_stop_the_run
from lightning_d2l.training.spec import RunSpec
from lightning_d2l.training.tensorboard import TensorBoard

log = logging.getLogger(__name__)
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def run(request: RunSpec) -> int:
    """Do one run and record it; returns the exit code: 0 completed, 1 diverged or failed, 2 refused, 128 + signal.

    Raises RequestError, and leaves the folder as it was, if there is no run in it to resume.
    """
    folder = request.folder
    folder.mkdir(parents=True, exist_ok=True)
    with console.log_to(folder, verbose=request.config["verbose"], silent=request.silent), signals_stop_the_run():
        previous = read_record(folder) if request.resuming else {}
        if request.resuming:
            load_checkpoint(folder / LAST)  # refused before the record is touched
        record = Record(folder, previous or first_fields(request))
        began = time.monotonic()
        status, message, code = "failed", "", 1
        try:
            record.update(status="running", error=None, config={**request.config, "resume": None})
            record.update(**train(request, record))
            status, code = "completed", 0
        except Diverged as error:
            status, message = "diverged", f"diverged: {error}"
        except Stopped as stop:
            message = f"{STOPPED} {signal.Signals(stop.signum).name}; go on with: {resume_command(request)}"
            code = 128 + stop.signum
        except RequestError as error:
            message, code = f"error: {error}", 2
        except Exception as error:
            full = isinstance(error, OSError) and error.errno in UNWRITABLE
            message = f"error: hydra.run.dir={folder}: {error}" if full else f"failed: {type(error).__name__}: {error}"
            code = 2 if full else 1
            level = logging.INFO if request.config["verbose"] else logging.DEBUG
            log.log(level, traceback.format_exc())
        with contextlib.suppress(OSError):  # a full disk was reported above
            seconds = round(previous.get("seconds", 0.0) + time.monotonic() - began, 3)
            record.update(status=status, error=message or None, seconds=seconds)
        if message:
            log.error(message)
            log.info("run folder  %s", console.from_here(folder))
        return code


def train(request: RunSpec, record: Record) -> dict[str, Any]:
    """Build, fit and test; returns what the record then holds beside the fields of the request.

    Raises Diverged, RequestError, Stopped, and whatever a model of the user's own raises.
    """
    config, folder = request.config, request.folder
    if not config["verbose"]:
        console.quiet()
    prepared, settings = prepare(config), config["trainer"]
    data, module, max_epochs = prepared.data, prepared.module, prepared.max_epochs
    record.update(**prepared.fields())
    log.info("%s", first_line(prepared, config["seed"]))

    start = finished_epochs(load_checkpoint(folder / LAST)) if request.resuming else 0
    if start > max_epochs:
        raise RequestError(f"trainer.max_epochs={max_epochs}: must be at least {start}, where {folder} stands")
    io = AtomicCheckpointIO(settings["checkpoint_every_n_seconds"])
    recorder = Recorder(folder, io, module.monitor)
    line = console.Console(data, max_epochs, bar=not request.part_of_sweep)
    board = _open_board(request, data, module, start)
    trainer = pl.Trainer(
        **trainer_settings(config, max_epochs),
        logger=[logger for logger in (board, line) if logger],
        callbacks=[recorder],
        plugins=[io],
        default_root_dir=str(folder),
    )
    torch.manual_seed(stream(config["seed"], NOISE))
    line.start(start)
    try:
        trainer.fit(module, data, ckpt_path=str(folder / LAST) if request.resuming else None, weights_only=True)
    finally:
        line.stop()
    final, best = test(trainer, module, data, folder, recorder.best)
    if settings["save_predictions"]:
        save_predictions(folder / "predictions.csv", data, module.net)
    how = "exact solution" if prepared.solved else f"{max_epochs} epochs"
    _draw(request, data, module, board, title=f"{prepared.name}, seed {config['seed']}, {how}")
    outcome = prepared.outcome(final, best)
    log.info("\n%s\n", summary(outcome))
    here = console.from_here(request.folder)
    log.info("run folder  %s", here)
    if not request.part_of_sweep:
        log.info("look at it  tensorboard --logdir %s", "outputs" if here.parts[:1] == ("outputs",) else here)
        log.info("use it      lightning-d2l predict %s", here)
    return outcome


def trainer_settings(config: Mapping[str, Any], max_epochs: int) -> dict[str, Any]:
    """How Lightning's Trainer is set up."""
    return {
        "max_epochs": max_epochs,
        "accelerator": config["trainer"]["accelerator"],
        "devices": 1,
        "precision": config["trainer"]["precision"],
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
    }


def test(
    trainer: pl.Trainer,
    module: SupervisedModule,
    data: TensorDataModule,
    folder: Path,
    best: dict[str, float],
) -> tuple[dict[str, float], dict[str, float]]:
    """Final and best metrics, with those on the test split: of the last weights, and of the best epoch's."""
    final = dict(MetricsFile(folder).rows()[-1])
    trainer.test(module, data, verbose=False)
    last = at_best = dict(module.metrics)
    if best["epoch"] != final["epoch"]:
        weights = {name: value.clone() for name, value in module.state_dict().items()}
        module.load_state_dict(load_checkpoint(folder / BEST)["state_dict"])
        trainer.loggers = []  # TensorBoard's test figures are the last weights'
        trainer.test(module, data, verbose=False)
        at_best = dict(module.metrics)
        module.load_state_dict(weights)
    return final | last, best | at_best


def _open_board(request: RunSpec, data: TensorDataModule, module: SupervisedModule, start: int) -> TensorBoard | None:
    if request.config["logger"] is None:
        return None
    board: TensorBoard = built(request.config["logger"])
    hparams = hyperparameters(request, data, module)
    history = [row for row in MetricsFile(request.folder).rows() if row["epoch"] <= start]
    board.open(request.folder, hparams, module.metric_names, history)
    if not request.part_of_sweep:
        x = data.splits["train"][0][:1]
        board.watch(module.net, as_input(x, next(module.parameters()).dtype))
    return board


def hyperparameters(request: RunSpec, data: TensorDataModule, module: SupervisedModule) -> dict[str, Any]:
    """What TensorBoard's HParams say of a run."""
    found = {"model": type(module.net).__name__, "data": data.name, "source": data.source}
    return found | _varied(request.config, request.overrides)


def _varied(config: Mapping[str, Any], overrides: list[str]) -> dict[str, Any]:
    """The settings that most runs differ in, and those that this run's command line gave."""
    usual = ("seed", "optimizer.lr", "optimizer.weight_decay", "data.batch_size", "trainer.max_epochs")
    given = [override.partition("=")[0].lstrip("+~") for override in overrides]
    found = {}
    for key in dict.fromkeys([*usual, *given]):
        node: Any = config
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        if node is not None and not isinstance(node, Mapping):
            found[key] = node
    return found


def _draw(
    request: RunSpec,
    data: TensorDataModule,
    module: SupervisedModule,
    board: TensorBoard | None,
    *,
    title: str,
) -> None:
    if not request.part_of_sweep:
        from lightning_d2l.training import figures  # matplotlib: a second that a sweep's jobs need not spend

        pictures = figures.draw(request.folder, data, module.net, MetricsFile(request.folder).rows(), title)
        if board:
            board.add_pictures(pictures, request.config["trainer"]["max_epochs"])
    if board:
        board.close()


def first_line(prepared: Prepared, seed: int) -> str:
    """What a run's log begins with."""
    return f"{prepared.name}: {prepared.num_parameters:,} parameters, seed {seed}"


def summary(outcome: Mapping[str, Any]) -> str:
    """The table at the end of a run, with the notes that explain its rows."""
    metrics, notes = outcome["metrics"], []
    final, best = metrics["final"], metrics["best"]
    rows = {"final": final}
    if best["epoch"] != final["epoch"]:
        rows["best"] = best
        notes.append(
            f"best: epoch {best['epoch']:.0f}, the lowest {'loss/val' if 'loss/val' in best else 'loss/train'}"
        )
    if "exact" in metrics:
        rows["exact"] = metrics["exact"]
        first, last = (number(outcome["distance_to_exact"][when]) for when in ("at_start", "final"))
        notes.append(f"exact: the analytic solution; the parameters are {last} from it, at the start {first}")
    return "\n".join([console.table(rows), *notes])


def first_fields(request: RunSpec) -> dict[str, Any]:
    """What the record of a run says from its start."""
    return {
        "status": "running",
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": request.command,
        "overrides": request.overrides,
        "seed": request.config["seed"],
        "versions": versions(),
        "git": git_revision(),
    }


def resume_command(request: RunSpec) -> str:
    """What a person types to go on with a run that was stopped."""
    overrides = [o for o in request.overrides if not o.startswith(("resume=", "hydra.run.dir="))]
    folder = str(console.from_here(request.folder))
    value = folder if re.fullmatch(r"[\w./-]+", folder) else quote(folder, '"')  # the shell's own quotes are single
    return shlex.join(["python", "train.py", *overrides, f"resume={value}"])
