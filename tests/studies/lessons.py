"""Small versions of the studies in conf/study, and what their reports find."""

from pathlib import Path
from typing import Any

import numpy as np

from lightning_d2l import app
from lightning_d2l.studies.findings import Findings, find
from lightning_d2l.studies.points import Point
from lightning_d2l.theory.theories import THEORIES


def run_study(folder: Path, name: str, *overrides: str) -> Findings:
    words = [f"study={name}", *overrides, "trainer.accelerator=cpu", f"hydra.sweep.dir={folder / name}"]
    assert app.main(words) == 0
    return find([folder / name])


def key_of(found: Findings, point: Point) -> Any:
    """The value of x, or a tuple of it with the values of the curves' keys."""
    values = tuple(point.setting[key] for key in found.study.keys)
    return values if len(values) > 1 else values[0]


def runs(found: Findings) -> dict[Any, list]:
    return {key_of(found, point): point.runs for point in found.points}


def means(found: Findings, metric: str) -> dict[Any, float]:
    return {key_of(found, p): p.estimates[metric].mean for p in found.points if metric in p.estimates}


def theory(found: Findings, metric: str) -> dict[tuple, dict[float, float]]:
    """The values by x of each theoretical curve of a metric, by its label and the setting that it belongs to."""
    curves = THEORIES[str(found.study.theory)](found.study, found.runs)
    return {
        (curve.label, *curve.where.values()): dict(zip(curve.x, curve.y, strict=True))
        for curve in curves
        if curve.metric in ("", metric)
    }


def mean(runs: list, metric: str) -> float:
    return float(np.mean([run.metric(metric) for run in runs]))
