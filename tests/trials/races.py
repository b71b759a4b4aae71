"""Several processes and one folder: one wins, the others say so, and the results are right."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lightning_d2l.training.record import RunRecord
from tests.trials.children import LIMIT, Child, Outcome, Room, command, run, start
from tests.trials.results import (
    LONG_GROUP,
    LONG_SWEEP,
    PLAIN,
    SLOW,
    Program,
    honest,
    leftovers,
    same,
    same_folders,
    undisturbed,
)
from tests.trials.trial import Case, Fault

GARMENTS = [
    "model=softmax_regression",
    "data.source=generated",
    "data.n_train=200",
    "data.val_size=100",
    "trainer.max_epochs=1",
    "logger=none",
    "trainer.accelerator=cpu",
]
PATIENCE = 6 * LIMIT  # for many at once


def cases() -> list[Case]:
    made = [
        Case("32 starts in one folder", _starts_in_one_folder),
        Case("32 starts without a folder", _starts_without_a_folder),
        Case("8 sweeps in one folder", _sweeps_in_one_folder),
        Case("8 processes that draw the garments", _garments),
        Case("a job of a living sweep is resumed", _job_of_a_living_sweep),
        Case("rerun and reproduce into folders in use", _into_folders_in_use),
        Case("a person's files in a job's folder", _foreign_files),
        Case("a foreign run in a job's folder", _foreign_run),
        Case("orphaned workers of joblib", _orphans),
    ]
    for program in (SLOW, LONG_SWEEP, LONG_GROUP):
        made += [_resumes_at_once(program, number) for number in range(4)]
        made += [_while_it_lives(program)]
    return made


def _wait_all(children: Sequence[Child]) -> list[Outcome]:
    return [child.wait(PATIENCE) for child in children]


def _rooms(room: Room, number: int) -> list[Room]:
    """Rooms of children that share one `work`, for each has its own output."""
    made = []
    for i in range(number):
        other = Room(room.folder / "input" / str(i))
        other.work = room.work
        made.append(other)
    return made


def _one_wins(outcomes: Sequence[Outcome]) -> Iterator[Fault]:
    winners = sum(outcome.code == 0 for outcome in outcomes)
    if winners != 1:
        yield "other", f"{winners} of {len(outcomes)} won"
    for outcome in outcomes:
        yield from outcome.faults()
        if outcome.code:
            yield from outcome.refused()


def _starts_in_one_folder(room: Room) -> Iterator[Fault]:
    children = [
        start(own, [*PLAIN.words, f"seed={i}", "hydra.run.dir=there"]) for i, own in enumerate(_rooms(room, 32))
    ]
    outcomes = _wait_all(children)
    yield from _one_wins(outcomes)
    record = RunRecord.read(room.work / "there")
    seed = next((i for i, outcome in enumerate(outcomes) if outcome.code == 0), -1)
    if record.fields["seed"] != seed:
        yield "lost", f"seed {seed} won, and the folder holds seed {record.fields['seed']}"
    with_seed = Program(f"seed {seed}", (*PLAIN.words, f"seed={seed}"), False)
    yield from same_folders(undisturbed(with_seed).folder, room.work / "there", exact=True)
    yield from leftovers(room)


def _starts_without_a_folder(room: Room) -> Iterator[Fault]:
    outcomes = _wait_all([start(own, [*PLAIN.words, f"seed={i}"]) for i, own in enumerate(_rooms(room, 32))])
    for outcome in outcomes:
        yield from outcome.faults()
        if outcome.code != 0:
            yield "lost", f"exit code {outcome.code}: {outcome.last_line()}"
    seeds = sorted(json.loads(path.read_text())["seed"] for path in room.work.rglob("run.json"))
    if seeds != list(range(32)):
        yield "lost", f"the records are of the seeds {seeds}"
    yield from leftovers(room)


def _sweeps_in_one_folder(room: Room) -> Iterator[Fault]:
    words = ["-m", *PLAIN.words, "seed=0,1", "hydra.sweep.dir=there"]
    yield from _one_wins(_wait_all([start(own, words) for own in _rooms(room, 8)]))
    if len(list(room.work.rglob("run.json"))) != 2:
        yield "lost", "not two runs"
    yield from leftovers(room)


def _garments(room: Room) -> Iterator[Fault]:
    (room.folder / "input" / "data").mkdir(parents=True)
    environment = {"LIGHTNING_D2L_DATA": str(room.folder / "input" / "data")}
    children = [start(own, GARMENTS, environment=environment) for own in _rooms(room, 8)]
    for outcome in _wait_all(children):
        yield from outcome.faults()
        if outcome.code != 0:
            yield "lost", f"exit code {outcome.code}: {outcome.last_line()}"
    records = [RunRecord.read(path.parent) for path in room.work.rglob("run.json")]
    if len({json.dumps([r.fields.get("data", {}).get("checksum"), r.fields.get("metrics")]) for r in records}) != 1:
        yield "lost", "the processes have other data or other results"
    if left := [p for p in (room.folder / "input/data").rglob("*") if ".new-" in p.name or p.suffix == ".tmp"]:
        yield "leftovers", str(left[0])


def _interrupted(room: Room, program: Program) -> None:
    """Kill a program in the midst of its training."""
    child = start(room, program.first())
    _until(child, lambda: any((room.work / "there").rglob("checkpoints/last.ckpt")))
    child.signal(signal.SIGKILL)
    child.wait()


def _until(child: Child, happened: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT
    while not happened() and not child.ended() and time.monotonic() < until:
        time.sleep(0.002)


def _resumes_at_once(program: Program, number: int) -> Case:
    def work(room: Room) -> Iterator[Fault]:
        _interrupted(room, program)
        outcomes = _wait_all([start(own, program.again(room)) for own in _rooms(room, 2 + number % 2)])
        for outcome in outcomes:
            yield from outcome.faults()
            if outcome.code not in (0, 2):
                yield "lost", f"exit code {outcome.code}: {outcome.last_line()}"
            if outcome.code == 2:
                yield from outcome.refused()
        if all(outcome.code for outcome in outcomes):
            yield "stuck", "none of them resumed"
        yield from same_folders(undisturbed(program).folder, room.work / "there", program.exact)
        yield from leftovers(room)

    return Case(f"{program.name}: resumed twice at once ({number})", work)


def _while_it_lives(program: Program) -> Case:
    """A program that still trains is resumed, started again, and reported."""

    def work(room: Room) -> Iterator[Fault]:
        child = start(room, program.first())
        _until(child, lambda: any((room.work / "there").rglob("metrics.csv")))
        child.signal(signal.SIGSTOP)  # alive, and in no hurry
        (other,) = _rooms(room, 1)
        for words in (program.again(room), program.first(), [*PLAIN.words, "hydra.run.dir=there"]):
            outcome = run(other, words)
            yield from outcome.faults()
            yield from outcome.refused()
            if str(child.pid) not in outcome.err and words == program.again(room):
                yield "other", f"does not name the process {child.pid}: {outcome.err!r}"
        yield from run(other, ["report", "there"], program="other").faults()
        child.signal(signal.SIGCONT)
        yield from same(room, program, child.wait(PATIENCE), "the first")

    return Case(f"{program.name}: resumed and started anew while it lives", work)


def _job_of_a_living_sweep(room: Room) -> Iterator[Fault]:
    child = start(room, LONG_SWEEP.first())
    _until(child, lambda: any((room.work / "there").rglob("metrics.csv")))
    child.signal(signal.SIGSTOP)
    (other,) = _rooms(room, 1)
    for job in sorted(path.parent.name for path in (room.work / "there").rglob("run.json")):
        words = [word for word in LONG_SWEEP.words if not word.startswith(("seed=", "hydra/launcher"))]
        outcome = run(other, [*words, f"{job}", f"resume='there/{job}'"])
        yield from outcome.faults()
        yield from outcome.refused()
    child.signal(signal.SIGCONT)
    yield from same(room, LONG_SWEEP, child.wait(PATIENCE), "the sweep")


def _into_folders_in_use(room: Room) -> Iterator[Fault]:
    (other,) = _rooms(room, 1)
    for outcome in (run(other, [*PLAIN.words, "hydra.run.dir=finished"]),):
        if outcome.code:
            yield "other", outcome.last_line()
    child = start(room, SLOW.first())
    _until(child, lambda: any((room.work / "there").rglob("metrics.csv")))
    child.signal(signal.SIGSTOP)
    for words in (
        ["rerun", "finished", "--into", "there"],
        ["reproduce", "poly-normal", "--seeds", "1", "--into", "there"],
    ):
        outcome = run(other, words, program="other")
        yield from outcome.faults()
        yield from outcome.refused()
    child.signal(signal.SIGCONT)
    yield from same(room, SLOW, child.wait(PATIENCE), "the first")


def _foreign_files(room: Room) -> Iterator[Fault]:
    notes = room.work / "there/seed=0/notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    outcome = run(room, ["-m", *PLAIN.words, "seed=0,1", "hydra.sweep.dir=there"])
    yield from outcome.faults()
    if not notes.exists() or notes.read_text() != "mine":
        yield "lost", "a person's file is gone"
    yield from outcome.refused()
    if room.written() != ["there", "there/seed=0", "there/seed=0/notes.txt"]:
        yield "other", f"wrote {room.written()}"


def _foreign_run(room: Room) -> Iterator[Fault]:
    run(room, [*PLAIN.words, "seed=7", "hydra.run.dir='there/seed=0'"])
    before = (room.work / "there/seed=0/run.json").read_bytes()
    outcome = run(room, ["-m", *PLAIN.words, "seed=0,1", "hydra.sweep.dir=there"])
    yield from outcome.faults()
    yield from outcome.refused()
    if (room.work / "there/seed=0/run.json").read_bytes() != before:
        yield "lost", "a foreign run is gone"


def _orphans(room: Room) -> Iterator[Fault]:
    if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None:
        return
    words = [
        *(word for word in LONG_SWEEP.words if "launcher" not in word),
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
    ]
    process = subprocess.Popen(
        command("train", "-m", *words, "hydra.sweep.dir=there"),
        cwd=room.work,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + 3 * LIMIT
    while not any(room.work.rglob("metrics.csv")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.wait()
    outcomes = []
    for _ in range(30):
        outcomes.append(run(room, ["sweep.resume=there", "hydra/launcher=sequential"][:1], limit=PATIENCE))
        if outcomes[-1].code == 0:
            break
        time.sleep(2)
    for outcome in outcomes:
        yield from outcome.faults()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if outcomes[-1].code != 0:
        yield "stuck", outcomes[-1].last_line()
    yield from honest(room)
    yield from same_folders(undisturbed(LONG_SWEEP).folder, Path(room.work / "there"), exact=True)
