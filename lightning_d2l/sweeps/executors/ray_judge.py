"""Where nodes share no folder, an actor of Ray decides for all workers which settings stop early; see `pruning`."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps.pruning import FOLDER, Plan, Rungs, Standing, keep_longer, made_by
from lightning_d2l.training.signals import Stopped

START = 60.0  # seconds in which the actor starts; Python imports this package there


class Judge:
    """The actor: it has what was decided in a folder of its own, and decides in turn what it is asked."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lightning_d2l-"))
        (self.folder / FOLDER).mkdir()
        for name, content in files.items():
            (self.folder / FOLDER / name).write_bytes(content)
        rungs = Rungs.of(self.folder)
        assert rungs is not None
        self.rungs = rungs

    def decide(self, rung: int, arrived: Mapping[str, Sequence[Standing]]) -> None:
        self.rungs.judge(rung, arrived)

    def told(self, begin: int) -> tuple[str, bytes]:
        """The name of the file of the decisions, and what it holds after so many bytes."""
        path = self.rungs.file
        return path.name, path.read_bytes()[begin:] if path.exists() else b""

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Judged(Rungs):
    """The rungs in the folder of a worker, where the decisions of the judge are copied before each of its own."""

    def __init__(self, sweep: Path, plan: Plan, actor: Any) -> None:
        super().__init__(sweep, plan)
        self._actor, self._copied = actor, b""

    def judge(self, rung: int, arrived: Mapping[str, Sequence[Standing]]) -> set[str]:
        self._ask("decide", rung, {name: [*standings] for name, standings in arrived.items()})
        self._look()
        return {name for name in arrived if any(name in each for each in self.stopped[: rung + 1])}

    def _look(self) -> None:
        name, new = self._ask("told", len(self._copied))
        if new:
            self._copied += new
            keep_longer(self.folder / Path(name).name, self._copied)
        super()._look()

    def _ask(self, what: str, *given: Any) -> Any:
        """What the judge answers; raises Stopped if it has died, so that the chunk goes on under the next one."""
        import ray

        try:
            return ray.get(getattr(self._actor, what).remote(*given))
        except ray.exceptions.RayActorError:
            raise Stopped(signal.SIGTERM) from None


@contextlib.contextmanager
def judged(actor: Any) -> Iterator[None]:
    """Let the rungs of the worker that runs inside be decided by a judge; None leaves them as they are."""
    with made_by(lambda sweep, plan: Judged(sweep, plan, actor)) if actor is not None else contextlib.nullcontext():
        yield


class Decisions:
    """The driver's side of a judge: it starts one for a sweep that prunes, and keeps in the folder what it decides."""

    def __init__(self, sweep: Path) -> None:
        self.folder = sweep / FOLDER
        self._actor: Any = None
        self._asked: Any = None
        self._copied = b""

    def actor(self, nodes: Sequence[str]) -> Any:
        """The judge, which is started if there is none, on this computer or one of the nodes; None without pruning.

        Raises RequestError if it can't be started.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        if self._actor is not None or Rungs.of(self.folder.parent) is None:
            return self._actor
        reason = "there is no node"
        for node in [*_here(), *nodes]:
            place = NodeAffinitySchedulingStrategy(node, soft=False)
            made = ray.remote(Judge).options(num_cpus=0, max_restarts=0, scheduling_strategy=place)
            actor = made.remote(self._files())
            try:
                ray.get(actor.told.remote(0), timeout=START)
            except (ray.exceptions.RayError, TimeoutError) as error:
                reason = str(error).strip().splitlines()[0]
                ray.kill(actor)
            else:
                self._actor, self._copied = actor, b""
                return actor
        raise RequestError(f"hydra/launcher=ray: no node can start what decides for sweep.prune: {reason:.200}")

    def _files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.glob("*.json*")}

    def keep(self) -> None:
        """Write what the judge has decided since the last call, as far as it has answered; forget a dead one."""
        import ray

        if self._actor is None:
            return
        self._asked = self._asked or self._actor.told.remote(len(self._copied))
        if not ray.wait([self._asked], timeout=0)[0]:
            return
        asked, self._asked = self._asked, None
        try:
            self._take(*ray.get(asked))
        except ray.exceptions.RayError:
            self._actor = None

    def _take(self, name: str, new: bytes) -> None:
        if new:
            self._copied += new
            keep_longer(self.folder / Path(name).name, self._copied)

    def close(self) -> None:
        """Keep what the judge has decided, and end it."""
        import ray

        if self._actor is not None:
            with contextlib.suppress(ray.exceptions.RayError):
                self._take(*ray.get(self._actor.told.remote(len(self._copied)), timeout=START))
                ray.get(self._actor.close.remote(), timeout=START)
            ray.kill(self._actor)
        self._actor = self._asked = None


def _here() -> list[str]:
    """The node of the cluster that this computer is, if it is one."""
    import ray

    try:
        return [ray.get_runtime_context().get_node_id()]
    except Exception:  # such as of a client of a cluster elsewhere
        return []
