"""What the picture of a study shows, as plain values: panels, their lines, and the theory beside them.

figure.py draws them with matplotlib, interactive reports with something else; both show the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightning_d2l.config.text import show
from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.studies import labels
from lightning_d2l.studies.bands import has_band
from lightning_d2l.studies.captions import caption_of, methods_of
from lightning_d2l.studies.lines import MOST_IN_ALL, Line, Predicted, beside
from lightning_d2l.studies.palette import COLOURS, DARK, DASHES
from lightning_d2l.studies.points import Point, Series, best_first, comparable, points_of, series_of
from lightning_d2l.studies.predicted import predicted
from lightning_d2l.studies.ranges import LARGEST, Range, Shown, shared, x_scale, y_range
from lightning_d2l.studies.statistics import Estimate, kind_of
from lightning_d2l.studies.study import Study, usual_question
from lightning_d2l.theory.curves import Curve, numeric
from lightning_d2l.theory.theories import reasons
from lightning_d2l.training.record import RunRecord

SPLITS = ("train", "val", "test", RUNNING)
ALONE = 4
"""The number of the look of a line that is alone in its panel and is of no split."""
MOST_PANELS = 12
MOST_IN_A_ROW = 3


@dataclass(frozen=True)
class Panel:
    """One pair of axes: its title, the words and the range of its y-axis, None without values, and what is drawn."""

    title: str
    y: str
    y_range: Range | None
    lines: Sequence[Line]
    theory: Sequence[Predicted]

    @property
    def is_log(self) -> bool:
        return self.y_range is not None and self.y_range.scale == "log"

    def open_ended(self, line: Line, x: str) -> list[tuple[Any, Estimate]]:
        """The estimates whose interval reaches 0 or below, where a logarithmic axis has no place for its end."""
        found = line.estimates(x) if self.is_log else []
        return [(at, each) for at, each in found if has_band(each) and each.low <= 0 < each.high]

    def overshooting(self, line: Line, x: str) -> list[tuple[Any, Estimate]]:
        """The estimates whose interval ends above the y-axis, which one outlier does not rule."""
        ends = self.y_range
        found = [] if ends is None else line.estimates(x)
        return [(at, each) for at, each in found if ends and has_band(each) and each.high > ends.high]

    def beyond(self, line: Line, x: str) -> list[tuple[Any, bool]]:
        """The values of x with single runs beyond the ends of the y-axis, and whether they are above."""
        ends = self.y_range
        found = [] if ends is None else [(at, v > ends.high) for at, v in line.dots(x) if not ends.contains(v)]
        return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Picture:
    """The picture of a study: its question, the key along x with words, scale and values, the panels, the caption.

    `x_scale` is "linear", "log", "symlog" (log with a place for 0) or "names". There are `columns` panels in a row.
    `note` is the caption without the methods of the intervals and the reasons for which a theory is not drawn.
    """

    title: str
    x: str
    x_words: str
    x_scale: str
    x_values: Sequence[Any]
    panels: Sequence[Panel]
    columns: int
    note: str
    caption: str


def picture_of(study: Study, points: Sequence[Point], runs: Sequence[RunRecord]) -> Picture:
    """The picture of a study.

    There is a panel for each metric with a line for each curve, or, for at most three curves, a panel for each curve
    with a line for each split; `study.panels` chooses, or names a key with a panel for each value. More than eight
    curves are reduced to one: at each x the best setting. There are at most twelve panels.
    """
    title = question_of(study)
    if not study.x:
        study = dataclasses.replace(study, x="epoch")
        points = points_of(study, runs)
    theory = predicted(study, runs)
    series = series_of(study, points)
    isolated = len(series) > len(COLOURS)
    if isolated:
        series, theory = [_isolated(study, comparable(points))], [curve for curve in theory if not curve.where]
    metrics = [m for m in study.metrics if any(m in point.estimates for point in points)] or list(study.metrics)
    parted, columns = _panels(study, series, metrics)
    if sum(len(line.dots(study.x)) for _, lines in parted for line in lines) > MOST_IN_ALL:
        parted = [(name, [dataclasses.replace(line, dotted=False) for line in lines]) for name, lines in parted]
    xs = list({show(x): x for each in series for point in each.points for x in [point.setting[study.x]]}.values())
    scale = x_scale(study.scale.get("x"), xs)
    theory = [] if scale == "names" else theory
    panels = [_panel(study, name, lines, theory, runs) for name, lines in parted[:MOST_PANELS]]
    panels = _with_dashes(_with_shared_ranges(study, panels))
    note = " ".join([caption_of(study, points, isolated), *_further(study, panels)])
    caption = " ".join(filter(None, [note, methods_of(study, points), *reasons(study.theory, study, runs)]))
    return Picture(title, study.x, labels.named(study.x), scale, xs, panels, columns, note, caption)


def question_of(study: Study) -> str:
    """The question of a study, in words where it was made from the keys of a sweep."""
    if study.question != usual_question(study.select, study.x, study.curves):
        return study.question
    keys = [f"the {labels.named(key)}" for key in study.keys]
    return usual_question(labels.metric(study.select), keys[0] if study.x else "", keys[1:] if study.x else ())


def _further(study: Study, panels: Sequence[Panel]) -> list[str]:
    """The sentences of a caption that say what is drawn beside lines and bands."""
    lines = [(panel, line) for panel in panels for line in panel.lines]
    curves = [each.curve for panel in panels for each in panel.theory]
    found = ["Small dots: single runs."] if any(_differ(line) and line.dots(study.x) for _, line in lines) else []
    if any(panel.open_ended(line, study.x) for panel, line in lines):
        found.append("Arrows down: intervals that reach 0 or below.")
    if any(panel.overshooting(line, study.x) for panel, line in lines):
        found.append("Arrows up: intervals that end beyond the axis.")
    if any(panel.beyond(line, study.x) for panel, line in lines):
        found.append("Triangles at the edge: runs beyond the axis.")
    if curves:
        shaded = ", with its own error shaded" if any(curve.low is not None for curve in curves) else ""
        found.append(f"Dashed: theory{shaded}.")
    if any(abs(v) > LARGEST for _, line in lines for p in line.points for v in p.values.get(line.metric, ())):
        found.append(f"Values beyond {LARGEST:g} are not drawn.")
    return [*found, *(["Crosses: diverged."] if any(line.diverged(study.x) for _, line in lines) else [])]


def _differ(line: Line) -> bool:
    """Whether the runs at some x are not all equal."""
    return any(len(set(point.values.get(line.metric, ()))) > 1 for point in line.points)


def _panel(
    study: Study, title: str, lines: Sequence[Line], theory: Sequence[Curve], runs: Sequence[RunRecord]
) -> Panel:
    drawn = beside(lines, theory)
    range_of_y = y_range(study.scale.get("y"), shown(study.x, lines, drawn))
    seen = [each for each in drawn if each.is_vertical or _is_seen(each.curve, range_of_y)]
    metrics = list(dict.fromkeys(line.metric for line in lines))
    words = labels.axis_of if len(metrics) == 1 else labels.quantity
    return Panel(title, words(metrics[0], runs[0].config) if metrics else "", range_of_y, lines, seen)


def shown(x: str, lines: Sequence[Line], theory: Sequence[Predicted] = ()) -> Shown:
    """What the y-axis of a panel has to show."""
    found = Shown(kind=kind_of(lines[0].metric) if lines else "real", lines=len(lines))
    for line in lines:
        at = {show(place): each for place, each in line.estimates(x)}
        found.estimates += [each.value for each in at.values()]
        for each in filter(has_band, at.values()):
            found.ends += [(end, each.value if each.value > 0 else end) for end in (each.low, each.high)]
        found.runs += [(value, at[show(place)].value) for place, value in line.dots(x) if show(place) in at]
    found.theory = [y for each in theory if not each.is_vertical for y in each.curve.y]
    return found


def _is_seen(curve: Curve, ends: Range | None) -> bool:
    return ends is not None and any(ends.contains(y) for y in curve.y)


def _with_shared_ranges(study: Study, panels: Sequence[Panel]) -> list[Panel]:
    """Give panels of the same metric the same scale, and the same y-axis, where that hides nothing."""
    found = list(panels)
    for base in dict.fromkeys(_base(line) for panel in panels for line in panel.lines):
        same = [i for i, panel in enumerate(found) if any(_base(line) == base for line in panel.lines)]
        if any(found[i].is_log for i in same):
            logarithmic = [y_range("log", shown(study.x, found[i].lines, found[i].theory)) for i in same]
            if all(ends is None or ends.scale == "log" for ends in logarithmic):
                for i, ends in zip(same, logarithmic, strict=True):
                    found[i] = dataclasses.replace(found[i], y_range=ends)
        for i, ends in zip(same, shared([found[i].y_range for i in same]), strict=True):
            found[i] = dataclasses.replace(found[i], y_range=ends)
    return found


def _with_dashes(panels: Sequence[Panel]) -> list[Panel]:
    """Give each theoretical curve a dash, and each that belongs to several lines a dark colour, the same everywhere."""
    numbers: dict[tuple[str, str], int] = {}

    def looking(each: Predicted) -> Predicted:
        number = numbers.setdefault((each.curve.label, each.line), len(numbers))
        colour = each.colour or DARK[number % len(DARK)]
        return dataclasses.replace(each, dash=DASHES[number % len(DASHES)], colour=colour)

    return [dataclasses.replace(panel, theory=[looking(each) for each in panel.theory]) for panel in panels]


def _base(line: Line) -> str:
    return line.metric.partition("/")[0]


def _panels(study: Study, series: Sequence[Series], metrics: Sequence[str]) -> tuple[list[tuple[str, list[Line]]], int]:
    """The titles of the panels and their lines, and the number of panels in a row."""
    of_base: dict[str, list[str]] = {}
    for metric in metrics:
        of_base.setdefault(metric.partition("/")[0], []).append(metric)
    by_curve = study.panels == "curve" or (study.panels is None and len(series) <= 3 and len(metrics) > 1)
    if by_curve and (len(of_base) == 1 or len(series) == 1):
        panels = []
        for each, name in zip(series, labels.curves([each.setting for each in series]), strict=True):
            for same in of_base.values():
                panels.append((name, _lines_of_splits(same, each)))
        return panels, in_a_row(len(panels))
    key = study.panels if study.panels in study.curves and len(series) > 1 else ""
    values = list(dict.fromkeys(show(each.setting[key]) for each in series)) if key else [""]
    panels = []
    for metric in metrics:
        for value in values:
            chosen = [each for each in series if not key or show(each.setting[key]) == value]
            shared_settings = {key: chosen[0].setting[key]} if key else {}
            names = labels.curves([{k: v for k, v in each.setting.items() if k != key} for each in chosen])
            lines = [_line(name, i, metric, each) for i, (name, each) in enumerate(zip(names, chosen, strict=True))]
            panels.append((labels.curve(shared_settings), lines))
    return panels, len(values) if 1 < len(values) <= MOST_IN_A_ROW else in_a_row(len(panels))


def in_a_row(panels: int) -> int:
    """How many panels stand in a row: at most three, and of four two."""
    return 2 if panels == 4 else min(max(panels, 1), MOST_IN_A_ROW)


def _line(name: str, style: int, metric: str, series: Series) -> Line:
    return Line(name, style, metric, series.setting, series.points)


def _lines_of_splits(metrics: Sequence[str], series: Series) -> list[Line]:
    splits = [metric.rpartition("/")[2] for metric in metrics]
    known = all(split in SPLITS for split in splits)
    styles = [SPLITS.index(split) if known else i for i, split in enumerate(splits)]
    if len(metrics) == 1:  # the y-axis names it
        return [_line("", styles[0] if known else ALONE, metrics[0], series)]
    names = [labels.split(metric) or metric for metric in metrics]
    return [_line(name, style, m, series) for name, style, m in zip(names, styles, metrics, strict=True)]


def _isolated(study: Study, points: Sequence[Point]) -> Series:
    """At each x the point that is best by `study.select`."""
    best: dict[str, Point] = {}
    for point in best_first(study.select, points):
        best.setdefault(show(point.setting[study.x]), point)
    texts = dict.fromkeys(show(point.setting[study.x]) for point in points)
    chosen = [best[text] for text in texts if text in best]
    if numeric([point.setting[study.x] for point in chosen]):
        chosen.sort(key=lambda point: point.setting[study.x])
    return Series({}, chosen)
