"""The diagnosis of a single run: what run.json holds of it, and the lines that end the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_d2l.studies.advice import advice
from lightning_d2l.studies.diagnosis import Diagnosis, case_of, diagnose, lowest_of
from lightning_d2l.studies.statistics import Estimate
from lightning_d2l.training.record import RunRecord


def judged(folder: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The field `diagnosis` of a run that has ended with these fields; empty if nothing is known.

    Beside the values of `Diagnosis.as_dict` it has `text`, a sentence, and `next` and `command`, what to try next.
    """
    run = RunRecord(folder, dict(fields))
    row = {name: value for name in run.metric_names if (value := run.metric(name)) is not None}
    case = case_of([run], [row] if run.completed else [])
    found = diagnose(case, lowest_of([case]) if case.main else None)
    if found is None:
        return {}
    words, command = advice(found, run)
    return {**found.as_dict(), "text": _text(found, run), "next": words, "command": command}


def _text(found: Diagnosis, run: RunRecord) -> str:
    """`overfitting: trivial 2.3, train 0.09, val 0.65, test 0.66, gap 0.56 (95 % 0.51 to 0.61)`."""
    values = {"trivial": found.trivial}
    if found.quantity != "error":
        values |= {split: run.metric(f"{found.quantity}/{split}") for split in (found.train, "val", "test")}
    parts = [f"{split.replace('_', ' ')} {value:.3g}" for split, value in values.items() if value is not None]
    parts += [_gap("gap", found.gap)] if found.gap else []
    parts += [_gap("in accuracy", found.acc_gap)] if found.acc_gap and found.quantity != "error" else []
    said = f"{found}: {', '.join(parts)}" if parts else str(found)
    return "; ".join([said, *filter(None, (found.how_far, found.note))])


def _gap(name: str, gap: Estimate) -> str:
    return f"{name} {gap.value:.2g}" + (f" (95 % {gap.low:.2g} to {gap.high:.2g})" if gap.has_interval else "")
