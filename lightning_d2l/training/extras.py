"""What a run leaves beside its record: TensorBoard's events and figures. No error in them fails the run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from lightning_d2l.config.optimizers import EXACT
from lightning_d2l.data.batches import as_input
from lightning_d2l.training.build import BuiltRun
from lightning_d2l.training.files import Row
from lightning_d2l.training.record import lookup
from lightning_d2l.training.tensorboard import TensorBoard

log = logging.getLogger(__name__)


@contextlib.contextmanager
def optional(what: str) -> Iterator[None]:
    """What a run can do without: an error in this block is a warning, and the run goes on."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        log.warning("%s: not written: %s", what, reason[:300])


def open_board(built: BuiltRun, board: TensorBoard) -> None:
    """Start TensorBoard's file of a run, with its hyperparameters, and its graph unless it is part of a sweep."""
    board.open(built.spec.folder, hyperparameters(built), built.metric_names, built.rows)
    if not built.spec.part_of_sweep:
        x = built.data.splits["train"][0][:1]
        board.watch(built.net, as_input(x, next(built.module.parameters()).dtype))


def finish_board(built: BuiltRun, board: TensorBoard | None, final: Row) -> None:
    """Draw the figures of a single run, and close TensorBoard's file with them and the test metrics."""
    pictures = []
    if not built.spec.part_of_sweep:
        with optional("figures"):
            from lightning_d2l.training import figures  # matplotlib: a second that the runs of a sweep need not spend

            exact = (built.spec.config["optimizer"] or {}).get("_target_") == EXACT
            how = "exact solution" if exact else f"{built.max_epochs} epochs"
            title = f"{built.name}, seed {built.spec.config['seed']}, {how}"
            pictures = figures.draw(built.spec.folder, built.data, built.net, built.rows, title)
    if board:
        board.log_metrics({k: v for k, v in final.items() if k.endswith("/test")}, built.max_epochs)
        board.add_pictures(pictures, built.max_epochs)
        board.close()


def hyperparameters(built: BuiltRun) -> dict[str, Any]:
    """What TensorBoard's HParams shows: the settings in which runs mostly differ, and those of the command line."""
    found = {"model": built.model, "data": built.data.name, "source": built.data.source}
    usual = ("seed", "optimizer.lr", "optimizer.weight_decay", "data.batch_size", "trainer.max_epochs")
    given = [override.partition("=")[0].lstrip("+~") for override in built.spec.overrides]
    values = {key: lookup(built.spec.config, key)[0] for key in [*usual, *given]}
    return found | {k: v for k, v in values.items() if v is not None and not isinstance(v, Mapping)}
