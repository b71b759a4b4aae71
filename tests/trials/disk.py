"""Disks that are full, read-only or gone: a checkpoint stays whole, a line says why, and a resume is equal."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator

import torch

from tests.trials.children import Outcome, Room, run, start
from tests.trials.operations import ERRORS, Operations
from tests.trials.results import PLAIN, RUN, SEQUENTIAL, SLOW, VECTORIZED, Program, honest, same, undisturbed
from tests.trials.trial import Case, Fault

NOBODY = 65534


def cases() -> list[Case]:
    """An error at each operation, another one each time; sizes of a disk; folders that can't be written or vanish."""
    made = []
    for program in (RUN, SEQUENTIAL, VECTORIZED):
        for at in range(1, undisturbed(program).operations + 1):
            made.append(_fails_at(program, at, ERRORS[at % len(ERRORS)], lasting=at % 2 == 0))
    for program in (PLAIN, SEQUENTIAL, VECTORIZED):
        made += [
            _largest_file(program, size) for size in (0, 100, 500, 1_000, 2_000, 4_000, 6_000, 8_000, 10_000, 12_000)
        ]
        made += [_small_disk(program, size) for size in (8, 16, 24, 32, 48, 64, 80, 96)]
        made += [_read_only(program), _folder_deleted(program)]
    made += [_folder_deleted(SLOW), _not_ours(PLAIN), _not_ours(SEQUENTIAL)]
    return made


def _fails_at(program: Program, at: int, code: int, *, lasting: bool) -> Case:
    """The operation, and if `lasting` all later ones that write, end in an error."""

    def work(room: Room) -> Iterator[Fault]:
        def act(name: str) -> None:
            if lasting and not name.startswith(("os.remove", "os.rmdir")):
                operations.at += 1
            raise OSError(code, os.strerror(code), name.partition(" ")[2] or None)

        operations = Operations(room.work, at, act)
        outcome = run(room, program.first(), prepare=operations.install)
        yield from _full(room, program, outcome)
        yield from _afterwards(room, program)

    how = "and all later ones fail" if lasting else "fails"
    return Case(f"{program.name}: operation {at} {how} with {errno.errorcode[code]}", work)


def _largest_file(program: Program, size: int) -> Case:
    """A quota of a file's size."""

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    def work(room: Room) -> Iterator[Fault]:
        yield from _full(room, program, run(room, program.first(), prepare=prepare))
        yield from _afterwards(room, program)

    return Case(f"{program.name}: files of at most {size:,} bytes", work)


def _small_disk(program: Program, kilobytes: int) -> Case:
    """A disk of its own, which is full at some time and is then made larger."""

    def work(room: Room) -> Iterator[Fault]:
        if not _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(room.work)):
            return
        try:
            yield from _full(room, program, run(room, program.first()))
            _mount("-o", "remount,size=64m", str(room.work))
            yield from _afterwards(room, program)
        finally:
            subprocess.run(["umount", "-l", str(room.work)], check=False, capture_output=True)

    return Case(f"{program.name}: a disk of {kilobytes} kB", work)


def _read_only(program: Program) -> Case:
    """A finished program's folder on a disk that is mounted read-only, which is resumed and reported."""

    def work(room: Room) -> Iterator[Fault]:
        if not _mount("-t", "tmpfs", "tmpfs", str(room.work)):
            return
        try:
            shutil.copytree(undisturbed(program).folder, room.work / "there")
            _mount("-o", "remount,ro", str(room.work))
            for words in (
                program.first(),
                program.again(room),
                [*program.words, "hydra.run.dir=new", *["-m"] * program.sweep],
            ):
                outcome = run(room, words)
                yield from outcome.faults()
                if outcome.code not in (0, 2) or (outcome.code == 2 and len(outcome.err.splitlines()) > 2):
                    yield "other", f"{words[-1]}: exit code {outcome.code}: {outcome.last_line()}"
        finally:
            subprocess.run(["umount", "-l", str(room.work)], check=False, capture_output=True)

    return Case(f"{program.name}: a read-only disk", work)


def _not_ours(program: Program) -> Case:
    """A folder that belongs to another user."""

    def work(room: Room) -> Iterator[Fault]:
        if os.geteuid() != 0:
            return
        shutil.copytree(undisturbed(program).folder, room.work / "there")
        for path in [room.folder.parent, *room.folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        before = {path: path.read_bytes() for path in room.work.rglob("*") if path.is_file()}
        for words in ([*program.words, "hydra.run.dir=new", *["-m"] * program.sweep], program.again(room)):
            outcome = run(room, words, prepare=lambda: os.setuid(NOBODY))
            yield from outcome.faults()
            if outcome.code == 2:
                yield from outcome.refused()
            elif outcome.code != 0 or words[-1] != program.again(room)[-1]:
                yield "other", f"{words[-1]}: exit code {outcome.code}: {outcome.last_line()}"
        if before != {path: path.read_bytes() for path in room.work.rglob("*") if path.is_file()}:
            yield "other", "the folder of another user was changed"

    return Case(f"{program.name}: the folder of another user", work)


def _folder_deleted(program: Program) -> Case:
    def work(room: Room) -> Iterator[Fault]:
        child = start(room, program.first())
        there, until = room.work / "there", time.monotonic() + 20
        while not any(there.rglob("metrics.csv")) and not child.ended() and time.monotonic() < until:
            time.sleep(0.001)
        shutil.rmtree(there, ignore_errors=True)
        outcome = child.wait()
        yield from outcome.faults()
        if outcome.code not in (0, 1, 2):
            yield "other", f"exit code {outcome.code}: {outcome.last_line()}"
        shutil.rmtree(there, ignore_errors=True)
        yield from _afterwards(room, program)

    return Case(f"{program.name}: the folder is deleted under it", work)


def _mount(*words: str) -> bool:
    """Whether a mount succeeded, which only a superuser may do."""
    return subprocess.run(["mount", *words], check=False, capture_output=True).returncode == 0


def _full(room: Room, program: Program, outcome: Outcome) -> Iterator[Fault]:
    """A program whose disk failed ends in a line with exit code 2, or did without what failed."""
    yield from outcome.faults()
    text = " ".join(outcome.text.split())
    if outcome.code not in ((0, 1, 2, None) if program.sweep else (0, 2, None)):  # a run of a sweep failed
        yield "other", f"exit code {outcome.code}: {outcome.last_line()}"
    if (
        outcome.code in (1, 2)
        and not any(os.strerror(code) in text for code in ERRORS)
        and not re.search(r"can't be written|cannot be written", text)
    ):
        yield "other", f"no line says why: {outcome.text[-200:]!r}"
    yield from honest(room)
    for path in room.work.rglob("*.ckpt"):
        try:
            torch.load(path, weights_only=True)
        except Exception as error:
            yield "lost", f"{path.relative_to(room.work)} is damaged: {error}"


def _afterwards(room: Room, program: Program) -> Iterator[Fault]:
    words = program.again(room)
    yield from same(room, program, run(room, words), " ".join(words[-1:]))
