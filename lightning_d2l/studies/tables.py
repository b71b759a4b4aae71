"""results.csv, a row a run, and summary.csv, a row a point and metric."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lightning_d2l.studies.collect import Run
from lightning_d2l.studies.findings import Findings
from lightning_d2l.studies.labels import show

ESTIMATES = ("mean", "std", "ci_low", "ci_high", "method", "n")


def results(findings: Findings) -> list[dict[str, Any]]:
    """A row for each run: run, status, every varied key, every metric of the last weights, diagnosis.

    None stands where there is no value.
    """
    rows = []
    for run, diagnosis in zip(findings.runs, findings.diagnoses, strict=True):
        row: dict[str, Any] = {"run": run.name, "status": run.status}
        row |= {key: _setting(run, key) for key in findings.varied}
        row |= {name: run.metric(name) if run.completed else None for name in findings.metrics}
        rows.append({**row, "diagnosis": str(diagnosis) if diagnosis else None})
    return rows


def summary(findings: Findings) -> list[dict[str, Any]]:
    """A row for each point and metric: the setting, metric, mean, std, ci_low, ci_high, method, n, diagnosis."""
    rows = []
    for point in findings.points:
        for metric in [name for name in findings.metrics if name in point.estimates]:
            e = point.estimates[metric]
            values = (e.mean, *(None if math.isnan(v) else v for v in (e.std, e.low, e.high)), e.method, e.n)
            row = {**point.setting, "metric": metric, **dict(zip(ESTIMATES, values, strict=True))}
            rows.append({**row, "diagnosis": str(point.diagnosis) if point.diagnosis else None})
        if not point.estimates:
            row = {**point.setting, "metric": None, **dict.fromkeys(ESTIMATES), "n": 0}
            rows.append({**row, "diagnosis": str(point.diagnosis) if point.diagnosis else None})
    return rows


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of the same keys as CSV; nothing stands for None in a metric's column, null for a setting's."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(rows[0] if rows else [])
    writer.writerows(_cells(row.values()) for row in rows)
    return file.getvalue()


def _cells(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        yield "" if value is None else repr(value) if isinstance(value, float) else show(value)


def _setting(run: Run, key: str) -> Any:
    try:
        value = run.setting(key)
    except KeyError:
        return None
    return "null" if value is None else value
