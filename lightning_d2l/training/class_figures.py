"""The figures of a classification: predicted images and mistakes, the confusion matrix, the first layer's weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor, nn

from lightning_d2l.config.colours import BLUE, GREEN, RED
from lightning_d2l.config.escape import label
from lightning_d2l.config.metrics import SPLITS
from lightning_d2l.training.panels import with_panels, wrapped
from lightning_d2l.training.predictions import Prediction, probabilities

MOST_CLASSES = 100  # of a confusion matrix
MOST_NAMED = 12  # classes whose probabilities are shown together; of more, the most probable ones
SMALLEST_KERNEL = 3  # pixels wide, that can be seen as an image
TALLEST = 20.0  # inches of a figure, whatever the shape of its images
CROSS = " \N{MULTIPLICATION SIGN}"


def pictures(x: Tensor, *, ink: bool = False) -> Tensor | None:
    """Images x (n, channels, h, w) as (n, h, w) or (n, h, w, 3) in [0, 1], None if they are no images.

    With `ink` grey images are inverted: those of light shapes on black are seen better as dark shapes on white. Floats
    outside of [0, 1], as of standardised images, are stretched.
    """
    if x.dim() != 4 or x.shape[1] not in (1, 3) or min(x.shape[2:]) < 2:
        return None
    shown = x.float() / 255 if x.dtype == torch.uint8 else x.float()
    low, high = (float(shown.min()), float(shown.max())) if len(shown) else (0.0, 1.0)
    if low < 0 or high > 1:
        shown = (shown - low) / ((high - low) or 1.0)
    if shown.shape[1] == 3:
        return shown.permute(0, 2, 3, 1)
    return 1 - shown[:, 0] if ink else shown[:, 0]


def mosaic(panel: Axes, images: Tensor, columns: int, gap: tuple[int, int], **style: Any) -> AxesImage:
    """Images (n, h, w) or (n, h, w, 3) in a grid, faster than a panel each; `gap`: pixels above and beside each."""
    n, h, w = images.shape[:3]
    (down, across), rows = gap, -(-n // columns)
    blank = 1.0 if images.dim() == 4 else math.nan
    sheet = torch.full((rows * (h + down), columns * (w + across), *images.shape[3:]), blank)
    for number, image in enumerate(images):
        top, left = number // columns * (h + down) + down, number % columns * (w + across)
        sheet[top : top + h, left : left + w] = image
    panel.axis("off")
    return panel.imshow(sheet.numpy(), interpolation="nearest", **style)


def predicted_images(
    x: Tensor, y: Tensor, output: Tensor, names: Sequence[str], *, ink: bool = False, split: str = "test"
) -> Figure | None:
    """The first images of a split and the most confident mistakes, each with its true and its predicted class."""
    confidence, predicted = probabilities(output).max(1)
    wrong = (predicted != y).nonzero().flatten()
    worst = wrong[confidence[wrong].argsort(descending=True)][:16].tolist()
    shown = [*range(min(16, len(x))), *worst]
    images = pictures(x[shown], ink=ink)
    if images is None:
        return None
    h, w = images.shape[1:3]
    down, across = max(h // 2, w // 3), w // 3
    rows = -(-len(shown) // 8)
    figure, (panel,) = with_panels(1, 1, 9, min(0.85 + 9 * rows * (h + down) / (8 * (w + across)), TALLEST))
    mosaic(panel, images, 8, (down, across), cmap="gray", vmin=0, vmax=1)
    for number, index in enumerate(shown):
        true, guess = label(names[int(y[index])]), label(names[int(predicted[index])])
        at = (number % 8 * (w + across) + w / 2, number // 8 * (h + down) + down - 1)
        right = int(y[index]) == int(predicted[index])
        text = f"{_cut(true)}\n{_cut(guess)} {100 * confidence[index]:.0f} %{'' if right else CROSS}"
        panel.text(*at, text, fontsize=7.5, color=GREEN if right else RED, ha="center", va="bottom")
    accuracy = float((predicted == y).double().mean())
    panel.set_title(
        f"{SPLITS.get(split, split).capitalize()} accuracy {100 * accuracy:.1f} %: the first {min(16, len(x))} images, "
        "then the most confident mistakes\nabove an image its true name, below that the prediction with its "
        f"probability,{CROSS} if wrong",
        fontsize=9.5,
    )
    return figure


def _cut(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"


def confusion_matrix(y: Tensor, output: Tensor, names: Sequence[str], split: str = "test") -> Figure | None:
    """Percentage of each true class (row) that is predicted as each class (column); none for too many classes."""
    n = len(names)
    if n > MOST_CLASSES:
        return None
    counts = torch.bincount(y * n + output.argmax(1), minlength=n * n).reshape(n, n)
    share = 100 * counts / counts.sum(1, keepdim=True).clamp(min=1)
    more = max(n - 12, 0)  # classes that need more room, and smaller letters
    figure, (panel,) = with_panels(1, 1, 6.2 + 0.11 * more, 5.6 + 0.11 * more)
    picture = panel.imshow(share.numpy(), cmap="Blues", vmin=0, vmax=100)
    for row, column in counts.nonzero().tolist():
        percent = round(float(share[row, column]))
        if more and not percent:
            continue
        colour = "white" if share[row, column] > 50 else "black"
        size = 9 if not more else max(7.5 - 0.08 * more, 3)
        panel.text(column, row, str(percent or "·"), ha="center", va="center", fontsize=size, color=colour)
    size, turned = (9.0, 45) if not more else (max(8 - 0.1 * more, 5.5), 90)
    style: Any = {"rotation": turned, "ha": "right" if turned == 45 else "center", "fontsize": size}
    panel.set_xticks(range(n), [*map(label, names)], **style)
    panel.set_yticks(range(n), [*map(label, names)], fontsize=size)
    panel.set(xlabel="predicted class", ylabel="true class")
    panel.spines[:].set_visible(True)
    panel.set_title(wrapped(_confusion(counts, share, names, split), round(9.7 * figure.get_figwidth())), fontsize=10)
    few = " (·: below 0.5)" if not more and bool(((counts > 0) & (share < 0.5)).any()) else ""
    figure.colorbar(picture, ax=panel, label=f"% of the true class{few}", shrink=0.8)
    return figure


def _confusion(counts: Tensor, share: Tensor, names: Sequence[str], split: str) -> str:
    """The accuracy, and the pair of classes that is confused most often."""
    accuracy = float(counts.diagonal().sum() / counts.sum().clamp(min=1))
    wrong = share.clone().fill_diagonal_(0)
    said = f"{SPLITS.get(split, split).capitalize()} accuracy {100 * accuracy:.1f} %"
    if not float(wrong.max()):
        return said
    true, guess = divmod(int(wrong.argmax()), len(names))
    confused = f"{label(_cut(names[true]))} taken for {label(_cut(names[guess]))} ({float(wrong.max()):.0f} %)"
    return f"{said}; most often confused: {confused}"


def first_weight(net: nn.Module, num_inputs: int) -> Tensor | None:
    """The weight (units, num_inputs) of the first layer, or None if no weight has that size."""
    first = next((p.detach().float().cpu() for p in net.parameters() if p.dim() >= 2), torch.empty(0, 0))
    if first.dim() != 2:
        return None
    if first.shape[1] == num_inputs:
        return first
    return first.T if first.shape[0] == num_inputs else None  # networks from scratch have (num_inputs, units)


def first_layer_weights(net: nn.Module, image: Sequence[int], names: Sequence[str]) -> Figure | None:
    """Weights of the first layer as images (channels, h, w): one a class, or the 40 units of largest norm, or kernels.

    None if the first layer is neither linear in the pixels nor a convolution of kernels that can be seen.
    """
    weight = first_weight(net, math.prod(image))
    if weight is not None:
        weight, what = weight.reshape(-1, *image), "unit"
    else:
        weight, what = _kernels(net, image[0]), "kernel"
    if weight is None:
        return None
    classes = what == "unit" and len(weight) == len(names) <= 20
    order = weight.flatten(1).norm(dim=1).argsort(descending=True)[:40].tolist()
    shown = list(range(len(names))) if classes else order if what == "unit" else sorted(order)
    _, h, w = weight.shape[1:]
    gap, columns = max(w // 9, 1), 5 if classes else 8
    # Letters above an image take a fraction of its height, whatever its number of pixels.
    down = max(h // 3, 1)
    rows = -(-len(shown) // columns)
    figure, (panel,) = with_panels(1, 1, 8, min(0.6 + 6.9 * rows * (h + down) / (columns * (w + gap)), TALLEST))
    # Some weights are saturated, so that the others are visible.
    largest = float(weight[shown].abs().max()) / (2 if what == "unit" else 1) or 1.0
    if len(weight[0]) == 3:
        colours = (weight[shown] / (2 * largest) + 0.5).clamp(0, 1)
        picture = mosaic(panel, colours.permute(0, 2, 3, 1), columns, (down, gap))
        below = rows * (h + down)
        panel.text(0, below, "colours: weights of red, green and blue; grey is 0", fontsize=7, va="top")
    else:
        style = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
        picture = mosaic(panel, weight[shown][:, 0], columns, (down, gap), **style)
        figure.colorbar(picture, ax=panel, label="weight", shrink=0.7)
    for number, unit in enumerate(shown):
        at = (number % columns * (w + gap) + w / 2 - 0.5, number // columns * (h + down) + down - 0.6)
        text = label(names[unit]) if classes else f"{what} {unit}"
        panel.text(*at, text, fontsize=8 if classes else 7, ha="center", va="bottom")
    signs = ": red pixels speak for it, blue ones against it" if len(weight[0]) == 1 else ""
    said = {
        "class": f"What each class looks for{signs}",
        "unit": f"What hidden units look for: the {len(shown)} of {len(weight)} with the largest weights",
        "kernel": f"What the first layer looks for: {len(shown)} of {len(weight)} kernels",
    }
    panel.set_title(said["class" if classes else what], fontsize=10)
    return figure


def _kernels(net: nn.Module, channels: int) -> Tensor | None:
    """The kernels (n, channels, h, w) of the first layer, if it is a convolution of the images' own channels."""
    first = next((p.detach().float().cpu() for p in net.parameters() if p.dim() >= 2), torch.empty(0, 0))
    fits = first.dim() == 4 and first.shape[1] == channels and min(first.shape[2:]) >= SMALLEST_KERNEL
    return first if fits else None


def images_with_probabilities(items: Sequence[Prediction], names: Sequence[str], *, ink: bool = False) -> Figure | None:
    """Each image with its class probabilities, of many classes the highest; None if there is one that is no image."""
    if any(pictures(item.x[None]) is None for item in items):
        return None
    figure, panels = with_panels(len(items), 2, 6, 1.7 * len(items))
    for item, left, right in zip(items, panels[::2], panels[1::2], strict=True):
        image = pictures(item.x[None], ink=ink)
        assert image is not None
        left.imshow(image[0].numpy(), cmap="gray", vmin=0, vmax=1)
        left.set_title(label(item.name), fontsize=8)
        left.axis("off")
        found = probabilities(item.output)
        best = range(len(names)) if len(names) <= MOST_NAMED else found.argsort(descending=True)[:10].tolist()
        right.barh(range(len(best)), found[list(best)], color=BLUE)
        right.set_yticks(range(len(best)), [label(names[number]) for number in best], fontsize=6)
        right.invert_yaxis()
        right.set_xlim(0, 1)
        right.grid(axis="x", alpha=0.3)
    panels[-1].set_xlabel("probability")
    return figure
