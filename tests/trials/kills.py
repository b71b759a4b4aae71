"""Kills and signals, at each file operation and at random moments; the program that is resumed gives the same."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator

from tests.trials.children import LIMIT, Outcome, Room, run, start
from tests.trials.operations import Operations
from tests.trials.results import (
    LONG_GROUP,
    LONG_SWEEP,
    PLAIN,
    RUN,
    SEQUENTIAL,
    SLOW,
    VECTORIZED,
    Program,
    honest,
    same,
    undisturbed,
)
from tests.trials.trial import Case, Fault

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def cases() -> list[Case]:
    """A kill at each operation of a run and of a sweep by each launcher, signals there, and both at random."""
    chance = random.Random(12)
    made = [_killed(program, at) for program in (RUN, SEQUENTIAL, VECTORIZED) for at in _operations(program)]
    for program in (PLAIN, SEQUENTIAL, VECTORIZED):
        made += [_signalled(program, at, STOPPING[at % 3], 1) for at in _operations(program)[::2]]
    made += [_signalled(PLAIN, at, signal.SIGINT, 20) for at in _operations(PLAIN)[-12:]]
    made += [_signalled(VECTORIZED, at, signal.SIGINT, 20) for at in _operations(VECTORIZED)[-12:]]
    for number in range(90):
        program = (SLOW, LONG_SWEEP, LONG_GROUP)[number % 3]
        which = (signal.SIGKILL, *STOPPING)[number // 3 % 4]
        times = 1 if which == signal.SIGKILL else (1, 2, 20)[number // 12 % 3]
        made.append(_at_random(program, which, times, chance.random(), number))
    return made


def _operations(program: Program) -> range:
    return range(1, undisturbed(program).operations + 1)


def _killed(program: Program, at: int) -> Case:
    def work(room: Room) -> Iterator[Fault]:
        operations = Operations(room.work, at, lambda name: os.kill(os.getpid(), signal.SIGKILL))
        run(room, program.first(), prepare=operations.install)
        yield from _resumed(room, program)

    return Case(f"{program.name}: killed at operation {at}", work)


def _signalled(program: Program, at: int, number: int, times: int) -> Case:
    def act(name: str) -> None:
        for _ in range(times):
            os.kill(os.getpid(), number)
            time.sleep(0)

    def work(room: Room) -> Iterator[Fault]:
        operations = Operations(room.work, at, act)
        outcome = run(room, program.first(), prepare=operations.install)
        yield from _ended(outcome, number)
        yield from _resumed(room, program)

    return Case(f"{program.name}: {signal.Signals(number).name} x {times} at operation {at}", work)


def _at_random(program: Program, which: int, times: int, share: float, number: int) -> Case:
    def work(room: Room) -> Iterator[Fault]:
        child = start(room, program.first())
        until = time.monotonic() + share * undisturbed(program).seconds
        while time.monotonic() < until and not child.ended():
            time.sleep(0.001)
        for _ in range(times):
            if not child.ended():
                child.signal(which)
            time.sleep(0.003 if times > 2 else 0.03)
        yield from _ended(child.wait(LIMIT), which)
        yield from _resumed(room, program)

    name = signal.Signals(which).name
    return Case(f"{program.name}: {name} x {times} after {share:.0%} ({number})", work)


def _ended(outcome: Outcome, number: int) -> Iterator[Fault]:
    """A program that a signal ended says so by its exit code and without a traceback."""
    yield from outcome.faults()
    if outcome.code not in (0, 128 + number, -number, None):
        yield "other", f"exit code {outcome.code}: {outcome.last_line()}"


def _resumed(room: Room, program: Program) -> Iterator[Fault]:
    yield from honest(room)
    words = program.again(room)
    yield from same(room, program, run(room, words), " ".join(words[-1:]))
