"""Theory of multilayer perceptrons: width, depth, initialisation, activations, hypercomplex layers."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightning_d2l.studies.collect import Run
from lightning_d2l.studies.diagnosis import loss_factor, noise_variance
from lightning_d2l.studies.study import Study
from lightning_d2l.theory.curves import Curve, Theory, by_curve, losses, noise_floor, x_values
from lightning_d2l.theory.mean_field import ACTIVATIONS, INITS, NUM_CLASSES, initial_gradients

Floats = NDArray[np.float64]
GRID = np.linspace(-5, 5, 1001)
"""Points that stand for the normal distribution of the inputs."""
ENOUGH_PIECES = 65
"""From here on the error of straight pieces is far below any noise that can be seen."""


@functools.cache
def straight_pieces(coefficients: tuple[float, ...], factorial: bool) -> tuple[float, ...]:
    """The least mean squared error with which 1, 2, ... straight pieces fit a polynomial of x ~ N(0, 1).

    Each piece is a least-squares line of its own, and the borders are the best ones, found by dynamic programming
    (Bellman 1961) over a fine grid. Pieces that must meet, as those of a ReLU network do, do no better.
    """
    y = sum(c * GRID**i / (math.factorial(i) if factorial else 1) for i, c in enumerate(coefficients))
    weights = np.exp(-(GRID**2) / 2)
    cost = _line_errors(GRID, y + 0 * GRID, weights / weights.sum())
    best = cost[0]  # of the first points, up to each, by one piece
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


def width(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """The noise floor, and with it the error of the best h + 1 straight pieces, below which h ReLU units can't come.

    A hidden layer of h ReLU units computes a continuous function with at most h kinks. That their number suffices for
    any error is universal approximation (Cybenko 1989; Leshno et al. 1993). x must be model.num_hiddens, and the data
    a polynomial of which the model sees 1 and x.
    """
    curves = noise_floor(study, runs)
    config = runs[0].config
    data, model, variance = config.get("data") or {}, config.get("model") or {}, noise_variance(config)
    fits = study.x == "model.num_hiddens" and data.get("degree") == 1 and model.get("activation") == "relu"
    if not fits or variance is None or model.get("num_layers") not in (None, 1):
        return curves
    found = {run.setting(study.x) for run in runs}
    x = sorted(value if isinstance(value, int) else value[0] for value in found)
    factor = loss_factor(config) or 1.0
    errors = straight_pieces(tuple(data["coefficients"]), bool(data["factorial"]))
    y = [variance + factor * errors[min(h, ENOUGH_PIECES - 1)] for h in x]
    return [*curves, *(Curve("best h + 1 straight pieces", x, y, metric) for metric in losses(study))]


def depth_init(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """The norms of the first and the last layer's gradients before training, for wide layers (`initial_gradients`).

    x must be model.num_layers, with the balanced training images of Fashion-MNIST in one minibatch, so that the
    gradient logged at the first epoch is that of the initial weights.
    """
    curves = []
    for where, members in by_curve(study, runs):
        data, model = members[0].config.get("data") or {}, members[0].config.get("model") or {}
        if study.x != "model.num_layers" or "label_noise" not in data or data["resize"] not in (None, 28):
            continue
        n, widths = data["n_train"] or 60_000, model["num_hiddens"]
        if n > data["batch_size"] or model["init"] not in INITS or model["activation"] not in ACTIVATIONS:
            continue
        width = widths[0] if isinstance(widths, list) else widths
        x = [int(depth) for depth in x_values(study, members) if depth > 0]
        norms = [initial_gradients(model["init"], model["activation"], width, depth, n) for depth in x]
        for part, metric in enumerate(("first.gradient/first", "first.gradient/last")):
            curves.append(Curve("theory of wide layers", x, [norm[part] for norm in norms], metric, where))
    return [curve for curve in curves if curve.x]


def activation(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """What the linear model reaches, by the runs without a hidden layer: linear layers in a row are one (d2l 4.1.1).

    x must be model.num_layers, with 0 among its values.
    """
    linear = [run for run in runs if run.completed and run.get("model.num_layers") == 0]
    x = x_values(study, runs)
    if study.x != "model.num_layers" or not linear:
        return []
    curves = []
    for metric in study.metrics:
        values = [value for run in linear if (value := run.metric(metric)) is not None]
        if values:
            curves.append(Curve("linear model (0 layers)", x, [sum(values) / len(values)] * len(x), metric))
    return curves


def hypercomplex_parameters(num_inputs: int, widths: Sequence[int], num_outputs: int, n: int) -> int:
    """Parameters of an MLP whose hidden layers, d to q, have dq/n + n^3 of them and q biases (Zhang et al. 2021).

    The output layer is a plain one. With n = 1 the 1 x 1 factor is left out.
    """
    hidden = [d * q // n + (n**3 if n > 1 else 0) + q for d, q in itertools.pairwise([num_inputs, *widths])]
    return sum(hidden) + (widths[-1] + 1) * num_outputs


def phm(study: Study, runs: Sequence[Run]) -> list[Curve]:
    """The parameters of hypercomplex layers by n on Fashion-MNIST. x must be model.n."""
    curves = []
    for where, members in by_curve(study, runs):
        data, model = members[0].config.get("data") or {}, members[0].config.get("model") or {}
        if study.x != "model.n" or "label_noise" not in data:
            continue
        widths = model["num_hiddens"] if isinstance(model["num_hiddens"], list) else [model["num_hiddens"]]
        num_inputs = (data.get("resize") or 28) ** 2
        x = [int(n) for n in x_values(study, members)]
        y = [hypercomplex_parameters(num_inputs, widths, NUM_CLASSES, n) for n in x]
        curves.append(Curve("dq/n + n³ a hidden layer", x, y, "num_parameters", where))
    return curves


THEORIES: dict[str, Theory] = {"width": width, "depth_init": depth_init, "activation": activation, "phm": phm}
"""Name to function; `study.theory` is one of the names."""
