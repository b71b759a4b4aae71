"""Find or download the official Fashion-MNIST files and check them, without importing torch.

Source: Xiao, Rasul and Vollgraf (2017), "Fashion-MNIST: a novel image dataset for benchmarking machine learning".
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from platformdirs import user_cache_dir

from lightning_d2l.config.check import RequestError

MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
READ_TIMEOUT, TOTAL_TIMEOUT, LARGEST_FILE = 10.0, 300.0, 64 * 2**20  # seconds, seconds, bytes


def data_root(root: str | None) -> Path:
    """The data root: `root`, or the user's cache folder."""
    return Path(root).expanduser() if root else Path(user_cache_dir("lightning_d2l"))


def official_folder(root: str | None, source: str) -> tuple[Path | None, str]:
    """The folder with the four verified official files, or None and the reason if generated garments are used instead.

    Downloads missing files. Raises RequestError if a file is altered, or is missing although `source` is "official".
    """
    if source == "generated":
        return None, "data.source=generated"
    folder = data_root(root) / "FashionMNIST" / "raw"
    try:
        for name in MD5:
            if not (folder / name).exists():
                _download(folder, name)
            _checked(folder / name)
    except OSError as error:
        reason = f"no {name} in {folder}, and the download failed ({error})"
        if source == "auto":
            return None, reason
        raise RequestError(
            f"data.root={root or 'null'}: {reason}\n"
            "put the four official .gz files there, or set data.source=generated to use generated garments"
        ) from error
    return folder, ""


def read_official(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (n, 28, 28) and labels (n,) of split "train" or "test"; raises RequestError on an altered file."""
    prefix, n = {"train": ("train", 60_000), "test": ("t10k", 10_000)}[split]
    files = (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz")
    images, labels = (gzip.decompress(_checked(folder / file)) for file in files)
    return np.frombuffer(images, np.uint8, -1, 16).reshape(n, 28, 28), np.frombuffer(labels, np.uint8, -1, 8)


def _checked(path: Path) -> bytes:
    content = path.read_bytes()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != MD5[path.name]:
        raise RequestError(
            f"data.root: {path} is altered or truncated (its md5 must be {MD5[path.name]})\n"
            "delete it to download it again, or choose another data.root"
        )
    return content


def _download(folder: Path, name: str) -> None:
    """Download and verify one file; the file appears only when complete. One process downloads at a time."""
    from torchvision.datasets import FashionMNIST  # for its list of mirrors; imports torch, so only here

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=TOTAL_TIMEOUT):
            if (folder / name).exists():
                return
            failure: OSError = OSError("no mirror")
            for mirror in FashionMNIST.mirrors:
                try:
                    return _fetch(mirror + name, folder / name)
                except OSError as error:
                    failure = error
            raise failure
    except Timeout as error:
        raise OSError("another process holds the download lock") from error


def _fetch(url: str, destination: Path) -> None:
    deadline = time.monotonic() + TOTAL_TIMEOUT
    digest, size = hashlib.md5(usedforsecurity=False), 0
    descriptor, temporary = tempfile.mkstemp(dir=destination.parent, prefix=".download-")
    try:
        with os.fdopen(descriptor, "wb") as file, urllib.request.urlopen(url, timeout=READ_TIMEOUT) as response:
            while block := response.read(2**16):
                size += len(block)
                if size > LARGEST_FILE or time.monotonic() > deadline:
                    raise OSError(f"{url}: too large or too slow")
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != MD5[destination.name]:
            raise OSError(f"{url}: not the official file")
        os.chmod(temporary, 0o644)
        os.replace(temporary, destination)
    finally:
        Path(temporary).unlink(missing_ok=True)
