"""The lines with which a run begins and ends in its log."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_d2l.config.given import is_given
from lightning_d2l.config.program import tool_words
from lightning_d2l.config.text import number
from lightning_d2l.config.trainer import MONITORS
from lightning_d2l.training import console
from lightning_d2l.training.build import BuiltRun
from lightning_d2l.training.spec import RunSpec

log = logging.getLogger(__name__)


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
        lowest = next(name for name in MONITORS if name in best)
        notes.append(f"best: epoch {best['epoch']:.0f}, the lowest {lowest}")
    if "exact" in metrics:
        rows["exact"] = metrics["exact"]
        first, last = (number(outcome["distance_to_exact"][when]) for when in ("at_start", "final"))
        notes.append(f"exact: the analytic solution; the parameters are {last} from it, at the start {first}")
    if ended := outcome.get("stopped"):
        notes.append(console.stopped_line(ended))
    return "\n".join([console.table(rows), *notes])


def tell_end(spec: RunSpec, outcome: Mapping[str, Any], commands: Sequence[str]) -> None:
    """Log the metrics of a run, its folder, and how to use it; `commands` show what its loggers wrote."""
    settings, here = spec.config["trainer"], console.from_here(spec.folder)
    log.info("\n%s\n", summary(outcome))
    if batches := int(settings["fast_dev_run"]):
        number_of = "one minibatch" if batches == 1 else f"{batches} minibatches"
        log.info("trainer.fast_dev_run: %s of each split; the numbers mean nothing", number_of)
    log.info("run folder  %s", here)
    if spec.part_of_sweep:
        return
    for command in commands:
        log.info("look at it  %s", command)
    if settings["enable_checkpointing"] is not False and not is_given(spec.config):
        log.info("use it      %s", shlex.join([*tool_words("predict"), str(here)]))
