"""results.csv (a row for each run), summary.csv (a row for each point and metric), and the table on the console."""

from __future__ import annotations

import csv
import dataclasses
import io
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lightning_d2l.config.escape import cell, terminal
from lightning_d2l.config.text import number, show
from lightning_d2l.studies.diagnosis import Diagnosis
from lightning_d2l.studies.findings import Findings
from lightning_d2l.studies.labels import settings
from lightning_d2l.studies.points import points_of, run_diagnoses
from lightning_d2l.studies.statistics import NO_ESTIMATE
from lightning_d2l.training.record import RunRecord

NO_MEASUREMENT: dict[str, Any] = {"metric": None, **NO_ESTIMATE}


def results(findings: Findings) -> list[dict[str, Any]]:
    """A row for each run: run, status, every varied key, every metric of the last weights, diagnosis, share and gap.

    If a callback stopped any of them early, the epoch after which it did is `stopped`; if sweep.prune did, it is
    `pruned`. Missing values are None.
    """
    rows, ends = [], any(run.fields.get("stopped") for run in findings.runs)
    pruned = any(run.state == "pruned" for run in findings.runs)
    for run, diagnosis in zip(findings.runs, run_diagnoses(findings.runs, findings.points), strict=True):
        row: dict[str, Any] = {"run": run.name, "status": run.state}
        row |= {"stopped": (run.fields.get("stopped") or {}).get("epoch")} if ends else {}
        row |= {"pruned": (run.fields.get("pruned") or {}).get("epoch")} if pruned else {}
        row |= {key: _setting(run, key) for key in findings.varied}
        row |= {name: run.metric(name) if run.completed else None for name in findings.metrics}
        rows.append({**row, **_diagnosed(diagnosis)})
    return rows


def summary(findings: Findings) -> list[dict[str, Any]]:
    """A row for each point and metric: the setting, metric, the numbers of its estimate, diagnosis."""
    rows = []
    for point in findings.points:
        names = [name for name in findings.metrics if name in point.estimates]
        measured: list[dict[str, Any]] = [{"metric": name, **point.estimates[name].as_dict()} for name in names]
        diagnosed = _diagnosed(point.diagnosis)
        rows += [{**point.setting, **values, **diagnosed} for values in measured or [NO_MEASUREMENT]]
    return rows


def _diagnosed(found: Diagnosis | None) -> dict[str, Any]:
    """The columns of a diagnosis: its name, the share of the way to the reference, and the gap with its interval."""
    gap = found.gap if found else None
    interval = (gap.low, gap.high) if gap and gap.has_interval else (None, None)
    names = ("diagnosis", "share", "gap", "gap_low", "gap_high")
    return dict(zip(names, (found and str(found), found and found.share, gap and gap.value, *interval), strict=True))


def text(findings: Findings) -> str:
    """Every setting with its numbers of runs, and lines with the mean and standard deviation of each metric.

    Where the median is meant, there are the quartiles beside it. Settings are in the order of the jobs and show only
    keys that vary. Metrics are those of the last epoch.
    """
    study, points = findings.study, findings.points
    if study.x == "epoch":
        study = dataclasses.replace(study, x="")
        points = points_of(study, findings.runs)
    varied = [key for key in study.keys if len({show(point.setting[key]) for point in points}) > 1]
    lines = []
    order = {run: position for position, run in enumerate(findings.runs)}
    for point in sorted(points, key=lambda point: order[point.runs[0]]):
        others = Counter(run.state for run in point.runs if not run.completed)
        counts = [f"n = {point.count('completed')}", *(f"{n} {status}" for status, n in others.items())]
        setting = terminal(settings({key: point.setting[key] for key in varied}) if varied else "all runs")
        lines += textwrap.wrap(f"{setting} ({', '.join(counts)})", 80, subsequent_indent="  ", break_on_hyphens=False)
        for name in [name for name in findings.metrics if name in point.estimates]:
            found = point.estimates[name]
            spread = f" ± {number(found.std)}" if len(point.values[name]) > 1 else ""
            if found.statistic == "median":
                spread = f" (median; quartiles {number(found.q1)} to {number(found.q3)})" if found.n > 1 else ""
            lines.append(f"  {terminal(name):22}{number(found.value)}{spread}")
    return "\n".join(lines)


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same keys as CSV; None becomes an empty cell, and no cell is a formula."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(cell, rows[0] if rows else []))
    writer.writerows([v if v is None or isinstance(v, float) else cell(show(v)) for v in row.values()] for row in rows)
    return file.getvalue()


def _setting(run: RunRecord, key: str) -> Any:
    try:
        value = run.setting(key)
    except KeyError:
        return None
    return "null" if value is None else value
