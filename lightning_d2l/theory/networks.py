"""Networks: width, depth without an activation (d2l 4.1.1), hypercomplex layers, and random labels."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from lightning_d2l.theory.curves import HELD_OUT, Array, Curve, Measured, noise_floor, theory
from lightning_d2l.theory.problem import NUM_CLASSES, loss_factor, noise_variance

CELLS, END = 1200, 9.0
"""Into so many cells the inputs are divided, from -END to END; beyond there are 2e-19 of them."""
ENOUGH_PIECES = 65
"""With so many pieces the error is far below any visible noise."""
WIDTH_BORDER = math.sqrt(5)


@functools.cache
def straight_pieces(coefficients: tuple[float, ...], factorial: bool) -> tuple[float, ...]:
    """The least mean squared errors with which 1, 2, ... straight pieces fit a polynomial of x ~ N(0, 1).

    Each piece is a separate least-squares line. Dynamic programming (Bellman 1961) finds the best borders among those
    of the cells, whose density is that of the best borders of many pieces, p^(1/5) for the density p of x (de Boor
    1973): the error is at most 0.2 % above that of any borders. The pieces of a ReLU network must meet, so that its
    error can't be smaller.
    """
    cost = _line_errors(*_moments(coefficients, factorial))
    best = cost[0]  # [i]: the error of the cells up to i, here with one piece
    errors = [float(best[-1])]
    while len(errors) < ENOUGH_PIECES:
        best = np.minimum(best, (best[:-1, None] + cost[1:]).min(0))
        errors.append(float(best[-1]))
    return tuple(errors)


def _moments(coefficients: Sequence[float], factorial: bool) -> list[Array]:
    """The integrals (CELLS,) of 1, x, y, x^2, x y and y^2 over the cells, of a polynomial y of x ~ N(0, 1)."""
    from scipy.stats import norm

    spread = norm(scale=WIDTH_BORDER)
    borders = spread.ppf(np.linspace(spread.cdf(-END), spread.cdf(END), CELLS + 1))
    nodes, weights = np.polynomial.legendre.leggauss(8)
    half = np.diff(borders)[:, None] / 2
    x = borders[:-1, None] + half * (1 + nodes)
    y = sum(c * x**i / (math.factorial(i) if factorial else 1) for i, c in enumerate(coefficients)) + 0 * x
    mass = half * weights * norm.pdf(x)
    return [(mass * moment).sum(1) for moment in (np.ones_like(x), x, y, x * x, x * y, y * y)]


def _line_errors(*moments: Array) -> Array:
    """Squared errors (n, n) of the least-squares lines over the cells i to j; infinite where j < i."""
    sums = (np.concatenate([[0.0], np.cumsum(m)]) for m in moments)
    w, sx, sy, sxx, sxy, syy = (s[None, 1:] - s[:-1, None] for s in sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        vx, vy, cxy = sxx - sx**2 / w, syy - sy**2 / w, sxy - sx * sy / w
        errors = np.maximum(vy - cxy**2 / vx, 0.0)
    return np.where(np.triu(np.ones(w.shape, dtype=bool)), np.nan_to_num(errors), np.inf)


@theory(
    "model.num_hiddens",
    assumes=["polynomial", "one input", "squared loss", "mlp", "one hidden layer", "relu"],
    parts=[noise_floor],
)
def width(each: Measured) -> Iterator[Curve]:
    """The error of the best h + 1 straight pieces, which bounds that of h ReLU units on new samples from below.

    A hidden layer of h ReLU units computes a continuous function with at most h kinks. Enough of them reach any error:
    universal approximation (Cybenko 1989; Leshno et al. 1993). The model gets 1 and x.
    """
    data, variance, factor = each.config["data"], noise_variance(each.config), loss_factor(each.config)
    errors = straight_pieces(tuple(data["coefficients"]), data["factorial"])
    y = [(variance or 0.0) + (factor or 1.0) * errors[min(int(h), ENOUGH_PIECES - 1)] for h in each.x]
    yield from each.lines("best h + 1 straight pieces", each.x, y, HELD_OUT)


@theory("model.num_layers", assumes=["mlp"], together=True)
def activation(each: Measured) -> Iterator[Curve]:
    """The mean metrics of the runs without a hidden layer, which stacked linear layers can't improve (d2l 4.1.1)."""
    linear = [run for run in each.runs if run.completed and run.get("model.num_layers") == 0]
    for metric in each.question.metrics:
        if values := [value for run in linear if (value := run.metric(metric)) is not None]:
            y = [sum(values) / len(values)] * len(each.x)
            yield from each.lines("linear model (0 layers)", each.x, y, [metric])


def hypercomplex_parameters(num_inputs: int, widths: Sequence[int], num_outputs: int, n: int) -> int:
    """The number of parameters of an MLP with hypercomplex hidden layers and a plain output layer.

    A hidden layer from d to q units has dq/n + n^3 weights and q biases (Zhang et al. 2021); for n = 1 the 1 x 1
    factor is left out.
    """
    hidden = [d * q // n + (n**3 if n > 1 else 0) + q for d, q in itertools.pairwise([num_inputs, *widths])]
    return sum(hidden) + (widths[-1] + 1) * num_outputs


@theory("model.n", assumes=["images", "phm"])
def phm(each: Measured) -> Iterator[Curve]:
    """The number of parameters of hypercomplex layers on Fashion-MNIST by n."""
    data, widths = each.config["data"], each.config["model"]["num_hiddens"]
    widths = widths if isinstance(widths, list) else [widths]
    num_inputs = (data.get("resize") or 28) ** 2
    y = [hypercomplex_parameters(num_inputs, widths, NUM_CLASSES, int(n)) for n in each.x]
    yield from each.lines("dq/n + n³ per hidden layer", each.x, y, ["num_parameters"])


@theory("data.label_noise", assumes=["images"])
def random_labels(each: Measured) -> Iterator[Curve]:
    """Accuracies of a network that fits every label, of the right classes, and of guessing (Zhang et al. 2017).

    A label that is replaced by a random class is right again in one of 10 cases: with label noise e a network that
    knows the right classes has the training accuracy 1 - 0.9 e.
    """
    wrong = 1 - 1 / NUM_CLASSES
    yield from each.lines("every label fitted", each.x, [1.0] * len(each.x), ["acc/train"])
    yield from each.lines("right classes: 1 - 0.9 noise", each.x, [1 - wrong * e for e in each.x], ["acc/train"])
    yield from each.lines("chance", each.x, [1 / NUM_CLASSES] * len(each.x), ["acc/test"])
