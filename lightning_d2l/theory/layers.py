"""Layers: what depth is without an activation (d2l 4.1.1), and how many parameters hypercomplex layers have."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from lightning_d2l.theory.curves import Curve, Question, measured_curves, x_values
from lightning_d2l.theory.problem import NUM_CLASSES, is_fashion_mnist
from lightning_d2l.training.record import RunRecord


def activation(question: Question, runs: Sequence[RunRecord]) -> list[Curve]:
    """The mean metrics of the runs without a hidden layer, which stacked linear layers can't improve (d2l 4.1.1).

    x must be model.num_layers, with 0 among its values.
    """
    linear = [run for run in runs if run.completed and run.get("model.num_layers") == 0]
    x = x_values(question, runs)
    if question.x != "model.num_layers" or not linear:
        return []
    curves = []
    for metric in question.metrics:
        values = [value for run in linear if (value := run.metric(metric)) is not None]
        if values:
            curves.append(Curve("linear model (0 layers)", x, [sum(values) / len(values)] * len(x), metric))
    return curves


def hypercomplex_parameters(num_inputs: int, widths: Sequence[int], num_outputs: int, n: int) -> int:
    """The number of parameters of an MLP with hypercomplex hidden layers and a plain output layer.

    A hidden layer from d to q units has dq/n + n^3 weights and q biases (Zhang et al. 2021); for n = 1 the 1 x 1
    factor is left out.
    """
    hidden = [d * q // n + (n**3 if n > 1 else 0) + q for d, q in itertools.pairwise([num_inputs, *widths])]
    return sum(hidden) + (widths[-1] + 1) * num_outputs


def phm(question: Question, runs: Sequence[RunRecord]) -> list[Curve]:
    """The number of parameters of hypercomplex layers on Fashion-MNIST by n. x must be model.n."""
    curves = []
    for each in measured_curves(question, runs, "model.n"):
        if not is_fashion_mnist(each.config):
            continue
        data, widths = each.config["data"], each.config["model"]["num_hiddens"]
        widths = widths if isinstance(widths, list) else [widths]
        num_inputs = (data.get("resize") or 28) ** 2
        y = [hypercomplex_parameters(num_inputs, widths, NUM_CLASSES, int(n)) for n in each.x]
        curves.append(each.curve("dq/n + n³ a hidden layer", each.x, y, "num_parameters"))
    return curves
