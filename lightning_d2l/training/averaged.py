"""Runs whose weights a callback averaged after the last epoch: measured again, and saved."""

from __future__ import annotations

from typing import Any

from lightning_d2l.modules import foreign
from lightning_d2l.modules.callbacks import StochasticWeightAveraging
from lightning_d2l.training.build import BuiltRun
from lightning_d2l.training.checkpoint import load_checkpoint, write_checkpoint
from lightning_d2l.training.files import BEST, LAST, MetricsFile, Row, replacing_together
from lightning_d2l.training.trainer import made_trainer, test_settings


def are_averaged(built: BuiltRun) -> bool:
    """Whether the module has weights that were averaged after its last row was measured."""
    found = (each for each in built.callbacks if isinstance(each, StochasticWeightAveraging))
    return bool(built.rows) and any(each.averaged for each in found)


def measure_averaged(built: BuiltRun, best: Row) -> Row:
    """Let the last row and last.ckpt be those of the averaged weights; returns the best epoch's row.

    The averaged weights are the best if those of the last epoch were, or if their metric is lower. Of training data
    that are not evaluated, the row keeps what the last epoch measured.
    """
    found: Row = {}
    trainer = made_trainer(test_settings(built.spec.config))
    for metrics in trainer.validate(built.module, built.data, verbose=False):
        found |= foreign.named(metrics)
    if module := built.supervised:
        weights = module.weights()
        of_weights = module.measure_parameters([w.detach() for w in weights], [w.grad for w in weights])
        found |= {name: value.item() for name, value in of_weights.items()}
    row = built.rows[-1] = built.rows[-1] | {k: float(v) for k, v in found.items() if k in built.rows[-1]}
    monitor = built.monitor if built.monitor in row else None
    better = monitor is None or row[monitor] < best.get(monitor, float("inf"))
    improved = better or best["epoch"] == row["epoch"]
    best = row if improved else best
    folder = built.spec.folder
    last: dict[str, Any] = load_checkpoint(folder / LAST)
    last["state_dict"] = {name: value.cpu() for name, value in built.module.state_dict().items()}
    last["callbacks"]["Recorder"]["best"] = dict(best)
    with replacing_together():
        MetricsFile(folder).write(built.rows)
        for path in [*([BEST] if improved else []), LAST]:
            write_checkpoint(last, folder / path)
    return best
