"""The record that a run leaves: run.json, readable whole at any moment."""

from __future__ import annotations

import functools
import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning_d2l
from lightning_d2l.config.check import RequestError
from lightning_d2l.training.files import replacing

STOPPED = "stopped by"  # so begins the error in the record of a run that a signal ended


class Record:
    """run.json of a run folder, or another such file; every change is on the disk when the call returns."""

    def __init__(self, folder: Path, fields: Mapping[str, Any], name: str = "run.json") -> None:
        self.path = folder / name
        self.fields = dict(fields)

    def update(self, **fields: Any) -> None:
        self.fields |= fields
        with replacing(self.path) as file:
            file.write(json.dumps(self.fields, indent=2, default=str).encode() + b"\n")


def read_record(folder: Path) -> dict[str, Any]:
    """The run.json of a run folder; raises RequestError if there is none or it is damaged."""
    path = Path(folder) / "run.json"
    try:
        record = json.loads(path.read_text())
        if isinstance(record, dict) and {"config", "status"} <= record.keys():
            return record
    except FileNotFoundError:
        raise RequestError(f"{folder}: not a run folder (it has no run.json)") from None
    except (OSError, ValueError):
        pass
    raise RequestError(f"{path}: damaged; a run's record can't be read from it")


@functools.cache
def versions() -> dict[str, str]:
    """What was installed."""
    packages = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "tensorboard", "numpy")
    return {
        "lightning_d2l": lightning_d2l.__version__,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


@functools.cache
def git_revision() -> str | None:
    """The commit of the checkout that this package runs from, "+" behind it if files were changed, or None."""
    root = Path(lightning_d2l.__file__).parents[1]

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if not (root / ".git").exists():
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
