"""Which runs of a sweep keep a folder, and lean records of all others: one file of columns for those of a chunk."""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.loggers import TENSORBOARD
from lightning_d2l.config.places import LOCK
from lightning_d2l.config.text import show
from lightning_d2l.studies.collect import of_runs
from lightning_d2l.studies.lean import Entry, LeanFolder, write
from lightning_d2l.studies.study import study_of
from lightning_d2l.sweeps.ownership import remove_run
from lightning_d2l.training.files import Row
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec

MOST_FULL = 5000  # runs whose records are full unless something else is asked for
FEWEST = 10  # runs of a setting, of which the best and the worst keep a folder
FILES, BYTES = 7, 70_000  # of a run with full records, on a disk with blocks of 4 KiB, beside the weights
STATES_OF = {"torch.optim.SGD": 1}  # numbers that a checkpoint holds for each parameter; of other optimizers 3
MEASURED = re.compile(r"([^<>=\s]+)\s*(<=|>=|<|>)\s*([-+.\deE]+)")  # such as loss/val>10
COMPARE = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}


class Kept:
    """The runs that `sweep.keep` names: by a pattern of their names, by settings, or by a metric of the last weights.

    `seed=0` and `data.degree=1?,seed=0` are settings that a run must have, `loss/val>10` a metric; `*` keeps all runs.
    """

    def __init__(self, asked: Sequence[str]) -> None:
        self.asked = list(asked)

    def names(self, name: str, fields: Mapping[str, Any]) -> bool:
        """Whether a run with this name and the fields of its run.json is kept."""
        return any(_holds(entry, RunRecord(Path(name), dict(fields), name)) for entry in self.asked)


def _holds(entry: str, run: RunRecord) -> bool:
    if measured := MEASURED.fullmatch(entry):
        value = run.metric(measured[1])
        return value is not None and COMPARE[measured[2]](value, float(measured[3]))
    if fnmatch.fnmatchcase(run.name, entry):
        return True
    parts = [part.partition("=") for part in entry.split(",")]
    return all(equals for _, equals, _ in parts) and all(
        fnmatch.fnmatchcase(show(run.get(key)), value) for key, _, value in parts
    )


def check_keep(asked: Sequence[str], jobs: Sequence[RunSpec]) -> None:
    """Raise RequestError that names an entry of `sweep.keep` that no job can match."""
    for entry in asked:
        if measured := MEASURED.fullmatch(entry):
            try:
                float(measured[3])
            except ValueError:
                raise RequestError(f"sweep.keep={entry}: {measured[3]} is no number") from None
        elif jobs and not any(_holds(entry, _planned(job)) for job in jobs):
            raise RequestError(
                f"sweep.keep={entry}: no run has this name or these settings; a name is such as {jobs[0].name}"
            )


def _planned(job: RunSpec) -> RunRecord:
    return RunRecord(job.folder, {"config": job.config, "overrides": job.overrides}, job.name)


class Lean:
    """The lean records of a sweep, where it has such: those on the disk, and, if it is `on`, new ones.

    `again` are the names of jobs whose folders are made again, and count as not trained until they are.
    """

    def __init__(self, sweep: Path) -> None:
        self.sweep, self.on, self.kept = sweep, False, Kept([])
        self.again: frozenset[str] = frozenset()
        self.there = LeanFolder(sweep)

    def look(self) -> None:
        """Read what has been written since the last look."""
        self.there.look()

    def turn_on(self, keep: Sequence[str]) -> None:
        """Write lean records from now on; `keep` is sweep.keep."""
        self.on, self.kept = True, Kept(keep)

    def told(self) -> dict[str, Any]:
        """What workers need to know; `take` takes it."""
        return {"on": self.on, "keep": self.kept.asked, "again": sorted(self.again)}

    def take(self, told: Mapping[str, Any], jobs: Sequence[RunSpec]) -> None:
        """Do as the process that `told` this, with some of its jobs."""
        self.on, self.kept, self.again = bool(told["on"]), Kept(told["keep"]), frozenset(told["again"])
        self.there.numbers = {job.number or 0 for job in jobs}
        self.look()

    def record(self, job: RunSpec) -> RunRecord | None:
        """The lean record of a job, or None if it has none."""
        return None if job.name in self.again else self.there.runs.get(job.name)

    def keeps(self, name: str, fields: Mapping[str, Any]) -> bool:
        """Whether a run that has ended so keeps its folder."""
        return fields["status"] in ("diverged", "failed") or self.kept.names(name, fields)

    def write(self, ended: Sequence[tuple[RunSpec, Mapping[str, Any], Sequence[Row]]]) -> None:
        """Write the records of jobs that have ended, and remove the folders in which they trained, but for those kept.

        When the call returns, the records are on the disk.
        """
        write(self.sweep, [Entry(job.name, job.number or 0, fields, rows) for job, fields, rows in ended])
        self.there.look()
        for job, fields, _ in ended:
            if job.folder.exists() and not self.keeps(job.name, fields):
                remove_folder(job.folder)

    def absorb(self, jobs: Sequence[RunSpec]) -> list[RunSpec]:
        """Write lean records of jobs that have ended in folders of their own, and remove those that are not kept.

        Returns the jobs that have lean records now.
        """
        ended = []
        for job in jobs:
            record = RunRecord.read_or_missing(job.folder)
            if record.state in ("completed", "diverged", "pruned"):
                ended.append((job, record.fields, list(record.history)))
        new = [each for each in ended if each[0].name not in self.there.runs]
        self.write(new)
        for job, fields, _ in ended:
            if not self.keeps(job.name, fields):
                remove_folder(job.folder)
        return [job for job, _, _ in ended]


def remove_folder(folder: Path) -> None:
    """Remove a run with its folder; what else is in there, such as files of a custom callback, stays."""
    remove_run(folder)
    for place in (folder / "checkpoints", folder / "csv_logs"):
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= {LOCK}:
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()


def best_and_worst(folder: Path, fields: dict[str, Any], records: Mapping[RunSpec, RunRecord]) -> list[RunSpec]:
    """The best and the worst completed run of each setting of a sweep, by the metric that its study selects by.

    Where settings have fewer than FEWEST runs on average, they are the best and the worst run of the sweep.
    """
    completed = {job: record for job, record in records.items() if record.fields and record.completed}
    if not completed:
        return []
    study = study_of([of_runs(folder, fields, list(completed.values()))])
    points: dict[tuple[str, ...], list[tuple[float, int, RunSpec]]] = {}
    for number, (job, record) in enumerate(completed.items()):
        if (value := record.metric(study.select)) is not None:
            setting = tuple(show(record.get(key)) for key in study.keys if key != "epoch")
            points.setdefault(setting, []).append((value, number, job))
    if len(completed) < FEWEST * len(points):
        points = {(): [each for found in points.values() for each in found]}
    return list(dict.fromkeys(end(found)[2] for found in points.values() for end in (min, max)))


def keep_of(config: DictConfig, jobs: Sequence[RunSpec]) -> list[str]:
    """What `sweep.keep` names; raises RequestError as `check_keep` does."""
    asked = config.sweep.keep
    keep = [asked] if isinstance(asked, str) else list(asked)
    check_keep(keep, jobs)
    return keep


def require_possible(config: DictConfig, jobs: Sequence[RunSpec], alike: Sequence[RunSpec]) -> None:
    """Raise RequestError, before anything is written, if a new sweep can't have the lean records that are asked for.

    Its jobs may leave files that these can't hold. A search has no jobs yet, but some that are `alike`.
    """
    if config.sweep.get("records") == "lean" and not config.sweep.resume:
        if needs := _needs_folder(jobs or alike):
            raise RequestError(
                f"sweep.records=lean: {needs}, which needs a folder for each run; take sweep.records=full"
            )
        keep_of(config, jobs)


def chosen(config: DictConfig, jobs: Sequence[RunSpec], total: int, before: Mapping[str, Any] | None) -> str:
    """The records of a sweep, "full" or "lean": those asked for, those of the sweep that is resumed, or by its size.

    A line says what full records would cost where they are not taken.
    """
    asked = config.sweep.get("records") or (before or {}).get("records")
    if asked or before:
        return str(asked or "full")
    if total <= MOST_FULL:
        return "full"
    needs = _needs_folder(jobs)
    size = f"{total:,} runs with full records are about {FILES * total:,} files and {_size(total, jobs)}"
    if needs:
        print(f"{size}: {needs}, so that lean records are not possible", flush=True)
        return "full"
    print(f"{size}; lean records are kept, in few files (sweep.records=full for a folder each)", flush=True)
    return "lean"


def _needs_folder(jobs: Sequence[RunSpec]) -> str:
    """What of the runs only a folder can hold; an empty text if nothing is."""
    for job in jobs:
        for label, group in job.config["logger"].items():
            if group["_target_"] != TENSORBOARD:
                return f"logger={label} writes for each run"
        if job.config["trainer"]["save_predictions"]:
            return "trainer.save_predictions=true writes a predictions.csv"
    return ""


def _size(total: int, jobs: Sequence[RunSpec]) -> str:
    """The size of full records: an estimate from the first network, of which there are two checkpoints."""
    from lightning_d2l.training.build import build_data, build_module

    try:
        config = jobs[0].config
        module = build_module(config, build_data(config))
        copies = STATES_OF.get(str((config["optimizer"] or {}).get("_target_")), 3)
        weights = 2 * copies * sum(p.numel() * p.element_size() for p in module.parameters())
    except Exception:  # a run will say what is wrong
        weights = 0
    size = total * (BYTES + weights)
    return f"{size / 1e12:.1f} TB" if size >= 1e12 else f"{max(size / 1e9, 0.1):.1f} GB"
