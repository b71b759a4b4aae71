"""Atomic writing of a run's files: each is complete or absent, whenever the program is killed."""

from __future__ import annotations

import csv
import ctypes
import errno
import io
import json
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

METRICS = "metrics.csv"
LAST, BEST = Path("checkpoints/last.ckpt"), Path("checkpoints/best.ckpt")
BEST_BEFORE = Path("checkpoints/best_of_whole_epochs.ckpt")  # of a run that ended within an epoch

Row = dict[str, float]
"""The metrics of a logging point, with "epoch" and "step"."""

LARGEST_METRICS = 2**30  # bytes of a metrics.csv
TEMPORARY = ".new-"  # not the prefix that TensorBoard looks for
# Errors of a disk that takes no more, is broken, or may not be written.
UNWRITABLE = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EFBIG", "EIO", "ESTALE", "ENODEV", "ENXIO")
    if hasattr(errno, name)
}
SYNCFS = sys.platform == "linux"  # syncfs(2) exists
# The temporary files of the current `replacing_together`, and the paths that they will replace.
_together: ContextVar[dict[Path, Path] | None] = ContextVar("_together", default=None)
_check: Callable[[], None] | None = None  # called before files are replaced


def reason_of(error: BaseException) -> str:
    """Why files can't be written, without the number of the error."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return error.strerror + (f": {error.filename}" if error.filename else "")


@contextmanager
def only_if(check: Callable[[], None]) -> Iterator[None]:
    """Call `check` before any file is replaced or appended to in this process; what it raises prevents that."""
    global _check  # noqa: PLW0603
    before, _check = _check, check
    try:
        yield
    finally:
        _check = before


def _allowed() -> None:
    if _check is not None:
        _check()


@contextmanager
def replacing(path: Path, *, new_folders: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` once it is complete and on the disk; an exception discards it.

    Raises FileNotFoundError if the folder does not exist and `new_folders` is False.
    """
    together = _together.get()
    if new_folders:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:  # with the permissions that the user's umask leaves
            yield file
            file.flush()
            if together is None or not SYNCFS:
                os.fsync(file.fileno())
        if together is None:
            _allowed()
            os.replace(temporary, path)
        else:
            together[temporary] = path
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    if together is None:
        _sync_folder(path.parent)


def remove_unfinished(folder: Path, *, below: bool = True) -> None:
    """Remove the temporary files that a killed process left in a folder and, with `below`, in those inside."""
    for left_over in [*folder.glob(f"{TEMPORARY}*"), *(folder.glob(f"*/{TEMPORARY}*") if below else ())]:
        with suppress(OSError):
            left_over.unlink()


@contextmanager
def replacing_together() -> Iterator[None]:
    """Replace the files of all `replacing` blocks inside at the end, in order; after an exception, replace none.

    On Linux this syncs the disk twice in total. A crash at the end leaves old and new files, each of them complete.
    """
    waiting: dict[Path, Path] = {}
    token = _together.set(waiting)
    try:
        yield
        folders = {path.parent for path in waiting.values()}
        _sync_folders(folders)
        _allowed()
        for temporary in list(waiting):
            os.replace(temporary, waiting[temporary])
            del waiting[temporary]
        _sync_folders(folders)
    finally:
        _together.reset(token)
        for temporary in waiting:
            with suppress(OSError):
                temporary.unlink()


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
    """metrics.csv: one row for each logging point; the first column is the epoch.

    A cell is empty where a row lacks a metric, as the first rows of a custom module may that logs it later.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS
        self._columns: list[str] = []  # of the file, once they are known

    def rows(self) -> list[Row]:
        """The complete rows; a row truncated by a crash is left out.

        Raises OSError if the file can't be read, and ValueError, with the reason, if it holds anything else.
        """
        try:
            content = read_bounded(self.path, LARGEST_METRICS)
        except FileNotFoundError:
            return []
        try:
            text = content[: content.rfind(b"\n") + 1].decode()
            header, *lines = list(csv.reader(io.StringIO(text), strict=True)) or [[]]
            return [_row(header, cells, line) for line, cells in enumerate(lines, 2)]
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"not a table ({error})") from error

    def cut_after(self, epoch: int) -> list[Row]:
        """Remove the rows after `epoch`, and what is left of a torn row; returns the others."""
        rows = [row for row in self.rows() if row["epoch"] <= epoch]
        if not rows:
            self.path.unlink(missing_ok=True)
        elif self.path.read_bytes() != _table(rows):
            self.write(rows)
        return rows

    def write(self, rows: Sequence[Row]) -> None:
        """Replace the file by these rows, at least one; the run's folder must exist."""
        with replacing(self.path, new_folders=False) as file:
            file.write(_table(rows))
        self._columns = _columns(rows)

    def append(self, row: Row) -> None:
        """Add a row."""
        if not self.path.exists():
            self.write([row])
            return
        if not self._columns:
            self._columns = _columns(self.rows())
        if not row.keys() <= {*self._columns}:
            self.write([*self.rows(), row])
            return
        line = _lines([[row.get(name, "") for name in self._columns]])
        _allowed()
        with open(self.path, "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            except OSError:
                with suppress(OSError):
                    file.truncate(size)
                raise

    def sync(self) -> None:
        """Wait until the rows are on the disk."""
        with suppress(FileNotFoundError), open(self.path, "r+b", buffering=0) as file:
            os.fsync(file.fileno())


def _row(header: Sequence[str], cells: Sequence[str], line: int) -> Row:
    """One row of a metrics.csv; raises ValueError that names its line."""
    try:
        named = [(name, cell) for name, cell in zip(header, cells, strict=True) if cell or name in ("epoch", "step")]
        row: Row = {k: (int if k in ("epoch", "step") else float)(v) for k, v in named}
    except ValueError:
        raise ValueError(f"line {line} is damaged") from None
    if "epoch" not in row or not 0 < row["epoch"] < 2**53:
        raise ValueError(f"line {line} has no epoch")
    return row


def _columns(rows: Sequence[Row]) -> list[str]:
    """The names in any of the rows, in the order in which they come first."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _table(rows: Sequence[Row]) -> bytes:
    columns = _columns(rows)
    return _lines([columns, *([row.get(name, "") for name in columns] for row in rows)])


def _lines(cells: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(cells)
    return text.getvalue().encode()


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes; never waits, as for a FIFO.

    Raises OSError if the file can't be read, and ValueError, with the reason, if it is no such file.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(min(limit, status.st_size) + 1)
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


def write_json(path: Path, fields: Mapping[str, Any], *, new_folders: bool = True) -> None:
    """Write a JSON file atomically, as `replacing`; values that JSON can't represent are written as strings."""
    with replacing(path, new_folders=new_folders) as file:
        file.write(json.dumps(fields, indent=2, default=str).encode() + b"\n")
