"""Bias and variance of models trained on many data sets, measured on the same test samples."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightning_d2l.theory.problem import loss_factor
from lightning_d2l.training.files import read_bounded
from lightning_d2l.training.record import RunRecord

PARTS = ("loss/bias2", "loss/variance", "loss/noise", "loss/total")
PREDICTIONS = "predictions.csv"
LARGEST = 2**30  # bytes of a predictions.csv
HEADER = "y,true,output_0"


def decompose(runs: Sequence[RunRecord], parts: NDArray[np.intp] | None = None) -> dict[str, list[float]]:
    """The parts of the expected test loss, from the predictions of R runs of one setting: a value for each run.

    The estimate of a part is the mean of its values, which are the pseudo-values of the jackknife over the runs. With
    the true function f, the fit f_r of run r and mean() over runs and test samples (Hastie, Tibshirani and Friedman,
    The Elements of Statistical Learning, 7.3): bias^2 is the square of mean(f_r) - f, corrected by variance / R;
    variance is that of f_r over the runs (R - 1 in the denominator); noise is the mean square of y - f; total is their
    sum. The test loss differs from the total by 2 mean((y - f) (f - f_r)), whose expectation is 0.

    `parts` has the number of the independent part that each run belongs to, such as its data set. Then there is a value
    for each of these, which the jackknife leaves out as a whole; R is their number, and variance is that of any run.

    Empty unless at least two parts have predictions (trainer.save_predictions=true) for the same test samples
    (data.test_seed), of one number each, the true function is known, and the parts are finite.
    """
    if not runs or (factor := loss_factor(runs[0].config)) is None:
        return {}
    numbered = zip(range(len(runs)) if parts is None else parts, runs, strict=True)
    read = [(part, table) for part, run in numbered if run.completed and (table := _read(run)) is not None]
    names, tables = np.unique([part for part, _ in read], return_inverse=True), [table for _, table in read]
    if len(names[0]) < 2 or any(not np.array_equal(t[:, :2], tables[0][:, :2]) for t in tables):
        return {}
    with np.errstate(all="ignore"):
        found = {name: factor * values for name, values in zip(PARTS, _parts(tables, names[1]), strict=True)}
    return {k: v.tolist() for k, v in found.items()} if all(np.isfinite(v).all() for v in found.values()) else {}


def _parts(tables: Sequence[np.ndarray], part: np.ndarray) -> tuple[np.ndarray, ...]:
    y, true = tables[0][:, 0], tables[0][:, 1]
    all_fits = np.stack([table[:, 2] for table in tables])
    fits = np.stack([all_fits[part == i].mean(axis=0) for i in range(part.max() + 1)])
    errors, count = np.mean((all_fits - true) ** 2, axis=1), len(fits)
    error = np.bincount(part, errors) / np.bincount(part)  # of each part; the mean is bias^2 + variance
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
