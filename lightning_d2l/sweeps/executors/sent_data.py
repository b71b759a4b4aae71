"""Files of data that workers on other computers may lack: sent once, and kept there by their checksum."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.image_data import IMAGE_FOLDER, TORCHVISION
from lightning_d2l.config.places import send_to
from lightning_d2l.config.registry import FASHION_MNIST
from lightning_d2l.config.tables import TABLES_DATA
from lightning_d2l.data.download import MD5, data_root, has_official, locked

LARGEST = 2 * 2**30  # bytes that are sent of a place
SENT = "sent"  # the folder in that of the user's cache


@dataclass
class Files:
    """The files below a place that the settings of data name, with their sizes and checksums (SHA-256).

    `place` is what the settings say, and `base` that as a path of the driver; the names of files are relative to it,
    "" for a file by itself. `content` has what gets each, if they are sent.
    """

    place: str
    base: str
    sums: dict[str, str]
    size: int
    content: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A name for this content."""
        return hashlib.sha256(repr((os.path.basename(self.base), sorted(self.sums.items()))).encode()).hexdigest()[:32]


def files_of(data: Mapping[str, Any]) -> list[Files]:
    """The files that the settings of data name and this computer has; those of a custom data module are not known."""
    target, found = data.get("_target_"), []
    root = data.get("root")
    if target == FASHION_MNIST and data["source"] != "generated" and has_official(root):
        found.append(_files(root, data_root(root), [f"FashionMNIST/raw/{name}" for name in MD5]))
    elif target == TORCHVISION:
        from lightning_d2l.data.torchvision import files

        names = files(data["dataset"])
        if all((data_root(root) / name).is_file() for name in names):
            found.append(_files(root, data_root(root), names))
    elif target in TABLES_DATA:
        found += [_files(path, Path(path), [""]) for path in (data["path"], data["test_path"]) if path]
    elif target == IMAGE_FOLDER:
        base = Path(os.path.expanduser(data["path"]))
        found.append(_files(data["path"], base, sorted(str(path.relative_to(base)) for path in _below(base))))
    return found


def _below(folder: Path) -> Iterable[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names if not name.startswith("."))


def _files(place: str | None, base: Path, names: Iterable[str]) -> Files:
    paths = {name: base / name if name else base for name in names}
    try:
        size = sum(path.stat().st_size for path in paths.values())
        return Files(place or "", str(base), {name: _sum(path) for name, path in paths.items()}, size)
    except OSError as error:
        raise RequestError(f"data: {error.filename} can't be read ({error.strerror})") from error


def _sum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def send(files: Files, put: Callable[[bytes], Any]) -> None:
    """Have `put` keep the content of the files, each of which `place` gets by what that returns."""
    if files.size <= LARGEST:
        base = Path(files.base)
        files.content = {name: put((base / name if name else base).read_bytes()) for name in files.sums}


def place(given: Iterable[Files]) -> None:
    """Have the files here: where the driver has them, if they are the same there, else in this user's cache folder.

    Raises RequestError if they are too large to be sent, or can't be written.
    """
    for files in given:
        here = os.path.expanduser(files.place) if files.place else str(data_root(None))
        there = _same(here, tuple(files.sums.items()))
        send_to(files.place or None, files.place or here if there else _kept(files))


@functools.cache
def _same(base: str, sums: tuple[tuple[str, str], ...]) -> bool:
    """Whether files with these checksums are below a place; a process looks once."""
    try:
        return all(_sum(Path(base, name) if name else Path(base)) == known for name, known in sums)
    except OSError:
        return False


def _kept(files: Files) -> str:
    """The place of files in the cache, where one process a computer puts them."""
    folder = data_root(None) / SENT / files.key
    base, sums = str(folder / (os.path.basename(files.base) or "data")), tuple(files.sums.items())
    if _same(base, sums):
        return base
    if not files.content:
        raise RequestError(f"data: {files.base} is not here, and too large to be sent ({files.size:,} bytes)")
    try:
        with locked(folder.parent):
            _same.cache_clear()  # another process may have put them there
            if not _same(base, sums):
                _write(files, folder, base)
    except OSError as error:
        raise RequestError(f"data: {files.base} can't be kept in {folder} ({error})") from error
    _same.cache_clear()
    return base


def _write(files: Files, folder: Path, base: str) -> None:
    import ray

    new = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        inside = new / os.path.basename(base)
        for name, content in files.content.items():
            path = inside / name if name else inside
            if not path.resolve().is_relative_to(new.resolve()):
                raise RequestError(f"data: {name!r} is not below its folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(ray.get(content))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
