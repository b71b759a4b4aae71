"""The interactive parts of a page: what its figure shows as plain values, and plotly.js, which draws them."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.escape import terminal
from lightning_d2l.config.text import cut
from lightning_d2l.studies import interactive_fits, interactive_lines, interactive_parallel, labels
from lightning_d2l.studies.findings import Findings
from lightning_d2l.studies.interactive_fits import Fitted
from lightning_d2l.studies.interactive_lines import Axis
from lightning_d2l.studies.lines import Line
from lightning_d2l.studies.palette import COLOURS
from lightning_d2l.studies.picture import ALONE, SPLITS, Picture
from lightning_d2l.studies.points import Point, Series, series_of
from lightning_d2l.studies.sides import errors_of
from lightning_d2l.studies.trials import is_search

SCRIPT = Path(__file__).with_name("interactive.js")
MOST_RUNS = 10  # named at a point
MOST_CURVES = 20  # whose fitted functions are shown
LONGEST_NAME = 70


def plotly_js() -> Path | None:
    """The file of plotly.js in the package plotly, which takes a second to import; None if it is not installed."""
    spec = importlib.util.find_spec("plotly")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    return path if path.is_file() else None


def is_wanted(asked: bool | None) -> bool:
    """Whether a page is interactive: as asked, or by default if plotly is installed.

    Raises RequestError if it is asked for and plotly is not installed.
    """
    there = plotly_js() is not None
    if asked and not there:
        raise RequestError("interactive: plotly is not installed: pip install 'lightning_d2l[interactive]'")
    return there if asked is None else asked


def content(findings: Findings, picture: Picture, fitted: Fitted | None) -> dict[str, Any] | None:
    """What the template of the page needs; None if there is nothing to draw. Raises OSError if plotly.js is lost."""
    if not any(panel.lines and panel.y_range for panel in picture.panels):
        return None
    axis = interactive_lines.axis(picture)
    known: dict[int, int] = {}
    points: list[dict[str, Any]] = []

    def place_of(point: Point) -> int:
        """The number of a point in the page, where its setting and runs stand once."""
        if id(point) not in known:
            known[id(point)] = len(points)
            points.append(_described(point))
        return known[id(point)]

    entries = interactive_lines.Entries()
    join = not is_search(findings.study, findings.points, findings.runs)  # a line through trials means nothing
    panels = [interactive_lines.panel(axis, each, entries, place_of, join=join) for each in picture.panels]
    fits = _fits(findings, axis, fitted, place_of) if fitted and fitted.fits else None
    parallel = interactive_parallel.as_values(findings.study, findings.points)
    model = {"x": axis.as_values(), "panels": panels, "points": points, "fits": fits, "parallel": parallel}
    path = plotly_js()
    if path is None:
        raise FileNotFoundError("plotly.min.js")
    return {
        "model": model,
        "legend": entries.listed,
        # what only the figure draws is left out
        "caption": re.sub(r"(Arrows (down|up)|Triangles at the edge): [^.]*\. ?", "", picture.caption),
        "can_log_y": any(panel["log_range"] for panel in panels),
        "log_y": all(panel["log"] for panel in panels),
        "note": fitted.reason if fitted else "",
        "data": as_script(model),
        "plotly": path.read_text("utf-8").replace("</script", "<\\/script"),
        "script": SCRIPT.read_text("utf-8"),
    }


def as_script(values: Any) -> str:
    """Values as JSON for a page's script element, which no text within can end; hidden characters are shown."""
    text = json.dumps(_plain(values), allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _plain(found: Any) -> Any:
    """Nested values with None for numbers that are not finite, and with visible characters only."""
    if isinstance(found, dict):
        return {key: _plain(value) for key, value in found.items()}
    if isinstance(found, (list, tuple)):
        return [_plain(value) for value in found]
    if isinstance(found, float):
        return found if math.isfinite(found) else None
    return terminal(found) if isinstance(found, str) else found


def _described(point: Point) -> dict[str, Any]:
    """The setting of a point, the names of the first of its runs, and how many more there are."""
    names = [cut(run.name, LONGEST_NAME) for run in point.runs[:MOST_RUNS]]
    setting = cut(labels.settings(point.setting), 3 * LONGEST_NAME)
    return {"setting": setting, "runs": names, "more": len(point.runs) - len(names)}


def _fits(findings: Findings, axis: Axis, fitted: Fitted, place_of: Any) -> dict[str, Any] | None:
    """The fitted functions along x, curve by curve, each beside its errors."""
    study, there = findings.study, {id(fit.point) for fit in fitted.fits}
    series = [each for each in series_of(study, findings.points) if any(id(p) in there for p in each.points)]
    metrics = errors_of(study, findings.points)
    curves, along, legend = [], [], []
    for each in series[:MOST_CURVES]:
        entries = interactive_lines.Entries()
        shown = interactive_lines.panel_of_lines(axis, study, _lines(each, metrics), entries, place_of)
        places = [
            {
                "x": axis.position(point.setting[axis.key]),
                "text": axis.text(point.setting[axis.key]),
                "said": interactive_fits.sentence(point, metrics),
            }
            for point in each.points
        ]
        curves.append({"name": labels.settings(each.setting), "panel": shown, "places": places})
        legend = entries.listed
        along.append(each.points)
    if not curves:
        return None
    values = interactive_fits.as_values(fitted, curves, along)
    best = findings.answer.best
    of_best = [(c, i) for c, each in enumerate(along) for i, point in enumerate(each) if point is best]
    first, start = of_best[0] if of_best else (0, 0)
    return values | {
        "first": first,
        "start": start,
        "colour": COLOURS[ALONE],
        "of": ", ".join(study.curves),
        "legend": legend,
    }


def _lines(series: Series, metrics: Iterable[str]) -> list[Line]:
    found = []
    for i, metric in enumerate(metrics):
        split = metric.rpartition("/")[2]
        having = [point for point in series.points if metric in point.estimates]
        style = SPLITS.index(split) if split in SPLITS else i
        found.append(Line(labels.split(metric) or metric, style, metric, series.setting, having))
    return found
