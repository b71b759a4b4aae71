"""A folder is written by one process at a time; the process that holds it can be named."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lightning_d2l.config.check import RequestError

if sys.platform != "win32":
    import fcntl
    import resource

LOCK = ".lock"
# Errors of flock on a file system that has no locks. There the existence of the file is the lock.
WITHOUT_FLOCK = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
PATIENCE = 0.2  # seconds in which the lock of a process that only asks `holder` is gone
BEAT = 30  # seconds between two changes of a lock's modification time
DEAD = 10 * BEAT  # seconds without a change, after which a process on another machine counts as ended
LARGEST = 4096  # bytes of a lock file


@dataclass(frozen=True)
class Holder:
    """A process that writes into a folder."""

    pid: int
    host: str
    started: str  # when the process started
    since: str  # since when it holds the folder

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}" if self.pid else "another process"


@dataclass
class _Held:
    """A lock of this process: the thread that holds it, how often, and the open file, if it has flock."""

    path: Path
    descriptor: int
    inode: int
    process: int
    thread: int
    times: int = 1


_held: dict[Path, _Held] = {}
_changing = threading.RLock()


@contextlib.contextmanager
def hold(folder: Path, what: str) -> Iterator[None]:
    """Hold an existing folder for this process, which writes into it; a thread may hold a folder more than once.

    The lock ends with the process. `what` begins the message, such as "hydra.run.dir=outputs/1". Raises RequestError
    if another process, or another thread of this one, holds the folder, or if the folder can't be written.
    """
    try:
        held = _take(folder.resolve() / LOCK, what)
    except OSError as error:
        raise RequestError(f"{what}: cannot be written ({error.strerror})") from error
    try:
        yield
    finally:
        _give_back(held)


def holder(folder: Path) -> Holder | None:
    """The process that holds a folder now, which may be this one, or None."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    try:
        return _locked_by(descriptor)
    finally:
        os.close(descriptor)


def process() -> dict[str, str | int]:
    """This process, as a record names it: pid, host, and when it started."""
    return _described(os.getpid())


@functools.cache
def _described(pid: int) -> dict[str, str | int]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": pid, "host": _host(), "started": _start_time(pid) or now}


def _take(path: Path, what: str) -> _Held:
    """Lock a file; raises RequestError if another process holds it."""
    with _changing:
        held = _held.get(path)
        if held and held.process == os.getpid():
            if held.thread != threading.get_ident():
                raise RequestError(f"{what}: in use by another thread of this process; wait for it or stop it")
            held.times += 1
            return held
        patience = time.monotonic() + PATIENCE
        while (descriptor := _try_to_lock(path)) is None:
            if time.monotonic() > patience:
                raise RequestError(f"{what}: in use by {holder(path.parent) or 'a process'}; wait for it or stop it")
            time.sleep(PATIENCE / 10)
        held = _Held(path, descriptor, os.fstat(descriptor).st_ino, os.getpid(), threading.get_ident())
        try:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps({**process(), "since": now}).encode())
        except BaseException:
            _unlock(held)
            raise
        _held[path] = held
        _heart(os.getpid())  # a forked process has no threads of its parent
        return held


def _give_back(held: _Held) -> None:
    with _changing:
        held.times -= 1
        if held.times or held.process != os.getpid():  # a forked process does not hold what its parent holds
            return
        del _held[held.path]
        _unlock(held)


def _unlock(held: _Held) -> None:
    """Remove the file, before the lock on it ends: whoever locked it meanwhile sees that it is gone, and retries."""
    with contextlib.suppress(OSError):
        if held.path.stat().st_ino == held.inode:
            held.path.unlink()
    os.close(held.descriptor)


def _try_to_lock(path: Path) -> int | None:
    """The open file of a lock that was free, or None if it is held."""
    flags, created = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), True
    try:
        descriptor = _open(path, flags | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        created = False
        try:
            descriptor = _open(path, flags)
        except FileNotFoundError:
            return None
    try:
        if _flock(descriptor, exclusive=True) and _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)
        return None
    except OSError as error:
        if error.errno not in WITHOUT_FLOCK:
            os.close(descriptor)
            raise
    if created:
        return descriptor
    dead = _holder_without_flock(descriptor) is None
    os.close(descriptor)
    if dead:
        _remove_dead(path)
    return None


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno != errno.EMFILE or sys.platform == "win32":
            raise
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # a large group holds many folders
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return os.open(path, flags, 0o666)


def _flock(descriptor: int, *, exclusive: bool) -> bool:
    """Lock an open file; returns False if another one has it, and raises OSError where there are no locks."""
    if sys.platform == "win32":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        there, here = path.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _remove_dead(path: Path) -> None:
    """Remove a file that an ended process left, unless another process has replaced it just now."""
    aside = path.with_name(f"{LOCK}-{os.getpid()}-{threading.get_ident()}")
    with contextlib.suppress(OSError):
        os.rename(path, aside)
        descriptor = os.open(aside, os.O_RDONLY)
        alive = _holder_without_flock(descriptor) is not None
        os.close(descriptor)
        if alive:
            os.rename(aside, path)
        else:
            os.unlink(aside)


def _locked_by(descriptor: int) -> Holder | None:
    """Who holds an open lock file, or None."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return None
    try:
        return None if _flock(descriptor, exclusive=False) else _content(descriptor)
    except OSError:
        return _holder_without_flock(descriptor)


def _holder_without_flock(descriptor: int) -> Holder | None:
    found, age = _content(descriptor), time.time() - os.fstat(descriptor).st_mtime
    if not found.pid:  # not yet written
        return found if age < BEAT else None
    if found.host != _host() or os.name != "posix":
        return found if age < DEAD else None
    try:
        os.kill(found.pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass  # a process of another user
    there = _start_time(found.pid)
    return found if there is None or _seconds_between(there, found.started) <= 2 else None


def _content(descriptor: int) -> Holder:
    """What a lock file says about its holder; a holder without pid if it is not yet written."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        fields = json.loads(os.read(descriptor, LARGEST))
        host, started, since = (str(fields[name])[:80] for name in ("host", "started", "since"))
        if isinstance(fields["pid"], int) and 0 < fields["pid"] < 2**31:
            return Holder(fields["pid"], host, started, since)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    return Holder(0, "", "", "")


@functools.cache
def _host() -> str:
    return socket.gethostname()


def _start_time(pid: int) -> str | None:
    """When a process of this machine started, or None where that is not known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        lines = Path("/proc/stat").read_text().splitlines()
        booted = next(int(line.split()[1]) for line in lines if line.startswith("btime"))
        seconds = booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _seconds_between(one: str, other: str) -> float:
    try:
        return abs((datetime.fromisoformat(one) - datetime.fromisoformat(other)).total_seconds())
    except (ValueError, TypeError):
        return float("inf")


@functools.cache
def _heart(process: int) -> None:
    """Change the modification time of the locks of this process from time to time, for other machines to see."""

    def beat() -> None:
        while True:
            time.sleep(BEAT)
            with _changing:
                for held in _held.values():
                    with contextlib.suppress(OSError):
                        os.utime(held.descriptor if os.utime in os.supports_fd else held.path)

    threading.Thread(target=beat, name="locks", daemon=True).start()
