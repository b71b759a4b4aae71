"""Checkpoints that are complete or absent, from which the same loop continues bit for bit."""

from __future__ import annotations

import io
import random
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_d2l import compat_lightning
from lightning_d2l.compat_torch import tree_map
from lightning_d2l.config.check import RequestError
from lightning_d2l.engine.optimizers import why_alone
from lightning_d2l.training.fields import is_number
from lightning_d2l.training.files import read_bounded, replacing

LARGEST = 2**36  # bytes of a checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes through a temporary file beside the destination, at most every `interval` seconds.

    A younger checkpoint waits in memory for `flush`. Files are written in the order in which they were last saved, so
    that best.ckpt, saved before last.ckpt, is never older than the last.ckpt that refers to it. `sync` is called before
    them: what a checkpoint counts on is on the disk earlier. Folders are made outside `folder`, the run's, alone.
    """

    def __init__(self, interval: float, sync: Callable[[], None] = lambda: None, folder: Path = Path("/")) -> None:
        self.interval, self.sync, self.folder = interval, sync, folder
        self._waiting: dict[Path, dict[str, Any]] = {}
        self._written = time.monotonic() - interval

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        # Training changes these tensors in place, so a copy waits.
        copy = tree_map(lambda v: v.clone() if isinstance(v, Tensor) else v, checkpoint)
        others = {other: waiting for other, waiting in self._waiting.items() if other != Path(path)}
        self._waiting = {**others, Path(path): copy}  # one assignment: a signal here must not lose what waits

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return load_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        self._waiting.pop(Path(path), None)
        super().remove_checkpoint(path)

    def flush(self, *, even_if_young: bool = True) -> None:
        """Write what waits, unless the last writing was less than `interval` seconds ago; the folder must exist."""
        if not even_if_young and time.monotonic() - self._written < self.interval:
            return
        if self._waiting:
            self.sync()
        for path in list(self._waiting):
            if not path.is_relative_to(self.folder):  # that of a ModelCheckpoint
                path.parent.mkdir(parents=True, exist_ok=True)
            write_checkpoint(self._waiting[path], path)
            del self._waiting[path]
        self._written = time.monotonic()


def write_checkpoint(checkpoint: Mapping[str, Any], *paths: Path) -> None:
    """Write a checkpoint whole, to each of the paths.

    Raises OSError, as for a full disk, where torch.save raises RuntimeError.
    """
    content = io.BytesIO()
    torch.save(checkpoint, content)
    for path in paths:
        with replacing(path, new_folders=False) as file:
            file.write(content.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of plain values; raises RequestError if there is none or it holds anything else."""
    try:
        content = read_bounded(path, LARGEST)
        _require_plain_archive(content)
        with warnings.catch_warnings(action="ignore"):  # such as of a damaged version of the format
            checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RequestError(f"{path}: no checkpoint there") from None
    except OSError as error:
        raise RequestError(f"{path}: can't be read ({error.strerror})") from error
    except Exception as error:
        raise RequestError(f"{path}: not a file of plain weights, so it is not loaded") from error
    weights = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict):
        raise RequestError(f"{path}: holds no state_dict")
    if bad := [name for name, value in weights.items() if not isinstance(name, str) or not _is_plain(value)]:
        raise RequestError(f"{path}: {str(bad[0])[:80]!r} in its state_dict is not a tensor of numbers")
    return dict(checkpoint)


def _require_plain_archive(content: bytes) -> None:
    """Raise ValueError unless a file is an archive as torch.save writes it, which holds no more than its size."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > len(content):
            raise ValueError("compressed")


def _is_plain(value: Any) -> bool:
    """Whether a value is a tensor that holds each of its numbers."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
        return False
    return value.device.type == "cpu" and value.nbytes <= value.untyped_storage().nbytes()


def require_weights_of(module: nn.Module, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Raise RequestError unless the weights of a checkpoint have the names, shapes and types of a module's."""
    here, there = module.state_dict(), checkpoint["state_dict"]
    for name in [*here, *there]:
        if name not in here or name not in there or here[name].shape != there[name].shape:
            raise RequestError(f"{path}: the weights of another model ({str(name)[:80]!r} differs)")
        if here[name].dtype != there[name].dtype:
            types = f"{str(name)[:80]!r} is {there[name].dtype}, not {here[name].dtype}"
            raise RequestError(f"{path}: the weights of another model ({types})")


def finished_epochs(checkpoint: Mapping[str, Any]) -> int:
    """The number of epochs behind a checkpoint; raises RequestError if it does not hold it."""
    try:
        epochs = compat_lightning.finished_epochs(checkpoint["loops"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RequestError(f"the checkpoint lacks {error}, so a run can't continue from it") from error
    if not 0 <= epochs < 2**53:
        raise RequestError(f"the checkpoint has {epochs} finished epochs, so a run can't continue from it")
    return epochs


def require_sound(optimizer: Optimizer) -> None:
    """Raise ValueError unless an optimizer that was loaded has states of the types and shapes of its parameters."""
    for group in optimizer.param_groups:
        for name, default in optimizer.defaults.items():
            if not _same_kind(group.get(name), default):
                raise ValueError(f"its optimizer has {name}={str(group.get(name))[:80]}")
        for parameter in group["params"]:
            for name, value in optimizer.state.get(parameter, {}).items():
                shapes = None if why_alone(optimizer) else (parameter.shape, torch.Size(), torch.Size([1]))
                if not _is_state(value, shapes):
                    raise ValueError(f"its optimizer has another {str(name)[:80]!r} than its parameters")


def _same_kind(value: Any, default: Any) -> bool:
    if isinstance(default, (tuple, list)):
        same_length = isinstance(value, (tuple, list)) and len(value) == len(default)
        return same_length and all(map(_same_kind, value, default))
    if isinstance(default, bool) or default is None:
        return value is None or isinstance(value, bool)
    if isinstance(default, str):
        return isinstance(value, str)
    return is_number(value) or isinstance(value, Tensor)


def _is_state(value: Any, shapes: Sequence[torch.Size] | None) -> bool:
    """Whether an optimizer may remember a value; None for `shapes` allows tensors of any shape, and lists of them."""
    if isinstance(value, Tensor):
        known = shapes is None or value.shape in shapes
        return known and value.is_floating_point() and value.layout == torch.strided
    if isinstance(value, (list, tuple)):
        return shapes is None and all(_is_state(each, None) for each in value)
    return value is None or is_number(value)


def random_states() -> dict[str, Any]:
    """The states of all random generators of this process, as plain values."""
    name, keys, *rest = np.random.get_state(legacy=True)
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "python": [version, torch.tensor(words), gauss],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Put back what `random_states` returned."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
