"""results.csv (a row for each run), summary.csv (a row for each point and metric), and the table on the console."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from lightning_d2l.config.escape import cell, terminal
from lightning_d2l.config.lines import LOG, aligned, cells, shortened
from lightning_d2l.config.text import number, show
from lightning_d2l.studies.diagnosis import Diagnosis
from lightning_d2l.studies.findings import Findings
from lightning_d2l.studies.labels import words
from lightning_d2l.studies.points import Point, best_first, run_diagnoses, series_of, summarised
from lightning_d2l.studies.statistics import NO_ESTIMATE, Estimate
from lightning_d2l.studies.study import Study
from lightning_d2l.training.record import RunRecord

MOST_ROWS = 12
"""Settings in the table on the console."""
WIDEST = 24
"""Columns of the value of a setting in that table."""
SIZE = "num_parameters"
NO_MEASUREMENT: dict[str, Any] = {"metric": None, **NO_ESTIMATE}


def results(findings: Findings) -> Iterator[dict[str, Any]]:
    """A row for each run: run, status, every varied key, every metric of the last weights, diagnosis, share and gap.

    If a callback stopped any of them early, the epoch after which it did is `stopped`; if sweep.prune did, it is
    `pruned`. Missing values are None.
    """
    varied, metrics = findings.varied, findings.metrics
    ends = any(run.fields.get("stopped") for run in findings.runs)
    pruned = any(run.state == "pruned" for run in findings.runs)
    for run, diagnosis in zip(findings.runs, run_diagnoses(findings.runs, findings.points), strict=True):
        row: dict[str, Any] = {"run": run.name, "status": run.state}
        row |= {"stopped": (run.fields.get("stopped") or {}).get("epoch")} if ends else {}
        row |= {"pruned": (run.fields.get("pruned") or {}).get("epoch")} if pruned else {}
        row |= {key: _setting(run, key) for key in varied}
        row |= {name: run.metric(name) if run.completed else None for name in metrics}
        yield {**row, **_diagnosed(diagnosis)}


def summary(findings: Findings) -> Iterator[dict[str, Any]]:
    """A row for each point and metric: the setting, metric, the numbers of its estimate, diagnosis."""
    for point in findings.points:
        diagnosed = _diagnosed(point.diagnosis)
        names = [name for name in findings.metrics if name in point.estimates]
        for name in names:
            yield {**point.setting, "metric": name, **point.estimates[name].as_dict(), **diagnosed}
        if not names:
            yield {**point.setting, **NO_MEASUREMENT, **diagnosed}


def _diagnosed(found: Diagnosis | None) -> dict[str, Any]:
    """The columns of a diagnosis: its name, the share of the way to the reference, and the gap with its interval."""
    gap = found.gap if found else None
    interval = (gap.low, gap.high) if gap and gap.has_interval else (None, None)
    names = ("diagnosis", "share", "gap", "gap_low", "gap_high")
    return dict(zip(names, (found and str(found), found and found.share, gap and gap.value, *interval), strict=True))


def text(findings: Findings, width: int = LOG, whole: str = "") -> str:
    """The best settings and their neighbours, a row each, in lines of at most `width` columns, and what they leave out.

    Metrics are those of the last weights, or where x is the epoch those of that epoch: means, or medians where the
    title says so, with their 95 % intervals where these fit. `whole` names the file that has all settings.
    """
    points = findings.points
    if not points:
        return ""
    if len(points) == 1:
        return "\n".join(_of_one(points[0], findings.metrics, width))
    study, rows = findings.study, shown(findings.study, points, findings.answer.best)
    metrics = [name for name in dict.fromkeys([study.select, *study.metrics]) if any(name in p.estimates for p in rows)]
    n = len(metrics)
    keys = [key for key in (*study.curves, study.x) if key and len({show(p.setting[key]) for p in points}) > 1]
    lines: list[str] = []
    for layout in [(False, n, n), (True, n, n), *((True, left, 1) for left in range(n, 0, -1)), (True, min(n, 1), 0)]:
        lines = _rows(findings, rows, keys, metrics, *layout)
        if max(map(cells, lines)) <= width:
            break
    lines = [shortened(line, width) for line in lines]
    return "\n".join([*lines, *_legend(findings, rows, width, whole)])


def shown(study: Study, points: Sequence[Point], best: Point | None = None) -> list[Point]:
    """At most MOST_ROWS points, in their order: of each curve the best, its neighbours and its ends, and then the best
    of the others. Where no curve has two points, as in a search, the best ones come first.
    """
    ranked = best_first(study.select, [point for point in points if not point.diverged])
    ranked = [*([best] if best else []), *(point for point in ranked if point is not best)]
    rank = {id(point): position for position, point in enumerate(ranked)}

    def place(point: Point) -> int:
        return rank.get(id(point), len(points))

    curves = sorted((s.points for s in series_of(study, points)), key=lambda curve: min(map(place, curve)))
    if len(curves) == len(points):
        return sorted(points, key=place)[:MOST_ROWS]
    tops = [(curve, min(range(len(curve)), key=lambda i: place(curve[i]))) for curve in curves]
    best_ones = [curve[top] for curve, top in tops]
    near = [curve[i] for curve, top in tops for i in (top - 1, top + 1) if 0 <= i < len(curve)]
    ends = [curve[i] for i in (-1, 0) for curve in curves]
    wanted = [*near, *ends] if 3 * len(curves) <= MOST_ROWS else [*ends, *near]
    kept = list(dict.fromkeys(id(point) for point in [*best_ones, *wanted, *ranked, *points]))[:MOST_ROWS]
    return [point for point in points if id(point) in kept]


def _rows(
    findings: Findings,
    points: Sequence[Point],
    keys: Sequence[str],
    metrics: Sequence[str],
    leaves: bool,
    most: int,
    intervals: int,
) -> list[str]:
    """The table of `keys`, by their last part if `leaves`, and `most` metrics, `intervals` of them with an interval."""
    best = findings.marked
    names = [key.rpartition(".")[2] for key in keys]
    titles = names if leaves and len({*names}) == len(names) else keys
    marks = ["*" if point is best else "" for point in points]
    table = [["", "", *marks]] if any(marks) else []
    table += [
        [terminal(title), "", *(shortened(terminal(words(key, p.setting[key])), WIDEST) for p in points)]
        for title, key in zip(titles, keys, strict=True)
    ]
    for place, name in enumerate(metrics[:most]):
        found, has_interval = numbers(name, [point.estimates.get(name) for point in points], place < intervals)
        table.append([terminal(name), _what(name, points, has_interval), *found])
    if (counts := [_count(point) for point in points]) != counts[:1] * len(counts):
        table.append(["runs", "", *counts])
    if any(point.diagnosis for point in points):
        table.append(["diagnosis", "", *(point.diagnosis.short if point.diagnosis else "" for point in points)])
    return [line for line in aligned(list(zip(*table, strict=True))) if line]


def _what(metric: str, points: Sequence[Point], has_interval: bool) -> str:
    """What the numbers of a column are; no text where each is that of one run."""
    found = [point.estimates[metric] for point in points if metric in point.estimates]
    if all(each.n < 2 for each in found):
        return ""
    statistic = "median" if any(each.statistic == "median" for each in found) else "mean"
    return statistic + " [95 % interval]" * has_interval


def _count(point: Point) -> str:
    """The number of completed runs, and of how many if others have not."""
    completed, started = point.count("completed"), len(point.runs)
    return f"{completed}" if completed == started else f"{completed} of {started}"


def _legend(findings: Findings, points: Sequence[Point], width: int, whole: str) -> list[str]:
    """What the marks of a table mean, the number of runs where it is the same, and how many settings are left out."""
    notes = ["* the best setting"] if any(point is findings.marked for point in points) else []
    notes += ["~ uncertain"] if any(point.diagnosis and point.diagnosis.mark for point in points) else []
    counts = {_count(point) for point in points}
    different = {len(point.sampled) for point in points if point.idle and point.rows}
    equal = "equal " if different == {1} and all(point.idle for point in points) else ""
    notes += [f"{n} {equal}run{'s' * (n != '1')} each" for n in counts if len(counts) == 1]
    if (count := len(findings.points)) > len(points):
        notes.append(f"{len(points)} of {count} settings" + (f"; {whole} has them all" if whole else ""))
    lines = notes[:1]
    for note in notes[1:]:
        joined = f"{lines[-1]}   {note}"
        lines[-1:] = [joined] if cells(joined) <= width else [lines[-1], note]
    return lines


def _of_one(point: Point, metrics: Sequence[str], width: int) -> list[str]:
    """The metrics of the only setting, a row each."""
    names = [name for name in metrics if name in point.estimates]
    found, has_interval = numbers("", [point.estimates[name] for name in names], True)
    rows = [(terminal(summarised(name, [point])), cell) for name, cell in zip(names, found, strict=True)]
    rows = [(name, f"{point.estimates[name].value:,.0f}" if name == SIZE else cell) for name, cell in rows]
    head = [f"all runs (n = {_count(point)})", "mean [95 % interval]" if has_interval else ""]
    rows += [("diagnosis", str(point.diagnosis))] if point.diagnosis else []
    return [shortened(line, width) for line in aligned([head, *rows])]


def numbers(metric: str, found: Sequence[Estimate | None], intervals: bool) -> tuple[list[str], bool]:
    """The cells of a column, aligned at the decimal points, with `intervals` where there are; whether any has one."""
    written = [rounded(each) if each else ("", "") for each in found]
    if metric == SIZE:
        written = [(f"{each.value:,.0f}" if each else "", "") for each in found]
    whole = [value.partition(".")[0] for value, _ in written]
    left = max(map(len, whole), default=0)
    values = [" " * (left - len(part)) + value for part, (value, _) in zip(whole, written, strict=True)]
    has_interval = intervals and any(interval for _, interval in written)
    if has_interval:
        wide = max(map(len, values))
        values = [f"{value:{wide}} {interval}" for value, (_, interval) in zip(values, written, strict=True)]
    return values, has_interval


def rounded(found: Estimate) -> tuple[str, str]:
    """A value and its interval with two digits of the interval's half, at least two and at most four of the value."""
    value, half = found.value, found.half_width
    if not (half > 0 and math.isfinite(half) and math.isfinite(value)):
        return number(value), ""
    first = math.floor(math.log10(abs(value))) if value else math.floor(math.log10(half))
    decimals = min(max(1 - math.floor(math.log10(half)), 1 - first), 3 - first)
    written = [_fixed(each, decimals) for each in (value, found.low, found.high)]
    return written[0], f"[{written[1]}, {written[2]}]"


def _fixed(value: float, decimals: int) -> str:
    """A number with so many decimals, or with two digits where these would show none of it."""
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.1e}"
    most = 3 - math.floor(math.log10(abs(value))) if value else decimals  # of four digits
    fixed = f"{value:.{max(min(decimals, most), 0)}f}"
    return fixed if not value or float(fixed) else f"{value:.2g}"


def write_csv(file: IO[bytes], rows: Iterable[dict[str, Any]]) -> None:
    """Write rows with the same keys as CSV; None becomes an empty cell, and no cell is a formula.

    A hundred thousand rows are written one by one as they come.
    """
    known: dict[str, str] = {}  # many cells are equal

    def shown(value: Any) -> Any:
        if value is None or isinstance(value, float) or type(value) is int:
            return value
        text = show(value)
        return known.get(text) or known.setdefault(text, cell(text))

    out = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.writer(out, lineterminator="\n")
    first = True
    for row in rows:
        if first:
            writer.writerow(map(cell, row))
            first = False
        writer.writerow(map(shown, row.values()))
    if first:
        writer.writerow([])
    out.detach()  # which writes what is left, and leaves the file open


def _setting(run: RunRecord, key: str) -> Any:
    try:
        value = run.setting(key)
    except KeyError:
        return None
    return "null" if value is None else value
