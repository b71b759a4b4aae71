"""A worker: trains chunks of a sweep, in this process or as a program of its own.

    python -m lightning_d2l.sweeps.worker SWEEP               every chunk that no other worker has, until none is left
    python -m lightning_d2l.sweeps.worker SWEEP CHUNK         one chunk, by its number
    python -m lightning_d2l.sweeps.worker SWEEP --probe WORD  whether this computer could; see `probe`

It claims a chunk, trains its runs as the vectorized launcher does, leaves their folders, and marks it done. A signal
ends it with the checkpoints of its runs written. With --watch it waits for more chunks, and ends when its standard
input does, which is the case when the process that started it has died.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning_d2l import __version__
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.imports import faster
from lightning_d2l.config.program import Program
from lightning_d2l.plugins import attach
from lightning_d2l.sweeps import claims
from lightning_d2l.sweeps.chunks import COMMON, Chunks
from lightning_d2l.sweeps.claims import alive, changed_at, give_up, renew
from lightning_d2l.sweeps.one_source import require_official
from lightning_d2l.sweeps.progress import MOST_FAILURES, monitored
from lightning_d2l.sweeps.vectorized import VectorizedSettings, train
from lightning_d2l.sweeps.work import Work
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.signals import Stopped, signals_stop_the_run
from lightning_d2l.training.spec import RunSpec
from lightning_d2l.training.used_plugins import require_plugins

IDLE = 0.1  # seconds between two looks of a worker that waits for chunks


class Said:
    """The progress of a chunk, which its claim tells: ended runs by state, and those under way as a number of runs."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.under_way = 0.0
        self.best: float | None = None
        self.failures: dict[str, str] = {}

    def ended(self, records: Mapping[RunSpec, RunRecord]) -> None:
        self.counts.update(record.state for record in records.values())
        self.under_way = 0.0
        found = [monitored(record)[1] for record in records.values() if record.state == "completed"]
        self.best = min([*found, *([] if self.best is None else [self.best])], default=None)
        failed = {job.name: record.error for job, record in records.items() if record.state == "failed"}
        self.failures |= dict(list(failed.items())[: MOST_FAILURES - len(self.failures)])

    def going_on(self, members: int, epoch: int, max_epochs: int) -> None:
        self.under_way = members * epoch / max_epochs

    def words(self) -> dict[str, Any]:
        return {"ended": dict(self.counts), "under_way": round(self.under_way, 2)}

    def outcome(self) -> dict[str, Any]:
        """What the driver shows of a chunk that is done, beside the words."""
        return {"best": self.best, "failures": self.failures}


def probe(sweep: Path, word: str = "") -> str:
    """Why this process could not train chunks of a sweep, in one line, or "" if it could.

    The folder of the sweep must be seen here, with the same `word` in it as in that of the driver, which is
    `Chunks.common["word"]`, and this process must have the driver's version of this package, its plugins, and the
    official files of Fashion-MNIST if the runs use them.
    """
    try:
        _require_same(Chunks(sweep), word)
    except RequestError as error:
        return str(error)
    return ""


def _require_same(chunks: Chunks, word: str = "") -> None:
    sweep, here = chunks.sweep, socket.gethostname()
    shared = (chunks.folder / COMMON).is_file()
    if not shared or (word and chunks.common.get("word") != word):
        raise RequestError(f"{sweep}: is not shared with {here}; choose a folder that all computers see as one")
    there = chunks.common
    if (version := there.get("version")) != __version__:
        raise RequestError(
            f"{sweep}: asked for by lightning_d2l {version}, and the worker on {here} has {__version__}; "
            "install one version for all"
        )
    attach(Program.read(there["program"]))
    require_plugins({**there, "config": None}, f"{sweep}: the worker on {here}", every=True, same=True)
    require_official(there.get("official") or [])


def run_chunk(sweep: Path, number: int, owner: str = "") -> bool:
    """Train a chunk of a sweep if no other worker has it; returns whether this one did. `owner` is as of Chunks.take.

    Raises RequestError if this process can't train it, and Stopped after a signal, or if another worker took over.
    """
    chunks = Chunks(sweep)
    _require_same(chunks)
    if (claim := chunks.take(number, chunks.common["attempts"], owner)) is None:
        return False
    try:
        _train(chunks, number, claim)
    except Stopped:
        if renew(claim, {"stopped": True}):  # it is no attempt that failed
            give_up(claim)
        raise
    except BaseException as error:
        if renew(claim, {"error": f"{type(error).__name__}: {error}"[:200]}):
            give_up(claim)
        raise
    return True


def _train(chunks: Chunks, number: int, claim: Path) -> None:
    began, said, common = time.monotonic(), Said(), chunks.common
    with alive(claim, lambda: os.kill(os.getpid(), signal.SIGTERM), said.words):
        work = Work(chunks.sweep, said, stops=common["stops"], verbose=common["verbose"])
        jobs = chunks.jobs(number)
        work.lean.take(common["lean"], jobs)
        said.ended({job: work.record(job) for job in jobs if work.is_finished(job)})
        todo = [job for job in jobs if not work.is_finished(job)]
        while True:
            train(work, todo, VectorizedSettings(**common["vectorized"]))
            if not work.in_use or time.monotonic() - began > claims.LAPSE:
                break
            time.sleep(claims.BEAT)  # a worker that was taken for dead leaves the folders of its runs once it sees that
            todo = work.again()
        left_out = {job.name: reason for job, reason in work.left_out.items()}
        seconds = round(time.monotonic() - began, 3)
        alone = {"one_by_one": work.one_by_one}
        chunks.end(number, {"seconds": seconds, "left_out": left_out, **alone, **said.words(), **said.outcome()})


def run_chunks(sweep: Path, *, waits: bool = False, owner: str = "") -> None:
    """Train the chunks of a sweep that no other worker has, until none is left, or for ever; raises as `run_chunk`."""
    while True:
        chunks = Chunks(sweep)
        asked, done = chunks.listed()
        left = [chunk for number, chunk in asked.items() if number not in done]
        free = [chunk.number for chunk in left if not chunk.claims or not changed_at(chunk.claims[-1])]
        rest = [] if waits else [chunk.number for chunk in left if chunk.number not in free]
        if any(_trained(chunks, number, owner) for number in [*free, *rest]):  # the first that it gets
            continue
        if not waits:
            return
        time.sleep(IDLE)


def _trained(chunks: Chunks, number: int, owner: str) -> bool:
    """`run_chunk`; False if the chunk is gone, since the driver removes what is done."""
    try:
        return run_chunk(chunks.sweep, number, owner)
    except (RequestError, FileNotFoundError):
        if number in chunks.listed()[0]:
            raise
        return False


def main(words: list[str] | None = None, owner: str = "", then: Callable[[Path], None] | None = None) -> int:
    """The program; returns its exit code: 0, 1 if a chunk could not be trained, 2 if asked wrongly, 128 + signal.

    `then` is called with the folder of the sweep when this worker finds no more chunks.
    """
    parser = argparse.ArgumentParser(prog="python -m lightning_d2l.sweeps.worker", description="Train chunks.")
    parser.add_argument("sweep", type=Path, help="the folder of a sweep")
    parser.add_argument("chunk", type=int, nargs="?", help="the number of a chunk; all that are left without it")
    parser.add_argument("--watch", action="store_true", help="wait for more chunks, and end when standard input ends")
    parser.add_argument("--probe", metavar="WORD", help="only see whether the folder is that of the driver")
    asked = parser.parse_args(words)
    logging.getLogger().addHandler(logging.NullHandler())
    faster()
    if asked.watch:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        if asked.probe is not None and (reason := probe(asked.sweep, asked.probe)):
            raise RequestError(reason)
        with signals_stop_the_run():
            if asked.probe is not None:
                return 0
            if asked.chunk is None:
                run_chunks(asked.sweep, waits=asked.watch, owner=owner)
                if then is not None:
                    then(asked.sweep)
            else:
                run_chunk(asked.sweep, asked.chunk, owner)
    except Stopped as stop:
        return 128 + stop.signum
    except RequestError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
