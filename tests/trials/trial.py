"""What a trial counts, and the table of all."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.trials.children import Room

KINDS = ("executed", "hung", "tracebacks", "lost", "stuck", "leftovers", "other")
Fault = tuple[str, str]
"""A kind of fault and its description."""


@dataclass(frozen=True)
class Case:
    """One thing that is tried: its name, and a function of a new room that gives its faults."""

    name: str
    work: Callable[[Room], Iterable[Fault]]


@dataclass
class Tally:
    """What came out of the cases of a trial."""

    name: str
    cases: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    faults: list[tuple[str, str, str]] = field(default_factory=list)  # case, kind, description
    notes: list[str] = field(default_factory=list)

    def row(self) -> str:
        counted = Counter(kind for _, kind, _ in self.faults)
        cells = [
            self.name,
            self.cases,
            *(counted[kind] for kind in KINDS),
            f"{self.seconds:.0f}",
            f"{self.slowest:.1f}",
        ]
        return "".join(f"{cell!s:>11}" for cell in cells)


HEAD = "".join(f"{cell:>11}" for cell in ("trial", "cases", *KINDS, "seconds", "slowest"))


def sample(cases: Sequence[Case], number: int) -> list[Case]:
    """Some of the cases, the same ones each time, spread over all of them."""
    if number >= len(cases):
        return list(cases)
    return [cases[i] for i in sorted(random.Random(0).sample(range(len(cases)), number))]


def try_all(name: str, cases: Sequence[Case], *, loud: bool = True) -> Tally:
    """Do the cases one after another, each in a folder of its own."""
    tally, began = Tally(name), time.monotonic()
    for case in cases:
        start = time.monotonic()
        with new_room() as room:
            found = list(case.work(room))
        tally.cases += 1
        tally.slowest = max(tally.slowest, time.monotonic() - start)
        for kind, text in found:
            tally.faults.append((case.name, kind, text))
            if loud:
                print(f"{name}: {case.name}: {kind}: {text}", file=sys.stderr, flush=True)
        if tally.cases % 50 == 0 and loud:
            print(f"{name}: {tally.cases} of {len(cases)} cases", file=sys.stderr, flush=True)
    tally.seconds = time.monotonic() - began
    return tally


@contextmanager
def new_room() -> Iterator[Room]:
    """A folder for a case, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="trial-"))
    try:
        yield Room(folder / "room")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
