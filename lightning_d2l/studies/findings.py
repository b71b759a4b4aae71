"""The content of a report as values: the runs, the study, its points, the answer, and the origin of the data."""

from __future__ import annotations

import functools
import math
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import flat
from lightning_d2l.config.text import show
from lightning_d2l.studies.answer import Answer, answer
from lightning_d2l.studies.collect import SweepRecord, collect
from lightning_d2l.studies.diagnosis import Diagnosis
from lightning_d2l.studies.points import Point, points_of, run_diagnoses
from lightning_d2l.studies.study import Study, study_of
from lightning_d2l.training.record import STATUSES, RunRecord


@dataclass
class Findings:
    """The sweeps of a report, and the results that follow from their records."""

    sweeps: list[SweepRecord]
    study: Study
    points: list[Point]
    answer: Answer

    @functools.cached_property
    def runs(self) -> list[RunRecord]:
        return [run for sweep in self.sweeps for run in sweep.runs]

    @functools.cached_property
    def varied(self) -> list[str]:
        """Full keys that vary between the runs, replicates included."""
        keys = dict.fromkeys(key for sweep in self.sweeps for key in sweep.varied)
        return list(dict.fromkeys([*(("sweep",) if len(self.sweeps) > 1 else ()), *keys]))

    @functools.cached_property
    def metrics(self) -> list[str]:
        """The metrics of the study, then the other ones of the runs."""
        names = (name for run in self.runs for name in run.metric_names)
        return list(dict.fromkeys([*self.study.metrics, *names]))

    @functools.cached_property
    def counts(self) -> dict[str, int]:
        """The number of runs by status; "missing" have no record yet, "unreadable" have a damaged one."""
        found = {status: sum(run.status == status for run in self.runs) for status in STATUSES}
        found["missing"] = sum(sweep.missing for sweep in self.sweeps)
        found["unreadable"] = len(self.unreadable)
        return {name: n for name, n in found.items() if n or name == "completed"}

    @functools.cached_property
    def unreadable(self) -> dict[Path, str]:
        return {path: reason for sweep in self.sweeps for path, reason in sweep.unreadable.items()}

    @property
    def unfinished(self) -> list[RunRecord]:
        """The runs that diverged or failed."""
        return [run for run in self.runs if run.status in ("diverged", "failed")]

    @functools.cached_property
    def diagnoses(self) -> list[Diagnosis | None]:
        """One for each run."""
        return run_diagnoses(self.runs, self.points)

    def data(self) -> list[dict[str, Any]]:
        """Each data set (name, source, checksum) with its number of runs."""
        fields = ("name", "source", "checksum")
        data = (node for run in self.runs if isinstance(node := run.fields.get("data"), dict))
        found = Counter(tuple(str(node.get(name)) for name in fields) for node in data)
        return [dict(zip(fields, key, strict=True)) | {"runs": n} for key, n in found.items()]

    def versions(self) -> dict[str, str]:
        """Versions of installed packages and the commit; several values if runs differ."""
        found: dict[str, dict[str, None]] = {}
        for run in self.runs:
            versions = run.fields.get("versions")
            named = {**(versions if isinstance(versions, dict) else {}), "git": run.fields.get("git")}
            for name, value in named.items():
                if value:
                    found.setdefault(name, {})[str(value)] = None
        return {name: ", ".join(values) for name, values in found.items()}

    def commands(self) -> list[str]:
        """The command that repeats each sweep."""
        return [command_of(sweep) for sweep in self.sweeps]

    def fixed_differences(self) -> dict[str, list[str]]:
        """Settings that differ between the sweeps without being varied: key to a value for each sweep."""
        if len(self.sweeps) < 2:
            return {}
        configs = [flat(sweep.runs[0].config) for sweep in self.sweeps]
        keys = dict.fromkeys(key for values in configs for key in values)
        rows = {key: [show(values.get(key)) for values in configs] for key in keys if not self._varies(key)}
        return {key: values for key, values in rows.items() if len(set(values)) > 1}

    def _varies(self, key: str) -> bool:
        return any(key == swept or key.startswith(f"{swept}.") for swept in (*self.varied, "resume", "verbose"))

    def seconds(self) -> float:
        """The total time of all runs."""
        return math.fsum(s for run in self.runs if isinstance(s := run.fields.get("seconds"), (int, float)))


def find(folders: Sequence[Path]) -> Findings:
    """Read the sweeps in folders and analyse them; raises RequestError as `collect` and `study_of` do."""
    return find_in(collect(folders))


def find_in(sweeps: list[SweepRecord]) -> Findings:
    """Analyse sweeps; raises RequestError as `study_of` does."""
    study = study_of(sweeps)
    points = points_of(study, [run for sweep in sweeps for run in sweep.runs])
    return Findings(sweeps, study, points, answer(study, points))


def command_of(sweep: SweepRecord) -> str:
    """The command that repeats a sweep: that of sweep.json, else one composed from the overrides of the runs."""
    if command := sweep.fields.get("command"):
        return str(command)
    runs = sweep.runs
    if len(runs) == 1:
        return str(runs[0].fields.get("command") or "")
    common = [key for key in runs[0].overrides if key not in sweep.varied]
    words = [f"{key}={runs[0].overrides[key]}" for key in common if not key.startswith("hydra.")]
    size = 1
    for key in sweep.varied:
        values = list(dict.fromkeys(run.overrides.get(key, "") for run in runs))
        if "" in values:
            return _several(runs)
        words.append(f"{key}={','.join(values)}")
        size *= len(values)
    return f"python train.py -m {shlex.join(words)}" if size == len(runs) else _several(runs)


def _several(runs: Sequence[RunRecord]) -> str:
    """The commands of single runs, for runs that are not a grid of values."""
    return "\n".join(dict.fromkeys(str(run.fields.get("command")) for run in runs if run.fields.get("command")))
