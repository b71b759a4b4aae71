"""Early stopping of hopeless settings: asynchronous successive halving (Li et al. 2020) and the median rule.

A setting is what a sweep chooses between: its runs differ in replicates (seeds, data sets, folds) alone, and are
compared as one, by the median over them, so that no run is stopped for an unlucky seed. At a rung (a number of epochs)
a setting is compared with all settings that have come to this rung so far, here or in another process, and trains on or
stops there for good. Runs that train at once come to a rung together; others wait for those of their setting.

What settings had at each rung, and what was decided, is in the folder `.rungs` of the sweep: `plan.json`, and a file
for each process, of one JSON document a line. One process decides at a time, and a decision that is there is kept: all
processes act by it, and a sweep that is resumed decides the same.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.metrics import higher_is_better
from lightning_d2l.config.pruning import RULES
from lightning_d2l.training.fields import is_number
from lightning_d2l.training.files import read_json, replacing, write_json
from lightning_d2l.training.lock import hold
from lightning_d2l.training.spec import RunSpec

FOLDER = ".rungs"
PLAN = "plan.json"
LARGEST_PLAN = 1_000_000  # bytes
LARGEST = 200_000_000  # bytes of a process's file that are read
PATIENCE = 60.0  # seconds to wait for a process that decides
Standing = tuple[float, float]
"""What a setting has at a rung, of which less is better: the value that is judged, and that which judges others."""
Row = Mapping[str, float]
_make: ContextVar[Callable[[Path, Plan], Rungs] | None] = ContextVar("made_by", default=None)


@dataclass(frozen=True)
class Plan:
    """What is compared: a metric, at the `rungs` (epochs), between settings, which are values of the `keys`."""

    rule: str
    metric: str
    factor: int
    min_settings: int
    rungs: tuple[int, ...]
    keys: tuple[str, ...]
    by_optuna: bool = False

    @property
    def words(self) -> str:
        """What is compared, and when, in a line."""
        some = [*map(str, self.rungs[:10]), *(["..."] if len(self.rungs) > 10 else [])]
        return f"hopeless settings stop early, by {self.metric} after epoch {', '.join(some)} ({self.rule})"

    def told(self) -> dict[str, Any]:
        """The plan as plain values."""
        return {**asdict(self), "rungs": [*self.rungs], "keys": [*self.keys]}

    def setting(self, job: RunSpec) -> str:
        """The setting of a job, as the overrides that tell it from the others."""
        return ", ".join(text for text in job.overrides if text.lstrip("+").partition("=")[0] in self.keys)

    def standing(self, rows: Sequence[Row], *, diverged: bool = False) -> Standing:
        """What a run has by its rows so far: its last value, or for the median rule its best and its mean.

        A run that diverged is worse than any other. Raises KeyError if it does not log the metric.
        """
        if diverged or not rows:
            return math.inf, math.inf
        sign = -1.0 if higher_is_better(self.metric) else 1.0
        if self.rule == "halving":
            last = sign * rows[-1][self.metric]
            return last, last
        values = [sign * row[self.metric] for row in rows if self.metric in row]
        return min(values), statistics.fmean(values)


def hopeless(plan: Plan, new: Mapping[str, Standing], before: Mapping[str, Standing]) -> set[str]:
    """Which of the `new` settings stop at a rung, to which those `before` have come earlier.

    Halving lets the best 1 / factor of all go on, and at least one; the median rule those whose best value is not
    worse than the median of the other settings' means. Settings that are equal stop or go on together.
    """
    every = {**before, **new}
    if len(every) < plan.min_settings:
        return set()
    if plan.rule == "halving":
        last = sorted(own for own, _ in every.values())[max(1, len(every) // plan.factor) - 1]
        return {name for name, (own, _) in new.items() if own > last}
    return {
        name
        for name, (own, _) in new.items()
        if (others := [mean for other, (_, mean) in every.items() if other != name]) and own > statistics.median(others)
    }


@contextlib.contextmanager
def made_by(make: Callable[[Path, Plan], Rungs]) -> Iterator[None]:
    """Let `Rungs.of` return what this makes."""
    token = _make.set(make)
    try:
        yield
    finally:
        _make.reset(token)


def keep_longer(path: Path, content: bytes) -> None:
    """Write a file of decisions, to which lines are only added, unless it holds more already."""
    if not path.exists() or path.stat().st_size < len(content):
        with replacing(path, new_folders=False) as file:
            file.write(content)


def together(standings: Sequence[Standing]) -> Standing:
    """What a setting has by those of its runs: their median, of those that did not diverge if most did not."""
    sound = [each for each in standings if each[0] < math.inf]
    if 2 * len(sound) <= len(standings):
        return math.inf, math.inf
    own, mean = zip(*sound, strict=True)
    return statistics.median(own), statistics.median(mean)


class Rungs:
    """The rungs of the sweep in a folder: what settings had there, and which stopped."""

    def __init__(self, sweep: Path, plan: Plan) -> None:
        self.folder, self.plan = sweep / FOLDER, plan
        self.standings: list[dict[str, Standing]] = [{} for _ in plan.rungs]
        self.stopped: list[set[str]] = [set() for _ in plan.rungs]
        own = f"{socket.gethostname()[:60].replace('/', '-')}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        self.file = self.folder / own  # of what this process decides
        self._read: dict[str, int] = {}  # bytes of each file that were read

    @classmethod
    def of(cls, sweep: Path) -> Rungs | None:
        """Those of a sweep; None if it stops no setting early, or its plan is damaged."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            found = read_json(sweep / FOLDER / PLAN, LARGEST_PLAN)
            plan = Plan(**{**found, "rungs": tuple(map(int, found["rungs"])), "keys": tuple(map(str, found["keys"]))})
            if plan.rule in RULES:
                return (_make.get() or cls)(sweep, plan)
        return None

    def write_plan(self) -> None:
        """Let workers know the plan."""
        self.folder.mkdir(exist_ok=True)
        write_json(self.folder / PLAN, self.plan.told(), new_folders=False)

    def at(self, epoch: int) -> int | None:
        """The number of the rung at an epoch, or None."""
        return self.plan.rungs.index(epoch) if epoch in self.plan.rungs else None

    def stopped_until(self, epoch: int) -> dict[str, int]:
        """The settings that have stopped at rungs until an epoch, each with the number of its rung."""
        self._look()
        pairs = zip(self.plan.rungs, self.stopped, strict=True)
        found: dict[str, int] = {}
        for rung, (at, names) in enumerate(pairs):
            for name in names if at <= epoch else ():
                found.setdefault(name, rung)
        return found

    def judge(self, rung: int, arrived: Mapping[str, Sequence[Standing]]) -> set[str]:
        """Which of the settings whose runs have come to a rung stop there; it is on the disk when the call returns."""
        with contextlib.ExitStack() as stack:
            self._hold(stack)
            self._look()
            stopped = {name for name in arrived if any(name in each for each in self.stopped[: rung + 1])}
            known = self.standings[rung]
            new = {name: together(runs) for name, runs in arrived.items() if name not in known and name not in stopped}
            if new:
                found = self._hopeless(rung, new)
                self._tell(rung, new, found)
                known |= new
                self.stopped[rung] |= found
                stopped |= found
        return stopped

    def _hold(self, stack: contextlib.ExitStack) -> None:
        """Let no other process decide meanwhile; one that is paused for too long is not waited for."""
        self.folder.mkdir(exist_ok=True)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(RequestError):
                stack.enter_context(hold(self.folder, f"{self.folder}"))
                break
            time.sleep(0.05)
        with contextlib.suppress(OSError):
            os.utime(self.folder)  # a network file system lists it anew

    def _hopeless(self, rung: int, new: Mapping[str, Standing]) -> set[str]:
        if self.plan.by_optuna:
            from lightning_d2l.sweeps.optuna_pruning import hopeless_by_optuna

            return hopeless_by_optuna(self.plan, self.standings, rung, new)
        return hopeless(self.plan, new, self.standings[rung])

    def _tell(self, rung: int, new: Mapping[str, Standing], stopped: set[str]) -> None:
        found = {name: [_or_none(value) for value in standing] for name, standing in new.items()}
        line = json.dumps({"rung": rung, "settings": found, "stopped": sorted(stopped)}) + "\n"
        with self.file.open("a") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _look(self) -> None:
        """Read what other processes have written since the last call; a damaged line is passed over."""
        for path in sorted(self.folder.glob("*.jsonl")):
            if path == self.file or not path.is_file():
                continue
            begin = self._read.get(path.name, 0)
            with contextlib.suppress(OSError), path.open("rb") as file:
                file.seek(begin)
                whole, newline, _ = file.read(LARGEST).rpartition(b"\n")
                self._read[path.name] = begin + len(whole + newline)
                for line in whole.splitlines():
                    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
                        self._take(json.loads(line))

    def _take(self, found: Mapping[str, Any]) -> None:
        rung, settings, stopped = found["rung"], found["settings"], found["stopped"]
        if not isinstance(rung, int) or not 0 <= rung < len(self.standings):
            return
        standings = {str(name): (_from(own), _from(mean)) for name, (own, mean) in settings.items()}
        new = {name: standing for name, standing in standings.items() if name not in self.standings[rung]}
        self.standings[rung] |= new  # of two decisions about a setting the first counts
        self.stopped[rung] |= {str(name) for name in stopped} & new.keys()


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _from(value: Any) -> float:
    """A number of a file, whatever it holds; null is worse than any."""
    if value is None:
        return math.inf
    if not is_number(value) or math.isnan(value):
        raise ValueError("not a number")
    return float(value)
