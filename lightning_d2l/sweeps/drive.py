"""The driver of a sweep in chunks: it plans, submits, watches the folder, and asks again for what a dead worker had."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from lightning_d2l import __version__
from lightning_d2l.config.program import program
from lightning_d2l.sweeps.chunks import Chunk, Chunks, give_up, words_of
from lightning_d2l.sweeps.plan import plan
from lightning_d2l.sweeps.sweep import Sweep
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec

POLL = 0.2  # seconds between two looks at the folder


class Executor(Protocol):
    """Where workers run."""

    workers: int

    def submit(self, chunks: Chunks, waiting: Sequence[int]) -> None:
        """Let workers train the chunks that nobody has; raises RequestError if there can be no worker."""

    def lost(self, found: Mapping[int, Chunk]) -> dict[int, str]:
        """The chunks whose workers have died since the last call, each with the reason."""

    def stop(self) -> None:
        """End all workers, with the checkpoints of their runs written where there is time."""


@dataclass(frozen=True)
class Limits:
    """The most runs in a chunk, how often a chunk is tried again, and the vectorized launcher's settings for it."""

    chunk_size: int
    retries: int
    vectorized: Mapping[str, Any]


def drive(sweep: Sweep, jobs: Sequence[RunSpec], executor: Executor, limits: Limits) -> None:
    """Train jobs by the workers of an executor; raises Stopped after a signal, when all workers have ended.

    A chunk that `limits.retries` more workers could not train is cut into its runs, so that a run that kills its
    worker fails alone. What a worker leaves out is left out of the sweep.
    """
    if not jobs:
        return
    driver = _Driver(sweep, jobs, executor, limits)
    try:
        while driver.go_on():
            time.sleep(POLL)
    finally:
        executor.stop()
    if not driver.asked:
        driver.chunks.remove()


class _Driver:
    """`asked` are the chunks that are not done, and what is left of their jobs."""

    def __init__(self, sweep: Sweep, jobs: Sequence[RunSpec], executor: Executor, limits: Limits) -> None:
        self.sweep, self.executor, self.attempts = sweep, executor, 1 + limits.retries
        self.chunks, self.asked, self.written = Chunks(sweep.folder), dict[int, list[RunSpec]](), 0
        self.reasons: dict[int, str] = {}  # why the last worker of a chunk was lost
        self.chunks.begin({
            "version": __version__, "program": asdict(program()), "sweep": sweep.id, "stops": sweep.stops,
            "verbose": sweep.verbose, "attempts": self.attempts, "vectorized": dict(limits.vectorized),
            "config": jobs[0].config,
        })  # fmt: skip
        for part in plan(jobs, limits.chunk_size, executor.workers):
            self._ask(part)

    def _ask(self, jobs: Sequence[RunSpec]) -> None:
        self.chunks.write(self.written, jobs)
        self.asked[self.written] = list(jobs)
        self.written += 1

    def go_on(self) -> bool:
        """Look once at all chunks; returns whether there is anything left to do."""
        found = self.chunks.found()
        for number, reason in self.executor.lost(found).items():
            self.reasons[number] = reason
            give_up(found[number].claims[-1])
        free, under_way = [], 0.0
        for number in list(self.asked):
            chunk = found[number]
            if chunk.done is not None:
                if self._done(number, chunk.done):
                    return False
            elif chunk.claims and not self.chunks.lapsed(chunk.claims[-1]):
                words = words_of(chunk.claims[-1])
                under_way += sum(words.get("ended", {}).values()) + words.get("under_way", 0.0)
            elif len(chunk.claims) < self.attempts:
                free.append(number)
            else:
                self._cut(number)
        running = len(self.asked) - len(free)
        self.sweep.progress.in_chunks(under_way, f"{running} of {len(self.asked)} chunks left are training")
        self.executor.submit(self.chunks, free)
        return bool(self.asked)

    def _done(self, number: int, outcome: Mapping[str, Any]) -> bool:
        """Show the runs of a chunk that is done; returns whether the sweep must stop."""
        jobs = self.asked.pop(number)
        names = dict(outcome.get("left_out") or {})
        self.sweep.left_out |= {job: str(names[job.name]) for job in jobs if job.name in names}
        return self.sweep.ended([job for job in jobs if job not in self.sweep.left_out])

    def _cut(self, number: int) -> None:
        """Ask for the runs of a chunk one by one, or give up one run."""
        jobs = [job for job in self.asked.pop(number) if not self.sweep.is_finished(job)]
        reason = self.reasons.get(number, "gave no sign of life any more")
        lost = f"{self.attempts} workers were lost: the last" if self.attempts > 1 else "a worker was lost: it"
        self.chunks.end(number, {"cut": True})
        if len(jobs) > 1:
            print(f"{len(jobs)} runs one by one: {lost} {reason}", flush=True)
            for job in jobs:
                self._ask([job])
            return
        for job in jobs:
            with self.sweep.holding(job) as held:
                if held:
                    RunRecord.of(job).end("failed", f"failed: {lost} {reason}", 0.0)
                    self.sweep.ended([job])
