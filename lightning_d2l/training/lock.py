"""A folder is written by one process at a time; the process that holds it can be named."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.places import LOCK
from lightning_d2l.training.files import read_bounded

# The file LOCK stays in the folder, empty: removing it would let two processes lock two files of one name.
# Errors of flock on a file system that has no locks. There the existence of a second file is the lock.
WITHOUT_FLOCK = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
WITHOUT_FLOCK_LOCK = ".lock.pid"
PATIENCE = 0.2  # seconds in which the lock of a process that only asks `holder` is gone
RECORDS = ("run.json", "sweep.json")  # which name the process that writes them
LARGEST = 50_000_000  # bytes of a record


@dataclass(frozen=True)
class Holder:
    """The process that writes into a folder, as its record names it; its fields are empty before the first record."""

    pid: int
    host: str
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, started {self.started}" if self.pid else "another process"


@dataclass
class _Held:
    """A lock of this process, and how often its thread holds it."""

    lock: BaseFileLock
    process: int
    thread: int
    times: int = 0


_held: dict[Path, _Held] = {}
_changing = threading.RLock()


@contextlib.contextmanager
def hold(folder: Path, what: str) -> Iterator[None]:
    """Hold an existing folder for this process, which writes into it; a thread may hold a folder more than once.

    The lock ends with the process. `what` begins the message, such as "hydra.run.dir=outputs/1". Raises RequestError
    if another process, or another thread of this one, holds the folder, or if the folder can't be written.
    """
    path = folder.resolve() / LOCK
    with _changing:
        held = _held.get(path)
        if held is None or held.process != os.getpid():  # a forked process does not hold what its parent holds
            held = _held[path] = _Held(_taken(path, what), os.getpid(), threading.get_ident())
        if held.thread != threading.get_ident():
            raise RequestError(f"{what}: in use by another thread of this process; wait for it or stop it")
        held.times += 1
    try:
        yield
    finally:
        with _changing:
            held.times -= 1
            if not held.times and held.process == os.getpid():
                del _held[path]
                held.lock.release()


def holder(folder: Path) -> Holder | None:
    """The process that holds a folder now, which may be this one, or None."""
    path = folder / LOCK
    if not path.is_file():
        return None
    try:
        if os.access(path, os.W_OK):
            _lock(path, 0).release()
        elif sys.platform != "win32":  # the folder of another user
            import fcntl

            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (Timeout, BlockingIOError):
        return _named_in(folder)
    except OSError:  # a folder that can't be written, so that nobody writes into it
        pass
    return None


def process() -> dict[str, str | int]:
    """This process, as a record names it: pid, host, and when it first wrote a record."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": _first_seen(os.getpid())}


@functools.cache
def _first_seen(pid: int) -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _taken(path: Path, what: str) -> BaseFileLock:
    if not path.parent.is_dir():
        raise RequestError(f"{what}: cannot be written (no such folder)")
    if path.exists() and not path.is_file():
        raise RequestError(f"{what}: its {LOCK} must be a regular file")
    try:
        return _lock(path, PATIENCE)
    except Timeout:
        user = _named_in(path.parent)
        raise RequestError(f"{what}: in use by {user}; wait for it or stop it") from None
    except OSError as error:
        raise RequestError(f"{what}: cannot be written ({error.strerror})") from error


def _lock(path: Path, patience: float) -> BaseFileLock:
    """An acquired lock; raises Timeout if another process has it, or OSError if the folder can't be written."""
    try:
        lock: BaseFileLock = FileLock(path, timeout=patience, thread_local=False)
        lock.acquire()
    except Timeout:
        raise
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno == errno.EMFILE and _allow_more_files():
            return _lock(path, patience)
        if isinstance(error, OSError) and error.errno not in WITHOUT_FLOCK:
            raise
        lock = SoftFileLock(path.with_name(WITHOUT_FLOCK_LOCK), timeout=patience, thread_local=False)
        lock.acquire()
    return lock


def _allow_more_files() -> bool:
    """Let this process open as many files as it may, for the locks of a large group; returns whether that is more."""
    if sys.platform == "win32":
        return False
    import resource

    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return now < most


def _named_in(folder: Path) -> Holder:
    for name in RECORDS:
        try:
            found = json.loads(read_bounded(folder / name, LARGEST))["process"]
            return Holder(int(found["pid"]), str(found["host"])[:80], str(found["started"])[:80])
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            continue
    return Holder(0, "", "")
