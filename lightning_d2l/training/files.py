"""Atomic writing of a run's files: each is complete or absent, whenever the program is killed."""

from __future__ import annotations

import csv
import ctypes
import errno
import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

METRICS = "metrics.csv"
LAST, BEST = Path("checkpoints/last.ckpt"), Path("checkpoints/best.ckpt")

Row = dict[str, float]
"""The metrics of a logging point, with "epoch" and "step"."""

TEMPORARY = ".new-"  # not the prefix that TensorBoard looks for
SYNCFS = sys.platform == "linux"  # syncfs(2) exists
# The temporary files of the current `replacing_together`, and the paths that they will replace.
_together: ContextVar[dict[str, Path] | None] = ContextVar("_together", default=None)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` once it is complete and on the disk; an exception discards it."""
    together = _together.get()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if together is None or not SYNCFS:
                os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp creates files that only their owner can read
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
    """Remove the temporary files of a killed run."""
    for place in (folder, folder / LAST.parent):
        for left_over in place.glob(f"{TEMPORARY}*"):
            left_over.unlink()


@contextmanager
def replacing_together() -> Iterator[None]:
    """Replace the files of all `replacing` blocks inside at the end, in order; after an exception, replace none.

    On Linux this syncs the disk twice in total. A crash at the end leaves old and new files, each of them complete.
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
    """Sync the entries of the folders to the disk, and on Linux also the contents of their files."""
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
    """metrics.csv: one row for each logging point; the first column is the epoch."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS

    def rows(self) -> list[Row]:
        """The complete rows; a row truncated by a crash is left out."""
        if not self.path.exists():
            return []
        lines = self.path.read_text().splitlines(keepends=True)
        table = csv.DictReader(line for line in lines if line.endswith("\n"))
        return [{k: (int if k in ("epoch", "step") else float)(v) for k, v in row.items()} for row in table]

    def cut_after(self, epoch: int) -> None:
        """Remove the rows after `epoch`."""
        rows = [row for row in self.rows() if row["epoch"] <= epoch]
        self.path.unlink(missing_ok=True)
        if rows:
            self.write(rows)

    def write(self, rows: Sequence[Row]) -> None:
        """Replace the file by these rows, at least one."""
        with replacing(self.path) as file:
            file.write("".join([_line(rows[0]), *(_line(row.values()) for row in rows)]).encode())

    def append(self, row: Row) -> None:
        header = "" if self.path.exists() else _line(row)
        line = (header + _line(row.values())).encode()
        with open(self.path, "ab", buffering=0) as file:
            size = file.tell()
            if file.write(line) < len(line):  # the disk is full
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes; never waits, as for a FIFO.

    Raises OSError if the file can't be read, and ValueError, with the reason, if it is no such file.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise ValueError(f"larger than {limit:,} bytes")
    return content


def read_json(path: Path, limit: int) -> Any:
    """The content of a JSON file of at most `limit` bytes; raises OSError, or ValueError with the reason."""
    content = read_bounded(path, limit)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError("not valid JSON" if isinstance(error, ValueError) else "JSON nested too deeply") from error


def write_json(path: Path, fields: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; values that JSON can't represent are written as strings."""
    with replacing(path) as file:
        file.write(json.dumps(fields, indent=2, default=str).encode() + b"\n")


def new_folder(wanted: Path, *, exact: bool) -> Path:
    """Create the folder `wanted`, with a number added if it exists, or with `exact` as it is; raises OSError."""
    folder, number = wanted, 1
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=exact)
            return folder
        except FileExistsError:
            if exact:
                raise
            number += 1
            folder = wanted.with_name(f"{wanted.name}-{number}")


def _line(cells: Any) -> str:
    return ",".join(str(cell) for cell in cells) + "\n"
