"""The figures of a fit to generated data: the points, the true and the fitted function, and the residuals."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from lightning_d2l.config.colours import BLUE, GREY, ORANGE
from lightning_d2l.data.synthetic import RegressionData
from lightning_d2l.training.class_figures import first_weight
from lightning_d2l.training.panels import is_shown, short, with_panels
from lightning_d2l.training.predictions import outputs

MOST_POINTS = 400  # of a panel
POINTS: Any = {"linestyle": "none", "marker": "o", "markerfacecolor": "none", "color": "#444444", "zorder": 1}
RATIO = (2.4, 1)  # of the height of a panel to that of its residuals


def fitted_curve(data: RegressionData, net: nn.Module) -> Figure:
    """The training samples of one input, the true function and the fitted function; below them the residuals."""
    figure, (upper, lower) = with_panels(2, 1, 6.4, 5.6, height_ratios=RATIO, sharex=True)
    x, y = data.inputs["train"], data.splits["train"][1]
    residual = y - _predicted(data, net, x)
    # Inputs are N(0, 1), so nearly all lie in this range.
    low, high = min(-3.0, float(x.min())), max(3.0, float(x.max()))
    inputs = torch.linspace(low, high, 601, dtype=torch.float64)[:, None]
    _points(upper, x[:, 0], y[:, 0], label="training data")
    _true_and_fitted(upper, inputs[:, 0], data, net, inputs)
    margin = 0.12 * float(y.max() - y.min()) or 0.5
    beside = 0.02 * (high - low)
    upper.set(ylabel="y", xlim=(low - beside, high + beside), ylim=(float(y.min()) - margin, float(y.max()) + margin))
    fitted, true = _distances(data, net, residual)
    upper.set_title(f"Root mean squares: {fitted}\n{true}", fontsize=10)
    _residuals(lower, x[:, 0], residual, data.noise)
    lower.set_xlabel("x")
    return figure


def fit(data: RegressionData, net: nn.Module) -> Figure:
    """Fitted and true line along each of up to three inputs, the others at 0; then predicted against true test y.

    Residuals are below them. Of more than three inputs the learned weights are shown, and below them their errors.
    """
    shown = data.num_raw if data.num_raw <= 3 else 0
    weight = first_weight(net, data.num_inputs)
    learned = weight is not None and shown == 0 and len(weight) == 1
    columns = shown + learned + 1
    figure, panels = with_panels(2, columns, max(3.9 * columns, 6), 5.2, height_ratios=RATIO, sharex="col")
    upper, lower = panels[:columns], panels[columns:]
    inputs, y = data.inputs["train"], data.splits["train"][1]
    residual = y - _predicted(data, net, inputs)
    for j in range(shown):
        others = inputs.clone()
        others[:, j] = 0
        without = data.true_function(others) - data.true_function(torch.zeros_like(others))
        low, high = min(-3.0, float(inputs[:, j].min())), max(3.0, float(inputs[:, j].max()))
        line = torch.zeros(201, data.num_raw, dtype=torch.float64)
        line[:, j] = torch.linspace(low, high, 201, dtype=torch.float64)
        _points(upper[j], inputs[:, j], (y - without)[:, 0], label="training data")
        _true_and_fitted(upper[j], line[:, j], data, net, line)
        others_at_0 = ", ".join(f"x{k + 1} = 0" for k in range(shown) if k != j)
        upper[j].set_title(f"Along x{j + 1} ({others_at_0})", fontsize=10)
        upper[j].set_ylabel("y less the part of the other inputs")
        _residuals(lower[j], inputs[:, j], residual, data.noise, named=j == 0)
        lower[j].set_xlabel(f"x{j + 1}")
    if learned and weight is not None:
        _weights(upper[0], lower[0], weight[0].double(), data.w[:, 0])
    split, samples = ("test", "test") if "test" in data.splits else ("train", "training")
    x, y = data.splits[split]
    predicted = outputs(net, x)
    _points(upper[-1], y[:, 0], predicted[:, 0], color=BLUE, label=f"{samples} data")
    middle = float(y.mean())
    upper[-1].axline((middle, middle), slope=1, color=ORANGE, linestyle="--", label="predicted = true")
    upper[-1].set(ylabel="predicted y")
    upper[-1].legend(fontsize=8)
    upper[-1].set_title(f"{samples.capitalize()} samples", fontsize=10)
    figure.supxlabel(f"Root mean squares: {'; '.join(_distances(data, net, residual))}", fontsize=10)
    _residuals(lower[-1], y[:, 0], y - predicted, data.noise, named=not shown)
    lower[-1].set_xlabel(f"true y of the {samples} samples")
    for panel in panels:
        panel.grid(alpha=0.3)
    return figure


def _predicted(data: RegressionData, net: nn.Module, inputs: Tensor) -> Tensor:
    return outputs(net, data.features(inputs)).double().reshape(len(inputs), 1)


def _distances(data: RegressionData, net: nn.Module, residual: Tensor) -> tuple[str, str]:
    """How far the fit is from the training data, and, over other inputs, from the true function."""
    split = next((name for name in ("test", "val") if name in data.inputs), "train")
    inputs = data.inputs[split]
    away = short(_rms(_predicted(data, net, inputs) - data.true_function(inputs)))
    where = "these" if split == "train" else "new"
    return (
        f"training residuals {short(_rms(residual))}, noise {data.noise:g}",
        f"{away} from the true function at {where} inputs",
    )


def _rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())


def _points(panel: Axes, x: Tensor, y: Tensor, **style: Any) -> None:
    step = -(-len(x) // MOST_POINTS)
    size = 4.5 if len(x) <= 100 else 3
    panel.plot(x[::step], y[::step], **{**POINTS, "markersize": size, "markeredgewidth": 0.8, **style})


def _true_and_fitted(panel: Axes, x: Tensor, data: RegressionData, net: nn.Module, inputs: Tensor) -> None:
    panel.plot(x, outputs(net, data.features(inputs)), color=BLUE, linewidth=1.6, label="fitted", zorder=3)
    style: Any = {"color": ORANGE, "linewidth": 1.6, "linestyle": (0, (4, 3)), "zorder": 4}
    panel.plot(x, data.true_function(inputs), label="true function", **style)
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8)


def _residuals(panel: Axes, x: Tensor, residual: Tensor, noise: float, *, named: bool = True) -> None:
    """Residuals (n, 1) against x (n,), with the band in which noise alone puts 95 % of them."""
    if noise > 0:
        panel.axhspan(-1.96 * noise, 1.96 * noise, color=ORANGE, alpha=0.18, linewidth=0, label="95 % of the noise")
    panel.axhline(0, color=GREY, linewidth=1)
    _points(panel, x, residual[:, 0])
    sizes = [size for size in residual.abs().flatten().tolist() if is_shown(size)]
    reach = max([*sizes, 2.2 * noise]) * 1.1 or 1.0
    panel.set_ylim(-reach, reach)
    panel.grid(alpha=0.3)
    if named:
        panel.set_ylabel("residual")
    if named and noise > 0 and 4 * noise > 0.3 * reach:
        panel.legend(fontsize=8, loc="upper right")


def _weights(upper: Axes, lower: Axes, learned: Tensor, true: Tensor) -> None:
    """The learned and the true weights of many features, and below them the differences."""
    feature = range(1, len(learned) + 1)
    upper.plot(feature, learned, ".", color=BLUE, label="learned")
    upper.plot(feature, true, "--", color=ORANGE, label="true")
    upper.set_ylabel("weight")
    upper.set_title(f"{len(learned)} weights, of norm {short(float(learned.norm()))}", fontsize=10)
    upper.legend(fontsize=8)
    lower.axhline(0, color=GREY, linewidth=1)
    lower.plot(feature, learned - true, ".", color=BLUE)
    lower.set(xlabel="feature", ylabel="learned less true")
