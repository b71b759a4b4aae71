"""The figures of a run: learning curves, fitted function, mistakes, confusion matrix, weights."""

from __future__ import annotations

import functools
import logging
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from torch import nn

from lightning_d2l.config.colours import BLUE, GREY
from lightning_d2l.config.escape import label
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.synthetic import RegressionData
from lightning_d2l.training import table_figures
from lightning_d2l.training.class_figures import (
    confusion_matrix,
    first_layer_weights,
    images_with_probabilities,
    pictures,
    predicted_images,
)
from lightning_d2l.training.files import replacing
from lightning_d2l.training.fits import fit, fitted_curve
from lightning_d2l.training.learning_curves import curves
from lightning_d2l.training.panels import PAPER, with_panels, wrapped
from lightning_d2l.training.predictions import Prediction, in_own_unit, outputs, probabilities

log = logging.getLogger(__name__)
MOST_SAMPLES = 20_000  # of the figures
Drawing = Callable[[], Figure | None]
"""Draws a figure; None if it does not suit the data or the network."""


def drawings(
    data: TensorDataModule,
    net: nn.Module,
    history: Sequence[Mapping[str, float]],
    title: str,
    stopped: int | None = None,
    loss: str = "loss",
) -> dict[str, Drawing]:
    """What draws the figures that apply to the data and the network, titled `title`, by name.

    `stopped` is the epoch after which a callback stopped the run early, `loss` says what the loss is.
    """
    found: dict[str, Drawing] = {"curves": lambda: curves(history, stopped, loss)}
    if isinstance(data, RegressionData):
        found["fit"] = lambda: fitted_curve(data, net) if data.num_raw == 1 else fit(data, net)
    elif data.task:
        found |= _of_outputs(data, net)
    return {name: functools.partial(_titled, draw, title) for name, draw in found.items()}


def _titled(draw: Drawing, title: str) -> Figure | None:
    with matplotlib.rc_context(PAPER):
        figure = draw()
        if figure is not None:
            words = wrapped(label(title), max(int(13 * figure.get_figwidth()), 20))
            figure.suptitle(words, fontsize=9, color=GREY, x=0.01, ha="left")
    return figure


def _of_outputs(data: TensorDataModule, net: nn.Module) -> dict[str, Drawing]:
    """The figures of what a network makes of the test samples, or of the last split that there is.

    None if its outputs are no logits of the classes and no number a target, as those of a custom module may be.
    """
    split, names = data.split_names[-1], data.class_names
    x, y = data.samples(split, MOST_SAMPLES)
    try:
        output = outputs(net, x)
    except Exception as error:  # a custom module may have no forward
        log.debug("no figures of outputs: %s", error)
        return {}
    if not names:
        if output.numel() != len(x) or y.numel() != len(x):
            return {}
        target = "y" if data.preprocessing is None else str(data.preprocessing["target"]["name"])
        true, found = (in_own_unit(data, values.reshape(-1, 1)) for values in (y, output))
        return {"predicted": lambda: table_figures.predicted_and_true(target, true, found, split)}
    if output.shape != (len(x), len(names)) or not 0 <= int(y.min()) <= int(y.max()) < len(names):
        return {}
    drawn: dict[str, Drawing] = {"confusion_matrix": lambda: confusion_matrix(y, output, names, split)}
    if pictures(x[:1]) is not None:
        ink = _is_ink(data)
        drawn["predictions"] = lambda: predicted_images(x, y, output, names, ink=ink, split=split)
        drawn["first_layer_weights"] = lambda: first_layer_weights(net, x.shape[1:], names)
    return drawn


def _is_ink(data: TensorDataModule) -> bool:
    """Whether images are light drawings on black, which are shown as dark ones on white."""
    return bool(getattr(data, "usual", None))


@matplotlib.rc_context(PAPER)
def save(figure: Figure, path: Path) -> Path:
    """Write a PNG file atomically; its folder is created in one that exists.

    Characters that no font has are drawn as boxes; one line says which.
    """
    path.parent.mkdir(exist_ok=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with replacing(path, new_folders=False) as file:
            figure.savefig(file, format="png")
    missing = {int(found[1]) for each in said if (found := re.match(r"Glyph (\d+) .*missing", str(each.message)))}
    for message in dict.fromkeys(str(each.message) for each in said if not str(each.message).startswith("Glyph ")):
        log.debug("%s: %s", path.name, message)
    if missing:
        boxes = "".join(map(chr, sorted(missing)[:20]))
        log.warning("%s: drawn as boxes, since no installed font has them: %s", path.name, boxes)
    return path


@matplotlib.rc_context(PAPER)
def few_predictions(data: TensorDataModule, items: Sequence[Prediction]) -> Figure:
    """Each image with its class probabilities as bars; for regression, the predicted values as points."""
    if not data.class_names:
        figure, (panel,) = with_panels(1, 1, 6, 3.6)
        panel.plot([float(item.output[0]) for item in items], "o", color=BLUE)
        style: Any = {"rotation": 45, "ha": "right", "fontsize": 7}
        panel.set_xticks(range(len(items)), [label(item.name) for item in items], **style)
        panel.set(xlabel="input", ylabel="predicted y")
        panel.grid(alpha=0.3)
        return figure
    drawn = images_with_probabilities(items, data.class_names, ink=_is_ink(data))
    if drawn is not None:
        return drawn
    found = [probabilities(item.output) for item in items]
    return table_figures.probabilities(data.class_names, [item.name for item in items], found)
