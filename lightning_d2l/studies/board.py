"""The summary of a study for TensorBoard: each curve as a scalar chart over the swept value, and the figure."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning_d2l.compat_tensorboard import Event, Summary, image_summary, write_records
from lightning_d2l.config.text import show
from lightning_d2l.studies.findings import Findings
from lightning_d2l.studies.points import Point, series_of
from lightning_d2l.training.files import replacing

FOLDER = "summary"
FILE = "events.out.tfevents"


def write(findings: Findings, png: bytes, caption: str, into: Path) -> Path:
    """Write the event files of a report into `into`/summary, where they replace earlier ones; returns the folder.

    Each curve is a TensorBoard run below that folder, such as summary/optimizer=sgd, so that the curves of a metric
    share one chart, `by data.degree/loss/test`; a single curve is in summary itself. The step is the value of x if all
    values are whole numbers from 0 up, else its position, which the description of the chart explains.
    """
    folder = into / FOLDER
    for old in folder.glob(f"**/{FILE}.*"):
        old.unlink()
    study = findings.study
    steps, description = _steps([point.setting[study.x] for point in findings.points] if study.x else [])
    for series in series_of(study, findings.points) if study.x else []:
        name = ",".join(f"{key}={show(value)}" for key, value in series.setting.items()).replace("/", "-")
        _write(folder / name, _scalars(findings, series.points, steps, description))
    metadata = {"display_name": "figure", "summary_description": caption}
    _write(folder, [Event(summary=image_summary("figure", png, metadata))])
    return folder


def _steps(values: list[Any]) -> tuple[dict[str, int], str]:
    """The step of each value of x by its text, and an explanation if the steps are not the values."""
    whole = all(isinstance(v, (int, float)) and not isinstance(v, bool) and v >= 0 and v == int(v) for v in values)
    texts = list(dict.fromkeys(map(show, sorted(values) if whole else values)))
    if whole:
        return {show(value): int(value) for value in values}, ""
    return {text: i for i, text in enumerate(texts)}, f"steps: {', '.join(f'{i} is {t}' for i, t in enumerate(texts))}"


def _scalars(
    findings: Findings, points: Iterable[Point], steps: Mapping[str, int], description: str
) -> Iterable[Event]:
    x = findings.study.x
    described: set[str] = set()  # TensorBoard reads the description of a chart from its first value
    for point in points:
        for metric in findings.metrics:
            if metric in point.estimates:
                text = " ".join(part for part in (f"mean of {metric} over runs", description) if part)
                metadata = None if metric in described else {"summary_description": text}
                described.add(metric)
                value = Summary.Value(
                    tag=f"by {x}/{metric}", simple_value=point.estimates[metric].mean, metadata=metadata
                )
                yield Event(step=steps[show(point.setting[x])], summary=Summary(value=[value]))


def _write(folder: Path, events: Iterable[Event]) -> None:
    """Write one event file; a running TensorBoard reads it because its name has a newer time."""
    memory, now = io.BytesIO(), time.time()
    write_records(memory, events, now)
    with replacing(folder / f"{FILE}.{int(now * 1e6)}.summary") as file:
        file.write(memory.getvalue())
