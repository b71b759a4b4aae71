"""Workers as processes of this machine, each with its share of the threads."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps.chunks import Chunk, Chunks
from lightning_d2l.sweeps.claims import words_of

PROGRAM = "lightning_d2l.sweeps.worker"
GRACE = 60.0  # seconds in which workers write the checkpoints of their runs
MOST_IDLE_DEATHS = 3  # workers that die before they have claimed a chunk


class Processes:
    """An executor: worker processes, each of which takes chunks until it is stopped."""

    def __init__(self, workers: int | None = None, threads: int | None = None) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.workers = workers or max(1, cores // (threads or 1))
        self.threads = threads or max(1, cores // self.workers)
        self.living: dict[subprocess.Popen[bytes], Path] = {}  # with the file of what each prints
        self.having: dict[int, int] = {}  # the process that has a chunk, at the last look
        self.started = self.idle_deaths = 0

    def share(self, memory: float) -> float:
        """The share of the free memory for a group of one worker, if `memory` is that for all of them."""
        return memory / self.workers

    def check(self) -> None:
        """See Executor; a process can always be started here."""

    def submit(self, chunks: Chunks, waiting: Sequence[int]) -> None:
        """Start workers for chunks that nobody has, up to their number; see Executor."""
        idle = len(self.living) - len(self.having)
        for _ in range(min(self.workers - len(self.living), len(waiting) - idle)):
            log = chunks.folder / f"worker-{self.started}.log"
            self.started += 1
            self.living[self.start([PROGRAM, "--watch", str(chunks.sweep)], log)] = log

    def start(self, words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """A new process of Python that runs a module with these words."""
        path = os.pathsep.join(entry for entry in sys.path if entry)
        with log.open("wb") as file:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", *words],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(self.threads)},
                start_new_session=True,  # Ctrl-C reaches the driver alone, which ends them
            )

    def lost(self, found: Mapping[int, Chunk]) -> dict[int, str]:
        """The chunks of workers that have died; see Executor. Raises RequestError if no worker lives long enough."""
        pids = {process.pid for process in self.living}
        owners = {number: words_of(chunk.claims[-1]) for number, chunk in found.items() if chunk.done is None}
        self.having = {n: words["pid"] for n, words in owners.items() if words.get("pid") in pids}
        chunks: dict[int, str] = {}
        for process in [each for each in self.living if each.poll() is not None]:
            log, code = self.living.pop(process), process.returncode
            said = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
            _close(process)
            if code == 2 and said:
                raise RequestError(said[0].removeprefix("error: "))
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            reason = ": ".join([how, *said])[:300]
            left = [number for number, pid in self.having.items() if pid == process.pid]
            chunks |= dict.fromkeys(left, reason)
            self.idle_deaths = 0 if left or not code else self.idle_deaths + 1
            if self.idle_deaths >= MOST_IDLE_DEATHS:
                raise RequestError(f"hydra/launcher=processes: no worker could start: the last {reason}")
        for number in chunks:
            self.having.pop(number)
        return chunks

    def end(self, number: int) -> None:
        """Kill the worker of a chunk; see Executor."""
        for process in self.living:
            if process.pid == self.having.get(number):
                process.kill()
                process.wait()

    def stop(self) -> None:
        """End all workers; those that are still there after a minute are killed."""
        for process in self.living:
            process.terminate()
        end = time.monotonic() + GRACE
        for process in self.living:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
            process.kill()
            process.wait()
            _close(process)
        self.living.clear()

    def leave(self, chunks: Chunks) -> str:
        """See Executor; raises RequestError, since the workers end with the program that started them."""
        raise RequestError("sweep.wait=false: must be true with hydra/launcher=processes, whose workers end with it")


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
