"""Bias and variance of what was learnt from many data sets, measured on the same test samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lightning_d2l.studies.collect import Run
from lightning_d2l.studies.diagnosis import loss_factor
from lightning_d2l.studies.statistics import Estimate, estimate

BIAS, VARIANCE, NOISE, TOTAL = PARTS = ("loss/bias2", "loss/variance", "loss/noise", "loss/total")
PREDICTIONS = "predictions.csv"


def decompose(runs: Sequence[Run]) -> dict[str, Estimate]:
    """The parts of the expected test loss, as the loss weighs them, from the predictions of runs of one setting.

    With f the true function, f_r the fit of run r and mean() over R runs and the test samples (Hastie, Tibshirani and
    Friedman, The Elements of Statistical Learning, 7.3): bias^2 is mean(f_r) - f squared, less the variance / R by
    which that is too large; variance is that of f_r over the runs (R - 1 in the denominator); noise is the mean square
    of y - f; total is their sum. The test loss differs from it by 2 mean((y - f) (f - f_r)), which is 0 in
    expectation. An interval is that of the jackknife's pseudo-values over the runs.

    Empty unless two runs or more left predictions (trainer.save_predictions=true) for the same test samples
    (data.test_seed) of one number each, and of a known true function.
    """
    tables = [table for run in runs if run.completed and (table := _read(run)) is not None]
    factor = loss_factor(runs[0].config)
    if factor is None or len(tables) < 2 or any(not np.array_equal(t[:, :2], tables[0][:, :2]) for t in tables):
        return {}
    y, true = tables[0][:, 0], tables[0][:, 1]
    fits, count = np.stack([table[:, 2] for table in tables]), len(tables)
    error = np.mean((fits - true) ** 2, axis=1)  # each run's; its mean is bias^2 + variance
    bias = _pseudo_values(fits, true)
    noise = np.full(count, np.mean((y - true) ** 2))
    parts = (bias, error - bias, noise, error + noise)
    return {name: estimate(list(factor * values)) for name, values in zip(PARTS, parts, strict=True)}


def _pseudo_values(fits: np.ndarray, true: np.ndarray) -> np.ndarray:
    """R theta - (R - 1) theta without run r, (R,), for theta = |mean of the fits (R, n) - true|^2 / n.

    Their mean is theta - variance / R, which is unbiased.
    """
    count, mean = len(fits), fits.mean(axis=0)
    without = (count * mean - fits) / (count - 1)
    all_runs = np.mean((mean - true) ** 2)
    values: np.ndarray = count * all_runs - (count - 1) * np.mean((without - true) ** 2, axis=1)
    return values


def _read(run: Run) -> np.ndarray | None:
    """The columns y, true, output_0 of a run's predictions (n, 3), or None if it has not just these."""
    try:
        with (run.folder / PREDICTIONS).open(encoding="utf-8") as file:
            header = file.readline().strip()
            table = np.loadtxt(file, delimiter=",", ndmin=2)
    except (OSError, ValueError):
        return None
    return table if header == "y,true,output_0" and len(table) else None
