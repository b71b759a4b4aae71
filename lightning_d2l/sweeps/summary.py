"""The table at the end of a sweep: mean and spread of every setting over seeds and folds, read from the records."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.text import number
from lightning_d2l.studies.study import REPLICATES
from lightning_d2l.training.record import read_record


def summary(folder: Path, varied: Sequence[str]) -> str:
    """Mean and standard deviation of the final metrics for each setting of the `varied` keys of a sweep's folder.

    Lines of text; a run that did not complete is counted and left out.
    """
    records = [record for path in sorted(folder.iterdir()) if (record := _record(path))]
    settings: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for record in records:
        given = dict(override.lstrip("+").split("=", 1) for override in record["overrides"] if "=" in override)
        key = tuple(f"{k}={given[k]}" for k in varied if k not in REPLICATES and k in given)
        settings.setdefault(key, []).append(record)
    lines = []
    for key, members in settings.items():
        completed = [member["metrics"]["final"] for member in members if member["status"] == "completed"]
        others = [member["status"] for member in members if member["status"] != "completed"]
        counts = [f"n = {len(completed)}", *(f"{others.count(status)} {status}" for status in dict.fromkeys(others))]
        lines.append(f"{', '.join(key) or 'all runs'} ({', '.join(counts)})")
        for name in [name for name in (completed[0] if completed else {}) if "/" in name]:
            values = [metrics[name] for metrics in completed]
            spread = f" ± {number(statistics.stdev(values))}" if len(values) > 1 else ""
            lines.append(f"  {name:22}{number(statistics.fmean(values))}{spread}")
    return "\n".join(lines)


def _record(folder: Path) -> dict[str, Any] | None:
    try:
        return read_record(folder)
    except RequestError:
        return None
