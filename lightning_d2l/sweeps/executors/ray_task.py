"""What a worker of Ray does: it answers whether it could train chunks, and trains them."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.imports import faster
from lightning_d2l.config.program import Program
from lightning_d2l.plugins import attach
from lightning_d2l.sweeps.executors.sent_data import Files, place
from lightning_d2l.training.signals import Stopped, signals_stop_the_run
from lightning_d2l.training.used_plugins import require_plugins


def probe(started: Mapping[str, Any], plugins: list[dict[str, Any]]) -> dict[str, str]:
    """{"refused": why} if this process can't train, for want of a plugin, or an empty dict."""
    here = socket.gethostname()
    try:
        attach(Program.read(started))
        require_plugins({"plugins": plugins, "config": None}, f"the worker on {here}", every=True, same=True)
    except RequestError as error:
        return {"refused": f"the worker on {here}: {str(error).removeprefix(f'the worker on {here}: ')}"}
    return {}


def sees(sweep: str, word: str) -> bool:
    """Whether the folder of a sweep is seen here, with the word of the driver in it."""
    from lightning_d2l.sweeps.chunks import CHUNKS, COMMON, Chunks

    try:
        return (Path(sweep) / CHUNKS / COMMON).is_file() and Chunks(Path(sweep)).common.get("word") == word
    except (RequestError, OSError):
        return False


def kill(pid: Any) -> None:
    """End a process of this computer if it is a worker that trains a chunk, such as one that was paused."""
    with contextlib.suppress(OSError):
        if isinstance(pid, int) and b"lightning_d2l_train" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)


def train(
    sweep: str, number: int, word: str, threads: int, packed: list[Any], files: list[Files], judge: Any
) -> dict[str, Any]:
    """Train a chunk: where the folder of its sweep is, or the `packed` one, a reference in a list, which has it all.

    `files` are those of the data, which are fetched where they are not. `judge` decides for a packed chunk which
    settings stop early, if any do. Returns what became of it: {"archive": what is
    to be collected}, {"unseen": True} if the folder is not here, {"refused": why} if no worker can train it,
    {"error": why} if this one failed, or an empty dict.
    """
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        with signals_stop_the_run():
            if not packed and not sees(sweep, word):
                return {"unseen": True}
            place(files)
            return _trained(Path(sweep), number, threads, packed, judge)
    except Stopped:
        return {}
    except RequestError as error:
        return {"refused": str(error)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def _trained(sweep: Path, number: int, threads: int, packed: list[Any], judge: Any) -> dict[str, Any]:
    import ray

    faster()
    import torch

    from lightning_d2l.sweeps.executors import archive
    from lightning_d2l.sweeps.executors.ray_judge import judged
    from lightning_d2l.sweeps.worker import run_chunk

    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if packed:
        with judged(judge):
            return {"archive": archive.train(ray.get(packed[0]))}
    run_chunk(sweep, number, ray.get_runtime_context().get_task_id() or "")
    return {}
