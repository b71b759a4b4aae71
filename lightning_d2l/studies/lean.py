"""Lean records: the runs of a chunk in one file of columns, their metrics over the epochs in another, no folder a run.

In the folder `records` of a sweep, the file `000200-5f0c....runs.parquet` has a row for each run of a chunk, whose
first job is 200, and `000200-5f0c....curves.parquet` the rows of their metrics.csv. The name holds the start of the
checksum of the first file, which holds the checksum of the second. So files that are half written, damaged or without
the other one are told from whole ones, and their runs count as not trained.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightning_d2l.config.check import RequestError
from lightning_d2l.studies.columns import decoded, encoded, opened, written
from lightning_d2l.studies.sweep_file import SWEEP_FILE, is_name
from lightning_d2l.training.fields import check_fields
from lightning_d2l.training.files import TEMPORARY, Row, read_bounded, replacing, replacing_together
from lightning_d2l.training.record import LEAN, RUN_FILE, RunRecord

OLD = 3600.0  # seconds after which a temporary file is left over
LARGEST = 2**30  # bytes of a file
_NAME = re.compile(r"\d{6,}-([0-9a-f]{16})\.runs\.parquet")
WHOLE = ("epoch", "step", "run")  # columns of curves that hold whole numbers


@dataclass
class LeanRecord(RunRecord):
    """A run that has no folder: `curves` has its rows of metrics as those of the run in this `row`."""

    curves: Curves | None = None
    row: int = 0

    __hash__ = RunRecord.__hash__

    @property
    def state(self) -> str:
        return self.status

    @property
    def history(self) -> list[Row]:  # not cached: all runs have many rows together
        return self.curves.rows(self.row) if self.curves else []


@dataclass(frozen=True)
class Entry:
    """A run by the name and number of its job, the fields of its run.json, and the rows of its metrics.csv."""

    name: str
    number: int
    fields: Mapping[str, Any]
    rows: Sequence[Row]


class Curves:
    """The rows of the metrics of the runs of a chunk, as columns; the file is read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[list[str], list[np.ndarray], np.ndarray] | None = None

    def rows(self, run: int) -> list[Row]:
        """The rows of a run; empty if the file can't be read any more."""
        if self._read is None:
            try:
                self._read = _columns_of(read_bounded(self.path, LARGEST))
            except (OSError, ValueError):
                self._read = ([], [], np.zeros(0, np.int64))
        names, columns, of = self._read
        first, last = np.searchsorted(of, [run, run + 1])
        each = [column[first:last].tolist() for column in columns]
        return [
            {name: cell for name, cell in zip(names, cells, strict=True) if cell is not None}
            for cells in zip(*each, strict=True)
        ]


def _columns_of(content: bytes) -> tuple[list[str], list[np.ndarray], np.ndarray]:
    """The names and the columns of a file of curves, and the run of each row, in ascending order."""
    table = opened(content)[0].read()
    names = [name for name in table.column_names if name != "run"]
    if "run" not in table.column_names or "epoch" not in names:
        raise ValueError("it has no run or no epoch")
    if any(str(field.type) == "string" for field in table.schema):
        raise ValueError("it has a column of another kind")
    of = np.asarray(table.column("run").to_numpy(), np.int64)
    columns = []
    for name in names:
        column = table.column(name)
        plain = column.to_numpy()
        if column.null_count:
            plain = plain.astype(object)
            plain[np.asarray(column.is_null())] = None
        columns.append(plain)
    return names, columns, of


def write(sweep: Path, entries: Sequence[Entry]) -> None:
    """Write the records of runs into the folder of their sweep; they are on the disk when the call returns."""
    if not entries:
        return
    import pyarrow as pa

    names = dict.fromkeys(name for entry in entries for row in entry.rows for name in row)
    of = [(i, row) for i, entry in enumerate(entries) for row in entry.rows]
    columns = {"run": pa.array([i for i, _ in of], pa.int64())}
    for name in names:
        kind = pa.int64() if name in WHOLE else pa.float64()
        columns[name] = pa.array([row.get(name) for _, row in of], kind)
    if "epoch" not in columns:
        columns["epoch"] = pa.array([], pa.int64())
    curves = written(pa.table(columns), {})
    about = {"curves": hashlib.sha256(curves).hexdigest()}
    runs = encoded([{"run": e.name, "number": e.number, **e.fields} for e in entries], about)
    stem = f"{entries[0].number:06}-{hashlib.sha256(runs).hexdigest()[:16]}"
    folder = sweep / LEAN
    folder.mkdir(exist_ok=True)
    with replacing_together():
        with replacing(folder / f"{stem}.curves.parquet", new_folders=False) as file:
            file.write(curves)
        with replacing(folder / f"{stem}.runs.parquet", new_folders=False) as file:
            file.write(runs)


class LeanFolder:
    """The lean records in the folder of a sweep: `runs` by the names of their jobs, and why a file is `damaged`.

    They are read by `look`. With `numbers` only files whose first job has one of these numbers are.
    """

    def __init__(self, sweep: Path, numbers: Collection[int] | None = None) -> None:
        self.numbers = numbers
        self.sweep, self.folder = sweep, sweep / LEAN
        self.runs: dict[str, LeanRecord] = {}
        self.damaged: dict[Path, str] = {}
        self._seen: set[str] = set()

    def look(self) -> None:
        """Read the files that were written since the last look."""
        try:
            names = sorted(name for name in os.listdir(self.folder) if name not in self._seen and _NAME.fullmatch(name))
        except OSError:
            return
        for name in names:
            if self.numbers is None or int(name.partition("-")[0]) in self.numbers:
                self._seen.add(name)
                try:
                    self._read(self.folder / name)
                except OSError as error:
                    self.damaged[self.folder / name] = f"can't be read ({error.strerror})"
                except (ValueError, MemoryError) as error:
                    self.damaged[self.folder / name] = f"damaged ({error})"

    def _read(self, path: Path) -> None:
        content = read_bounded(path, LARGEST)
        if not hashlib.sha256(content).hexdigest().startswith(path.name.split("-")[1].split(".")[0]):
            raise ValueError("its checksum is not that in its name")
        records, about = decoded(content, check_fields)
        of_curves = path.with_name(path.name.replace(".runs.", ".curves."))
        try:
            curves = read_bounded(of_curves, LARGEST)
        except OSError:
            raise ValueError(f"{of_curves.name} can't be read") from None
        if hashlib.sha256(curves).hexdigest() != about.get("curves"):
            raise ValueError(f"{of_curves.name} has another checksum")
        _columns_of(curves)
        found, lazy = {}, Curves(of_curves)
        for row, fields in enumerate(records):
            name, number = fields.pop("run", None), fields.pop("number", None)
            if not is_name(name) or not isinstance(number, int):
                raise ValueError(f"row {row} has no name")
            if fields["status"] not in ("completed", "diverged", "pruned"):
                raise ValueError(f"row {row} is of a run that has not ended")
            if fields["status"] == "completed" and not (fields.get("metrics") or {}).get("final"):
                raise ValueError(f"row {row} has no metrics")
            found[name] = LeanRecord(self.sweep / name, fields, name, curves=lazy, row=row)
        self.runs = found | self.runs  # of a run that was trained twice the first counts

    def remove_damaged(self) -> None:
        """Remove what is damaged or left over from a process that was killed while it wrote."""
        for path in self.damaged:
            for name in (path.name, path.name.replace(".runs.", ".curves.")):
                with suppress(OSError):
                    path.with_name(name).unlink()
        for path in self.folder.glob(f"{TEMPORARY}*"):
            with suppress(OSError):
                if path.stat().st_mtime < time.time() - OLD:  # a worker may be writing a younger one
                    path.unlink()
        self.damaged = {}


def run_of(sweep: Path, name: str) -> RunRecord:
    """The record of a run by the name of its job, from its sweep's lean records or from its folder.

    Raises RequestError if there is no such run.
    """
    if not is_name(name):
        raise RequestError(f"--run={name}: must be the name of a run, as in results.csv")
    if not (sweep / SWEEP_FILE).is_file():
        raise RequestError(f"{sweep}: not a sweep's folder (it has no {SWEEP_FILE}); --run names a run of a sweep")
    if found := lean_record(sweep / name):
        return found
    if (sweep / name / RUN_FILE).exists():
        return RunRecord.read(sweep / name)
    raise RequestError(f"--run={name}: {sweep} has no run of this name that has ended; results.csv lists them")


def lean_record(folder: Path) -> LeanRecord | None:
    """The lean record of the run that has, or would have, this folder; None if there is none."""
    lean = LeanFolder(folder.parent)
    lean.look()
    return lean.runs.get(folder.name)
