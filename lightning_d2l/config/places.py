"""Files that are named on a command line: refused before the seconds of work after which they could not be used."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.image_data import IMAGE_DATA
from lightning_d2l.config.tables import TABLES_DATA

LOCK = ".lock"  # in a folder that a process holds or held
LAUNCHER = ("hydra/launcher", "hydra.launcher.")  # how the keys begin of who trains the runs of a sweep
PLACES_OF_DATA = ("root", "source", "path", "test_path")
"""The settings of data that say where they lie, and may change: a checksum tells whether the data are the same."""


_sent: dict[str | None, str] = {}


def send_to(place: str | None, here: str) -> None:
    """Let `here` be where this process finds the data that a setting places elsewhere, on another computer."""
    _sent[place] = here


@overload
def here(place: str) -> str: ...
@overload
def here(place: str | None) -> str | None: ...
def here(place: str | None) -> str | None:
    """Where this process finds the data of a place in the settings: there, unless they were sent."""
    return _sent.get(place, place)


def make_paths_absolute(data: Any, folder: str | None) -> None:
    """Make relative paths in the settings of data absolute, from `folder` or the current one; an empty one is none."""
    if not isinstance(data, dict):
        return
    ours = data.get("_target_") in [*TABLES_DATA, *IMAGE_DATA]  # the `path` of registered data may be anything
    for key in ("root", "path", "test_path") if ours else ("root",):
        if isinstance(path := data.get(key), str):
            data[key] = os.path.join(folder or os.getcwd(), os.path.expanduser(path)) if path else None


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
    with _writing(option, path):
        if path.is_dir():
            raise RequestError(f"{option}={path}: a folder; must be a file")
        near = _require_access(path)
        if near != path and not near.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def require_new_folder(option: str, path: Path) -> None:
    """Raise RequestError that begins with the option unless a path is that of an empty folder, or one can be made."""
    with _writing(option, path):
        near = _require_access(path)
        if not near.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if near == path and (there := {place.name for place in path.iterdir()} - {LOCK}):
            what = "holds a run already" if "run.json" in there else "not empty"
            raise RequestError(f"{option}={path}: {what}; choose another folder")


@contextmanager
def _writing(option: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RequestError(f"{option}={path}: cannot be written ({error.strerror})") from error


def _require_access(path: Path) -> Path:
    """The nearest place of a path that exists; raises OSError if it can't be written."""
    near = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not os.access(near, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return near
