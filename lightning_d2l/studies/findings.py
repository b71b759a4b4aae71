"""The content of a report as values: the runs, the study, its points, the answer, and the origin of the data."""

from __future__ import annotations

import functools
import math
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import flat
from lightning_d2l.config.garbage import without_collection
from lightning_d2l.config.program import arguments_of, train_words, train_words_as
from lightning_d2l.config.text import show
from lightning_d2l.studies import sources
from lightning_d2l.studies.answer import Answer, answer
from lightning_d2l.studies.collect import SweepRecord, collect
from lightning_d2l.studies.points import Point, points_of
from lightning_d2l.studies.rungs import Pruned, pruned_of
from lightning_d2l.studies.study import Study, study_of
from lightning_d2l.training.record import RunRecord

MOST_KINDS = 5  # of data or versions, listed in a sentence
OWN_PLACE = ("hydra.run.dir", "hydra.sweep.dir", "hydra.mode", "resume", "sweep.resume")
"""Keys that a further sweep does not take over."""
STATES = ("completed", "pruned", "diverged", "failed", "interrupted", "running", "missing", "unreadable")


@dataclass
class Findings:
    """The sweeps of a report, and the results that follow from their records.

    `failures` says which parts of the report could not be made.
    """

    sweeps: list[SweepRecord]
    study: Study
    points: list[Point]
    answer: Answer
    failures: list[str] = field(default_factory=list)

    @functools.cached_property
    def marked(self) -> Point | None:
        """The best setting, which tables mark; None if all settings that have the metric have the same values of it."""
        found = [point.values[self.study.select] for point in self.points if self.study.select in point.values]
        tied = len(found) > 1 and all(values == found[0] for values in found)
        return None if tied else self.answer.best

    @functools.cached_property
    def runs(self) -> list[RunRecord]:
        return [run for sweep in self.sweeps for run in sweep.runs]

    @functools.cached_property
    def varied(self) -> list[str]:
        """Full keys that vary between the runs, replicates included."""
        compared = ["sweep"] if len(self.sweeps) > 1 else []
        compared += [sources.SOURCE] if sources.SOURCE in self.study.curves else []
        return list(dict.fromkeys([*compared, *(key for sweep in self.sweeps for key in sweep.varied)]))

    @functools.cached_property
    def metrics(self) -> list[str]:
        """The metrics of the study, then the other ones of the runs."""
        return list(dict.fromkeys([*self.study.metrics, *(name for run in self.runs for name in run.metric_names)]))

    @property
    def counts(self) -> dict[str, int]:
        """The number of runs by state; "missing" have no record yet, "unreadable" have a damaged one."""
        found = Counter(run.state for run in self.runs)
        found |= {"missing": sum(sweep.missing for sweep in self.sweeps), "unreadable": len(self.unreadable)}
        return {name: found[name] for name in STATES if found[name] or name == "completed"}

    @property
    def counted(self) -> str:
        """`58 completed, 1 diverged, 1 missing`."""
        return ", ".join(f"{n} {name}" for name, n in self.counts.items())

    @property
    def stopped(self) -> str:
        """How many of the completed runs a callback stopped early, and when; empty if there are none."""
        completed = [run for run in self.runs if run.completed]
        ends = sorted(run.fields["stopped"]["epoch"] for run in completed if run.fields.get("stopped"))
        if not ends:
            return ""
        when = f"epoch {ends[0]}" if ends[0] == ends[-1] else f"epochs {ends[0]} to {ends[-1]}"
        return f"{len(ends)} of {len(completed)} completed runs stopped early, after {when}."

    @property
    def pruned(self) -> list[Pruned]:
        """What pruning did in each of the sweeps that stopped settings early."""
        return [found for sweep in self.sweeps if (found := pruned_of(sweep))]

    @property
    def unreadable(self) -> dict[Path, str]:
        return {path: reason for sweep in self.sweeps for path, reason in sweep.unreadable.items()}

    @property
    def unfinished(self) -> dict[RunRecord, str]:
        """The runs that diverged, failed or were interrupted, with the first line of the reason."""
        lost = {run: run.state for run in self.runs if run.state in ("diverged", "failed", "interrupted")}
        return {run: _reason(run, state).strip().partition("\n")[0][:300] for run, state in lost.items()}

    @property
    def warnings(self) -> list[str]:
        """What could not be made, what the data are if they are generated or differ, a reference that is beaten, and
        those of the answer."""
        found = [*self.failures]
        kinds = list(dict.fromkeys(f"{each['name']}, {each['source']}" for each in self.data))
        if sources.SOURCE in self.study.curves:
            found.append(sources.warning(self.runs))
        elif len(kinds) > 1:
            found.append(f"What is compared was measured on different data: {'; '.join(kinds[:MOST_KINDS])}.")
        elif any(each["source"] == "generated" for each in self.data):
            found.append("Measured on generated garments, not on Fashion-MNIST.")
        notes = [point.diagnosis.note for point in self.points if point.diagnosis and point.diagnosis.note]
        if notes:
            found.append(f"At {len(notes)} of {len(self.points)} settings {notes[0]}.")
        found += [f"{each}: the answer is that of the settings that are left." for each in self.pruned]
        told = {id(run) for point in self.points for run in point.runs}
        if twice := 0 if self.study.x == "epoch" else sum(id(run) not in told for run in self.runs):
            runs = "run repeats another" if twice == 1 else "runs repeat others"
            found.append(f"{twice} {runs} with an equal configuration and seed, which does not count again.")
        return [*found, *self.answer.warnings]

    @property
    def data(self) -> list[dict[str, Any]]:
        """Each data set (name, source, checksum) with its number of runs."""
        fields = ("name", "source", "checksum")
        nodes = (node for run in self.runs if isinstance(node := run.fields.get("data"), dict))
        found = Counter(tuple(str(node.get(name)) for name in fields) for node in nodes)
        return [dict(zip(fields, key, strict=True)) | {"runs": n} for key, n in found.items()]

    @property
    def versions(self) -> dict[str, str]:
        """Versions of installed packages and the commit; several values if runs differ."""
        found: dict[str, dict[str, None]] = {}
        for run in self.runs:
            versions = run.fields.get("versions")
            named = {**(versions if isinstance(versions, dict) else {}), "git": run.fields.get("git")}
            for name, value in named.items():
                if value:
                    found.setdefault(name, {})[str(value)] = None
        more = {name: ", ..." if len(values) > MOST_KINDS else "" for name, values in found.items()}
        return {name: ", ".join([*values][:MOST_KINDS]) + more[name] for name, values in found.items()}

    @property
    def commands(self) -> list[str]:
        """The command that repeats each sweep."""
        return [_command(sweep) for sweep in self.sweeps]

    @property
    def next(self) -> str:
        """The command that would tell more than the sweep did; empty if there is none, or if several are compared."""
        changes = self.answer.next
        if not changes or len(self.sweeps) > 1:
            return ""
        try:
            command = self.commands[0].partition("\n")[0]
            words, program = arguments_of(command), train_words_as(command)
        except ValueError:  # of a damaged record
            return ""
        kept = [word for word in words if _key(word) not in (*changes, *OWN_PLACE)]
        sweeps = any(_key(word) == "study" for word in kept) or {"-m", "--multirun"} & {*kept}
        kept += [f"{key}={values}" for key, values in changes.items()]
        return shlex.join([*program, *([] if sweeps else ["-m"]), *kept])

    @property
    def seconds(self) -> float:
        """The total time of all runs."""
        given = [s for run in self.runs if isinstance(s := run.fields.get("seconds"), (int, float))]
        return sum(s for s in given if 0 <= s < 1e12)  # a damaged record may have any number

    def fixed_differences(self) -> dict[str, list[str]]:
        """Settings that differ between the sweeps without being varied: key to a value for each sweep."""
        varied = tuple(f"{key}." for key in (*self.varied, "resume", "verbose"))
        configs = [flat(sweep.runs[0].config) for sweep in self.sweeps]
        keys = dict.fromkeys(key for values in configs for key in values if not f"{key}.".startswith(varied))
        rows = {key: [show(values.get(key)) for values in configs] for key in keys}
        return {key: values for key, values in rows.items() if len(set(values)) > 1}


def find(folders: Sequence[Path]) -> Findings:
    """Read the sweeps in folders and analyse them; raises RequestError as `collect` and `study_of` do."""
    return find_in(collect(folders))


@without_collection()
def find_in(sweeps: list[SweepRecord]) -> Findings:
    """Analyse sweeps; raises RequestError as `study_of` does."""
    study = study_of(sweeps)
    points = points_of(study, runs := [run for sweep in sweeps for run in sweep.runs])
    importance = next((found for sweep in sweeps if (found := sweep.fields.get("importance"))), None)
    return Findings(sweeps, study, points, answer(study, points, importance, runs))


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _reason(run: RunRecord, state: str) -> str:
    if error := run.fields.get("error"):
        return str(error)
    return "its process ended without a reason" if state == "interrupted" else "no reason was recorded"


def _command(sweep: SweepRecord) -> str:
    """The command of sweep.json, else one composed from the overrides, else the commands of the runs."""
    if command := sweep.fields.get("command"):
        return str(command)
    runs, common = sweep.runs, sweep.runs[0].overrides
    values = {key: list(dict.fromkeys(run.overrides.get(key, "") for run in runs)) for key in sweep.varied}
    grid = math.prod(map(len, values.values())) == len(runs) and all("" not in each for each in values.values())
    if len(runs) == 1 or not grid:
        return "\n".join(dict.fromkeys(str(command) for run in runs if (command := run.fields.get("command"))))
    words = [f"{key}={common[key]}" for key in common if key not in values and not key.startswith("hydra.")]
    words += [f"{key}={','.join(each)}" for key, each in values.items()]
    return shlex.join([*train_words(), "-m", *words])
