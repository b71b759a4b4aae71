"""File operations of a child, counted by an audit hook, at one of which there is a kill, a signal, or an error."""

from __future__ import annotations

import errno
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Audit events of operations that change something, and which of their arguments are paths.
EVENTS = {
    "os.mkdir": (0,), "os.rename": (0, 1), "os.remove": (0,), "os.rmdir": (0,), "os.link": (0, 1),
    "os.symlink": (0, 1), "os.truncate": (0,), "os.chmod": (0,), "os.utime": (0,), "shutil.rmtree": (0,),
}  # fmt: skip


class Operations:
    """Counts the operations below a folder; `act` is called with the name of the one whose number is `at`, from 1.

    Made before a fork and installed after it; the parent then reads `number`.
    """

    def __init__(self, folder: Path, at: int = 0, act: Callable[[str], object] = lambda name: None) -> None:
        self.folder, self.at, self.act = str(folder.resolve()), at, act
        self._shared = mmap.mmap(-1, 8)

    @property
    def number(self) -> int:
        """How many there were."""
        return int.from_bytes(self._shared[:8], "little")

    def install(self) -> None:
        """Count from now on in this process."""
        self._process = os.getpid()
        self._fsync, self._ftruncate = os.fsync, os.ftruncate
        os.fsync = self._wrapped("os.fsync", os.fsync)
        os.ftruncate = self._wrapped("os.ftruncate", os.ftruncate)
        sys.addaudithook(self._hook)

    def _wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any) -> Any:
            self._count(name)
            return function(*args)

        return wrapper

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            if isinstance(path, int) or not (flags & WRITING if mode is None else set(mode) & set("wax+")):
                return
            paths = [path]
        elif event in EVENTS:
            paths = [args[i] for i in EVENTS[event]]
        else:
            return
        if any(self._is_below(path) for path in paths):
            self._count(f"{event} {paths[-1]}")

    def _is_below(self, path: Any) -> bool:
        return not isinstance(path, int) and os.path.abspath(os.fsdecode(path)).startswith(self.folder)

    def _count(self, name: str) -> None:
        if os.getpid() != self._process:
            return
        number = self.number + 1
        self._shared[:8] = number.to_bytes(8, "little")
        if number == self.at:
            self.act(name)


def failing(code: int, *, always: bool = False) -> Callable[[str], object]:
    """What an operation does that fails with an errno."""

    def act(name: str) -> object:
        raise OSError(code, os.strerror(code))

    return act


ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO]
