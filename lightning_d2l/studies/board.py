"""The summary of a study for TensorBoard: curves over the swept value, figure, texts, and rows of the page HParams."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from lightning_d2l.compat_tensorboard import Event, Summary, hparams_summary, image_summary, text_summary, write_records
from lightning_d2l.config.escape import file_name, markdown, terminal
from lightning_d2l.config.text import cut, show
from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.studies import labels
from lightning_d2l.studies.findings import Findings
from lightning_d2l.studies.lean import LeanRecord
from lightning_d2l.studies.points import Point, Series, best_first, series_of
from lightning_d2l.studies.ranges import x_scale
from lightning_d2l.studies.view import EVENTS, MOST_SHOWN, SETTINGS, SUMMARY
from lightning_d2l.training.files import replacing, replacing_together
from lightning_d2l.training.hparams import Value, configuration, hyperparameters, identity, shown

MOST_SETTINGS = 200  # the best ones, on the page HParams of a sweep whose runs TensorBoard does not read
LONGEST = 2000  # characters of a text
MOST_LINES = 100  # of a list in a text
MOST_VALUES = 20  # of a varied key in a text
MOST_RUNS = 39  # TensorBoard's runs below the summary: with the summary as many as it ticks
SPLITS = ("train", RUNNING, "val", "test")


def write(findings: Findings, figures: Mapping[str, tuple[bytes, str]], into: Path) -> Path:
    """Write the event files of a report into `into`/summary, where they replace earlier ones; returns the folder.

    Where x is made of whole numbers on a linear axis, each curve and split is a TensorBoard run below that folder, such
    as summary/optimizer=sgd/val, so that the splits and curves of a metric share one chart, `by polynomial
    degree/loss`, in different colours. TensorBoard has no other axis than a linear one of whole numbers: other studies
    have the `figures` alone, PNG files with their captions by name. At most 39 such runs are written. Of lean records,
    and of more runs than TensorBoard shows, summary/settings has a run for each of the best 200 settings: the page
    HParams shows their means.
    """
    folder = into / SUMMARY
    for old in folder.glob(f"**/{EVENTS}.*"):
        old.unlink()
    with replacing_together():
        _write_all(findings, figures, folder)
    return folder


def _write_all(findings: Findings, figures: Mapping[str, tuple[bytes, str]], folder: Path) -> None:
    _write_curves(findings, folder)
    if len(findings.runs) > MOST_SHOWN or any(isinstance(run, LeanRecord) for run in findings.runs):
        _write_settings(findings, folder / SETTINGS)
    events = [Event(summary=text_summary(tag, text)) for tag, text in _texts(findings).items() if text]
    for name, (png, caption) in figures.items():
        metadata = {"display_name": name, "summary_description": terminal(cut(caption, LONGEST))}
        events.append(Event(summary=image_summary(name, png, metadata)))
    _write(folder, events)


def _texts(findings: Findings) -> dict[str, str]:
    """The texts of a sweep by tag, as Markdown."""
    study, found, configs = findings.study, findings.answer, [run.config for run in findings.runs[:1]]
    varied = []
    for key in findings.varied[:MOST_LINES]:
        values = list(dict.fromkeys(show(run.get(key)) for run in findings.runs))
        more = f", ... ({len(values):,} values)" if len(values) > MOST_VALUES else ""
        varied.append(f"{key}: {', '.join(values[:MOST_VALUES])}{more}")
    same = configuration(configs[0], findings.varied) if configs else ""
    data = [f"{identity(each)}: {each['runs']:,} runs" for each in findings.data]
    return {
        "answer": "\n\n".join(markdown(cut(text, LONGEST)) for text in (study.question, found.text)),
        "diagnosis": _listed(found.diagnosis),
        "warnings": _listed(findings.warnings),
        "configuration": f"Varied:\n\n{_listed(varied)}\n\nThe same in all runs:\n\n{same}",
        "data": _listed(data),
    }


def _listed(lines: Iterable[str]) -> str:
    """Lines as a Markdown list."""
    kept = [*lines]
    more = [f"... and {len(kept) - MOST_LINES:,} more"] if len(kept) > MOST_LINES else []
    return "\n".join(f"- {markdown(cut(line, LONGEST))}" for line in [*kept[:MOST_LINES], *more])


def _write_curves(findings: Findings, folder: Path) -> None:
    """Write the curves of a study over its swept value, if a chart of TensorBoard can have that as its axis."""
    study = findings.study
    values = [point.setting[study.x] for point in findings.points] if study.x else []
    if not values or x_scale(study.scale.get("x"), values) != "linear":
        return
    if not all(0 <= value < 2**53 and value == int(value) for value in values):
        return
    curves = series_of(study, findings.points)
    splits = {_split(metric) for metric in findings.metrics} - {""}
    most = max(MOST_RUNS // max(len(splits), 1), 1)
    explained = f" The first {most} of {len(curves)} curves." if len(curves) > most else ""
    names: dict[str, int] = {}
    for series in curves[:most]:
        name = (
            file_name(",".join(f"{key}={show(value)}" for key, value in series.setting.items()))
            if series.setting
            else ""
        )
        names[name] = names.get(name, 0) + 1  # different settings may have the same name of a folder
        at = folder / (name if names[name] == 1 else f"{name}-{names[name]}")
        events: dict[str, list[Event]] = {}
        for metric in findings.metrics:
            events.setdefault(_split(metric), []).extend(_events(series, metric, study.x, explained))
        for split, found in events.items():
            if found:
                _write(at / split, found)


def _split(metric: str) -> str:
    """The split of a metric, or an empty text: `best.loss/val` and `loss/val` share the one of `loss/val`."""
    split = metric.rpartition("/")[2]
    return split if split in SPLITS and "/" in metric else ""


def _events(series: Series, metric: str, x: str, explained: str) -> list[Event]:
    """The values of a metric along a curve."""
    found: list[Event] = []
    split = _split(metric)
    tag = terminal(f"by {labels.named(x)}/{metric.removesuffix(f'/{split}') if split else metric}")
    for point in series.points:
        if estimate := point.estimates.get(metric):
            # TensorBoard reads the description of a chart from its first value
            said = f"{estimate.statistic} of {metric} over runs, by {x}. Smoothing must be 0.{explained}"
            metadata = None if found else {"summary_description": terminal(cut(said, LONGEST))}
            value = Summary.Value(tag=tag, simple_value=estimate.value, metadata=metadata)
            found.append(Event(step=int(point.setting[x]), summary=Summary(value=[value])))
    return found


def _write_settings(findings: Findings, folder: Path) -> None:
    """The page HParams of a sweep whose runs TensorBoard does not read: a row for each of its settings."""
    points = best_first(findings.study.select, findings.points)[:MOST_SETTINGS]
    for number, point in enumerate(points):
        name = f"{number + 1:03} {','.join(f'{key}={show(value)}' for key, value in point.setting.items())}"
        events = [Event(summary=hparams_summary(_hyperparameters(findings, point)))]
        for metric, found in point.estimates.items():
            value = Summary.Value(tag=terminal(metric), simple_value=found.value)
            events.append(Event(summary=Summary(value=[value])))
        _write(folder / file_name(name), events)


def _hyperparameters(findings: Findings, point: Point) -> dict[str, Value]:
    """The settings that the runs of a point share, and their number."""
    run, setting = point.runs[0], {key: shown(value) for key, value in point.setting.items()}
    model = {"model": str(run.fields["model"])} if run.fields.get("model") else {}
    replicated = {*findings.varied, "seed", "data.seed", "data.fold"} - setting.keys()
    shared = {k: v for k, v in hyperparameters(run.config).items() if k not in replicated}
    return {**shared, **model, "runs": len(point.runs), **setting}


def _write(folder: Path, events: Iterable[Event]) -> None:
    """Write one event file; a running TensorBoard reads it because its name has a newer time."""
    memory, now = io.BytesIO(), time.time()
    write_records(memory, events, now)
    with replacing(folder / f"{EVENTS}.{int(now * 1e6)}.summary") as file:
        file.write(memory.getvalue())
