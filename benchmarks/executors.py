"""What executors cost and bring: the driver's own work, the plan of a large sweep, and two workers beside one.

    python benchmarks/executors.py [driver plan throughput] [--executor processes ray slurm] [--pairs 3] [--out FOLDER]
    python benchmarks/executors.py throughput --executor slurm --setting partition=debug

`driver`: the processor time of a driver with 1,000 chunks, whose simulated workers sleep for a second each, beside the
wall time. `plan`: seconds for the plan of 100,000 runs and the files of its chunks, by the way the runs differ.
`throughput`: whole sweeps of 64 chunks of about 2 s each, by one worker with one thread and by two of them, measured
in turn; the two must have as many cores for themselves.
"""

import argparse
import contextlib
import functools
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from measure import ROOT, TRAIN, Results, in_turn, number, whole_command

from lightning_d2l.config.compose import compose_checked, plain
from lightning_d2l.sweeps.chunks import Chunk, Chunks
from lightning_d2l.sweeps.claims import alive
from lightning_d2l.sweeps.drive import Limits, drive
from lightning_d2l.sweeps.plan import plan
from lightning_d2l.sweeps.progress import SweepProgress
from lightning_d2l.training.spec import RunSpec

CHUNKS, WORKERS, SECONDS = 1000, 20, 1.0
RUNS = 100_000
HEAD = ("measured", "value", "n")


class Sleepers:
    """An executor of processes that sleep instead of training."""

    def __init__(self, workers: int) -> None:
        self.workers, self.pids = workers, list[int]()

    def check(self) -> None: ...

    def submit(self, chunks: Chunks, waiting: Sequence[int]) -> None:
        for first in range(self.workers if not self.pids else 0):
            if not (pid := os.fork()):
                with contextlib.suppress(BaseException):
                    self._sleep(chunks, first)
                os._exit(0)
            self.pids.append(pid)

    def _sleep(self, chunks: Chunks, first: int) -> None:
        for chunk in range(first, CHUNKS, self.workers):
            claim = chunks.take(chunk, 1)
            assert claim
            with alive(claim, lambda: os._exit(1), lambda: {"ended": {}, "under_way": 0.5}):
                time.sleep(SECONDS)
                chunks.end(chunk, {"ended": {"completed": 1}, "best": 1.0})

    def lost(self, found: Mapping[int, Chunk]) -> dict[int, str]:
        return {}

    def end(self, number: int) -> None: ...

    def stop(self) -> None: ...

    def leave(self, chunks: Chunks) -> str:
        return ""


def jobs(folder: Path, *, alike: bool, count: int = RUNS) -> list[RunSpec]:
    """Runs of 20 degrees, or none of which looks like another, that share what is equal, as those of a sweep do."""
    base = plain(compose_checked(["model=polynomial_regression", "logger=none"]))
    nodes = [{**base["data"], "degree": degree} for degree in range(20)]
    return [
        RunSpec(
            {**base, "seed": n, "data": nodes[n % 20] if alike else {**nodes[n % 20], "n_train": 20 + n}},
            folder / f"seed={n}", [f"seed={n}"], f"python train.py seed={n}", n, "id", silent=True,
        )
        for n in range(count)
    ]  # fmt: skip


def driver(results: Results, pairs: int) -> None:
    """The driver's share of the wall time."""
    shares = []
    for _ in range(pairs):
        with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
            place = Path(folder)
            asked = jobs(place, alike=False, count=CHUNKS)
            sweep: Any = SimpleNamespace(
                folder=place, id="id", stops=False, verbose=False, left_out={}, fields={},
                progress=SweepProgress(CHUNKS), rungs=None, lean=SimpleNamespace(told=dict),
            )  # fmt: skip
            began, cpu = time.perf_counter(), time.process_time()
            with contextlib.redirect_stdout(nowhere):
                drive(sweep, asked, Sleepers(WORKERS), Limits(1, 0, {}))
            shares.append((time.process_time() - cpu) / (time.perf_counter() - began))
    what = f"driver's own work, {CHUNKS:,} chunks of {SECONDS:g} s, {WORKERS} simulated workers"
    results.row("executors", HEAD, what, f"{100 * max(shares):.2f} % of a core", str(pairs))


def planning(results: Results, pairs: int) -> None:
    """Seconds until the chunks of a large sweep are written."""
    for alike, words in ((True, "that train together"), (False, "no two of which are alike")):
        took = []
        for _ in range(pairs):
            with tempfile.TemporaryDirectory() as folder:
                asked = jobs(Path(folder), alike=alike)
                began, chunks = time.perf_counter(), Chunks(Path(folder))
                planned = plan(asked, None, 2)
                chunks.begin({"config": asked[0].config, "sweep": "id"})
                chunks.write_all(dict(enumerate(planned)))
                took.append(time.perf_counter() - began)
        what = f"plan of {RUNS:,} runs {words}, {len(planned)} chunks"
        results.row("executors", HEAD, what, f"{number(max(took))} s", str(pairs))


@contextlib.contextmanager
def ray_of(cores: int) -> Iterator[list[str]]:
    """A Ray cluster with so many nodes of one core, and the setting that connects a sweep to it."""
    sys.path.append(str(ROOT))
    from tests.ray_nodes import Nodes

    nodes = Nodes(cores)
    os.environ |= nodes.environment
    try:
        yield [f"hydra.launcher.address='{nodes.environment['RAY_ADDRESS']}'"]
    finally:
        nodes.close()


def throughput(results: Results, pairs: int, executor: str, settings: Sequence[str], epochs: int) -> None:
    """Whole sweeps by one worker beside two."""
    words = [
        *("-m", "model=polynomial_regression", "logger=none", f"trainer.max_epochs={epochs}", "seed=range(4)"),
        *("data.n_train=range(40,104)", f"hydra/launcher={executor}", "hydra.launcher.chunk_size=4"),
        *(f"hydra.launcher.{setting}" for setting in settings),
    ]
    threads = {"processes": "threads", "ray": "num_cpus", "slurm": "cpus_per_task"}[executor]

    def seconds(workers: int) -> float:
        own = contextlib.nullcontext([f"hydra.launcher.workers={workers}"])
        with ray_of(workers) if executor == "ray" else own as more:
            return whole_command(TRAIN, *words, *more, f"hydra.launcher.{threads}=1")[0]

    found = in_turn(functools.partial(seconds, 1), {"two": functools.partial(seconds, 2)}, pairs)["two"]
    results.ratio("throughput", f"`{executor}`, two workers", "one worker", found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="of driver, plan, throughput (default: all)")
    parser.add_argument("--executor", nargs="+", default=["processes"], help="of the throughput")
    parser.add_argument("--setting", nargs="+", default=[], help="more settings of the launcher, such as partition=a")
    parser.add_argument("--epochs", type=int, default=2000, help="of the runs of the throughput: about 2 s a chunk")
    parser.add_argument("--pairs", type=int, default=3, help="how often each thing is measured")
    parser.add_argument("--out", type=Path, help="a folder for the results")
    args = parser.parse_args()
    results, parts = Results(args.out), args.parts or ["driver", "plan", "throughput"]
    results.machine()
    if "driver" in parts:
        driver(results, args.pairs)
    if "plan" in parts:
        planning(results, args.pairs)
    for executor in args.executor if "throughput" in parts else ():
        throughput(results, args.pairs, executor, args.setting, args.epochs)


if __name__ == "__main__":
    main()
