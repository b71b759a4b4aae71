"""What belongs to a sweep: only that is removed or replaced, and only that counts as the result of a job."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError, flat
from lightning_d2l.config.places import LOCK, PLACES_OF_DATA
from lightning_d2l.studies.sweep_file import SWEEP_FILE, read_sweep_file
from lightning_d2l.training.files import BEST, LAST, METRICS, TEMPORARY
from lightning_d2l.training.record import RUN_FILE, RunRecord
from lightning_d2l.training.spec import RunSpec

# Settings that may differ between the recorded runs of a sweep and the configuration that resumes it.
# Data may have moved; `same_data` compares them.
FREE = (
    "resume", "verbose", "logger", "trainer.checkpoint_every_n_seconds", *(f"data.{name}" for name in PLACES_OF_DATA)
)  # fmt: skip
# The files of a run in its folder. The record comes first: without it, what is left is removed by the next attempt.
OF_A_RUN = (
    RUN_FILE, METRICS, str(LAST), str(BEST), "train.log", "predictions.csv", "events.out.tfevents.*", "csv_logs/*",
    f"{TEMPORARY}*", f"checkpoints/{TEMPORARY}*",
)  # fmt: skip
# How the names begin of what a process leaves that is killed before the record of its run.
BEFORE_A_RECORD = (LOCK, TEMPORARY, "train.log", ".hydra", "checkpoints")
# What a single run, and the report of a sweep, write into a folder and replace there.
WRITTEN = {
    "run": (METRICS, "checkpoints", "predictions.csv", "figures", "csv_logs"),
    "sweep": (
        "results.csv", "summary.csv", "report.md", "report.html", "figure.png", "figure.svg", "fits.png", "summary",
    ),
}  # fmt: skip


def require_unused(kind: str, folder: Path, names: Collection[str] = ()) -> None:
    """Raise RequestError if a new run or sweep in `folder` would replace anything; `names` are the sweep's folders.

    A sweep that was killed before the record of its first run may be started again.
    """
    what = f"hydra.{kind}.dir={folder}"
    if (folder / RUN_FILE).exists():
        resume = f", or resume={folder}" if kind == "run" else ""
        raise RequestError(f"{what}: holds a run already; choose another folder{resume}")
    started = _jobs_there(what, folder)
    if (kind == "run" and started) or any((folder / name / RUN_FILE).exists() for name in started):
        raise RequestError(f"{what}: holds a sweep already; choose another folder, or sweep.resume={folder}")
    present = [name for name in WRITTEN[kind] if os.path.lexists(folder / name)]
    present += [name for name in names if _holds_anything(folder / name, BEFORE_A_RECORD if name in started else LOCK)]
    if present:
        others = f" and {len(present) - 1} more" if len(present) > 1 else ""
        raise RequestError(f"{what}: holds {present[0]}{others}, which the {kind} would replace; choose another folder")


def _jobs_there(what: str, folder: Path) -> set[str]:
    """The folders of the jobs of the sweep in `folder`, empty if there is none."""
    try:
        return {job["folder"] for job in read_sweep_file(folder / SWEEP_FILE)["jobs"]}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except (OSError, ValueError) as error:
        raise RequestError(f"{what}: its {SWEEP_FILE} is damaged ({error}); choose another folder") from error


def _holds_anything(folder: Path, but: str | tuple[str, ...]) -> bool:
    """Whether there is a folder with a file that does not begin with one of `but`, or anything that is no folder."""
    if not os.path.lexists(folder):
        return False
    return folder.is_symlink() or not folder.is_dir() or any(not name.startswith(but) for name in os.listdir(folder))


def is_empty(folder: Path) -> bool:
    """Whether a folder that this process holds has no other file than its lock."""
    return set(os.listdir(folder)) <= {LOCK}


def remove_run(folder: Path) -> None:
    """Remove the files of a run from its folder, and nothing else."""
    for pattern in OF_A_RUN:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def is_of_job(record: RunRecord, job: RunSpec) -> bool:
    """Whether a run on the disk is that of a job: of the same sweep, with the configuration of the job."""
    if other_sweep(record, job):
        return False
    same = record.config == {**job.config, "resume": None}  # of hundreds of runs, nearly all
    return same or not difference(flat(record.config), flat(job.config), FREE)


def other_sweep(record: RunRecord, job: RunSpec) -> bool:
    """Whether a run names another sweep than that of a job. Early records name none."""
    return str(record.fields.get("sweep", job.sweep)) != job.sweep


def difference(
    there: Mapping[str, Any], here: Mapping[str, Any], free: tuple[str, ...], show: Callable[[Any], object] = str
) -> str:
    """The first key with different values, except for keys that begin as those in `free`, or an empty string."""
    for key in dict.fromkeys([*there, *here]):
        if there.get(key) != here.get(key) and not key.startswith(free):
            return f"{key} is {show(there.get(key))} there and {show(here.get(key))} here"
    return ""
