"""The summary of a study for TensorBoard: a scalar chart over the swept value for each curve, figure and answer."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from pathlib import Path

from lightning_d2l.compat_tensorboard import Event, Summary, hparams_summary, image_summary, text_summary, write_records
from lightning_d2l.config.escape import file_name, markdown, terminal
from lightning_d2l.config.text import cut, show
from lightning_d2l.studies.findings import Findings
from lightning_d2l.studies.lean import LeanRecord
from lightning_d2l.studies.points import best_first, series_of
from lightning_d2l.theory.curves import numeric
from lightning_d2l.training.files import replacing, replacing_together

FOLDER = "summary"
SETTINGS = "settings"  # in that folder
MOST_SETTINGS = 200  # the best ones, on the page HParams of a sweep with lean records
FILE = "events.out.tfevents"
LONGEST = 2000  # characters of a description
MOST_CURVES = 100  # more are no use in a chart, and each takes a folder


def write(findings: Findings, png: bytes | None, caption: str | None, into: Path) -> Path:
    """Write the event files of a report into `into`/summary, where they replace earlier ones; returns the folder.

    Each curve is a TensorBoard run below that folder, such as summary/optimizer=sgd, so that the curves of a metric
    share one chart, `by data.degree/loss/test`; a single curve is in summary itself. The step is the value of x if all
    values are whole numbers from 0 up, else its position, which the description of the chart explains. At most the
    first 100 curves are written. Without a figure `png` and `caption` are None. Of lean records, summary/settings has
    a TensorBoard run for each of the best 200 settings: the page HParams shows their means.
    """
    folder = into / FOLDER
    for old in folder.glob(f"**/{FILE}.*"):
        old.unlink()
    with replacing_together():
        _write_all(findings, png, caption, folder)
    return folder


def _write_all(findings: Findings, png: bytes | None, caption: str | None, folder: Path) -> None:
    study = findings.study
    values = [point.setting[study.x] for point in findings.points] if study.x else []
    whole = numeric(values) and all(0 <= value < 2**53 and value == int(value) for value in values)
    steps = {show(value): int(value) if whole else i for i, value in enumerate({show(v): v for v in values}.values())}
    explained = "" if whole else f" steps: {', '.join(f'{i} is {text}' for text, i in steps.items())}"
    folders: dict[Path, int] = {}
    curves = series_of(study, findings.points) if study.x else []
    if len(curves) > MOST_CURVES:
        explained += f" the first {MOST_CURVES} of {len(curves)} curves"
    for series in curves[:MOST_CURVES]:
        events = []
        for metric in findings.metrics:
            points = [point for point in series.points if metric in point.estimates]
            for i, point in enumerate(points):  # TensorBoard reads the description of a chart from its first value
                found = point.estimates[metric]
                description = terminal(cut(f"{found.statistic} of {metric} over runs{explained}", LONGEST))
                metadata = {"summary_description": description} if i == 0 else None
                tag = terminal(f"by {study.x}/{metric}")
                value = Summary.Value(tag=tag, simple_value=found.value, metadata=metadata)
                events.append(Event(step=steps[show(point.setting[study.x])], summary=Summary(value=[value])))
        name = ",".join(f"{key}={show(value)}" for key, value in series.setting.items())
        at = folder / file_name(name) if name else folder
        folders[at] = folders.get(at, 0) + 1  # different settings may have the same name of a folder
        _write(at if folders[at] == 1 else at.with_name(f"{at.name}-{folders[at]}"), events)
    if any(isinstance(run, LeanRecord) for run in findings.runs):
        _write_settings(findings, folder / SETTINGS)
    said = "\n\n".join(markdown(cut(text, LONGEST)) for text in (study.question, findings.answer.text))
    events = [Event(summary=text_summary("answer", said))]
    if findings.answer.diagnosis:
        lines = "\n".join(f"- {markdown(cut(line, LONGEST))}" for line in findings.answer.diagnosis[:MOST_CURVES])
        events.append(Event(summary=text_summary("diagnosis", lines)))
    if png is not None:
        metadata = {"display_name": "figure", "summary_description": terminal(cut(caption or "", LONGEST))}
        events.append(Event(summary=image_summary("figure", png, metadata)))
    _write(folder, events)


def _write_settings(findings: Findings, folder: Path) -> None:
    """The page HParams of a sweep with lean records, whose runs have no folders: a session for each of its settings."""
    points = best_first(findings.study.select, findings.points)[:MOST_SETTINGS]
    for number, point in enumerate(points):
        setting = {k: v if isinstance(v, (bool, int, float)) else terminal(show(v)) for k, v in point.setting.items()}
        name = f"{number + 1:03} {','.join(f'{key}={show(value)}' for key, value in point.setting.items())}"
        events = [Event(summary=hparams_summary({**setting, "runs": len(point.runs)}, name))]
        for metric, found in point.estimates.items():
            value = Summary.Value(tag=terminal(metric), simple_value=found.value)
            events.append(Event(summary=Summary(value=[value])))
        _write(folder / file_name(name), events)


def _write(folder: Path, events: Iterable[Event]) -> None:
    """Write one event file; a running TensorBoard reads it because its name has a newer time."""
    memory, now = io.BytesIO(), time.time()
    write_records(memory, events, now)
    with replacing(folder / f"{FILE}.{int(now * 1e6)}.summary") as file:
        file.write(memory.getvalue())
