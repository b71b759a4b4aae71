"""Find or download the official Fashion-MNIST files and check them, without importing torch.

Source: Xiao, Rasul and Vollgraf (2017), "Fashion-MNIST: a novel image dataset for benchmarking machine learning".
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import IO

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from platformdirs import user_cache_dir

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.places import here

MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
READ_TIMEOUT, TOTAL_TIMEOUT, LARGEST_FILE = 10.0, 300.0, 64 * 2**20  # seconds, seconds, bytes
LOCK, UNFINISHED = ".lock", ".new-"  # names in a data folder: its lock, and the prefix of files that are being written


def data_root(root: str | None) -> Path:
    """The data root: `root`, or the user's cache folder."""
    return Path(os.path.expanduser(root)) if root else Path(user_cache_dir("lightning_d2l"))


def official_folder(root: str | None, source: str) -> tuple[Path | None, str]:
    """The folder with the four verified official files, or None and the reason if generated garments are used instead.

    Downloads missing files. Raises RequestError if a file is altered or can't be read, or is missing although `source`
    is "official".
    """
    if source == "generated":
        return None, "data.source=generated"
    folder = _raw(root)
    for name, md5 in MD5.items():
        if _exists(folder / name):
            checked(folder / name, md5)
            continue
        try:
            _download(folder, name)
        except (OSError, HTTPException, ValueError) as error:  # a path with a null character is a ValueError
            reason = f"no {name} in {folder}, and the download failed ({error})"
            if source == "auto":
                return None, reason
            raise RequestError(
                f"data.root={root or 'null'}: {reason}\n"
                "put the four official .gz files there, or set data.source=generated to use generated garments"
            ) from error
    return folder, ""


def has_official(root: str | None) -> bool:
    """Whether the four official files are below a data root; raises RequestError if one is altered or can't be read."""
    folder = _raw(root)
    found = [_exists(folder / name) for name in MD5]
    return all(found) and all(checked(folder / name, MD5[name]) for name in MD5)


def _raw(root: str | None) -> Path:
    return data_root(here(root)) / "FashionMNIST" / "raw"


def read_official(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (n, 28, 28) and labels (n,) of split "train" or "test"; raises RequestError on an altered file."""
    prefix, n = {"train": ("train", 60_000), "test": ("t10k", 10_000)}[split]
    files = (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz")
    images, labels = (gzip.decompress(checked(folder / file, MD5[file])) for file in files)
    return np.frombuffer(images, np.uint8, -1, 16).reshape(n, 28, 28), np.frombuffer(labels, np.uint8, -1, 8)


def _exists(path: Path) -> bool:
    """Whether there is anything at a path; raises RequestError where that can't be said."""
    try:
        return path.exists()
    except OSError as error:
        raise RequestError(f"data.root: {path} can't be read ({error.strerror})") from error


def official_file(folder: Path, name: str, md5: str, urls: Sequence[str], largest: int) -> bytes:
    """The content of an official file in a folder, which is downloaded from the first of `urls` that has it.

    Raises RequestError if the file is altered, can't be read, or is missing and can't be downloaded.
    """
    if not _exists(folder / name):
        try:
            _download_one(folder / name, md5, urls, largest)
        except (OSError, HTTPException, ValueError) as error:  # a path with a null character is a ValueError
            hint = f"put {name} there, from {urls[0]}" if urls else f"put {name} there"
            raise RequestError(
                f"data.root: no {name} in {folder}, and the download failed ({error})\n{hint}"
            ) from error
    return checked(folder / name, md5, largest)


def checked(path: Path, md5: str, largest: int | None = None) -> bytes:
    """The content of an official file; raises RequestError if it is none, before anything is unpacked."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise RequestError(f"data.root: {path} is not a regular file; put the official file there")
        content = path.read_bytes() if facts.st_size <= (largest or LARGEST_FILE) else b""
    except OSError as error:
        raise RequestError(f"data.root: {path} can't be read ({error.strerror})") from error
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise RequestError(
            f"data.root: {path} is altered or truncated (its md5 must be {md5})\n"
            "delete it to download it again, or choose another data.root"
        )
    return content


def _download(folder: Path, name: str) -> None:
    from torchvision.datasets import FashionMNIST  # for its list of mirrors; imports torch, so only here

    _download_one(folder / name, MD5[name], [mirror + name for mirror in FashionMNIST.mirrors], LARGEST_FILE)


def _download_one(destination: Path, md5: str, urls: Sequence[str], largest: int) -> None:
    """Download and verify one file; the file appears only when complete. One process downloads at a time."""
    with locked(destination.parent):
        if destination.exists():
            return
        failure: Exception = OSError("no mirror")
        for url in urls:
            try:
                return _fetch(url, destination, md5, largest)
            except (OSError, HTTPException) as error:
                failure = error
        raise failure


def _fetch(url: str, destination: Path, md5: str, largest: int) -> None:
    deadline = time.monotonic() + TOTAL_TIMEOUT * max(1.0, largest / LARGEST_FILE)
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with urllib.request.urlopen(url, timeout=READ_TIMEOUT) as response, whole_file(destination) as file:
        while block := response.read(2**16):
            size += len(block)
            if size > largest or time.monotonic() > deadline:
                raise OSError(f"{url}: too large or too slow")
            digest.update(block)
            file.write(block)
        if digest.hexdigest() != md5:
            raise OSError(f"{url}: not the official file")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create a folder for data and keep other processes from writing into it.

    After an exception the folders that this created are removed again, unless something lies in them. Raises OSError
    if the folder can't be written, or another process holds it for `TOTAL_TIMEOUT` seconds.
    """
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    lock = FileLock(folder / LOCK, timeout=TOTAL_TIMEOUT)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with lock:
                folder.mkdir(parents=True, exist_ok=True)  # the process that held the lock may have removed it
                for left_over in folder.glob(f"{UNFINISHED}*"):  # of a process that was killed
                    left_over.unlink()
                yield
        except Timeout as error:
            raise OSError("another process holds the lock") from error
        except NotImplementedError as error:
            raise OSError(f"{folder} can't be locked") from error
    except BaseException:
        with suppress(OSError):
            if new and {path.name for path in folder.iterdir()} == {LOCK}:
                (folder / LOCK).unlink()
        for place in new:
            with suppress(OSError):
                place.rmdir()
        raise


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file beside `path` that takes its place once it is complete; an exception discards it."""
    temporary = path.with_name(f"{UNFINISHED}{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
