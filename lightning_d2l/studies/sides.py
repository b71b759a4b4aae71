"""The fitted functions of a study side by side: at the best setting and beside it, over their data and the truth."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from lightning_d2l.config.colours import BLUE, ORANGE
from lightning_d2l.config.escape import label
from lightning_d2l.studies import axes, frame, labels
from lightning_d2l.studies.beside import beside
from lightning_d2l.studies.interactive_fits import Fit, Fitted
from lightning_d2l.studies.names import Entry
from lightning_d2l.studies.palette import COLOURS, FAINT, INK, MARKERS
from lightning_d2l.studies.picture import SPLITS
from lightning_d2l.studies.points import Point, Series
from lightning_d2l.studies.ranges import Range
from lightning_d2l.studies.study import Study
from lightning_d2l.theory.curves import Array
from lightning_d2l.theory.problem import loss_factor, noise_variance
from lightning_d2l.training.panels import PAPER, short
from lightning_d2l.training.ticks import set_ticks

MANY = 30  # fits of a setting from which on their mean is drawn, and their bias and variance
SMALL = 8.5  # points of the numbers above a panel
MARGIN = 0.15  # of the height of data and truth, above and below them
LOWEST = 1e-3  # of the least error, where the axis of its parts ends at the latest
HALF = 0.62  # height of a panel with the parts of the error, of that of the fits


def draw(study: Study, points: Sequence[Point], found: Fitted) -> tuple[Figure, str] | None:
    """The figure of the fits side by side and its caption; None if there are none.

    Of thirty or more fits to independent data sets the mean is drawn and, if the true function is known, below each
    panel the parts of the expected error by x: bias^2 and variance, estimated as in `decompose`, and noise.
    """
    if not found.fits:
        return None
    fits = {id(fit.point): fit for fit in found.fits}
    rows = beside(study, points, fits.keys())
    shown = [fits[id(point)] for row in rows for point in row.points]
    if not shown:
        return None
    many = all(len(_all(fit)) >= MANY and _are_independent(fit) for fit in shown)
    parts = many and bool(found.truth) and all(noise_variance(_config(fit)) is not None for fit in shown)
    with matplotlib.rc_context(PAPER):
        return _draw(study, rows, [[fits[id(p)] for p in row.points] for row in rows], found, many=many, parts=parts)


def _draw(
    study: Study, rows: Sequence[Series], fits: Sequence[Sequence[Fit]], found: Fitted, *, many: bool, parts: bool
) -> tuple[Figure, str]:
    columns, heights = max(map(len, fits)), [1.0, HALF] if parts else [1.0]
    figure, size = frame.blank(len(fits), columns)
    figure.set_figheight(figure.get_figheight() * sum(heights))
    places, lines = figure.add_gridspec(len(fits), columns), 1
    grid = np.asarray(found.grid)
    low, high = _heights(found, [fit for row in fits for fit in row])
    errors = [_parts(fit, found) for row in fits for fit in row] if parts else []
    below = _range_of(errors)
    for i, (row, series) in enumerate(zip(fits, rows, strict=True)):
        for j, fit in enumerate(row):
            inner = places[i, j].subgridspec(len(heights), 1, height_ratios=heights, hspace=0.1)
            panel = figure.add_subplot(inner[0])
            _draw_fits(panel, grid, fit, found, (low, high), many=many)
            title = label(labels.curve({**series.setting, study.x: fit.point.setting[study.x]}))
            said = _said(study, fit, size[0] + 0.25)
            lines = max(lines, said.count("\n") + 1)
            above = SMALL * frame.SPACING * (said.count("\n") + 1) + 8
            panel.set_title(title, fontsize=axes.WORDS, loc="left", pad=above, color=INK)
            style: dict[str, Any] = {"fontsize": SMALL, "color": FAINT, "linespacing": frame.SPACING}
            panel.annotate(said, (0, 1), (0, 4), "axes fraction", textcoords="offset points", va="bottom", **style)
            lowest = panel
            if parts:
                lowest = figure.add_subplot(inner[1], sharex=panel)
                panel.tick_params(labelbottom=False)
                axes.set_y(lowest, below)
                lowest.yaxis.set_minor_locator(NullLocator())
                _draw_parts(lowest, grid, errors[sum(map(len, fits[:i])) + j])
                if j == 0:
                    axes.name_axes(lowest, {}, labels.quantity("loss/test", _config(fit)), size[1] * HALF)
            set_ticks(lowest.xaxis, "linear")
            axes.name_axes(panel, {}, label(found.names[1]) if j == 0 else "", size[1])
            for each in (panel, lowest) if j else ():
                each.tick_params(labelleft=False)
            if i == max(k for k, others in enumerate(fits) if len(others) > j):
                axes.name_axes(lowest, {found.names[0]: found.names[0]}, "", size[1])
            else:
                lowest.tick_params(labelbottom=False)
    to_many = f"to {len(_all(fits[0][0]))} data sets " if many else ""
    title = f"How do the fits {to_many}change with the {labels.named(study.x)}?"
    caption = _caption(study, [fit for row in fits for fit in row], many=many, parts=parts)
    frame.finish(figure, title, caption, _entries(found, [f for row in fits for f in row], many=many, parts=parts))
    _place(figure, places, lines)
    return figure, caption


def _place(figure: Figure, places: GridSpec, lines: int) -> None:
    """Place the panels below titles with so many lines of numbers: what matplotlib's layouts find in a longer time."""
    (width, height), panels = figure.get_size_inches(), figure.axes
    engine = figure.get_layout_engine()
    _, bottom, _, share = engine.get()["rect"] if engine else (0, 0, 1, 1)
    figure.set_layout_engine("none")
    ticks = [
        text for each in panels[:2] for text in each.yaxis.get_major_formatter().format_ticks([*each.get_yticks()])
    ]
    left = 0.42 + max(frame.width_of(re.sub(r"[${}^\\]|times", "", text), axes.TICKS) for text in ["0", *ticks])
    above, below = (axes.WORDS * 1.4 + SMALL * frame.SPACING * lines + 11) / 72, 0.5
    rows, columns = places.nrows, places.ncols
    wide, between = (width - left - frame.EDGE) / columns, 0.14
    places.left, places.right = left / width, 1 - frame.EDGE / width
    places.bottom, places.top = bottom + below / height, bottom + share - above / height
    places.wspace = between / (wide - between * (columns - 1) / columns)
    high = (share * height - above - below + above) / rows - above
    places.hspace = above / high
    for panel in panels:
        if spec := panel.get_subplotspec():
            panel.set_position(spec.get_position(figure))


def _config(fit: Fit) -> Mapping[str, Any]:
    return fit.point.runs[0].config


def _all(fit: Fit) -> Sequence[Sequence[float]]:
    return [*fit.outputs, *fit.further]


def _are_independent(fit: Fit) -> bool:
    """Whether each fit is to a data set that no other shares, as folds and repeated seeds do."""
    counts = [(found.n, found.clusters) for found in fit.point.estimates.values()]
    return fit.differ and bool(counts) and all(n == clusters for n, clusters in counts)


def _heights(found: Fitted, fits: Sequence[Fit]) -> tuple[float, float]:
    """The ends of the y-axis of all panels: data and truth, and not the fits, which may be anywhere."""
    values = [y for y in (*(y for fit in fits for y in fit.y), *found.truth) if math.isfinite(y)] or [0.0, 1.0]
    margin = MARGIN * (max(values) - min(values)) or 1.0
    return min(values) - margin, max(values) + margin


def _draw_fits(panel: Axes, grid: Array, fit: Fit, found: Fitted, ends: tuple[float, float], *, many: bool) -> None:
    axes.set_y(panel, Range("linear", *ends))
    outputs = np.asarray(_all(fit), dtype=np.float64)
    reach = 10 * (ends[1] - ends[0])
    drawn = np.clip(np.where(np.isfinite(outputs), outputs, np.nan), ends[0] - reach, ends[1] + reach)
    thick = np.clip(outputs.mean(axis=0), ends[0] - reach, ends[1] + reach) if many else drawn[0]
    thin = drawn if many else drawn[1:]
    look: dict[str, Any] = {"color": BLUE, "linewidth": 0.7, "alpha": max(0.12, min(0.45, 6 / max(len(thin), 1)))}
    panel.plot(grid, thin.T, zorder=2, rasterized=many, **look)  # as curves they would make a page too large
    circles: dict[str, Any] = {"linestyle": "none", "marker": "o", "markerfacecolor": "none", "color": "#444444"}
    size = 3.5 if len(fit.x) <= 150 else 2.2
    panel.plot(fit.x, fit.y, markersize=size, markeredgewidth=0.7, zorder=1.5, **circles)
    panel.plot(grid, thick, color=BLUE, linewidth=1.9, zorder=3)
    if len(found.truth):
        panel.plot(grid, found.truth, color=ORANGE, linewidth=1.5, linestyle=(0, (4, 3)), zorder=4)
    side = 0.02 * (grid[-1] - grid[0])
    panel.set_xlim(grid[0] - side, grid[-1] + side)


def _parts(fit: Fit, found: Fitted) -> list[Array]:
    """Bias^2, variance, their sum with the noise, and the noise, at each x of the grid."""
    config, outputs = _config(fit), np.asarray(_all(fit), dtype=np.float64)
    factor, noise = loss_factor(config) or 1.0, noise_variance(config) or 0.0
    with np.errstate(all="ignore"):
        variance = factor * outputs.var(axis=0, ddof=1)
        bias = factor * (outputs.mean(axis=0) - np.asarray(found.truth)) ** 2 - variance / len(outputs)
        return [bias, variance, bias + variance + noise, np.full(len(variance), noise)]


def _range_of(errors: Sequence[Sequence[Array]]) -> Range | None:
    """The logarithmic axis of the parts of all panels."""
    whole = [float(y) for each in errors for y in each[2] if math.isfinite(y) and y > 0]
    every = [float(y) for each in errors for part in each for y in part if math.isfinite(y) and y > 0]
    if not whole:
        return None
    return Range("log", max(min(every), LOWEST * min(whole)), 2 * max(whole))


def _draw_parts(panel: Axes, grid: Array, parts: Sequence[Array]) -> None:
    for i, values in enumerate(parts):
        look: dict[str, Any] = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 4, "markeredgecolor": "white"}
        with np.errstate(invalid="ignore"):
            shown = np.where(values > 0, values, np.nan)
        panel.plot(grid, shown, linewidth=1.4, markeredgewidth=0.4, markevery=(4 + 8 * i, 40), zorder=3, **look)


def errors_of(study: Study, points: Sequence[Point]) -> list[str]:
    """The metrics of the kind that chooses the best setting, a split each: those of the study, if it has several."""
    base = study.select.partition("/")[0]
    names = [f"{base}/{split}" for split in SPLITS]
    found = [name for name in names if any(name in point.estimates for point in points)]
    of_study = [name for name in found if name in study.metrics]
    return (of_study if len(of_study) > 1 else found) or [study.select]


def _said(study: Study, fit: Fit, width: float) -> str:
    """The diagnosis of a setting and its errors, in lines of at most a width in inches."""
    estimates, diagnosis = fit.point.estimates, fit.point.diagnosis
    names = [name for name in errors_of(study, [fit.point]) if name in estimates]
    numbers = ", ".join(f"{labels.split(name) or name} {short(estimates[name].value, 3)}" for name in names)
    whole = f"{diagnosis.short}: {numbers}" if diagnosis and numbers else numbers
    if not diagnosis or frame.width_of(whole, SMALL) <= width:
        return frame.lines_of(whole, SMALL, width, 2)
    return f"{diagnosis.short}\n{frame.lines_of(numbers, SMALL, width, 2)}"


def _caption(study: Study, fits: Sequence[Fit], *, many: bool, parts: bool) -> str:
    """What is drawn, and what the numbers above the panels are."""
    counts, differ = sorted({len(_all(fit)) for fit in fits}), any(fit.differ for fit in fits)
    data = "each to its own data" if differ else "to the same data"
    if many:
        drawn = [f"Thin: {_range(counts)} fits, {data}. Thick: their mean. Circles: the training data of one of them."]
    elif counts[-1] > 1:
        more = _range([count - 1 for count in counts])
        runs = "fit" if counts == [2] else "fits"
        drawn = [f"Thick: the fit to the training data that are shown. Thin: {more} more {runs}, {data}."]
    else:
        drawn = ["One run of each setting, over its training data."]
    estimates = [fit.point.estimates[name] for fit in fits for name in errors_of(study, [fit.point])[:1]
                 if name in fit.point.estimates]  # fmt: skip
    kinds, ns = {each.statistic for each in estimates}, sorted({each.n for each in estimates})
    if estimates and ns[-1] > 1:
        over = {each.design for each in estimates}
        runs = over.pop() if len(over) == 1 else "runs"
        said = f"{kinds.pop() if len(kinds) == 1 else 'mean or median'} over {runs}".replace(
            " x ", " \N{MULTIPLICATION SIGN} "
        )
        drawn.append(f"Numbers: {labels.quantity(study.select, _config(fits[0]))}, {said} (n = {_range(ns)}).")
    elif estimates:
        drawn.append(f"Numbers: {labels.quantity(study.select, _config(fits[0]))}.")
    if parts:
        drawn.append("Where the estimate of bias² is not positive, it is not drawn.")
    if any(fit.point.diagnosis and fit.point.diagnosis.mark for fit in fits):
        drawn.append("~: uncertain.")
    return " ".join(drawn)


def _range(counts: Sequence[int]) -> str:
    return f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"


def _entries(found: Fitted, fits: Sequence[Fit], *, many: bool, parts: bool) -> list[Entry]:
    several = max(len(_all(fit)) for fit in fits) > 1
    circle: dict[str, Any] = {"linestyle": "none", "marker": "o", "markerfacecolor": "none", "color": "#444444"}
    entries: list[Entry] = [(Line2D([], [], markersize=4, **circle), "training data")]
    entries.append((Line2D([], [], color=BLUE, linewidth=1.9), "mean of the fits" if many else "fit"))
    if several:
        thin = Line2D([], [], color=BLUE, linewidth=0.8, alpha=0.5)
        entries.append((thin, "single fits" if many else "fits of other runs"))
    if len(found.truth):
        entries.append((Line2D([], [], color=ORANGE, linewidth=1.5, linestyle=(0, (4, 3))), "true function"))
    for i, name in enumerate(("bias²", "variance", "bias² + variance + noise", "noise") if parts else ()):
        look: dict[str, Any] = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 4.5, "linewidth": 1.4}
        entries.append((Line2D([], [], **look), name))
    return entries
