"""A disk that takes no more ends a sweep: no other run is tried."""

from __future__ import annotations

from pathlib import Path

from lightning_d2l.training.files import UNWRITABLE, reason_of
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec


class DiskError(Exception):
    """The files of a run can't be written."""


def require_disk(error: BaseException, sweep: Path) -> None:
    """Raise DiskError if an error of runs in the folder of a sweep says that their files can't be written."""
    if isinstance(error, OSError) and (error.errno in UNWRITABLE or not sweep.exists()):
        raise DiskError(reason_of(error)) from error


def require_written(job: RunSpec, sweep: Path) -> None:
    """Raise DiskError if a run was refused because its files can't be written."""
    record = RunRecord.read_or_missing(job.folder)
    error = str(record.fields.get("error") or "")
    if record.state != "failed" and (job.folder.exists() or not sweep.exists()):  # not even its end is recorded
        raise DiskError(f"the files of {job.name} can't be written")
    if error.startswith(("error: hydra.run.dir=", "error: resume=")):
        raise DiskError(error.partition(": ")[2].partition(": ")[2])
