"""The figures of a run: learning curves, mistakes, confusion matrix, weights, fitted function."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from lightning_d2l.config.escape import label
from lightning_d2l.config.metrics import SPOKEN
from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.synthetic import RegressionData
from lightning_d2l.training import table_figures
from lightning_d2l.training.class_figures import (
    confusion_matrix,
    first_layer_weights,
    first_weight,
    images_with_probabilities,
    pictures,
    predicted_images,
)
from lightning_d2l.training.files import replacing
from lightning_d2l.training.panels import BLUE, GREEN, GREY, ORANGE, RED, with_panels
from lightning_d2l.training.predictions import Prediction, in_own_unit, outputs, probabilities

log = logging.getLogger(__name__)
STYLES = {RUNNING: (BLUE, ":"), "train": (BLUE, "-"), "val": (ORANGE, "--"), "test": (RED, "-.")}
NO_LATEX: Any = {"text.usetex": False}  # whatever a matplotlibrc in the current folder asks for
SPLITS = {RUNNING: "train, running mean"}
MOST_SAMPLES = 20_000  # of the figures
LABELS = {**SPOKEN, "acc": "accuracy", "lr": "learning rate", "norm": "norm of the weights", "sigma": "estimated noise"}


def draw(folder: Path, figures: Mapping[str, Figure]) -> list[Path]:
    """Write figures into a run's folder; returns the PNG files."""
    return [save(figure, folder / "figures" / f"{name}.png") for name, figure in figures.items()]


@matplotlib.rc_context(NO_LATEX)
def drawn(
    data: TensorDataModule,
    net: nn.Module,
    history: Sequence[dict[str, float]],
    title: str,
    stopped: int | None = None,
) -> dict[str, Figure]:
    """Every figure that applies to the data and the network, titled `title`, by name.

    `stopped` is the epoch after which a callback stopped the run early.
    """
    figures: dict[str, Figure | None] = {"curves": curves(history, stopped)}
    if isinstance(data, RegressionData):
        figures["fit"] = fitted_curve(data, net) if data.num_raw == 1 else fit(data, net)
    elif data.task:
        figures |= _of_outputs(data, net)
    found = {name: figure for name, figure in figures.items() if figure is not None}
    for figure in found.values():
        figure.suptitle(label(title), fontsize=9, color=GREY)
    return found


def _of_outputs(data: TensorDataModule, net: nn.Module) -> dict[str, Figure | None]:
    """The figures of what a network makes of the test samples, or of the last split that there is.

    None if its outputs are no logits of the classes and no number a target, as those of a custom module may be.
    """
    split = data.split_names[-1]
    x, y = data.samples(split, MOST_SAMPLES)
    try:
        output = outputs(net, x)
    except Exception as error:  # a custom module may have no forward
        log.debug("no figures of outputs: %s", error)
        return {}
    if not data.class_names:
        if output.numel() != len(x) or y.numel() != len(x):
            return {}
        target = "y" if data.preprocessing is None else str(data.preprocessing["target"]["name"])
        true, found = (in_own_unit(data, values.reshape(-1, 1)) for values in (y, output))
        return {"predicted": table_figures.predicted_and_true(target, true, found)}
    if output.shape != (len(x), len(data.class_names)) or not 0 <= int(y.min()) <= int(y.max()) < len(data.class_names):
        return {}
    names = data.class_names
    found_figures: dict[str, Figure | None] = {"confusion_matrix": confusion_matrix(y, output, names)}
    if pictures(x[:1]) is not None:
        found_figures["predictions"] = predicted_images(x, y, output, names, ink=_is_ink(data), split=split)
        found_figures["first_layer_weights"] = first_layer_weights(net, x.shape[1:], names)
    return found_figures


def _is_ink(data: TensorDataModule) -> bool:
    """Whether images are light drawings on black, which are shown as dark ones on white."""
    return bool(getattr(data, "usual", None))


@matplotlib.rc_context(NO_LATEX)
def save(figure: Figure, path: Path) -> Path:
    """Write a PNG file atomically; its folder is created in one that exists."""
    path.parent.mkdir(exist_ok=True)
    with replacing(path, new_folders=False) as file:
        figure.savefig(file, format="png")
    return path


def curves(history: Sequence[dict[str, float]], stopped: int | None = None) -> Figure | None:
    """Every metric over the epochs; all splits of a metric share a chart. A line marks where the run stopped early."""
    names = dict.fromkeys(name for row in history for name in row if name not in ("epoch", "step"))
    metrics = list(dict.fromkeys(name.split("/")[0] for name in names))
    if not metrics:
        return None
    figure, panels = with_panels(1, len(metrics), 4.6 * len(metrics), 3.4)
    for panel, metric in zip(panels, metrics, strict=True):
        found = {name.partition("/")[2]: name for row in history for name in row if name.split("/")[0] == metric}
        for split in sorted(found, key=[*STYLES, *found].index):
            colour, line = STYLES.get(split, (GREEN, "-"))
            points = [(row["epoch"], row[found[split]]) for row in history if found[split] in row]
            epochs, values = zip(*points, strict=True)
            name = label(SPLITS.get(split) or split or ("of the last step" if metric == "lr" else metric))
            panel.plot(epochs, values, line, color=colour, label=name, marker="o", markersize=3)
        shown = [row[name] for row in history for name in found.values() if name in row]
        if min(shown) > 0 and max(shown) > 20 * min(shown):
            panel.set_yscale("log")
        panel.set(xlabel="epoch", ylabel=label(LABELS.get(metric, metric)))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(alpha=0.3)
        if stopped is not None:
            panel.axvline(stopped, color=GREY, linestyle=":", label="stopped early")
        panel.legend()
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
    drawn = images_with_probabilities(items, data.class_names, ink=_is_ink(data))
    if drawn is not None:
        return drawn
    found = [probabilities(item.output) for item in items]
    return table_figures.probabilities(data.class_names, [item.name for item in items], found)
