"""Files that are named on a command line: refused before the seconds of work after which they could not be used."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from lightning_d2l.config.check import RequestError


def require_file(path: Path) -> None:
    """Raise RequestError unless a path is that of a regular file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise RequestError(f"{path}: not a regular file")
    except OSError as error:
        raise RequestError(f"{path}: can't be read ({error.strerror})") from error


def require_writable(option: str, path: Path) -> None:
    """Raise RequestError that begins with the option if no file can be written at a path.

    Folders of the path that are missing may be created.
    """
    try:
        if path.is_dir():
            raise RequestError(f"{option}={path}: a folder; must be a file")
        near = next(place for place in (path, *path.absolute().parents) if place.exists())
        if not os.access(near, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if near != path and not near.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except OSError as error:
        raise RequestError(f"{option}={path}: cannot be written ({error.strerror})") from error
