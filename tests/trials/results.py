"""What a run or sweep gave, and whether that is what it gives undisturbed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from lightning_d2l.training.files import LAST, MetricsFile
from lightning_d2l.training.record import RunRecord
from tests.trials.children import LIMIT, Outcome, Room, run
from tests.trials.operations import Operations
from tests.trials.trial import Fault

SMALL = [
    "data=polynomial",
    "data.n_train=20",
    "data.n_val=20",
    "data.n_test=20",
    "trainer.accelerator=cpu",
    "trainer.checkpoint_every_n_seconds=0",
]
# An MLP with everything that has a state: momentum of Adam, dropout, shuffling.
STATEFUL = ["model=mlp", "model.num_hiddens=[8]", "model.dropout=0.3", "optimizer=adam", *SMALL]


@dataclass(frozen=True)
class Program:
    """A run, or a sweep, that is disturbed: its words without its folder, which is `there`."""

    name: str
    words: tuple[str, ...]
    sweep: bool
    exact: bool = True  # whether a resumed one has the same bits

    def first(self) -> list[str]:
        """The command line that starts it."""
        if self.sweep:
            return ["-m", *self.words, "hydra.sweep.dir=there"]
        return [*self.words, "hydra.run.dir=there"]

    def again(self, room: Room) -> list[str]:
        """The command line that resumes it; that of the start, where it had not begun."""
        if self.sweep:
            return ["sweep.resume=there"] if (room.work / "there/sweep.json").exists() else self.first()
        return [*self.words, "resume=there"] if (room.work / "there/run.json").exists() else self.first()


RUN = Program("run", (*STATEFUL, "trainer.max_epochs=4", "trainer.log_every_n_epochs=1"), False)
PLAIN = Program(
    "run without a logger", (*STATEFUL, "trainer.max_epochs=6", "trainer.log_every_n_epochs=2", "logger=none"), False
)
_OF_SWEEP = (*STATEFUL, "logger=none", "trainer.max_epochs=4", "trainer.log_every_n_epochs=2", "seed=0,1")
SEQUENTIAL = Program("sequential sweep", (*_OF_SWEEP, "hydra/launcher=sequential"), True)
VECTORIZED = Program("vectorized sweep", (*_OF_SWEEP, "hydra/launcher=vectorized"), True, exact=False)
SLOW = Program("long run", (*STATEFUL, "logger=none", "trainer.max_epochs=400", "trainer.log_every_n_epochs=10"), False)
LONG_SWEEP = Program("long sweep", (*_OF_SWEEP, "trainer.max_epochs=150", "hydra/launcher=sequential"), True)
LONG_GROUP = Program(
    "long group", (*_OF_SWEEP, "trainer.max_epochs=150", "hydra/launcher=vectorized"), True, exact=False
)


@dataclass
class Undisturbed:
    """What a program gives if nothing happens to it."""

    folder: Path
    operations: int
    seconds: float


@cache
def undisturbed(program: Program, limit: float = LIMIT) -> Undisturbed:
    """Do a program once, undisturbed; its folder stays until the trials end."""
    room = Room(Path(tempfile.mkdtemp(prefix="trial-")) / "room")
    operations = Operations(room.work)
    outcome = run(room, program.first(), limit=limit, prepare=operations.install)
    if outcome.code != 0:
        raise RuntimeError(f"{program.name} fails undisturbed: {outcome.text[-2000:]}")
    _made.append(room.folder.parent)
    return Undisturbed(room.work / "there", operations.number, outcome.seconds)


_made: list[Path] = []


def forget() -> None:
    """Remove the folders of `undisturbed`."""
    while _made:
        shutil.rmtree(_made.pop(), ignore_errors=True)
    undisturbed.cache_clear()


def honest(room: Room) -> Iterator[Fault]:
    """The record of a run whose process has ended says so."""
    for path in room.work.rglob("run.json"):
        if (state := RunRecord.read(path.parent).state) == "running":
            yield "other", f"{path.parent.name} is said to be {state}"


def same(room: Room, program: Program, outcome: Outcome, how: str) -> Iterator[Fault]:
    """The faults of a program that was done to its end after a disturbance."""
    yield from outcome.faults()
    if outcome.code != 0:
        yield "stuck", f"{how}: exit code {outcome.code}: {outcome.last_line()}"
        return
    there, here = undisturbed(program).folder, room.work / "there"
    yield from same_folders(there, here, program.exact)
    yield from leftovers(room)


def same_folders(there: Path, here: Path, exact: bool) -> Iterator[Fault]:
    """Whether the runs in two folders, or the runs that they are, gave the same."""
    names = sorted(str(path.parent.relative_to(there)) for path in there.rglob("run.json"))
    if names != sorted(str(path.parent.relative_to(here)) for path in here.rglob("run.json")):
        yield "lost", "other runs"
        return
    for name in names:
        one, other = RunRecord.read(there / name), RunRecord.read(here / name)
        if other.state != "completed":
            yield "lost", f"{name} is {other.state}"
            continue
        rows = [MetricsFile(there / name).rows(), MetricsFile(here / name).rows()]
        weights = [_weights(folder / name) for folder in (there, here)]
        final = [record.fields["metrics"] for record in (one, other)]
        for what, pair in (("metrics.csv", rows), ("weights", weights), ("run.json's metrics", final)):
            if not _same(*pair, 0.0 if exact else 1e-4):
                yield "lost", f"{name}: other {what}"
    if (there / "results.csv").exists() and not (here / "results.csv").exists():
        yield "lost", "no results.csv"


def leftovers(room: Room) -> Iterator[Fault]:
    """Temporary files and what is not an empty lock file that are left."""
    hidden = [path for path in room.work.rglob(".*") if path.is_file()]
    left = [
        p
        for p in hidden
        if p.name.startswith(".new-") or (p.name.startswith(".lock") and (p.name != ".lock" or p.stat().st_size))
    ]
    left += room.work.rglob("*.tmp")
    if left:
        yield "leftovers", ", ".join(str(path.relative_to(room.work)) for path in left[:3])


def _weights(folder: Path) -> dict[str, list[Any]]:
    state = torch.load(folder / LAST, weights_only=True, map_location="cpu")["state_dict"]
    return {name: value.tolist() for name, value in state.items()}


def _same(one: Any, other: Any, rounding: float) -> bool:
    """Whether nested numbers are the same, within a rounding relative to 1 and to themselves."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_same(one[key], other[key], rounding) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(a, b, rounding) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float) and rounding:
        return abs(one - other) <= rounding * max(1.0, abs(one))
    return bool(one == other)
