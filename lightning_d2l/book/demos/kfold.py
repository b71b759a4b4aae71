"""K-fold cross-validation chooses a polynomial's degree (d2l 4.4.2.2).

Each fold is held out once, the model is solved exactly on the rest, and the errors on the folds are averaged. The folds
of the data module are compared with folds made by hand with numpy.
"""

from __future__ import annotations

import statistics

import numpy as np
from matplotlib.figure import Figure

from lightning_d2l.book.demos import Demo
from lightning_d2l.config.colours import BLUE, GREY, ORANGE
from lightning_d2l.data.synthetic import PolynomialData
from lightning_d2l.nets.least_squares import ridge_solution
from lightning_d2l.training.ticks import plain_ticks

FOLDS, DEGREES = 5, range(1, 11)


def run(seed: int) -> Demo:
    ours = {degree: fold_errors(degree, seed) for degree in DEGREES}
    by_hand = {degree: fold_errors_by_hand(degree, seed) for degree in DEGREES}
    means = {degree: statistics.fmean(errors) for degree, errors in ours.items()}
    best = min(means, key=lambda degree: means[degree])
    test = {degree: test_error(degree, seed) for degree in DEGREES}
    difference = max(abs(means[d] - statistics.fmean(by_hand[d])) for d in DEGREES)
    lines = [f"{FOLDS}-fold cross-validation of a polynomial's degree, 100 samples of a cubic:"]
    lines += ["  degree  fold errors (MSE): mean ± standard deviation   test error"]
    lines += [f"  {d:6}  {means[d]:21.5f} ± {statistics.stdev(ours[d]):<18.5f}  {test[d]:12.5f}" for d in DEGREES]
    lines += [f"Lowest mean: degree {best}. The variance of the noise adds 0.01 to every error."]
    lines += [f"Largest difference from the same folds made by hand: {difference:.1g}."]
    figure = Figure(figsize=(6, 3.8), dpi=120, layout="constrained")
    panel = figure.subplots()
    for degree, errors in ours.items():
        panel.plot([degree] * FOLDS, errors, ".", color=GREY, markersize=4, label="a fold" if degree == 1 else None)
    panel.plot(list(means), list(means.values()), "o-", color=BLUE, label=f"mean of {FOLDS} folds")
    panel.plot(list(test), list(test.values()), "s--", color=ORANGE, markersize=4, label="test, trained on all")
    panel.axhline(0.01, color="black", linestyle=":", linewidth=1, label="noise floor")
    panel.set(xlabel="degree of the polynomial", ylabel="mean squared error", yscale="log", xticks=list(DEGREES))
    panel.set_title(f"{FOLDS} folds choose degree {best}; the data are of degree 3")
    panel.legend(fontsize=8)
    panel.grid(alpha=0.3)
    plain_ticks(panel)
    numbers = {"best degree": float(best), "mean of fold errors": means[3], "difference": difference}
    return Demo("\n".join(lines), numbers, {"folds": figure})


def polynomial(degree: int, seed: int, fold: int | None = None) -> PolynomialData:
    """The book's polynomial data; with a fold, that fold is the validation split."""
    sizes = {"n_train": 100, "n_val": 0, "n_test": 100, "batch_size": 100}
    folds = {} if fold is None else {"folds": FOLDS, "fold": fold}
    data = PolynomialData(degree, [5.0, 1.2, -3.4, 5.6], True, noise=0.1, seed=seed, **sizes, **folds)
    data.setup()
    return data


def fold_errors(degree: int, seed: int) -> list[float]:
    """The mean squared error on each fold of the model solved on the other folds."""
    return [_error(polynomial(degree, seed, fold), "val") for fold in range(FOLDS)]


def test_error(degree: int, seed: int) -> float:
    """The mean squared error on the test samples of the model solved on all training samples."""
    return _error(polynomial(degree, seed), "test")


def _error(data: PolynomialData, split: str) -> float:
    w, b = ridge_solution(*data.splits["train"])
    x, y = data.splits[split]
    return float((x @ w + b - y).square().mean())


def fold_errors_by_hand(degree: int, seed: int) -> list[float]:
    """`fold_errors` with numpy: shuffle the rows, split them into contiguous parts, hold out one at a time."""
    x, y = (tensor.numpy() for tensor in polynomial(degree, seed).splits["train"])
    rows = list(range(len(x)))
    np.random.RandomState(seed).shuffle(rows)
    size, errors = len(x) // FOLDS, []
    for fold in range(FOLDS):
        held_out = rows[fold * size : (fold + 1) * size]
        rest = [row for row in rows if row not in held_out]
        w = np.linalg.lstsq(x[rest], y[rest], rcond=None)[0]
        errors.append(float(np.mean((x[held_out] @ w - y[held_out]) ** 2)))
    return errors
