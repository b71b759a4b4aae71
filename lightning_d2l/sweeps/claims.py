"""Claims: whose a chunk is, and whether its owner lives; see `chunks`."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_d2l.training.files import only_if, read_bounded
from lightning_d2l.training.signals import Stopped

LAPSE = 60.0  # seconds without a sign of life, after which a worker counts as dead
BEAT = 2.0  # seconds between two signs of life
WORDS = 1000  # bytes of a claim, which is written at once and so is read whole
NOBODY = json.dumps({"token": ""}).encode().ljust(WORDS)


def claim_of(stem: Path, attempt: int) -> Path:
    """The path of a claim of a chunk, whose files begin with `stem`."""
    return stem.with_name(f"{stem.name}.{attempt}.claim")


def changed_at(claim: Path) -> float:
    """When a claim was renewed, in seconds; 0 if it was given up. Opening it asks a network file system anew."""
    try:
        with open(claim, "rb") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return 0.0


def give_up(claim: Path) -> None:
    """Let a claim lapse at once, since its owner is known to be dead."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(claim, (0, 0))


def renew(claim: Path, said: Mapping[str, Any]) -> bool:
    """Give a sign of life with what the owner of a claim has to say; returns False if it is no longer the owner."""
    stem, _, attempt = claim.name.removesuffix(".claim").rpartition(".")
    if claim_of(claim.with_name(stem), int(attempt) + 1).exists():
        return False
    try:
        with open(claim, "r+b", buffering=0) as file:  # not created anew
            own = json.loads(file.read(WORDS))
            if not own["token"]:
                return False
            file.seek(0)
            file.write(padded({**own, **said}))
            os.fsync(file.fileno())
        os.utime(claim)  # by the file system's clock
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ESTALE)  # else the file system does not answer for a while
    except (ValueError, KeyError, TypeError):
        return False
    return True


@contextlib.contextmanager
def alive(claim: Path, lost: Callable[[], None], said: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
    """Give signs of life of the owner of a claim, with what it has to say; `lost` is called if another one took over.

    A claim that its owner gave no sign of for LAPSE seconds, such as in a stopped process, may have been taken. Then
    Stopped is raised where it would replace a file of a run.
    """
    over, gone, renewed = threading.Event(), threading.Event(), clock()

    def still() -> bool:
        nonlocal renewed
        began = clock()
        if gone.is_set() or not renew(claim, said()):
            gone.set()
            return False
        renewed = began
        return True

    def beat() -> None:
        while not over.wait(BEAT):
            if not still():
                lost()
                return

    def check() -> None:
        if gone.is_set() or (clock() - renewed > LAPSE / 3 and not still()):
            raise Stopped(signal.SIGTERM)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        with only_if(check):
            yield
    finally:
        over.set()
        thread.join(2 * BEAT)


def clock() -> float:
    """Seconds since the computer was started, those in which it slept included where the system counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def is_gone(words: Mapping[str, Any]) -> bool:
    """Whether the owner of a claim was a process of this computer that has ended."""
    if words.get("host") != socket.gethostname() or not isinstance(pid := words.get("pid"), int) or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def words_of(claim: Path) -> dict[str, Any]:
    """What the owner of a claim said last; empty if it can't be read."""
    try:
        found = json.loads(read_bounded(claim, 100_000))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def padded(words: Mapping[str, Any]) -> bytes:
    return json.dumps(words, default=str).encode().ljust(WORDS)
