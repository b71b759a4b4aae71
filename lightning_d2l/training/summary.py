"""The lines with which a run begins and ends in its log."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_d2l.config.given import is_given
from lightning_d2l.config.lines import LOG, columns, command_lines, fill
from lightning_d2l.config.loggers import TENSORBOARD
from lightning_d2l.config.program import from_here, tool_words
from lightning_d2l.config.text import number
from lightning_d2l.config.trainer import MONITORS
from lightning_d2l.training import console
from lightning_d2l.training.build import BuiltRun
from lightning_d2l.training.extras import optional
from lightning_d2l.training.optimum import numerical_lines
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec
from lightning_d2l.training.tensorboard import write_text

log = logging.getLogger(__name__)
Judge = Callable[[Path, Mapping[str, Any]], dict[str, Any]]
"""The diagnosis of a run, from its folder and the fields of its record."""
NONE = "none, without a loss on held-out data; a LightningModule logs it as val_loss or test_loss"


def first_line(built: BuiltRun) -> str:
    """The first line of a run's log."""
    wrong = getattr(built.data, "wrong_labels", 0.0)
    noise = f", {wrong:.1%} of the training labels wrong" if wrong else ""
    return f"{built.name}: {built.num_parameters:,} parameters, seed {built.spec.config['seed']}{noise}"


def summary(outcome: Mapping[str, Any]) -> str:
    """The table at the end of a run, with notes that explain its rows."""
    metrics, notes = outcome["metrics"], []
    final, best = metrics["final"], metrics["best"]
    rows = {"final": final}
    if best["epoch"] != final["epoch"]:
        rows["best"] = best
        lowest = next(name for name in MONITORS if name in best)
        notes.append(f"best: epoch {best['epoch']:.0f}, the lowest {lowest}")
    if "exact" in metrics:
        rows["exact"] = metrics["exact"]
        first, last = (number(outcome["distance_to_exact"][when]) for when in ("at_start", "final"))
        notes.append(f"exact: the analytic solution; the parameters are {last} from it, at the start {first}")
    notes += numerical_lines(outcome["solution"]) if "solution" in outcome else []
    if ended := outcome.get("stopped"):
        notes.append(console.stopped_line(ended))
    return "\n".join([console.table(rows), *notes])


def tell_end(spec: RunSpec, outcome: Mapping[str, Any], commands: Sequence[str]) -> None:
    """Log the metrics of a run, its folder, and how to use it; `commands` show what its loggers wrote."""
    settings, here = spec.config["trainer"], from_here(spec.folder)
    log.info("\n%s\n", summary(outcome))
    if batches := int(settings["fast_dev_run"]):
        number_of = "one minibatch" if batches == 1 else f"{batches} minibatches"
        log.info("trainer.fast_dev_run: %s of each split; the numbers mean nothing", number_of)
    for line in told(outcome):
        log.info("%s", line)
    log.info("run folder  %s", here)
    if spec.part_of_sweep:
        return
    for command in commands:
        log.info("look at it  %s", command)
    if settings["enable_checkpointing"] is not False and not is_given(spec.config):
        log.info("use it      %s", shlex.join([*tool_words("predict"), str(here)]))


def judged(
    spec: RunSpec, record: RunRecord, status: str, outcome: dict[str, Any], judge: Judge | None
) -> dict[str, Any]:
    """The outcome of a run, with its diagnosis where there is a judge and the numbers mean something.

    TensorBoard has it among its texts.
    """
    if judge is not None and not spec.config["trainer"]["fast_dev_run"]:
        with optional("diagnosis"):
            found = judge(spec.folder, {**record.fields, **outcome, "status": status})
            outcome = {**outcome, "diagnosis": found}
            if found and any(each["_target_"] == TENSORBOARD for each in spec.config["logger"].values()):
                lines = [found["text"], f"next: {found['next']}", f"`{found['command']}`"]
                write_text(spec.folder, "diagnosis", "\n\n".join(lines[: 3 if found["command"] else 1]))
    return outcome


def told(outcome: Mapping[str, Any]) -> list[str]:
    """The lines on the diagnosis of a single run, and on what to try next; none without a judge."""
    if (found := outcome.get("diagnosis")) is None:
        return []
    if not found:
        return fill(NONE, min(columns(), LOG), first="diagnosis   ", rest=" " * 12).splitlines()
    text = f"{found['text']}; next: {found['next']}" if found["next"] else found["text"]
    width = min(columns(), LOG)
    lines = fill(text, width, first="diagnosis   ", rest=" " * 12).splitlines()
    return [*lines, *command_lines("try next    ", found["command"], width)] if found["command"] else lines
