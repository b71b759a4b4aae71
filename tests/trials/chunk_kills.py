"""Drivers and workers of sweeps in chunks that are killed, stopped and paused: no run is lost, none is done twice.

Workers are forked from the driver, which has imported everything. A sweep has 8 chunks; a round starts or resumes it,
kills something at a random moment, and the next round goes on, until the sweep is complete.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_d2l.sweeps import claims
from lightning_d2l.sweeps.chunks import CHUNKS
from lightning_d2l.sweeps.claims import words_of
from lightning_d2l.sweeps.executors import processes
from tests.conftest import ROOT
from tests.trials.children import Child, Outcome, Room, start
from tests.trials.results import STATEFUL, Program, honest, leftovers, same_folders, undisturbed
from tests.trials.trial import Case, Fault

KILLS = 5  # in a case
CASES = 40
PATIENCE = 120.0  # seconds for a round on a machine that others use, too
RUNS = (
    *STATEFUL, "logger=none", "trainer.max_epochs=60", "trainer.log_every_n_epochs=20", "seed=range(16)",
    "trainer.checkpoint_every_n_seconds=0.05",
)  # fmt: skip
_CHUNKS = ("hydra.launcher.chunk_size=2", "hydra.launcher.retries=50")
TOGETHER = Program("the same in one process", (*RUNS, "hydra.launcher.max_members=2"), True, exact=False)


@dataclass
class Site:
    """Where workers run: the launcher's words, the environment of the driver, and what is done in its process first.

    `kills` are what can be killed beside drivers and workers, each with its name; it says whether it did.
    """

    words: tuple[str, ...]
    prepare: Callable[[], None] = lambda: None
    environment: dict[str, str] = field(default_factory=dict)
    kills: dict[str, Callable[[Room], bool]] = field(default_factory=dict)
    runs: tuple[str, ...] = RUNS
    patience: float = PATIENCE
    start_up: float = 5.0  # seconds in which a worker has claimed a chunk

    @property
    def program(self) -> Program:
        return Program("sweep of 8 chunks", (*self.runs, *_CHUNKS, *self.words), True, exact=False)

    def start(self, room: Room) -> Child:
        return start(room, self.program.again(room), prepare=self.prepare, environment=self.environment)


def cases() -> list[Case]:
    """Kills of what a random choice says, each with its own stream of moments."""
    return [case(number, here) for number in range(CASES)] + [_paused(number) for number in range(4)]


def cases_of_ray() -> list[Case]:
    """The same with tasks of a Ray cluster of two nodes, which are killed, too, or paused."""
    return [case(number, ray) for number in range(CASES)] + [_paused(number, quick_ray) for number in range(2)]


def here() -> Site:
    """Workers forked on this computer."""
    return Site(("hydra/launcher=processes", "hydra.launcher.workers=2"), forked(5.0))


@functools.cache
def ray(lapse: float = 0.0, *, shared: bool = True) -> Site:
    """A Ray cluster, which lives until this program ends.

    With `lapse` claims lapse after so many seconds; unless it is `shared`, no node sees the folder of a sweep.
    """
    from tests.ray_nodes import Nodes

    first = Path(tempfile.mkdtemp(prefix="trial-"))  # what each process of the nodes does first
    quick = f"from lightning_d2l.sweeps import claims\nclaims.LAPSE, claims.BEAT = {lapse}, {lapse / 10}\n"
    blind = "from lightning_d2l.sweeps.executors import ray_task\nray_task.sees = lambda *words: False\n"
    (first / "sitecustomize.py").write_text(quick * bool(lapse) + blind * (not shared))
    environment = {"PYTHONPATH": f"{first}{os.pathsep}{ROOT}"}
    nodes = Nodes(0)
    atexit.register(shutil.rmtree, first, ignore_errors=True)
    atexit.register(nodes.close)
    for _ in range(2):
        nodes.add(**environment)
    living = [0, 1]

    def kill(room: Room) -> bool:
        nodes.remove(living.pop(0))
        nodes.add(**environment)
        living.append(living[-1] + 1)
        return True

    # its workers are processes that import everything anew
    slow = {"patience": 400.0, "start_up": 60.0}
    prepare = forked(lapse) if lapse else lambda: None
    return Site(("hydra/launcher=ray",), prepare, environment=nodes.environment, kills={"node": kill}, **slow)


def quick_ray() -> Site:
    """A Ray cluster with claims that lapse soon."""
    return ray(5.0)


def blind_ray() -> Site:
    """A Ray cluster whose nodes share no folder."""
    return ray(shared=False)


class Forked:
    """A forked worker, with what `processes` uses of subprocess.Popen."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        read, write = os.pipe()
        sys.stdout.flush()
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # Python ignores what is raised in its hooks of a fork
        self.pid, self.returncode = os.fork(), None
        if not self.pid:
            self._work(words[1:], log, read, write)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        os.close(read)
        self.stdin = os.fdopen(write, "wb", buffering=0)

    def _work(self, words: Sequence[str], log: Path, read: int, write: int) -> None:
        code: int | None = 70
        try:
            os.setsid()
            os.close(write)
            os.dup2(read, 0)
            sys.stdin = os.fdopen(0, "rb", closefd=False)  # type: ignore[assignment]
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
            os.closerange(3, 256)
            from lightning_d2l.sweeps.worker import main

            code = main(list(words))
            sys.stdout.flush()
        finally:
            os._exit(code)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float = PATIENCE) -> int:
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("worker", timeout)
            time.sleep(0.01)
        return int(self.returncode or 0)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def forked(lapse: float, *, ends: bool = True, locks: bool = True) -> Callable[[], None]:
    """Let a driver fork its workers; claims lapse after so many seconds.

    With `ends` False it can't kill a worker that seems stuck, and without `locks` folders have none, as in a cluster.
    """

    def prepare() -> None:
        claims.LAPSE, claims.BEAT = lapse, lapse / 10
        processes.Processes.start = lambda self, words, log: Forked(words, log)  # type: ignore[assignment,return-value]
        if not ends:
            processes.Processes.end = lambda self, number: None  # type: ignore[method-assign]
        if not locks:
            from lightning_d2l.sweeps import work

            work.hold = lambda folder, what: contextlib.nullcontext()  # type: ignore[assignment]

    return prepare


def _owners(room: Room, driver: int = 0, site: Site | None = None) -> list[int]:
    """The processes that have a chunk now; those of Ray where the driver claims chunks for them."""
    found: list[Any] = []
    with contextlib.suppress(FileNotFoundError):  # the folder is removed at the end
        found = [words_of(path).get("pid") for path in (room.work / "there" / CHUNKS).glob("*.claim")]
    if driver in found and site is not None:
        found = _of_ray(site.environment["RAY_AUTH_TOKEN"])
    return sorted({pid for pid in found if isinstance(pid, int) and _lives(pid)})


def _of_ray(token: str) -> list[int]:
    """The processes of a cluster that train a chunk."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            trains = (path / "cmdline").read_bytes().startswith(b"ray::lightning_d2l_train")
            if trains and token.encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def finished(room: Room) -> dict[str, Any]:
    """The metrics of the runs that are complete and have a folder."""
    found = {}
    for path in (room.work / "there").glob("*/run.json"):
        with contextlib.suppress(OSError, ValueError):
            fields = json.loads(path.read_text())
            if fields["status"] == "completed":
                found[path.parent.name] = fields["metrics"]
    return found


def wait(child: Child, seconds: float) -> bool:
    """Wait for a moment; returns whether the program still runs."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not child.ended():
        time.sleep(0.002)
    return not child.ended()


killed: dict[str, int] = {}
"""How often what was killed, of all cases."""


Known = Callable[[Room], dict[str, Any]]
"""The metrics of the runs that have finished."""
Whole = Callable[[Room, dict[str, Any]], Iterator[Fault]]
"""What is wrong with a sweep that was completed, of which runs had finished before the last round."""


def case(
    number: int, at: Callable[[], Site], name: str = "", check: Whole | None = None, known: Known | None = None
) -> Case:
    """A sweep at a site, of which something is killed KILLS times."""
    chance = random.Random(number)

    def disturb(child: Child, room: Room, site: Site) -> bool:
        """Kill something; returns whether that was the driver."""
        owners = _owners(room, child.pid, site)
        until = time.monotonic() + chance.choice([0.0, site.start_up, site.start_up])
        while not owners and time.monotonic() < until and wait(child, 0.01):
            owners = _owners(room, child.pid, site)
        what = chance.choice(["driver", "worker", "worker", "all", *2 * list(site.kills)] if owners else ["driver"])
        if what in site.kills:
            killed[what] = killed.get(what, 0) + site.kills[what](room)
            return False
        which = signal.SIGKILL if what == "all" else chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        victims = {"driver": [child.pid], "worker": [chance.choice(owners or [0])], "all": [child.pid, *owners]}[what]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, which)
        name = f"{what} by {signal.Signals(which).name}"
        killed[name] = killed.get(name, 0) + 1
        return what != "worker"

    def work(room: Room) -> Iterator[Fault]:
        left, before, site = KILLS, dict[str, Any](), at()
        while True:
            child = site.start(room)
            over = False
            while left and not over and wait(child, chance.uniform(0.1, 2.5)):
                before |= (known or finished)(room)
                over = disturb(child, room, site)
                left -= 1
            outcome = child.wait(site.patience)
            yield from (fault for fault in outcome.faults() if fault[0] != "executed" or not site.kills)
            if "Traceback" in outcome.text:
                print(outcome.text, file=sys.stderr)
            if not over:
                break
        yield from at_the_end(room, outcome, before, check or whole)

    return Case(f"{name or f'{KILLS} kills'} ({number})", work)


def _paused(number: int, at: Callable[[], Site] | None = None) -> Case:
    """A worker is paused until another one has taken its chunk, and wakes up."""
    chance, ends = random.Random(number), bool(number % 2)

    def work(room: Room) -> Iterator[Fault]:
        before = dict[str, Any]()
        site = at() if at else Site(here().words, forked(1.0, ends=ends, locks=ends))
        child = site.start(room)
        while not _owners(room) and wait(child, 0.01):
            pass
        wait(child, chance.uniform(0.0, 0.5))
        if owners := _owners(room):
            victim = chance.choice(owners)
            os.kill(victim, signal.SIGSTOP)
            wait(child, 4.0 if at is None else 20.0)
            before = finished(room)
            if _lives(victim):
                os.kill(victim, signal.SIGCONT)
            killed["paused"] = killed.get("paused", 0) + 1
        outcome = child.wait(site.patience)
        yield from (fault for fault in outcome.faults() if fault[0] != "executed" or not site.kills)
        yield from at_the_end(room, outcome, before, whole)

    return Case(f"a worker is paused{' on Ray' * (at is not None)} ({number})", work)


def at_the_end(room: Room, outcome: Outcome, before: dict[str, Any], check: Whole) -> Iterator[Fault]:
    """What is wrong after all that happened to a sweep, of which runs had finished `before`."""
    if outcome.code != 0:
        yield "stuck", f"exit code {outcome.code}: {outcome.last_line()}"
        return
    yield from honest(room)
    yield from check(room, before)
    if (room.work / "there" / CHUNKS).exists():
        yield "leftovers", f"{sorted(path.name for path in (room.work / 'there' / CHUNKS).iterdir())}"[:200]
    yield from leftovers(room)


def whole(room: Room, before: dict[str, Any]) -> Iterator[Fault]:
    """Whether the runs are those of a sweep to which nothing happened."""
    yield from same_folders(undisturbed(TOGETHER, PATIENCE).folder, room.work / "there", exact=False)
    after = finished(room)
    for name, metrics in before.items():
        if after.get(name) != metrics:
            yield "lost", f"{name} was finished, and was trained again with other numbers"
