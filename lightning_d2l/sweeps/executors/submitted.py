"""A sweep that nobody waits for: how far it is, and marking it done."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.program import from_here
from lightning_d2l.studies.collect import OUTPUTS, newest_sweep
from lightning_d2l.studies.sweep_file import SWEEP_FILE, read_sweep_file
from lightning_d2l.sweeps.chunks import Chunks
from lightning_d2l.sweeps.claims import LAPSE, changed_at, words_of
from lightning_d2l.sweeps.executors import slurm_site
from lightning_d2l.sweeps.folder import FINISHED, resume_command
from lightning_d2l.training.files import write_json
from lightning_d2l.training.lock import hold, holder
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec


@dataclass
class State:
    """How far a sweep is whose chunks nobody waits for, or whose driver has died."""

    chunks: int
    done: int
    training: int
    runs: int  # that were asked for in all
    ended: Counter[str] = field(default_factory=Counter)  # runs by state, as far as the chunks that are left say
    tasks: dict[str, slurm_site.Task] | None = None  # in SLURM; None if it was not asked, or does not answer

    @property
    def over(self) -> bool:
        """Whether every chunk is done."""
        return self.done == self.chunks


def look(folder: Path) -> State | None:
    """The state of a sweep by the files of its chunks; None if it has none, or if a process waits for them."""
    chunks = Chunks(folder)
    asked, done = chunks.listed()
    if not asked or holder(folder) is not None:
        return None
    try:
        fields = read_sweep_file(folder / SWEEP_FILE)
    except (OSError, ValueError):
        return None
    now, training, ended = time.time(), 0, Counter[str]()
    for number, chunk in asked.items():
        words: dict[str, Any] = {}
        if number in done:
            with contextlib.suppress(RequestError):
                words = chunks.outcome(number)
        elif chunk.claims:
            words = words_of(chunk.claims[-1])
            training += now - changed_at(chunk.claims[-1]) < LAPSE
        counts = words.get("ended")
        for state, count in counts.items() if isinstance(counts, dict) else ():
            ended[str(state)] += count if isinstance(count, int) else 0
    state = State(len(asked), len(done & asked.keys()), training, len(fields["jobs"]), ended)
    if fields["status"] == "submitted" and not state.over:
        with contextlib.suppress(slurm_site.SlurmError):
            state.tasks = slurm_site.tasks(slurm_site.name_of(str(fields.get("id", ""))))
    return state


def unfinished(folders: Iterable[Path]) -> list[str]:
    """What to tell of those sweeps that are not finished, as lines; one that is done by now is marked so."""
    found: list[str] = []
    for folder in [newest_sweep(OUTPUTS) if str(given) == "latest" else given for given in folders]:
        if not settle(folder) and (state := look(folder)):
            found += lines(folder, state)
    return found


def lines(folder: Path, state: State) -> list[str]:
    """What to tell of an unfinished sweep."""
    waiting = state.chunks - state.done - state.training
    counts = ", ".join(f"{count} {name}" for name, count in sorted(state.ended.items()) if count)
    found = [
        f"\nunfinished    {state.done} of {state.chunks} chunks done, {state.training} training, {waiting} left",
        f"              {state.runs} runs: {counts or 'none has ended'}",
    ]
    if state.tasks:
        found.append(f"SLURM         {slurm_site.described(state.tasks)}")
        name = slurm_site.name_of(str(_fields(folder).get("id", "")))
        found.append(f"cancel with   scancel --name={name}")
    elif not state.training:
        left = "no task of SLURM is left" if state.tasks is not None else "nobody trains them now"
        found.append(f"              {left}; train the rest with")
        found.append(f"              {resume_command(from_here(folder), _fields(folder).get('config_dir'))}")
    return found


def settle(folder: Path) -> bool:
    """Mark a sweep done in its sweep.json if all its chunks are and nobody waits for it; returns whether it did."""
    try:
        state = look(folder)
        if state is None:
            return False
        if not state.over:
            if state.tasks == {} and not state.training:  # SLURM has none any more
                with hold(folder, f"{folder}"):
                    write_json(folder / SWEEP_FILE, {**_fields(folder), "status": "stopped"}, new_folders=False)
            return False
        with hold(folder, f"{folder}"):
            chunks, fields = Chunks(folder), _fields(folder)
            outcomes = [chunks.outcome(number) for number in chunks.listed()[1]]
            whole = not any(outcome.get("left_out") for outcome in outcomes)
            with contextlib.suppress(KeyError, ValueError):
                fields["seconds"] = round(time.time() - datetime.fromisoformat(fields["started"]).timestamp(), 3)
            fields |= {"status": "completed" if whole else "stopped", "process": None}
            write_json(folder / SWEEP_FILE, fields, new_folders=False)
            chunks.remove()
    except (RequestError, OSError, ValueError):  # another process does it, or will
        return False
    return True


def train_ends_of_lean(folder: Path) -> None:
    """Make the folders of the best and the worst runs of a lean sweep that nobody waits for, when its chunks are done.

    Raises Stopped after a signal; whoever calls it again resumes.
    """
    from lightning_d2l.sweeps.lean import best_and_worst
    from lightning_d2l.sweeps.vectorized import VectorizedSettings, train
    from lightning_d2l.sweeps.work import Work
    from lightning_d2l.sweeps.worker import Said

    with contextlib.suppress(RequestError, OSError, ValueError, KeyError):  # another process does it, or a resume will
        if (state := look(folder)) is None or not state.over or not (common := Chunks(folder).common)["lean"]["on"]:
            return
        with hold(folder, f"{folder}"):
            fields, work = _fields(folder), Work(folder, Said(), stops=False, verbose=common["verbose"])
            work.lean.look()
            there, runs = work.lean.there.runs, dict[RunSpec, RunRecord]()
            for job in fields["jobs"]:
                if run := there.get(job["folder"]):
                    given = list(run.fields["overrides"]), str(run.fields["command"]), job["number"], fields["id"]
                    runs[RunSpec(dict(run.config), folder / job["folder"], *given, silent=True)] = run
            kept = best_and_worst(folder, fields, runs)
            again = [job for job in kept if RunRecord.read_or_missing(job.folder).state not in FINISHED]
            work.lean.again = frozenset(job.name for job in again)
            train(work, again, VectorizedSettings(**common["vectorized"]))


def take_back(folder: Path, sweep: str) -> None:
    """Remove the chunks of an earlier driver, so that no worker trains them beside this process.

    `sweep` is the id of the sweep. Raises RequestError if tasks of SLURM still have them.
    """
    chunks = Chunks(folder)
    asked, done = chunks.listed()
    if asked and (folder / slurm_site.FOLDER).is_dir():
        name = slurm_site.name_of(sweep)
        try:
            tasks = len(slurm_site.tasks(name))
        except slurm_site.SlurmError:
            last = [chunk.claims[-1] for number, chunk in asked.items() if chunk.claims and number not in done]
            tasks = sum(bool(words_of(claim).get("owner")) and not chunks.lapsed(claim) for claim in last)
        if tasks:
            raise RequestError(
                f"sweep.resume={folder}: {tasks} tasks of SLURM still train it; use hydra/launcher=slurm, or first "
                f"scancel --name={name}"
            )
    if asked:
        chunks.remove()


def _fields(folder: Path) -> dict[str, Any]:
    return read_sweep_file(folder / SWEEP_FILE)
