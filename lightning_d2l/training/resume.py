"""Whether a run can be resumed, checked before anything is written, and the command that resumes it."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lightning_d2l.compat_lightning import progress_is_whole, within_epoch
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.compose import path_override
from lightning_d2l.config.given import is_given
from lightning_d2l.config.program import arguments_of, from_here, train_words
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.modules.schedule import length_of_run
from lightning_d2l.training.checkpoint import finished_epochs, load_checkpoint, require_weights_of
from lightning_d2l.training.fields import is_number
from lightning_d2l.training.files import BEST, BEST_BEFORE, LAST, METRICS, MetricsFile, Row
from lightning_d2l.training.spec import RunSpec


def place_to_resume(folder: Path, module: nn.Module, points: Sequence[int]) -> tuple[int, list[Row]]:
    """The number of epochs behind a run's last checkpoint, and the rows of its logging points so far.

    0 and no rows if the run ended before its first checkpoint. Raises RequestError, with what is wrong, if the
    checkpoints are those of another model, if a row is lost, or if the run has more epochs behind it than `points`.
    """
    if not (folder / LAST).exists():
        return 0, []
    last = load_checkpoint(folder / LAST)
    require_weights_of(module, last, folder / LAST)
    start, best = finished_epochs(last), _best(last, folder / LAST)
    states = last.get("optimizer_states")
    if not isinstance(states, list) or not states or not progress_is_whole(last["loops"]):
        raise RequestError(f"{folder / LAST}: lacks states of its optimizer or loop, so a run can't continue from it")
    _require_schedule(module, last, folder / LAST)
    if start > points[-1]:
        raise RequestError(f"trainer.max_epochs={points[-1]}: must be at least {start}, the epochs of {folder}")
    rows = _rows_until(start, folder, points, ended=not within_epoch(last["loops"]))
    if best and not any(row == best for row in rows):
        raise RequestError(
            f"{folder / LAST}: its best epoch is {best.get('epoch')}, of which {METRICS} has another row"
        )
    if bool(best) != bool(rows):
        raise RequestError(f"{folder / LAST}: has no best epoch, though {METRICS} has rows")
    if best:
        path = BEST_BEFORE if (folder / BEST_BEFORE).exists() else BEST
        load_best(folder, module, best, newer_than=start, path=path)
    return start, rows


def _require_schedule(module: nn.Module, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Raise RequestError unless a checkpoint has the state of the module's schedule, in a run of the same length."""
    now = getattr(module, "scheduler", None)
    if not now:
        return
    states = checkpoint.get("lr_schedulers")
    if not isinstance(states, list) or not states:
        raise RequestError(f"{path}: lacks the state of its schedule, so a run can't continue from it")
    described = checkpoint.get(SupervisedModule.CHECKPOINT_HYPER_PARAMS_KEY)
    before = described.get("scheduler") if isinstance(described, Mapping) else None
    epochs = before.get("total_epochs") if isinstance(before, Mapping) else None
    if epochs != now["total_epochs"] and (key := length_of_run(now)):
        raise RequestError(
            f"trainer.max_epochs={now['total_epochs']}: must be {epochs}, of which scheduler.{key} made a schedule"
        )


def load_best(
    folder: Path, module: nn.Module, best: Row, newer_than: float = float("inf"), path: Path = BEST
) -> dict[str, Tensor]:
    """The weights of the best epoch; raises RequestError if best.ckpt does not hold them.

    A best.ckpt after `newer_than` epochs is allowed: a killed run wrote it, and will write it again.
    """
    path = folder / path
    checkpoint = load_checkpoint(path)
    require_weights_of(module, checkpoint, path)
    epochs = finished_epochs(checkpoint)
    if epochs != best["epoch"] and epochs <= newer_than:
        raise RequestError(f"{path}: holds the weights of epoch {epochs}, not of the best one, {best['epoch']}")
    weights: dict[str, Tensor] = checkpoint["state_dict"]
    return weights


def _best(checkpoint: Mapping[str, Any], path: Path) -> Row:
    """The row of the best epoch so far, which may be empty."""
    recorded = checkpoint.get("callbacks")
    state = recorded.get("Recorder") if isinstance(recorded, dict) else None
    best = state.get("best") if isinstance(state, dict) else None
    if not isinstance(best, dict) or not all(isinstance(k, str) and is_number(v) for k, v in best.items()):
        raise RequestError(f"{path}: lacks what its run had recorded, so a run can't continue from it")
    return best


def _rows_until(start: int, folder: Path, points: Sequence[int], *, ended: bool) -> list[Row]:
    """The rows of metrics.csv until an epoch; raises RequestError unless each logging point has one.

    The epoch itself has one too if the attempt `ended` there, and not within the next epoch.
    """
    path = folder / METRICS
    try:
        rows = [row for row in MetricsFile(folder).rows() if row["epoch"] <= start]
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: {error}; the run can't be resumed without its rows") from error
    epochs = [int(row["epoch"]) for row in rows]
    if epochs != sorted(set(epochs)):
        raise RequestError(f"{path}: its epochs are not in order, as if two runs had written it; it can't be resumed")
    there = set(epochs)
    needed = {*itertools.takewhile(lambda epoch: epoch <= start, points), *([start] if start and ended else [])}
    lost = sorted(needed - there)
    if lost:
        which = f"epoch {lost[0]}" if len(lost) == 1 else f"{len(lost)} epochs from {lost[0]} to {lost[-1]}"
        raise RequestError(f"{path}: the rows of {which} are lost; the run can't be resumed without them")
    return rows


def command_to_resume(spec: RunSpec) -> str:
    """The command that resumes a run, quoted for the shell and for Hydra."""
    if is_given(spec.config):
        return f"lightning_d2l.fit(..., resume={str(from_here(spec.folder))!r})"
    words = arguments_of(spec.command) if spec.command else spec.overrides
    words = [word for word in words if not word.lstrip("+").startswith(("resume=", "hydra.run.dir="))]
    return shlex.join([*train_words(), *words, path_override("resume", str(from_here(spec.folder)))])
