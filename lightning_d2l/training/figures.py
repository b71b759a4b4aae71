"""The figures of a run: learning curves, mistakes, confusion matrix, weights, fitted function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from lightning_d2l.config.escape import label
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.synthetic import RegressionData
from lightning_d2l.training.files import replacing
from lightning_d2l.training.panels import BLUE, GREEN, GREY, ORANGE, RED, with_panels
from lightning_d2l.training.predictions import Prediction, in_own_unit, outputs
from lightning_d2l.training.table_figures import predicted_and_true, probabilities

STYLES = {"train": (BLUE, "-"), "val": (ORANGE, "--"), "test": (RED, "-.")}
NO_LATEX: Any = {"text.usetex": False}  # whatever a matplotlibrc in the current folder asks for
MOST_CLASSES = 50  # of a confusion matrix
LABELS = {"acc": "accuracy", "norm": "norm of the weights", "sigma": "estimated noise"}


@matplotlib.rc_context(NO_LATEX)
def draw(
    folder: Path, data: TensorDataModule, net: nn.Module, history: Sequence[dict[str, float]], title: str
) -> list[Path]:
    """Draw every figure that applies to the data and the network, titled `title`; returns the PNG files."""
    figures: dict[str, Figure | None] = {"curves": curves(history)}
    x, y = data.splits["test"]
    output = outputs(net, x)
    if data.preprocessing is not None:
        figures |= _of_table(data, y, output)
    elif data.task == "classification":
        figures |= {
            "predictions": predictions(x, y, output, data.class_names),
            "confusion_matrix": confusion_matrix(y, output, data.class_names),
            "first_layer_weights": first_layer_weights(net, x.shape[-2:], data.class_names),
        }
    elif isinstance(data, RegressionData):
        figures["fit"] = fitted_curve(data, net) if data.num_raw == 1 else fit(data, net)
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    for figure in drawn.values():
        figure.suptitle(label(title), fontsize=9, color=GREY)
    return [save(figure, folder / "figures" / f"{name}.png") for name, figure in drawn.items()]


def _of_table(data: TensorDataModule, y: Tensor, output: Tensor) -> dict[str, Figure]:
    assert data.preprocessing is not None
    target = str(data.preprocessing["target"]["name"])
    if not data.class_names:
        return {"predicted": predicted_and_true(target, in_own_unit(data, y), in_own_unit(data, output))}
    few = len(data.class_names) <= MOST_CLASSES
    return {"confusion_matrix": confusion_matrix(y, output, data.class_names)} if few else {}


@matplotlib.rc_context(NO_LATEX)
def save(figure: Figure, path: Path) -> Path:
    """Write a PNG file atomically; its folder is created in one that exists."""
    path.parent.mkdir(exist_ok=True)
    with replacing(path, new_folders=False) as file:
        figure.savefig(file, format="png")
    return path


def curves(history: Sequence[dict[str, float]]) -> Figure | None:
    """Every metric over the epochs; all splits of a metric share a chart."""
    metrics = list(dict.fromkeys(name.split("/")[0] for row in history for name in row if "/" in name))
    if not metrics:
        return None
    figure, panels = with_panels(1, len(metrics), 4.6 * len(metrics), 3.4)
    for panel, metric in zip(panels, metrics, strict=True):
        found = {name.split("/")[1] for row in history for name in row if name.startswith(f"{metric}/")}
        for split in sorted(found, key=[*STYLES, *found].index):
            colour, line = STYLES.get(split, (GREEN, "-"))
            points = [(row["epoch"], row[f"{metric}/{split}"]) for row in history if f"{metric}/{split}" in row]
            epochs, values = zip(*points, strict=True)
            panel.plot(epochs, values, line, color=colour, label=label(split), marker="o", markersize=3)
        shown = [row[name] for row in history for name in row if name.startswith(f"{metric}/")]
        if min(shown) > 0 and max(shown) > 20 * min(shown):
            panel.set_yscale("log")
        panel.set(xlabel="epoch", ylabel=label(LABELS.get(metric, metric)))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(alpha=0.3)
        panel.legend()
    return figure


def _mosaic(panel: Axes, images: Tensor, columns: int, gap: tuple[int, int], **style: object) -> AxesImage:
    """Images (n, h, w) in a grid on one panel, faster than a panel each; `gap`: blank pixels above and beside each."""
    n, h, w = images.shape
    (down, across), rows = gap, -(-n // columns)
    sheet = torch.full((rows * (h + down), columns * (w + across)), math.nan)
    for number, image in enumerate(images):
        top, left = number // columns * (h + down) + down, number % columns * (w + across)
        sheet[top : top + h, left : left + w] = image
    panel.axis("off")
    return panel.imshow(sheet, interpolation="nearest", **style)  # type: ignore[arg-type]


def predictions(x: Tensor, y: Tensor, output: Tensor, names: Sequence[str]) -> Figure:
    """The first test images and the most confident mistakes, each with its true and its predicted class."""
    confidence, predicted = output.softmax(1).max(1)
    wrong = (predicted != y).nonzero().flatten()
    worst = wrong[confidence[wrong].argsort(descending=True)][:16].tolist()
    shown = [*range(min(16, len(x))), *worst]
    h, w = x.shape[-2:]
    down, across = h // 2, w // 3
    figure, (panel,) = with_panels(1, 1, 9, 5.9)
    _mosaic(panel, x[shown, 0].float(), 8, (down, across), cmap="gray_r")
    for number, index in enumerate(shown):
        true, guess = label(names[int(y[index])]), label(names[int(predicted[index])])
        at = (number % 8 * (w + across) + w / 2, number // 8 * (h + down) + down - 1)
        text = f"{true}\n{guess} {confidence[index]:.0%}"
        panel.text(*at, text, fontsize=7, color=GREEN if true == guess else RED, ha="center", va="bottom")
    panel.text(
        0, (h + down) * 4 + 3,
        "true name, below it the prediction with its probability\n"
        "rows 1 and 2: the first test images;  rows 3 and 4: the most confident mistakes",
        fontsize=8, va="top",
    )  # fmt: skip
    return figure


def confusion_matrix(y: Tensor, output: Tensor, names: Sequence[str]) -> Figure:
    """Percentage of each true class (row) that is predicted as each class (column)."""
    n = len(names)
    counts = torch.bincount(y * n + output.argmax(1), minlength=n * n).reshape(n, n)
    share = 100 * counts / counts.sum(1, keepdim=True).clamp(min=1)
    figure, (panel,) = with_panels(1, 1, 6.2, 5.6)
    picture = panel.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for row in range(n):
        for column in range(n):
            if counts[row, column]:
                colour, percent = "white" if share[row, column] > 50 else "black", round(float(share[row, column]))
                panel.text(column, row, str(percent or "·"), ha="center", va="center", fontsize=7.5, color=colour)
    panel.set_xticks(range(n), [*map(label, names)], rotation=45, ha="right", fontsize=8)
    panel.set_yticks(range(n), [*map(label, names)], fontsize=8)
    panel.set(xlabel="predicted", ylabel="true")
    figure.colorbar(picture, ax=panel, label="% of the true class", shrink=0.8)
    return figure


def first_weight(net: nn.Module, num_inputs: int) -> Tensor | None:
    """The weight (units, num_inputs) of the first layer, or None if no weight has that size."""
    first = next((p.detach().float().cpu() for p in net.parameters() if p.dim() == 2), torch.empty(0, 0))
    if first.shape[1] == num_inputs:
        return first
    return first.T if first.shape[0] == num_inputs else None  # networks from scratch have (num_inputs, units)


def first_layer_weights(net: nn.Module, image: Sequence[int], names: Sequence[str]) -> Figure | None:
    """Weights of the first linear layer as images: one for each class, or the 40 hidden units of largest norm."""
    weight = first_weight(net, math.prod(image))
    if weight is None:
        return None
    classes = len(weight) == len(names)
    shown = list(range(len(names))) if classes else weight.norm(dim=1).argsort(descending=True)[:40].tolist()
    h, w = image
    down, columns = h // 3, 5 if classes else 8
    largest = float(weight[shown].abs().max()) / 2  # saturates a few weights, so that the others are visible
    figure, (panel,) = with_panels(1, 1, 8, 3.6 if classes else 5.4)
    style = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
    picture = _mosaic(panel, weight[shown].reshape(-1, h, w), columns, (down, 3), **style)
    for number, unit in enumerate(shown):
        at = (number % columns * (w + 3) + w / 2, number // columns * (h + down) + down - 1)
        panel.text(*at, label(names[unit]) if classes else f"unit {unit}", fontsize=7, ha="center", va="bottom")
    figure.colorbar(picture, ax=panel, label="weight", shrink=0.7)
    return figure


def fitted_curve(data: RegressionData, net: nn.Module) -> Figure:
    """The training samples of one input, the true function and the fitted function."""
    figure, (panel,) = with_panels(1, 1, 5.6, 4)
    # Inputs are N(0, 1), so nearly all lie in this range.
    inputs = torch.linspace(-3, 3, 301, dtype=torch.float64)[:, None]
    x, y = data.inputs["train"][:, 0], data.splits["train"][1]
    panel.plot(x, y, "o", color=GREY, markersize=3, alpha=0.7, label="training data")
    _true_and_fitted(panel, inputs, data, net, inputs)
    margin = 0.25 * float(y.max() - y.min()) + 1e-9
    panel.set_ylim(float(y.min()) - margin, float(y.max()) + margin)
    panel.set(xlabel="x", ylabel="y", xlim=(-3, 3))
    panel.grid(alpha=0.3)
    return figure


def fit(data: RegressionData, net: nn.Module) -> Figure:
    """Fitted and true line along each of up to three inputs, the others at 0; then predicted against true test y."""
    shown = data.num_raw if data.num_raw <= 3 else 0
    weight = first_weight(net, data.num_inputs)
    learned = weight is not None and shown == 0 and len(weight) == 1
    figure, panels = with_panels(1, shown + learned + 1, 3.6 * (shown + learned + 1), 3.4)
    inputs, (_, y) = data.inputs["train"], data.splits["train"]
    for j in range(shown):
        others = inputs.clone()
        others[:, j] = 0
        without = data.true_function(others) - data.true_function(torch.zeros_like(others))
        line = torch.zeros(2, data.num_raw, dtype=torch.float64)
        line[:, j] = torch.tensor([-3.0, 3.0])
        panels[j].plot(inputs[:, j], y - without, "o", color=GREY, markersize=2, alpha=0.4, label="training data")
        _true_and_fitted(panels[j], line[:, j], data, net, line)
        panels[j].set(xlabel=f"x{j + 1}", ylabel="y less the other inputs' part")
    if learned and weight is not None:
        panels[0].plot(weight[0], ".", color=BLUE, label="learned")
        panels[0].plot(data.w[:, 0], "--", color=ORANGE, label="true")
        panels[0].set(xlabel="feature", ylabel="weight")
        panels[0].legend(fontsize=7)
    x, y = data.splits["test"]
    panels[-1].plot(y, outputs(net, x), "o", color=BLUE, markersize=3, alpha=0.6)
    panels[-1].axline((float(y.mean()), float(y.mean())), slope=1, color=ORANGE, linestyle="--")
    panels[-1].set(xlabel="y of the test samples", ylabel="predicted y")
    for panel in panels:
        panel.grid(alpha=0.3)
    return figure


def _true_and_fitted(panel: Axes, x: Tensor, data: RegressionData, net: nn.Module, inputs: Tensor) -> None:
    panel.plot(x, data.true_function(inputs), "--", color=ORANGE, label="true function", linewidth=4)
    panel.plot(x, outputs(net, data.features(inputs)), color=BLUE, label="fitted")
    panel.legend(fontsize=7)


@matplotlib.rc_context(NO_LATEX)
def few_predictions(data: TensorDataModule, items: Sequence[Prediction]) -> Figure:
    """Each image with its class probabilities as bars; for regression, the predicted values as points."""
    if not data.class_names:
        figure, (panel,) = with_panels(1, 1, 6, 3.6)
        panel.plot([float(item.output[0]) for item in items], "o", color=BLUE)
        panel.set_xticks(range(len(items)), [label(item.name) for item in items], rotation=45, ha="right", fontsize=7)
        panel.set(xlabel="input", ylabel="predicted y")
        return figure
    if data.preprocessing is not None:
        found = [item.output.softmax(0) for item in items]
        return probabilities(data.class_names, [item.name for item in items], found)
    figure, panels = with_panels(len(items), 2, 6, 1.7 * len(items))
    for item, left, right in zip(items, panels[::2], panels[1::2], strict=True):
        left.imshow(item.x[0], cmap="gray_r")
        left.set_title(label(item.name), fontsize=8)
        left.axis("off")
        right.barh(range(len(data.class_names)), item.output.softmax(0), color=BLUE)
        right.set_yticks(range(len(data.class_names)), [*map(label, data.class_names)], fontsize=6)
        right.invert_yaxis()
        right.set_xlim(0, 1)
    panels[-1].set_xlabel("probability")
    return figure
