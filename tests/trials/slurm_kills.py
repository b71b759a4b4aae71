"""Drivers, tasks and daemons of SLURM that are killed, cancelled and queued again: no run is lost, none is done twice.

As in `chunk_kills`, on a real SLURM that the first case starts. Tasks are processes that import everything anew, so
that a case takes minutes.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_d2l.sweeps.chunks import CHUNKS
from lightning_d2l.sweeps.claims import words_of
from tests import slurm
from tests.trials.children import Child, Room, start
from tests.trials.chunk_kills import RUNS, Known, Whole, at_the_end, finished, killed, wait, whole
from tests.trials.results import Program
from tests.trials.trial import Case, Fault

KILLS = 5  # in a case
CASES = 20
PATIENCE = 400.0  # seconds for a round on a machine that others use, too
IN_TASKS = (
    "hydra/launcher=slurm", "hydra.launcher.workers=2", "hydra.launcher.chunk_size=2", "hydra.launcher.retries=50",
)  # fmt: skip
_made: list[slurm.Cluster] = []


def cases() -> list[Case]:
    """Kills of what a random choice says, each with its own stream of moments; none where SLURM can't be started."""
    return [] if slurm.missing() else [case(number) for number in range(CASES)]


def _cluster() -> slurm.Cluster:
    if not _made:
        folder, owner = Path(tempfile.mkdtemp(prefix="slurm-")), os.getpid()
        made = slurm.Cluster(folder)

        def end() -> None:
            if os.getpid() == owner:  # not a forked child
                made.stop()
                shutil.rmtree(folder, ignore_errors=True)

        made.start()
        atexit.register(end)
        os.environ.update(made.env)
        _made.append(made)
    return _made[0]


def _owners(room: Room) -> list[dict[str, Any]]:
    """What the tasks say that have claimed a chunk."""
    found = [words_of(path) for path in (room.work / "there" / CHUNKS).glob("*.claim")]
    return [words for words in found if words.get("owner")]


def case(
    number: int, runs: tuple[str, ...] = RUNS, name: str = "", check: Whole = whole, known: Known = finished
) -> Case:
    """A sweep on SLURM, of which something is killed KILLS times."""
    chance, program = random.Random(number), Program("sweep of 8 chunks", (*runs, *IN_TASKS), True, exact=False)

    def disturb(child: Child, room: Room) -> bool:
        """Kill something; returns whether that was the driver."""
        cluster, until = _cluster(), time.monotonic() + chance.choice([0.0, 60.0, 60.0, 60.0])
        while not (owners := _owners(room)) and time.monotonic() < until and wait(child, 0.1):
            pass
        tasks = ["cancelled", "cancelled", "queued again", "queued again", "timed out", "worker killed", "node killed"]
        what = chance.choice([*tasks, "driver killed", "driver ended"] if owners else ["driver killed"])
        victim = chance.choice(owners or [{}])
        task = str(victim.get("owner"))
        if what == "cancelled":
            cluster.run("scancel", task, check=False)
        elif what == "queued again":
            cluster.run("scontrol", "requeue", task, check=False)
        elif what == "timed out":
            cluster.run("scancel", "--signal=USR2", task, check=False)
        elif what == "worker killed":
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(victim["pid"]), signal.SIGKILL)
        elif what == "node killed":
            cluster.kill_node()
            cluster.start_node()
        else:
            child.signal(signal.SIGKILL if what == "driver killed" else signal.SIGTERM)
        killed[what] = killed.get(what, 0) + 1
        return what.startswith("driver")

    def work(room: Room) -> Iterator[Fault]:
        _cluster()
        left, before = KILLS, dict[str, Any]()
        while True:
            child = start(room, program.again(room))
            over = False
            while left and not over and wait(child, chance.uniform(2.0, 12.0)):
                before |= known(room)
                over = disturb(child, room)
                left -= 1
            outcome = child.wait(PATIENCE)
            yield from (fault for fault in outcome.faults() if fault[0] != "executed")  # the commands of SLURM are
            if not over:
                break
        yield from at_the_end(room, outcome, before, check)

    return Case(f"{name or f'{KILLS} kills'} on SLURM ({number})", work)
