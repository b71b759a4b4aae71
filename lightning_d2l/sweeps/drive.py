"""The driver of a sweep in chunks: it plans, submits, watches the folder, and asks again for what a dead worker had."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from lightning_d2l import __version__
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.escape import terminal
from lightning_d2l.config.program import program
from lightning_d2l.sweeps import claims
from lightning_d2l.sweeps.chunks import Chunk, Chunks
from lightning_d2l.sweeps.claims import changed_at, clock, give_up, words_of
from lightning_d2l.sweeps.in_rungs import in_order
from lightning_d2l.sweeps.one_source import settle_source
from lightning_d2l.sweeps.plan import plan
from lightning_d2l.sweeps.sweep import Sweep
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec

POLL = 0.2  # seconds between two looks at the folder
SHARE = 100  # the driver rests this many times as long as its last look worked, if that is longer


class Executor(Protocol):
    """Where workers run. One object serves a whole sweep, also a search, whose batches are driven one after another.

    A worker of an executor calls `worker.run_chunk(sweep, number, owner=...)`, or the program
    `python -m lightning_d2l.sweeps.worker SWEEP CHUNK`. All that is told goes through the sweep's folder: claims,
    records of runs, and `.done`. A worker that can't see the folder gets `archive.pack(chunks, number)` instead, and
    calls `archive.train(packed)`; its executor claims the chunk in the driver (`chunks.take`), renews the claim while
    the worker lives (`chunks.renew`), and calls `archive.collect(chunks, number, returned)` with what came back.

    Order of calls: `check` before anything is written; then, until all chunks are done, `lost` and `submit` again and
    again, a few times a second, so that both must return quickly; at the end `stop`, or `leave` if nobody waits.
    """

    workers: int  # that train at once, for which the chunks are planned

    def check(self) -> None:
        """Raise RequestError, one line, if there can be no worker: extra not installed, no cluster, no partition."""

    def submit(self, chunks: Chunks, waiting: Sequence[int]) -> None:
        """Let workers train the chunks that nobody has, in this order; raises RequestError if there can be no worker.

        A chunk is `waiting` until it is claimed, so it is given again at the next call; an executor remembers what it
        has submitted. Before the first chunk, an executor on other machines calls `worker.probe` on one of them, and
        raises RequestError with what it returns, unless that is empty.
        """

    def lost(self, found: Mapping[int, Chunk]) -> dict[int, str]:
        """The chunks whose workers have died since the last call, each with the reason, such as "ended by signal 9".

        Raises RequestError if a worker refused the sweep (exit code 2), so that no other one would train it either.
        """

    def end(self, number: int) -> None:
        """Kill the worker of a chunk whose claim has lapsed: it may be stuck, and hold the folders of its runs."""

    def stop(self) -> None:
        """End all workers, with the checkpoints of their runs written where there is time."""

    def leave(self, chunks: Chunks) -> str:
        """What to print with sweep.wait=false, when all is submitted: how to look, collect, and cancel.

        Raises RequestError if workers can't outlive the driver.
        """


@dataclass(frozen=True)
class Limits:
    """The most runs in a chunk, how often a chunk is tried again, and the vectorized launcher's settings for it.

    Without a `chunk_size`, chunks have up to CHUNK runs. With `waits` False the driver returns when all is submitted.
    """

    chunk_size: int | None
    retries: int
    vectorized: Mapping[str, Any]
    waits: bool = True


def drive(sweep: Sweep, jobs: Sequence[RunSpec], executor: Executor, limits: Limits) -> None:
    """Train jobs by the workers of an executor, which live on; raises Stopped after a signal.

    A chunk that `limits.retries` more workers could not train is cut into its runs, so that a run that kills its
    worker fails alone. What a worker leaves out is left out of the sweep. Chunks that workers of an earlier driver
    still train are left to them.
    """
    if not jobs:
        if len(sweep.jobs) == sweep.total and all(sweep.is_finished(job) for job in sweep.jobs):
            Chunks(sweep.folder).remove()  # of a driver that was killed after its last run had ended
        return
    driver = _Driver(sweep, jobs, executor, limits)
    try:
        if not limits.waits:
            executor.submit(driver.chunks, list(driver.free))
            print(executor.leave(driver.chunks), flush=True)
            return
        while driver.asked:
            began = time.process_time()
            if not driver.look():
                return
            time.sleep(max(POLL, SHARE * (time.process_time() - began)) if driver.asked else 0)
    except RequestError:
        if not any(chunk.claims for chunk in driver.chunks.listed()[0].values()):  # nothing has been trained
            driver.chunks.remove()
        raise
    sweep.progress.in_chunks(0.0, driver.words(0), last=True)
    driver.chunks.remove()


class _Driver:
    """`asked` are the chunks that are not done with their jobs, `free` those of them that nobody has."""

    def __init__(self, sweep: Sweep, jobs: Sequence[RunSpec], executor: Executor, limits: Limits) -> None:
        self.sweep, self.executor, self.attempts = sweep, executor, 1 + limits.retries
        self.chunks = Chunks(sweep.folder)
        self.asked, self.free = dict[int, Sequence[RunSpec]](), dict[int, None]()
        self.reasons: dict[int, str] = {}  # why the last worker of a chunk was lost
        self.seen: dict[Path, tuple[float, float]] = {}  # when a claim was renewed, and when that was seen
        self.total = self.failed = 0
        self.written, base, kept = self._kept({job.name: job for job in jobs})
        official = settle_source(jobs)
        self.chunks.begin({
            "version": __version__, "program": asdict(program()), "sweep": sweep.id, "stops": sweep.stops,
            "verbose": sweep.verbose, "attempts": self.attempts, "vectorized": dict(limits.vectorized),
            "word": secrets.token_hex(8), "plugins": sweep.fields.get("plugins") or [],
            "lean": sweep.lean.told(), "config": base or jobs[0].config, "official": official,
        })  # fmt: skip
        rest = [job for job in jobs if job.name not in kept]
        rest = in_order(sweep.rungs, rest) if sweep.rungs else rest
        self._ask(plan(rest, limits.chunk_size, executor.workers))

    def _kept(self, jobs: Mapping[str, RunSpec]) -> tuple[int, Any, set[str]]:
        """Take over the chunks of an earlier driver whose workers live; the others' files are removed.

        Returns the first number for new chunks, the configuration from which the old ones differ, and the names of
        their jobs.
        """
        try:
            found, done = self.chunks.listed()
            claimed = {
                number: chunk.claims[-1] for number, chunk in found.items() if number not in done and chunk.claims
            }
            living = [number for number, claim in claimed.items() if not self.chunks.lapsed(claim)]
            held = {number: [job.name for job in self.chunks.jobs(number)] for number in living}
            base = self.chunks.common["config"] if held else None
            if self.chunks.common["sweep"] != self.sweep.id:
                raise RequestError("of another sweep")
        except (RequestError, KeyError):
            found, held, base = {}, {}, None
        if not held:
            self.chunks.remove()
            return 0, None, set()
        for number, chunk in found.items():
            if number not in held:
                self.chunks.forget(chunk)
        for number, names in held.items():
            self.asked[number] = [jobs[name] for name in names if name in jobs]
        self.total = len(self.asked)
        print(f"{len(held)} chunks are trained by workers of an earlier driver", flush=True)
        return max(found) + 1, base, {name for names in held.values() for name in names}

    def _ask(self, parts: Sequence[Sequence[RunSpec]]) -> None:
        new = dict(enumerate(parts, self.written))
        self.chunks.write_all(new)
        self.asked |= new
        self.free |= dict.fromkeys(new)
        self.written += len(new)
        self.total += len(new)

    def look(self) -> bool:
        """Look once at all chunks, and ask for those that nobody has; returns False if the sweep must stop.

        What is read at each look are the names in the folder and the claims of the chunks that are training.
        """
        self.chunks.now()  # a network file system lists anew
        found, done = self.chunks.listed()
        for number in sorted(done & self.asked.keys()):
            if self._done(number, found.get(number) or Chunk(number)):
                return False
        training = {n: chunk for n, chunk in found.items() if chunk.claims and n in self.asked}
        for number, reason in self.executor.lost(training).items():
            if number in training:
                self.reasons[number] = reason
                give_up(training[number].claims[-1])
        under_way = 0.0
        for number, chunk in list(training.items()):
            if self._living(chunk.claims[-1]):
                self.free.pop(number, None)
                under_way += _runs(words_of(chunk.claims[-1]))
                continue
            words = words_of(chunk.claims[-1])
            self.reasons.setdefault(number, words.get("error") or "gave no sign of life any more")
            del training[number]
            if int(words.get("attempt", 1)) < self.attempts or words.get("stopped"):
                self.free[number] = None
            else:
                self._cut(number, chunk)
        self.sweep.progress.in_chunks(under_way, self.words(len(training)))
        self.executor.submit(self.chunks, sorted(self.free))
        return True

    def words(self, training: int) -> str:
        """The chunks by their number, for the progress."""
        parts = [f"{self.total - len(self.asked)} of {self.total} chunks", f"{training} training"]
        parts += [f"{self.failed} failed"] if self.failed else []
        return ", ".join([*parts, *([self.executor.words()] if hasattr(self.executor, "words") else [])])

    def _living(self, claim: Path) -> bool:
        """Whether the owner of a claim renewed it within LAPSE seconds of this computer's clock."""
        changed, now = changed_at(claim), clock()
        if self.seen.get(claim, (-1.0, 0.0))[0] != changed:
            self.seen[claim] = (changed, now)
        living = bool(changed) and now - self.seen[claim][1] <= claims.LAPSE
        if not living:
            if changed:  # the worker may be stuck
                self.executor.end(int(claim.name.partition(".")[0]))
                give_up(claim)
            self.seen.pop(claim)
        return living

    def _done(self, number: int, chunk: Chunk) -> bool:
        """Show the runs of a chunk that is done; returns whether the sweep must stop."""
        jobs = self.asked.pop(number)
        self.free.pop(number, None)
        try:
            outcome = self.chunks.outcome(number)
            names, counts = dict(outcome.get("left_out") or {}), {k: int(v) for k, v in outcome["ended"].items()}
            best, failures = outcome.get("best"), dict(outcome.get("failures") or {})
            best = math.inf if best is None else float(best)
            alone = {str(k): int(v) for k, v in dict(outcome.get("one_by_one") or {}).items()}
        except (RequestError, KeyError, TypeError, ValueError, AttributeError) as error:
            print(f"chunk {number} ended, and does not say how ({error})"[:160], flush=True)
            names, counts, best, failures, alone = {}, {}, math.inf, {}, {}
        self.sweep.left_out |= {job: str(names[job.name]) for job in jobs if job.name in names}
        self.sweep.progress.chunk_ended(counts, best, {str(k): str(v) for k, v in failures.items()})
        for reason, runs in alone.items():
            self.sweep.tell_one_by_one(runs, terminal(reason, keep="\n"))
        self.chunks.forget(chunk)
        return self.sweep.stops and bool(counts.get("failed"))

    def _cut(self, number: int, chunk: Chunk) -> None:
        """Ask for the runs of a chunk one by one, or give up one run."""
        self.sweep.lean.look()
        jobs = [job for job in self.asked.pop(number) if not self.sweep.is_finished(job)]
        self.failed += 1
        reason = self.reasons.pop(number)
        lost = f"{self.attempts} workers were lost: the last" if self.attempts > 1 else "a worker was lost: it"
        self.chunks.forget(chunk)
        if len(jobs) > 1:
            print(f"{len(jobs)} runs one by one: {lost} {reason}", flush=True)
            self._ask([[job] for job in jobs])
            return
        for job in jobs:
            with self.sweep.holding(job) as held:
                if held:
                    RunRecord.of(job).end("failed", f"failed: {lost} {reason}", 0.0)
                    self.sweep.ended([job])


def _runs(words: Mapping[str, Any]) -> float:
    """How many runs of a chunk have been trained, by what its worker says."""
    try:
        return float(sum(words.get("ended", {}).values())) + float(words.get("under_way", 0.0))
    except (TypeError, ValueError, AttributeError):
        return 0.0
