"""Sweeps that stop hopeless settings early or keep lean records, whose drivers and workers are killed.

Which settings stop may depend on which worker is first. But all runs of a setting share its end, at least one setting
is trained to the end, and what a run was trained is what it is in a sweep without either, epoch by epoch.
"""

from __future__ import annotations

import contextlib
import functools
import json
import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning_d2l.studies.lean import LeanFolder
from lightning_d2l.training.record import RunRecord
from tests.trials import chunk_kills, slurm_kills
from tests.trials.children import Room, start
from tests.trials.chunk_kills import KILLS, PATIENCE, at_the_end, blind_ray, here, killed, ray, wait
from tests.trials.results import STATEFUL, Program, undisturbed
from tests.trials.trial import Case, Fault

CASES = 5  # of each kind
RUNS = (
    *STATEFUL, "logger=none", "trainer.max_epochs=60", "trainer.log_every_n_epochs=5", "seed=range(4)",
    "optimizer.lr=0.0001,0.001,0.01,0.1", "trainer.checkpoint_every_n_seconds=0.05",
)  # fmt: skip
PRUNE = ("sweep.prune=halving", "sweep.prune.min_epochs=5")
LEAN = ("sweep.records=lean",)
KINDS = {"pruned": PRUNE, "lean": LEAN, "pruned and lean": (*PRUNE, *LEAN)}
WHOLE = Program("without pruning", (*RUNS, "hydra.launcher.max_members=2"), True, exact=False)


def cases() -> list[Case]:
    """Worker processes, and this process alone."""
    made = [chunk_kills.case(n, _at(here, kind), kind, ended, _metrics) for kind in KINDS for n in range(CASES)]
    return made + [_in_one_process(n, kind) for kind in KINDS for n in range(CASES)]


def cases_of_ray() -> list[Case]:
    """The same on Ray, also where the nodes share no folder."""
    sites = {"": ray, ", nothing shared": blind_ray}
    return [
        chunk_kills.case(n, _at(site, kind), f"{kind}{words}", ended, _metrics)
        for words, site in sites.items()
        for kind in KINDS
        for n in range(CASES)
    ]


def cases_of_slurm() -> list[Case]:
    """The same on SLURM, where it can be started."""
    made = [slurm_kills.case(n, (*RUNS, *KINDS[kind]), kind, ended, _metrics) for kind in KINDS for n in range(CASES)]
    return made if slurm_kills.cases() else []


def _at(site: Any, kind: str) -> Any:
    return lambda: replace(site(), runs=(*RUNS, *KINDS[kind]))


def _in_one_process(number: int, kind: str) -> Case:
    """A sweep of the vectorized launcher, killed again and again; it ends as it does undisturbed."""
    chance, program = random.Random(number), Program(f"{kind} sweep", (*RUNS, *KINDS[kind]), True, exact=False)

    def work(room: Room) -> Iterator[Fault]:
        before = dict[str, Any]()
        for left in reversed(range(KILLS + 1)):
            child = start(room, program.again(room))
            over = bool(left) and wait(child, chance.uniform(0.1, 2.0))
            if over:
                before |= _metrics(room)
                child.signal(which := chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
                name = f"driver by {signal.Signals(which).name}"
                killed[name] = killed.get(name, 0) + 1
            outcome = child.wait(PATIENCE)
            yield from outcome.faults()
            if not over:
                break
        yield from at_the_end(room, outcome, before, ended)
        if outcome.code == 0 and kind != "lean":
            there = _ended(undisturbed(program, PATIENCE).folder)
            here = _ended(room.work / "there")
            for name, record in there.items():
                if (now := here.get(name)) is None or now.fields.get("pruned") != record.fields.get("pruned"):
                    yield "lost", f"{name} ended otherwise than undisturbed"

    return Case(f"{kind}, in one process ({number})", work)


def ended(room: Room, before: dict[str, Any]) -> Iterator[Fault]:
    """Whether all runs of a setting share its end, and each is what it is where none stops, as far as it came."""
    folder, whole = room.work / "there", _ended(_whole())
    found = _ended(folder)
    if found.keys() != whole.keys():
        yield "lost", f"other runs: {sorted(found.keys() ^ whole.keys())}"[:200]
    ends: dict[str, set[str]] = {}
    for name, record in found.items():
        ends.setdefault(f"lr={record.get('optimizer.lr')}", set()).add(f"{record.state} {record.fields.get('pruned')}")
        yield from _same(name, record.history, whole[name].history, record.state)
        if name in before and record.fields["metrics"] != before[name]:
            yield "lost", f"{name} had ended, and was trained again with other numbers"
    for setting, states in ends.items():
        if len(states) > 1:
            yield "lost", f"the runs of {setting} ended as {sorted(states)}"
    if not any("completed None" in states for states in ends.values()):
        yield "lost", "every setting was stopped"
    if list(folder.glob("records/*.runs.parquet")) and len([*folder.glob("*/run.json")]) != 2:
        yield "lost", f"{len([*folder.glob('*/run.json')])} runs have folders, not the best and the worst"


def _same(name: str, rows: list[dict[str, float]], whole: list[dict[str, float]], state: str) -> Iterator[Fault]:
    if not rows or (state == "completed" and len(rows) != len(whole)):
        yield "lost", f"{name} is {state} after {len(rows)} of {len(whole)} rows"
    for row, wanted in zip(rows, whole, strict=False):
        # the last row of a completed run has test metrics, too
        if any(abs(row[key] - value) > 1e-4 * max(1.0, abs(value)) for key, value in wanted.items() if key in row):
            yield "lost", f"{name} has other numbers after epoch {row['epoch']}"
            return


@functools.cache
def _whole() -> Path:
    return undisturbed(WHOLE, PATIENCE).folder


def _metrics(room: Room) -> dict[str, Any]:
    return {name: record.fields["metrics"] for name, record in _ended(room.work / "there").items()}


def _ended(folder: Path) -> dict[str, RunRecord]:
    """The runs that are completed or pruned, by their lean records or their folders."""
    lean = LeanFolder(folder)
    lean.look()
    found: dict[str, RunRecord] = {}
    for path in folder.glob("*/run.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, json.JSONDecodeError):
            record = RunRecord.read_or_missing(path.parent)
            if record.state in ("completed", "pruned"):
                found[path.parent.name] = record
    return {**found, **lean.runs}
