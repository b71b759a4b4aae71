"""All that a report says, as values: the runs, the study, its points, the answer, and where everything came from."""

from __future__ import annotations

import functools
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import flat
from lightning_d2l.studies.answer import Answer, answer
from lightning_d2l.studies.collect import STATUSES, Run, Sweep, collect
from lightning_d2l.studies.diagnosis import Diagnosis
from lightning_d2l.studies.labels import show
from lightning_d2l.studies.points import Point, points_of, run_diagnoses
from lightning_d2l.studies.study import Study, study_of


@dataclass
class Findings:
    """The sweeps of a report, and what follows from their records."""

    sweeps: list[Sweep]
    study: Study
    points: list[Point]
    answer: Answer

    @functools.cached_property
    def runs(self) -> list[Run]:
        return [run for sweep in self.sweeps for run in sweep.runs]

    @functools.cached_property
    def varied(self) -> list[str]:
        """Full keys of what varies between the runs, replicates among them, in order."""
        keys = dict.fromkeys(key for sweep in self.sweeps for key in sweep.varied)
        return list(dict.fromkeys([*(("sweep",) if len(self.sweeps) > 1 else ()), *keys]))

    @functools.cached_property
    def metrics(self) -> list[str]:
        """The study's metrics, then every other one of the runs."""
        names = (name for run in self.runs for name in run.metric_names)
        return list(dict.fromkeys([*self.study.metrics, *names]))

    @functools.cached_property
    def counts(self) -> dict[str, int]:
        """How many runs have each status; "missing" have no record yet, "unreadable" one that can't be used."""
        found = {status: sum(run.status == status for run in self.runs) for status in STATUSES}
        found["missing"] = sum(sweep.missing for sweep in self.sweeps)
        found["unreadable"] = len(self.unreadable)
        return {name: n for name, n in found.items() if n or name == "completed"}

    @functools.cached_property
    def unreadable(self) -> dict[Path, str]:
        return {path: reason for sweep in self.sweeps for path, reason in sweep.unreadable.items()}

    @property
    def unfinished(self) -> list[Run]:
        """The runs that diverged or failed."""
        return [run for run in self.runs if run.status in ("diverged", "failed")]

    @functools.cached_property
    def diagnoses(self) -> list[Diagnosis | None]:
        """One for each run."""
        return run_diagnoses(self.runs, self.points)

    def data(self) -> list[dict[str, Any]]:
        """Each data set (name, source, checksum) with the number of runs that saw it."""
        found: dict[tuple[str, ...], int] = {}
        fields = ("name", "source", "checksum")
        for run in self.runs:
            identity = run.record.get("data")
            if isinstance(identity, dict):
                key = tuple(str(identity.get(name)) for name in fields)
                found[key] = found.get(key, 0) + 1
        return [dict(zip(fields, key, strict=True)) | {"runs": n} for key, n in found.items()]

    def versions(self) -> dict[str, str]:
        """What was installed, and the commit; several values where runs differ."""
        found: dict[str, dict[str, None]] = {}
        for run in self.runs:
            versions = run.record.get("versions")
            named = {**(versions if isinstance(versions, dict) else {}), "git": run.record.get("git")}
            for name, value in named.items():
                if value:
                    found.setdefault(name, {})[str(value)] = None
        return {name: ", ".join(values) for name, values in found.items()}

    def commands(self) -> list[str]:
        """What repeats each sweep."""
        return [command_of(sweep) for sweep in self.sweeps]

    def fixed_differences(self) -> dict[str, list[str]]:
        """Settings that differ between the sweeps though no sweep varies them: key to a value for each sweep."""
        if len(self.sweeps) < 2:
            return {}
        configs = [flat(sweep.runs[0].config) for sweep in self.sweeps]
        keys = dict.fromkeys(key for values in configs for key in values)
        rows = {key: [show(values.get(key)) for values in configs] for key in keys if not self._varies(key)}
        return {key: values for key, values in rows.items() if len(set(values)) > 1}

    def _varies(self, key: str) -> bool:
        return any(key == swept or key.startswith(f"{swept}.") for swept in (*self.varied, "resume", "verbose"))

    def seconds(self) -> float:
        """The time of all runs together."""
        return math.fsum(s for run in self.runs if isinstance(s := run.record.get("seconds"), (int, float)))


def find(folders: Sequence[Path]) -> Findings:
    """Read the sweeps below folders and work out what they show; raises RequestError as collect and study_of do."""
    return find_in(collect(folders))


def find_in(sweeps: list[Sweep]) -> Findings:
    """What sweeps show; raises RequestError as study_of does."""
    study = study_of(sweeps)
    points = points_of(study, [run for sweep in sweeps for run in sweep.runs])
    return Findings(sweeps, study, points, answer(study, points))


def command_of(sweep: Sweep) -> str:
    """The command that repeats a sweep: its own, or, if there is no sweep.json, one that the runs' overrides make."""
    if command := sweep.facts.get("command"):
        return str(command)
    runs = sweep.runs
    if len(runs) == 1:
        return str(runs[0].record.get("command") or "")
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


def _several(runs: Sequence[Run]) -> str:
    """The runs are no grid of values, so no one command makes them."""
    return "\n".join(dict.fromkeys(str(run.record.get("command")) for run in runs if run.record.get("command")))
