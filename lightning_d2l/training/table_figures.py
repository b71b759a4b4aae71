"""The figures of a table: predicted against true values, residuals, probabilities of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from lightning_d2l.config.colours import BLUE, GREY, ORANGE
from lightning_d2l.config.escape import label
from lightning_d2l.training.panels import is_shown, short, with_panels
from lightning_d2l.training.ticks import plain_ticks

MOST_POINTS = 5000  # of a figure


def predicted_and_true(target: str, y: Tensor, predicted: Tensor, split: str = "test") -> Figure:
    """Predicted against true values of a split's rows, both (n, 1) in the target's own unit, and the residuals."""
    y, predicted = y[:, 0].double(), predicted[:, 0].double()
    residuals, spread = y - predicted, (y - y.mean()).square().sum()
    error = float(residuals.square().mean().sqrt())
    # Too few rows, or equal ones, have no share of explained variance.
    explained = f", R² = {1 - float(residuals.square().sum() / spread):.3f}" if spread > 0 else ""
    step = -(-len(y) // MOST_POINTS)
    figure, (left, right) = with_panels(1, 2, 9.2, 4)
    style: Any = {"color": BLUE, "markersize": 4, "alpha": 0.6, "markeredgewidth": 0}
    left.plot(y[::step], predicted[::step], "o", label=f"{split} row", **style)
    if is_shown(float(y[0])):
        left.axline((float(y[0]), float(y[0])), slope=1, color=ORANGE, linestyle="--", label="predicted = true")
    left.set(xlabel=label(f"true {target}"), ylabel=label(f"predicted {target}"))
    left.legend(loc="upper left")
    left.set_title(f"{len(y):,} {split} rows: root mean squared error {short(error)}{explained}", fontsize=10)
    right.axhline(0, color=GREY, linewidth=1)
    right.axhspan(-error, error, color=ORANGE, alpha=0.15, linewidth=0, label="± root mean squared error")
    right.plot(predicted[::step], residuals[::step], "o", **style)
    right.set(xlabel=label(f"predicted {target}"), ylabel="residual: true less predicted")
    right.set_title(f"Largest residual {short(float(residuals.abs().max()))}", fontsize=10)
    right.legend(loc="best")
    for panel in (left, right):
        panel.grid(alpha=0.3)
        panel.xaxis.set_major_locator(MaxNLocator(5))
        plain_ticks(panel)
    return figure


def probabilities(names: Sequence[str], rows: Sequence[str], found: Sequence[Tensor]) -> Figure:
    """The probabilities of classes for some rows of a table, a panel each."""
    figure, bars = with_panels(len(rows), 1, 5, 0.6 + 0.22 * len(names) * len(rows) + 0.3 * len(rows))
    for panel, row, values in zip(bars, rows, found, strict=True):
        panel.barh(range(len(names)), values.tolist(), color=BLUE)
        panel.set_yticks(range(len(names)), [*map(label, names)], fontsize=7)
        panel.set_title(label(row), fontsize=8)
        panel.invert_yaxis()
        panel.set_xlim(0, 1)
        panel.grid(axis="x", alpha=0.3)
    bars[-1].set_xlabel("probability")
    return figure
