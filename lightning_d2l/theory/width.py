"""The width of a hidden layer: the least error that a number of ReLU units can reach on a polynomial."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightning_d2l.theory.curves import Curve, Question, losses, noise_floor
from lightning_d2l.theory.problem import loss_factor, noise_variance
from lightning_d2l.training.record import RunRecord

Floats = NDArray[np.float64]
GRID = np.linspace(-5, 5, 1001)
"""Points that approximate the normal distribution of the inputs."""
ENOUGH_PIECES = 65
"""With so many pieces the error is far below any visible noise."""


@functools.cache
def straight_pieces(coefficients: tuple[float, ...], factorial: bool) -> tuple[float, ...]:
    """The least mean squared errors with which 1, 2, ... straight pieces fit a polynomial of x ~ N(0, 1).

    Each piece is a separate least-squares line. Dynamic programming (Bellman 1961) over a fine grid finds the best
    borders. The pieces of a ReLU network must meet, so that its error can't be smaller.
    """
    y = sum(c * GRID**i / (math.factorial(i) if factorial else 1) for i, c in enumerate(coefficients))
    weights = np.exp(-(GRID**2) / 2)
    cost = _line_errors(GRID, y + 0 * GRID, weights / weights.sum())
    best = cost[0]  # [i]: the error of the points up to i, here with one piece
    errors = [float(best[-1])]
    while len(errors) < ENOUGH_PIECES:
        best = np.minimum(best, (best[:-1, None] + cost[1:]).min(0))
        errors.append(float(best[-1]))
    return tuple(errors)


def _line_errors(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Weighted squared errors (n, n) of the least-squares lines through the points i to j; infinite where j < i."""
    moments = (np.ones_like(x), x, y, x * x, x * y, y * y)
    sums = (np.concatenate([[0.0], np.cumsum(weights * m)]) for m in moments)
    w, sx, sy, sxx, sxy, syy = (s[None, 1:] - s[:-1, None] for s in sums)
    points = np.arange(len(x)) - np.arange(len(x))[:, None] + 1
    with np.errstate(divide="ignore", invalid="ignore"):
        vx, vy, cxy = sxx - sx**2 / w, syy - sy**2 / w, sxy - sx * sy / w
        errors = np.where(points > 2, np.maximum(vy - cxy**2 / vx, 0.0), 0.0)
    return np.where(points > 0, errors, np.inf)


def width(question: Question, runs: Sequence[RunRecord]) -> list[Curve]:
    """The noise floor, and the error of the best h + 1 straight pieces, which bounds that of h ReLU units from below.

    A hidden layer of h ReLU units computes a continuous function with at most h kinks. Enough of them reach any error:
    universal approximation (Cybenko 1989; Leshno et al. 1993). x must be model.num_hiddens, and the data a polynomial
    of which the model gets 1 and x.
    """
    curves = noise_floor(question, runs)
    config = runs[0].config
    data, model, variance = config.get("data") or {}, config.get("model") or {}, noise_variance(config)
    applies = question.x == "model.num_hiddens" and data.get("degree") == 1 and model.get("activation") == "relu"
    if not applies or variance is None or model.get("num_layers") not in (None, 1):
        return curves
    found = {run.setting(question.x) for run in runs}
    x = sorted(value if isinstance(value, int) else value[0] for value in found)
    factor = loss_factor(config) or 1.0
    errors = straight_pieces(tuple(data["coefficients"]), bool(data["factorial"]))
    y = [variance + factor * errors[min(h, ENOUGH_PIECES - 1)] for h in x]
    return [*curves, *(Curve("best h + 1 straight pieces", x, y, metric) for metric in losses(question))]
