"""The learning curves of a run: every metric over the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lightning_d2l.config.colours import BLUE, GREEN, GREY, ORANGE, RED
from lightning_d2l.config.escape import label
from lightning_d2l.config.metrics import SPLITS, SPOKEN, higher_is_better, is_measure, spoken
from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.training.panels import PAPER, is_shown, short, with_panels, wrapped
from lightning_d2l.training.ticks import plain_ticks

STYLES = {RUNNING: (BLUE, ":", "."), "train": (BLUE, "-", "o"), "val": (ORANGE, "--", "s"), "test": (RED, "-.", "^")}
"""Colour, line and marker of each split."""
OTHERS = ((GREEN, "-", "D"), (BLUE, "--", "o"), (ORANGE, "-.", "s"), (RED, ":", "^"), (GREY, "-", "v"))
"""The same of what is no split, such as layers."""
PARTS = {**SPLITS, "first": "first layer", "last": "last layer", "total": "all layers", "": "all"}
TWIN = "_bits"  # the end of the name of a metric in bits, which has a twin in nats
WIDE = 20.0  # values that span more than this factor have a logarithmic axis
LEAST_SPAN = 0.1
"""An axis spans at least this part of its largest number, so that a small change looks small."""
LEAST_SPAN_OF_NORM = 0.25
RISE = 0.05  # of the best value: a smaller change for the worse is no turn
FEW_POINTS = 25  # have a marker each
COLUMNS = 3
Curve = tuple[list[float], list[float]]
"""Epochs and values."""


@matplotlib.rc_context(PAPER)
def curves(history: Sequence[Mapping[str, float]], stopped: int | None = None, loss: str = "loss") -> Figure | None:
    """Every metric over the epochs; all splits of a metric share a panel. A line marks where the run stopped early.

    `loss` says what the loss is. None if nothing was measured.
    """
    found = _by_metric(history)
    if not found:
        return None
    columns = 2 if len(found) == 4 else min(len(found), COLUMNS)
    rows = -(-len(found) // columns)
    width, height = (4.6, 3.5) if columns < COLUMNS else (3.8, 3.2)  # letters in a wide figure are small on a slide
    figure, panels = with_panels(rows, columns, width * columns, height * rows)
    for panel, (metric, lines) in zip(panels, found.items(), strict=False):
        _draw(panel, metric, lines, stopped)
        panel.set_ylabel(label(loss if metric == "loss" else spoken(metric)))
    for unused in panels[len(found) :]:
        unused.remove()
    return figure


def _by_metric(history: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Curve]]:
    """The curves by metric and split. Of metrics with equal curves, or in bits and in nats, the first is kept.

    A share of zeros that stays 0, as under an L2 penalty, is left out.
    """
    names = list(dict.fromkeys(name for row in history for name in row if name not in ("epoch", "step")))
    found: dict[str, dict[str, Curve]] = {}
    for name in names:
        metric, _, split = name.partition("/")
        points = [(row["epoch"], row[name]) for row in history if name in row]
        found.setdefault(metric, {})[split] = ([e for e, _ in points], [v for _, v in points])
    kept: dict[str, dict[str, Curve]] = {}
    for metric, lines in found.items():
        twin = metric.endswith(TWIN) and metric.removesuffix(TWIN) in found
        none = metric == "zeros" and len(found) > 1 and not any(v for _, values in lines.values() for v in values)
        same = metric in SPOKEN and any(_are_equal(lines, other) for other in kept.values())
        if not (twin or none or same):
            kept[metric] = lines
    return kept


def _are_equal(lines: Mapping[str, Curve], others: Mapping[str, Curve]) -> bool:
    """Whether two metrics are the same but for rounding."""
    if lines.keys() != others.keys() or any(lines[split][0] != others[split][0] for split in lines):
        return False
    pairs = (pair for split in lines for pair in zip(lines[split][1], others[split][1], strict=True))
    return all(math.isclose(a, b, rel_tol=1e-6) for a, b in pairs)


def _draw(panel: Axes, metric: str, lines: Mapping[str, Curve], stopped: int | None) -> None:
    others = iter(OTHERS * len(lines))
    for split in sorted(lines, key=[*STYLES, *lines].index):
        alone = split == RUNNING and "train" not in lines
        colour, line, marker = STYLES.get("train" if alone else split) or next(others)
        epochs, values = lines[split]
        shown = [value if is_shown(value) else float("nan") for value in values]
        every = max(1, len(shown) // 12) if len(shown) > FEW_POINTS else 1
        panel.plot(
            epochs, shown, linestyle=line, color=colour, marker=marker, markersize=4, markevery=every,
            label=label(PARTS.get(split, split)),
        )  # fmt: skip
    values = [value for _, each in lines.values() for value in each if is_shown(value)]
    if values:
        _scale(panel, metric, values)
    epochs = [epoch for each, _ in lines.values() for epoch in each]
    _number_epochs(panel, min(epochs), max(epochs))
    plain_ticks(panel)
    panel.set_xlabel("epoch")
    panel.grid(alpha=0.3)
    panel.set_title(wrapped(label(statement(metric, lines)), 44), fontsize=10)
    if stopped is not None:
        panel.axvline(stopped, color=GREY, linestyle=":", label="stopped early")
    if len(panel.get_legend_handles_labels()[0]) > 1 or {*lines} & {*STYLES}:
        panel.legend()


def _scale(panel: Axes, metric: str, values: Sequence[float]) -> None:
    """A scale and limits that neither exaggerate a change nor hide one."""
    low, high = min(values), max(values)
    if low > 0 and high > WIDE * low:
        panel.set_yscale("log")
        return
    if low == high == 0:
        panel.set_ylim(-0.05, 1.05)
        return
    if metric == "norm" and 0 <= low < high / 2:
        panel.set_ylim(0, 1.06 * high)
        return
    least = (LEAST_SPAN_OF_NORM if metric == "norm" else LEAST_SPAN) * max(abs(low), abs(high))
    missing = max(least - (high - low), 0.0)
    margin = 0.06 * (high - low + missing) or 0.5
    low, high = low - missing / 2 - margin, high + missing / 2 + margin
    if higher_is_better(metric) and high > 1 >= max(values):  # no share is above 1
        low, high = low - missing / 2, 1 + margin / 2
    panel.set_ylim(low, high)


def _number_epochs(panel: Axes, first: float, last: float) -> None:
    """Ticks at round epochs and at the first one."""
    ticks = MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]).tick_values(first, last)
    step = float(ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
    panel.set_xticks([first, *(tick for tick in map(float, ticks) if first + 0.4 * step < tick <= last)])
    margin = 0.03 * (last - first) or 0.5
    panel.set_xlim(first - margin, last + margin)


def statement(metric: str, lines: Mapping[str, Curve]) -> str:
    """What the curves of a metric say: where the one on held-out data is best, or how it ends."""
    split = next(split for split in ("val", "test", "train", RUNNING, *lines) if split in lines)
    epochs, values = lines[split]
    name = spoken(metric).partition(" (")[0]
    subject = f"{PARTS[split].partition(',')[0]} {name}" if split in SPLITS else name
    if split not in SPLITS and len(lines) > 1:
        subject = f"{name} ({PARTS.get(split, split)})"
    subject = subject[:1].upper() + subject[1:]
    if not values:
        return subject
    wrong = [epoch for epoch, value in zip(epochs, values, strict=True) if not is_shown(value)]
    if wrong:
        how = "beyond 1e300" if math.isfinite(values[epochs.index(wrong[0])]) else "not finite"
        return f"{subject} is {how} at epoch {wrong[0]:g}"
    first, last = values[0], values[-1]
    if len(values) == 1:
        return f"{subject} is {short(last, 3)}"
    if split in SPLITS and is_measure(metric):
        higher = higher_is_better(metric)
        best = max(values) if higher else min(values)
        if abs(last - best) > RISE * abs(best):
            at, word = epochs[values.index(best)], "highest" if higher else "lowest"
            return f"{subject} is {word} at epoch {at:g}, {short(best, 3)}, and ends at {short(last, 3)}"
    if min(values) == max(values):
        return f"{subject} stays at {short(last, 3)}"
    if abs(last - first) <= 0.01 * abs(first):
        return f"{subject} stays near {short(last, 3)}"
    return f"{subject} {'rises' if last > first else 'falls'} {_from_to(first, last)}"


def _from_to(first: float, last: float) -> str:
    """Two numbers with as many decimals each, where that is no false precision: from 0.700 to 0.392."""
    texts = [short(first, 3), short(last, 3)]
    decimals = [len(text.partition(".")[2]) for text in texts]
    most = max(decimals)
    if all(1e-3 <= abs(value) < 1e3 for value in (first, last)) and most - min(decimals) <= 2:
        texts = [f"{value:.{most}f}".replace("-", "\N{MINUS SIGN}") for value in (first, last)]
    return f"from {texts[0]} to {texts[1]}"
