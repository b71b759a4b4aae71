"""Bias and variance of models trained on many data sets, measured on the same test samples."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from lightning_d2l.theory.problem import loss_factor
from lightning_d2l.training.files import read_bounded
from lightning_d2l.training.record import RunRecord

PARTS = ("loss/bias2", "loss/variance", "loss/noise", "loss/total")
PREDICTIONS = "predictions.csv"
LARGEST = 2**30  # bytes of a predictions.csv
HEADER = "y,true,output_0"


def decompose(runs: Sequence[RunRecord]) -> dict[str, list[float]]:
    """The parts of the expected test loss, from the predictions of R runs of one setting: a value for each run.

    The estimate of a part is the mean of its values, which are the pseudo-values of the jackknife over the runs. With
    the true function f, the fit f_r of run r and mean() over runs and test samples (Hastie, Tibshirani and Friedman,
    The Elements of Statistical Learning, 7.3): bias^2 is the square of mean(f_r) - f, corrected by variance / R;
    variance is that of f_r over the runs (R - 1 in the denominator); noise is the mean square of y - f; total is their
    sum. The test loss differs from the total by 2 mean((y - f) (f - f_r)), whose expectation is 0.

    Empty unless at least two runs have predictions (trainer.save_predictions=true) for the same test samples
    (data.test_seed), of one number each, the true function is known, and the parts are finite.
    """
    tables = [table for run in runs if run.completed and (table := _read(run)) is not None]
    factor = loss_factor(runs[0].config)
    if factor is None or len(tables) < 2 or any(not np.array_equal(t[:, :2], tables[0][:, :2]) for t in tables):
        return {}
    with np.errstate(all="ignore"):
        parts = {name: factor * values for name, values in zip(PARTS, _parts(tables), strict=True)}
    return {k: v.tolist() for k, v in parts.items()} if all(np.isfinite(v).all() for v in parts.values()) else {}


def _parts(tables: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    y, true = tables[0][:, 0], tables[0][:, 1]
    fits, count = np.stack([table[:, 2] for table in tables]), len(tables)
    error = np.mean((fits - true) ** 2, axis=1)  # of each run; the mean is bias^2 + variance
    mean = fits.mean(axis=0)
    without = (count * mean - fits) / (count - 1)  # the means of the other runs
    # R theta - (R - 1) theta_without_r for theta = |mean - true|^2 / n; the mean is theta - variance / R, unbiased
    bias = count * np.mean((mean - true) ** 2) - (count - 1) * np.mean((without - true) ** 2, axis=1)
    noise = np.full(count, np.mean((y - true) ** 2))
    return bias, error - bias, noise, error + noise


def _read(run: RunRecord) -> np.ndarray | None:
    """The columns y, true, output_0 of a run's predictions (n, 3), or None if it has other columns."""
    try:
        header, _, rows = read_bounded(run.folder / PREDICTIONS, LARGEST).decode().partition("\n")
        if header.strip() != HEADER or not rows.strip():
            return None
        table = np.loadtxt(io.StringIO(rows), delimiter=",", ndmin=2)
    except (OSError, ValueError):
        return None
    return table if table.shape[1] == 3 and np.isfinite(table).all() else None
