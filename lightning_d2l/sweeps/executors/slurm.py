"""Workers as tasks of SLURM, in arrays that submitit submits; each takes chunks until none is left."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.program import from_here, tool_words
from lightning_d2l.config.text import cut
from lightning_d2l.sweeps.chunks import Chunk, Chunks
from lightning_d2l.sweeps.claims import words_of
from lightning_d2l.sweeps.executors import slurm_probe, slurm_site
from lightning_d2l.sweeps.executors.slurm_site import FOLDER, LAUNCHER, SlurmError, Task
from lightning_d2l.sweeps.executors.slurm_task import REFUSED, SlurmTask

FIRST_LOOK, LONGEST = 2.0, 10.0  # seconds between two questions to SLURM, which grow
A_THOUSAND = 20.0  # seconds more between them for each thousand tasks
GRACE = 90.0  # seconds in which tasks write the checkpoints of their runs
PAUSE = 60.0  # seconds after which tasks are submitted again that SLURM did not take
MOST_ROUNDS = 2  # of tasks that all end before one has claimed a chunk


class Slurm:
    """An executor: tasks of SLURM. `settings` are those of the launcher without those of the chunks."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = {**settings}
        self.workers = int(self.settings.pop("workers"))
        self.sweep = Path()
        self.name = ""  # of the jobs of this sweep
        self.tasks: dict[str, Task] = {}  # as SLURM said last, and those that were submitted since
        self._looked, self._pause, self._not_before = 0.0, FIRST_LOOK, 0.0
        self._owners: dict[int, str] = {}  # the task that has a chunk
        self._seen: set[Path] = set()  # claims
        self._rounds, self._claimed = 0, False  # submissions in a row that came to nothing
        self._last = ""  # the last task that has ended
        self._probed, self._shared = False, False  # whether a node was asked, and whether it can train the sweep
        self._told = ""  # why tasks wait, as was said last

    def check(self) -> None:
        """See Executor."""
        slurm_site.check(self.settings)

    def submit(self, chunks: Chunks, waiting: Sequence[int]) -> None:
        """Submit as many tasks as are missing; see Executor."""
        self._of(chunks)
        if not self._probed:
            self._probed = True
            if not self.tasks:
                self._probe(str(chunks.common["word"]))
        pending = sum(task.state != "R" for task in self.tasks.values())
        number = min(self.workers - len(self.tasks), len(waiting) - pending)
        if number < 1 or time.monotonic() < self._not_before:
            return
        if self._last and not self._claimed:
            self._rounds += 1
            if self._rounds >= MOST_ROUNDS:
                raise RequestError(f"{LAUNCHER}: no task has claimed a chunk: {self._why(self._last)}")
        self._rounds = 0 if self._claimed else self._rounds
        self._claimed = False
        self.tasks |= dict.fromkeys(self._submitted(number), Task("PD", ""))
        self._looked, self._pause = time.monotonic(), FIRST_LOOK

    def _of(self, chunks: Chunks) -> None:
        """Take over the tasks of a driver that has died, at the first call."""
        if self.name:
            return
        self.sweep, self.name = chunks.sweep, slurm_site.name_of(str(chunks.common["sweep"]))
        with contextlib.suppress(SlurmError):
            self.tasks = slurm_site.tasks(self.name)

    def _probe(self, word: str) -> None:
        """See on one node whether tasks could train the sweep; raises RequestError if they could not."""
        with _outside_of_slurm():
            setup = self._parameters()["setup"]
            self._shared = slurm_probe.probe(self.sweep, word, self.name, self.settings, setup)
        if not self._shared:
            print("no node answered a probe: the first task will see whether it shares the folder", flush=True)

    def _submitted(self, number: int) -> list[str]:
        """The ids of new tasks; fewer than asked for, with a line, if SLURM takes no more."""
        import submitit
        from submitit.core.utils import FailedJobError

        parameters = self._parameters()
        ids: list[str] = []
        try:
            largest = slurm_site.largest_array()
            with _outside_of_slurm():
                executor = submitit.SlurmExecutor(self.sweep / FOLDER, self.settings["max_num_timeout"])
                executor.update_parameters(**parameters)
                while len(ids) < number:
                    size = min(number - len(ids), largest)
                    ids += [job.job_id for job in executor.map_array(SlurmTask(), [str(self.sweep.absolute())] * size)]
        except (FailedJobError, SlurmError, ValueError, RuntimeError) as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            if not (ids or self.tasks or self._last):
                raise RequestError(f"{LAUNCHER}: SLURM takes no task: {said[-1]}") from error
            print(f"SLURM takes {len(ids)} of {number} tasks: {said[-1]}"[:160], flush=True)
            self._not_before = time.monotonic() + PAUSE
        return ids

    def _parameters(self) -> dict[str, Any]:
        """What submitit is told, by its names."""
        given = self.settings
        more = {**(given.get("additional_parameters") or {})}
        more |= {slurm_site.OPTIONS[name]: given[name] for name in ("mem_per_cpu",) if given.get(name) is not None}
        named = ("partition", "account", "qos", "constraint", "exclude", "cpus_per_task", "gpus_per_node",
                 "gres", "comment", "signal_delay_s", "srun_args")  # fmt: skip
        found = {name: given[name] for name in named if given.get(name) is not None}
        if given.get("mem_gb") is not None:
            found["mem"] = f"{int(given['mem_gb'] * 1024)}MB"
        path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path if entry)
        setup = [
            *(given.get("setup") or []),
            f"export PYTHONPATH={shlex.quote(path)} PYTHONSAFEPATH=1 OMP_NUM_THREADS={given['cpus_per_task']}",
        ]
        return {
            **found,
            "nodes": 1,
            "ntasks_per_node": 1,
            "job_name": self.name,
            "time": given["timeout_min"],
            "array_parallelism": given["array_parallelism"] or self.workers,
            "setup": setup,
            "stderr_to_stdout": True,
            "additional_parameters": {"requeue": True, **more},
        }

    def lost(self, found: Mapping[int, Chunk]) -> dict[int, str]:
        """The chunks whose tasks SLURM has ended or begun anew; see Executor."""
        claims = {chunk.claims[-1] for chunk in found.values() if chunk.claims}
        self._claimed |= not claims <= self._seen
        self._seen |= claims
        now = time.monotonic()
        if not self.name or not (self.tasks or claims) or now - self._looked < self._pause:
            return {}
        self._looked = now
        self._pause = min(1.5 * self._pause, LONGEST + A_THOUSAND * len(self.tasks) / 1000)
        try:
            tasks = slurm_site.tasks(self.name)
        except SlurmError:  # what SLURM said last holds until it answers
            return {}
        for ended in self.tasks.keys() - tasks.keys():
            self._last = ended
            if REFUSED in (said := _said(self._log(ended))):
                raise RequestError(said[said.index(REFUSED) - 1].removeprefix("error: "))
            if not said:
                self._without_log(ended)
        self.tasks = tasks
        self._tell_of_waiting()
        words = {number: words_of(chunk.claims[-1]) for number, chunk in found.items() if chunk.claims}
        self._owners = {number: str(said["owner"]) for number, said in words.items() if said.get("owner")}
        return {
            number: self._why(owner)
            for number, owner in self._owners.items()
            if owner not in tasks or tasks[owner].state == "PD"
        }

    def _without_log(self, task: str) -> None:
        """Use no longer the node of a task that failed before it could print: it does not see the sweep's folder.

        Raises RequestError if no other node is known to see it.
        """
        try:
            job = slurm_site.job(task)
        except SlurmError:
            return
        if job.get("JobState") != "FAILED" or not (node := job.get("BatchHost", "")):
            return  # such as one that was cancelled while it waited
        if not (self._seen or self._shared):
            raise RequestError(slurm_probe.unshared(self.sweep, node))
        excluded = [*(str(self.settings.get("exclude") or "").split(",")), node]
        self.settings["exclude"] = ",".join(dict.fromkeys(filter(None, excluded)))
        print(f"node {node} does not see the sweep's folder: no more tasks run there", flush=True)
        for number in {waiting.partition("_")[0] for waiting, state in self.tasks.items() if state.state == "PD"}:
            with contextlib.suppress(SlurmError):
                slurm_site.ask("scontrol", "update", f"JobId={number}", f"ExcNodeList={self.settings['exclude']}")

    def _tell_of_waiting(self) -> None:
        """Say once why no task runs, unless tasks wait for their turn alone."""
        why = slurm_site.blocked(self.tasks)
        if why and why != self._told:
            print(cut(f"no task of SLURM runs: {why}", 160), flush=True)
        self._told = why

    def _log(self, task: str) -> Path:
        return self.sweep / FOLDER / f"{task}_0_log.out"

    def _why(self, task: str) -> str:
        log = self._log(task)
        if not log.exists():
            return f"task {task} of SLURM left no {log}; is the folder shared between the nodes?"
        return f"task {task} of SLURM ended: {(_said(log) or [''])[-1] or 'it printed nothing'}"[:300]

    def words(self) -> str:
        """The tasks of SLURM, and why those wait that do."""
        return slurm_site.described(self.tasks)

    def end(self, number: int) -> None:
        """Cancel the task of a chunk, unless SLURM has suspended it; see Executor."""
        owner = self._owners.get(number, "")
        if owner in self.tasks and self.tasks[owner].state == "R":
            with contextlib.suppress(SlurmError):
                slurm_site.ask("scancel", owner)

    def stop(self) -> None:
        """Cancel all tasks, and wait until those that ran have written the checkpoints of their runs."""
        end = time.monotonic() + GRACE
        with contextlib.suppress(SlurmError):
            if self.tasks:
                over = not Chunks(self.sweep).numbers()  # the tasks that run are about to end
                slurm_site.cancel(self.name, waiting=over)
                while not over and slurm_site.tasks(self.name) and time.monotonic() < end:
                    time.sleep(1.0)
        self.tasks.clear()

    def leave(self, chunks: Chunks) -> str:
        """What to do with a sweep that has been submitted; see Executor."""
        jobs = sorted({task.partition("_")[0] for task in self.tasks}, key=int)
        tasks, self.tasks = len(self.tasks), {}  # `stop` cancels none
        return "\n".join([
            f"submitted     {tasks} tasks of SLURM for {len(chunks.numbers())} chunks, in job {', '.join(jobs)}",
            f"look, collect {shlex.join([*tool_words('report'), str(from_here(chunks.sweep))])}",
            f"cancel        scancel --name={self.name}",
        ])  # fmt: skip


def _said(log: Path) -> list[str]:
    """The last lines that a task has printed, without those of submitit and srun."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 10_000))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return ["", *(line.strip() for line in lines if line.strip() and not line.startswith(("submitit ", "srun: ")))]


@contextlib.contextmanager
def _outside_of_slurm() -> Iterator[None]:
    """Without the variables of a job of SLURM in which the driver may run; its tasks are no part of that job."""
    from submitit.helpers import clean_env

    conf = os.environ.get("SLURM_CONF")
    with clean_env():
        if conf is not None:
            os.environ["SLURM_CONF"] = conf
        yield
