"""The folders of runs and sweeps: made anew, and removed again if nothing came into them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


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


def missing_folders(folder: Path) -> list[Path]:
    """The folder and those above it that do not exist, the deepest first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders, the deepest first, up to one that holds something."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
