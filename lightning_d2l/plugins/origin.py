"""Where registered code comes from: a file, or an installed package, with its version and checksums."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import site
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(eq=False)
class Plugin:
    """A file or module that registers something; `beside` are the other files that it uses."""

    name: str
    file: Path | None = None
    module: str | None = None  # the name that it is imported by, of a module
    package: str | None = None  # the distribution that a module belongs to, if there is one
    version: str | None = None
    sha256: str = ""
    beside: str = ""  # the checksum of the files beside it: what it imports from its folder or package, and conf/
    conf: Path | None = None

    def __str__(self) -> str:
        return self.module or (shown(self.file) if self.file else self.name)

    def as_record(self) -> dict[str, Any]:
        """What run.json and sweep.json hold of it."""
        place = {"package": self.package} if self.package else {"file": str(self.file) if self.file else None}
        place |= {"module": self.module} if self.module else {}
        more = {"sha256_beside": self.beside} if self.beside else {}
        return {"name": self.name, **place, "version": self.version, "sha256": self.sha256, **more}


@dataclass(frozen=True)
class Registration:
    """A registered class or function, and the line that registers it."""

    kind: str
    name: str
    target: Any = field(repr=False)
    plugin: Plugin
    file: str
    line: int

    @property
    def where(self) -> str:
        return f"{shown(self.file)}:{self.line}"


def shown(path: str | os.PathLike[str]) -> str:
    """A path as it is named from the current folder, if it lies there."""
    try:
        return str(Path(path).resolve().relative_to(Path.cwd().resolve()))
    except (ValueError, OSError):
        return str(path)


def sha256(path: Path) -> str:
    """The checksum of a file, as `sha256sum` prints it; empty if it can't be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def sha256_of_all(paths: Iterable[Path], folder: Path) -> str:
    """The checksum of the lines that `sha256sum` prints for files below a folder; empty for none."""
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in sorted(set(paths))]
    return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else ""


def is_site(folder: Path) -> bool:
    """Whether a folder holds the modules of all installed packages, or Python's own."""
    known = [*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages()]
    return folder in [Path(path).resolve() for path in known]


def is_installed(path: Path) -> bool:
    """Whether a file belongs to an installed package."""
    return any(parent in ("site-packages", "dist-packages") for parent in path.parts)


def distribution_of(module: str) -> importlib.metadata.Distribution | None:
    """The distribution with the name of the package of a module."""
    try:
        return importlib.metadata.distribution(module.partition(".")[0])
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
