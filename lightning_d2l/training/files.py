"""Files of a run that are whole or absent, whenever the program is killed."""

from __future__ import annotations

import csv
import ctypes
import errno
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

METRICS = "metrics.csv"
LAST, BEST = Path("checkpoints/last.ckpt"), Path("checkpoints/best.ckpt")

TEMPORARY = ".new-"  # TensorBoard reads what has its own files' names
SYNCFS = sys.platform == "linux"  # there is a call that waits for all that was written to a file system
# The temporary files that wait for the end of `replacing_together`, with the places that they will take.
_together: ContextVar[dict[str, Path] | None] = ContextVar("_together", default=None)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of `path` when it is whole and on the disk, or leaves no trace.

    Within `replacing_together` it takes its place when that ends.
    """
    together = _together.get()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if together is None or not SYNCFS:
                os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner reads
        if together is None:
            os.replace(temporary, path)
        else:
            together[temporary] = path
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if together is None:
        _sync_folder(path.parent)


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed run was writing into its folder."""
    for place in (folder, folder / LAST.parent):
        for left_over in place.glob(f"{TEMPORARY}*"):
            left_over.unlink()


@contextmanager
def replacing_together() -> Iterator[None]:
    """All files of `replacing` within it take their places at its end, in their order; if it fails, none does.

    For many files: the disk is waited for twice in all (on Linux) instead of twice a file. Until the end what was
    there before can be read. A crash during the end leaves files of before and files of now, each of them whole.
    """
    waiting: dict[str, Path] = {}
    token = _together.set(waiting)
    try:
        yield
        folders = {path.parent for path in waiting.values()}
        _sync_folders(folders)
        for temporary in list(waiting):
            os.replace(temporary, waiting[temporary])
            del waiting[temporary]
        _sync_folders(folders)
    finally:
        _together.reset(token)
        for temporary in waiting:
            Path(temporary).unlink(missing_ok=True)


def _sync_folders(folders: set[Path]) -> None:
    """Wait until what the folders list is on the disk, and on Linux the contents of their files too."""
    if not SYNCFS:
        for folder in folders:
            _sync_folder(folder)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for folder in {folder.stat().st_dev: folder for folder in folders}.values():
        with _opened(folder) as descriptor:
            if libc.syncfs(descriptor):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        with _opened(folder) as descriptor:
            os.fsync(descriptor)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class MetricsFile:
    """metrics.csv: one row a logging point, with the number of the epoch first."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS

    def rows(self) -> list[dict[str, float]]:
        """The whole rows; one that a crash cut short is left out."""
        if not self.path.exists():
            return []
        lines = self.path.read_text().splitlines(keepends=True)
        table = csv.DictReader(line for line in lines if line.endswith("\n"))
        return [{k: (int if k in ("epoch", "step") else float)(v) for k, v in row.items()} for row in table]

    def cut_after(self, epoch: int) -> None:
        """Drop what is later than `epoch`."""
        rows = [row for row in self.rows() if row["epoch"] <= epoch]
        self.path.unlink(missing_ok=True)
        if rows:
            self.write(rows)

    def write(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Put these rows, one at the least, in place of what there is."""
        with replacing(self.path) as file:
            file.write("".join([_line(rows[0]), *(_line(row.values()) for row in rows)]).encode())

    def append(self, row: Mapping[str, float]) -> None:
        header = "" if self.path.exists() else _line(row)
        line = (header + _line(row.values())).encode()
        with open(self.path, "ab", buffering=0) as file:
            size = file.tell()
            if file.write(line) < len(line):  # the disk is full
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))


def write_json(path: Path, fields: Mapping[str, Any]) -> None:
    """Replace a JSON file by these fields; what JSON has no type for is written as text."""
    with replacing(path) as file:
        file.write(json.dumps(fields, indent=2, default=str).encode() + b"\n")


def new_folder(wanted: Path, *, exact: bool) -> Path:
    """Make a folder that did not exist: `wanted`, or the same with a number; where `exact`, `wanted` as it is.

    Raises OSError if it can't be made.
    """
    if exact:
        wanted.mkdir(parents=True, exist_ok=True)
        return wanted
    for number in itertools.count(1):
        folder = wanted.with_name(f"{wanted.name}{f'-{number}' if number > 1 else ''}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
    raise AssertionError("unreachable")


def _line(cells: Any) -> str:
    return ",".join(str(cell) for cell in cells) + "\n"
