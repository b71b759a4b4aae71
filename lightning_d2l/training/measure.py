"""The metrics of a trained run on its test split."""

from __future__ import annotations

import math

from lightning_d2l.engine.loop import Diverged
from lightning_d2l.modules import foreign
from lightning_d2l.training.build import BuiltRun
from lightning_d2l.training.files import Row
from lightning_d2l.training.resume import load_best
from lightning_d2l.training.trainer import made_trainer, test_settings


def test(built: BuiltRun, best: Row) -> tuple[Row, Row]:
    """Final and best metrics, with those on the test split: of the last weights, and of the best epoch's."""
    module, final = built.module, dict(built.rows[-1])
    last = at_best = test_metrics(built)
    if best["epoch"] != final["epoch"]:
        weights = {name: value.clone() for name, value in module.state_dict().items()}
        module.load_state_dict(load_best(built.spec.folder, module, best))
        at_best = test_metrics(built)
        module.load_state_dict(weights)
    return final | last, best | at_best


def test_metrics(built: BuiltRun) -> Row:
    """The metrics of the module's present weights on the test split; raises Diverged if one is not finite."""
    metrics = measured(built)
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise Diverged(f"{name} is {value}")
    return metrics


def measured(built: BuiltRun) -> Row:
    """The metrics of the module's present weights on the test split, finite or not; none without a test_step."""
    if not foreign.has_step(built.module, "test"):
        return {}
    trainer = made_trainer(test_settings(built.spec.config))
    results = trainer.test(built.module, built.data, verbose=False)
    found = {name: float(value) for result in results for name, value in result.items()}
    return found if built.supervised else foreign.named(found)
