"""Workers as tasks of Ray, each of which trains one chunk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.program import program
from lightning_d2l.config.text import cut
from lightning_d2l.plugins import LOADED
from lightning_d2l.sweeps.chunks import Chunk, Chunks
from lightning_d2l.sweeps.claims import BEAT, give_up, renew, words_of
from lightning_d2l.sweeps.executors import archive, ray_cluster
from lightning_d2l.sweeps.executors.ray_calls import on, remote
from lightning_d2l.sweeps.executors.ray_judge import Decisions
from lightning_d2l.sweeps.executors.sent_data import Files, files_of, send

LAUNCHER = "hydra/launcher=ray"
PROBE = 60.0  # seconds in which nodes answer a probe; Python starts there, and imports this package
GRACE = 60.0  # seconds in which workers write the checkpoints of their runs
AHEAD = 2  # tasks that are submitted for each that can run, so that no worker waits for the driver
LOOK = 10.0  # seconds between two looks at the nodes of the cluster
MOST_IDLE_DEATHS = 3  # workers that die before they have claimed a chunk
MOST_NODES = 10  # nodes that may die under a chunk before its own runs are taken for the reason


@dataclass
class _Task:
    """A chunk that was submitted, and its claim if the worker can't make it, since it sees no folder."""

    number: int
    claim: Path | None


class Ray:
    """An executor: tasks of a Ray cluster, `num_cpus`, `num_gpus` and `resources` for each.

    Where a node does not see the sweep's folder, chunks go there and their runs come back through Ray's object store.
    """

    def __init__(
        self,
        address: str | None,
        num_cpus: float,
        num_gpus: float,
        resources: Mapping[str, float],
        node_timeout: float,
    ) -> None:
        self.address, self.node_timeout, self.workers = address, node_timeout, 1
        self.need = ray_cluster.Need(num_cpus, num_gpus, resources)
        self.local, self.apart, self.chunks = False, False, Chunks(Path())
        self.decisions = Decisions(Path())
        self.tasks: dict[Any, _Task] = {}
        self.files: dict[str, list[Files]] = {}  # by the settings of the data
        self.killed: Counter[int] = Counter()  # nodes that died under a chunk
        self.idle_deaths, self.looked, self.beaten = 0, 0.0, 0.0
        self.nodes: dict[str, int] = {}  # as of the last look
        self.claims: dict[int, Path] = {}

    def check(self) -> None:
        """See Executor: there is a cluster, a node can give what a chunk needs, and all have this package."""
        self.local = ray_cluster.connect(self.address)
        try:
            self._look()
            if not self.nodes:
                self._wait_for_a_node()
            self.workers = sum(self.nodes.values()) or 1
            plugins = [plugin.as_record() for plugin in LOADED.values()]
            for answer in self._ask_all("probe", asdict(program()), plugins):
                if "refused" in answer:
                    raise RequestError(f"{LAUNCHER}: {answer['refused']}")
        except BaseException:
            ray_cluster.disconnect()
            raise

    def _look(self) -> None:
        self.nodes, self.looked = ray_cluster.nodes(self.need), time.monotonic()

    def _wait_for_a_node(self) -> None:
        """Wait for a node that an autoscaler starts for a task that needs it."""
        import ray

        reason = ray_cluster.lacking(self.need)
        if not self.node_timeout:
            raise RequestError(reason)
        print(f"waiting up to {self.node_timeout:g} s for a node: {reason.partition(': ')[2]}"[:160], flush=True)
        task = remote("probe").options(**self.need.options()).remote(asdict(program()), [])
        if not ray.wait([task], timeout=self.node_timeout)[0]:
            ray.cancel(task)
            raise RequestError(f"{reason}, after {self.node_timeout:g} s")
        self._look()

    def _ask_all(self, name: str, *given: Any) -> list[Any]:
        """What a function of `ray_task` returns on each node that can train a chunk; raises RequestError if none does.

        A node that is lost meanwhile has nothing to say.
        """
        import ray

        asked = [on(node, name, *given) for node in self.nodes]
        ready, late = ray.wait(asked, num_returns=len(asked), timeout=PROBE)
        answers, reason = [], f"none of {len(late)} answered within {PROBE:g} s"
        for task in late:
            ray.cancel(task, force=True)
        for task in ready:
            try:
                answers.append(ray.get(task))
            except ray.exceptions.RayError as error:
                reason = _line(error)
        if not answers:
            raise RequestError(cut(f"{LAUNCHER}: no node can start a worker: {reason}", 300))
        return answers

    def submit(self, chunks: Chunks, waiting: Sequence[int]) -> None:
        """Submit chunks, up to AHEAD for each that can be trained at once; see Executor."""
        if self.chunks.sweep != chunks.sweep or self.chunks.common["word"] != chunks.common["word"]:
            self._begin(chunks)
        if time.monotonic() - self.looked > LOOK:
            self._look()
        if self.apart and any(task.claim is None for task in self.tasks.values()):  # which decide in the folder
            return
        room = AHEAD * max(1, sum(self.nodes.values())) - len(self.tasks)
        under_way = {task.number for task in self.tasks.values()}
        for number in [each for each in waiting if each not in under_way][: max(0, room)]:
            self._submit(number)

    def _begin(self, chunks: Chunks) -> None:
        """See which nodes share the folder of a sweep."""
        self.decisions.close()
        self.chunks, self.apart, self.decisions = chunks, False, Decisions(chunks.sweep)
        if self.local:
            return
        seen = self._ask_all("sees", str(chunks.sweep.resolve()), chunks.common["word"])
        self.apart = not all(answer is True for answer in seen)
        if self.apart:
            number = f"{sum(answer is not True for answer in seen)} of {len(seen)} nodes"
            print(f"{number} do not see the sweep's folder: its runs go through Ray", flush=True)

    def _submit(self, number: int) -> None:
        import ray

        packed, claim, judge = [], None, None
        if self.apart:
            judge = self.decisions.actor([*self.nodes])
            if (claim := self.chunks.take(number, self.chunks.common["attempts"], "ray")) is None:
                return
            packed = [ray.put(archive.pack(self.chunks, number))]
        threads = max(1, int(self.need.num_cpus))
        task = remote("train").options(**self.need.options()).remote(
            str(self.chunks.sweep.resolve()), number, self.chunks.common["word"], threads, packed, self._files(number),
            judge,
        )  # fmt: skip
        self.tasks[task] = _Task(number, claim)

    def _files(self, number: int) -> list[Files]:
        """The files of the data of a chunk, which go into the object store once."""
        import ray

        found: list[Files] = []
        jobs = [] if self.local else self.chunks.jobs(number)
        for data in {str(job.config["data"]): job.config["data"] for job in jobs}.values():
            key = str({name: data.get(name) for name in ("_target_", "root", "source", "dataset", "path", "test_path")})
            if key not in self.files:
                self.files[key] = files_of(data)
                for files in self.files[key]:
                    send(files, ray.put)
            found += [files for files in self.files[key] if files not in found]
        return found

    def lost(self, found: Mapping[int, Chunk]) -> dict[int, str]:
        """Take what has come back, and name the chunks whose workers have died; see Executor."""
        import ray

        lost: dict[int, str] = {}
        self.claims = {number: chunk.claims[-1] for number, chunk in found.items() if chunk.claims}
        if not self.tasks:
            return lost
        if time.monotonic() - self.beaten > BEAT:
            self.beaten = time.monotonic()
            for task in self.tasks.values():
                if task.claim:
                    renew(task.claim, {})
        self.decisions.keep()
        ended, _ = ray.wait(list(self.tasks), num_returns=len(self.tasks), timeout=0)
        for each in ended:
            task = self.tasks.pop(each)
            claims = found[task.number].claims if task.number in found else []
            claim = task.claim or (claims[-1] if claims else None)
            if reason := self._ended(each, task, claim):
                if claim is None:
                    self.idle_deaths += 1
                    if self.idle_deaths >= MOST_IDLE_DEATHS:
                        raise RequestError(f"{LAUNCHER}: no worker could start: the last {reason}")
                else:
                    lost[task.number] = reason
        return lost

    def _ended(self, ref: Any, task: _Task, claim: Path | None) -> str:
        """Take what a task returned; returns why it was lost, or "" if it was not."""
        import ray

        try:
            returned = ray.get(ref)
        except ray.exceptions.TaskCancelledError:
            return "was ended"
        except ray.exceptions.NodeDiedError as error:
            self._look()
            self.killed[task.number] += 1
            if self.killed[task.number] >= MOST_NODES:
                return f"was on a node that died, the {MOST_NODES}th: {_line(error)}"
            if claim and renew(claim, {"stopped": True}):  # it is no attempt that failed
                give_up(claim)
            return ""
        except ray.exceptions.RayError as error:
            return f"was lost: {_line(error)}"
        self.idle_deaths = 0
        if "refused" in returned:
            raise RequestError(returned["refused"])
        if "unseen" in returned:
            self.apart = True
        elif "archive" in returned:
            ended = archive.collect(self.chunks, task.number, returned["archive"])
            if not ended and claim and renew(claim, {"stopped": True}):  # such as with the judge of its runs
                give_up(claim)
        return f"failed: {returned['error']}" if "error" in returned else ""

    def end(self, number: int) -> None:
        """Kill the worker of a chunk; see Executor. A paused one obeys no message of Ray, but a signal on its node."""
        import ray

        for each, task in self.tasks.items():
            if task.number == number:
                ray.cancel(each, force=True)
        words = words_of(self.claims[number]) if number in self.claims else {}
        for node in ray_cluster.nodes_of(str(words.get("host"))):
            on(node, "kill", words.get("pid"))

    def stop(self) -> None:
        """End all tasks, take what their workers leave, and end a local Ray."""
        try:
            import ray

            for each in self.tasks:
                ray.cancel(each)
            ready, _ = (
                ray.wait(list(self.tasks), num_returns=len(self.tasks), timeout=GRACE) if self.tasks else ([], [])
            )
            for each in ready:
                task = self.tasks.pop(each)
                self._ended(each, task, task.claim)
        finally:
            for task in self.tasks.values():
                if task.claim:
                    give_up(task.claim)
            self.tasks.clear()
            self.decisions.close()
            ray_cluster.disconnect()

    def leave(self, chunks: Chunks) -> str:
        """See Executor; raises RequestError, since Ray ends the tasks of a driver that has ended."""
        raise RequestError(f"sweep.wait=false: must be true with {LAUNCHER}, which ends the tasks of an ended program")


def _line(error: BaseException) -> str:
    return cut(next(iter(str(error).strip().splitlines()), "") or type(error).__name__, 200)
