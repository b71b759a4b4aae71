"""A worker: trains chunks of a sweep, in this process or as a program of its own.

    python -m lightning_d2l.sweeps.worker SWEEP          every chunk that no other worker has, until none is left
    python -m lightning_d2l.sweeps.worker SWEEP CHUNK    one chunk, by its number

It claims a chunk, trains its runs as the vectorized launcher does, leaves their folders, and marks it done. A signal
ends it with the checkpoints of its runs written. With --watch it ends too when its standard input does, which is the
case when the process that started it has died.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_d2l import __version__
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.program import Program
from lightning_d2l.plugins import attach
from lightning_d2l.sweeps.chunks import Chunks, alive
from lightning_d2l.sweeps.vectorized import VectorizedSettings, train
from lightning_d2l.sweeps.work import Work
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.signals import Stopped, signals_stop_the_run
from lightning_d2l.training.spec import RunSpec


class Said:
    """The progress of a chunk, which its claim tells: ended runs by state, and those under way as a number of runs."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.under_way = 0.0

    def ended(self, records: Mapping[RunSpec, RunRecord]) -> None:
        self.counts.update(record.state for record in records.values())
        self.under_way = 0.0

    def going_on(self, members: int, epoch: int, max_epochs: int) -> None:
        self.under_way = members * epoch / max_epochs

    def words(self) -> dict[str, Any]:
        return {"ended": dict(self.counts), "under_way": round(self.under_way, 2)}


def run_chunk(sweep: Path, number: int) -> bool:
    """Train a chunk of a sweep if no other worker has it; returns whether this one did.

    Raises RequestError if there is no such chunk, or this process can't train it, and Stopped after a signal.
    """
    chunks = Chunks(sweep)
    common = chunks.common
    if common["version"] != __version__:
        raise RequestError(
            f"{sweep}: asked for by lightning_d2l {common['version']}, and this worker is {__version__}; "
            "install one version for all of them"
        )
    attach(Program.read(common["program"]))
    if (claim := chunks.take(number, common["attempts"])) is None:
        return False
    began, said = time.monotonic(), Said()
    with alive(claim, lambda: os.kill(os.getpid(), signal.SIGTERM), said.words):
        work = Work(sweep, said, stops=common["stops"], verbose=common["verbose"])
        jobs = chunks.jobs(number)
        train(work, [job for job in jobs if not work.is_finished(job)], VectorizedSettings(**common["vectorized"]))
    left_out = {job.name: reason for job, reason in work.left_out.items()}
    chunks.end(number, {"seconds": round(time.monotonic() - began, 3), "left_out": left_out, **said.words()})
    return True


def run_chunks(sweep: Path) -> None:
    """Train the chunks of a sweep that no other worker has, in order, until none is left; raises as `run_chunk`."""
    chunks = Chunks(sweep)
    while True:
        trained = [run_chunk(sweep, number) for number, chunk in chunks.found().items() if not chunk.done]
        if not any(trained):
            return


def main(words: list[str] | None = None) -> int:
    """The program; returns its exit code: 0, 1 if a chunk could not be trained, 2 if asked wrongly, 128 + signal."""
    parser = argparse.ArgumentParser(prog="python -m lightning_d2l.sweeps.worker", description="Train chunks.")
    parser.add_argument("sweep", type=Path, help="the folder of a sweep")
    parser.add_argument("chunk", type=int, nargs="?", help="the number of a chunk; all that are left without it")
    parser.add_argument("--watch", action="store_true", help="end when standard input ends")
    asked = parser.parse_args(words)
    logging.getLogger().addHandler(logging.NullHandler())
    if asked.watch:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        with signals_stop_the_run():
            if asked.chunk is None:
                run_chunks(asked.sweep)
            else:
                run_chunk(asked.sweep, asked.chunk)
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
