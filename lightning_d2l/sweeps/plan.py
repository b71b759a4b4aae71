"""The plan of a sweep: its jobs in chunks, so that runs of one structure train together and no worker waits long."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_d2l.training.spec import RunSpec

CHUNK = 200  # the most runs in a chunk, unless the launcher's chunk_size says otherwise
FEW = 20  # runs of one structure that are not worth another chunk
A_WORKER = 4  # chunks for each worker, of runs that train one by one
# Settings in which runs that train together may differ, by node; the runs themselves decide, when they are built.
FREE = {
    "": {"seed", "resume", "optimizer", "penalty"},
    "data": {"seed", "test_seed", "noise", "label_noise", "fold", "root", "degree", "coefficients"},
    "model": {"dropout"},
}
# The expected time of a run, in seconds of a core: measured for the runs of this package, and rough for any other.
A_RUN, A_STEP, A_PRODUCT = 0.1, 3e-4, 3e-10  # of building and recording it, of a step, of a sample and a weight
SAMPLES, BATCH, INPUTS = 60_000, 256, 784  # of data that do not say how many they have


def plan(jobs: Sequence[RunSpec], chunk_size: int | None, workers: int) -> list[list[RunSpec]]:
    """The jobs in chunks of at most `chunk_size` (default CHUNK), in their order within each; the longest come first.

    Runs that look alike share chunks, of equal sizes; there are as many as there are workers, if each has FEW runs.
    The other runs share chunks of about the same expected time, A_WORKER for each worker; see `seconds`.
    """
    largest = chunk_size or CHUNK
    found: list[tuple[float, list[RunSpec]]] = []  # with the expected time of each chunk
    alone: list[RunSpec] = []
    for group in groups(jobs):
        if len(group) < 2:
            alone += group
        else:
            number = max(math.ceil(len(group) / largest), min(workers, len(group) // FEW), 1)
            one = seconds(group[0].config)
            found += [(one * len(part), part) for part in parts(by_seed(group) if number > 1 else group, number)]
    found += even(alone, min(A_WORKER * workers, len(alone)), largest)
    return [part for _, part in sorted(found, key=lambda chunk: -chunk[0])]


def groups(jobs: Sequence[RunSpec]) -> list[list[RunSpec]]:
    """The jobs that look alike, in their order."""
    looks = _Looks()
    alike: dict[tuple[str, ...], list[RunSpec]] = {}
    for job in jobs:
        alike.setdefault(looks.of(job.config), []).append(job)
    return list(alike.values())


def by_seed(jobs: Sequence[RunSpec]) -> list[RunSpec]:
    """The jobs, those of one seed beside each other: in one group they draw the orders of their minibatches once."""
    alike: dict[str, list[RunSpec]] = {}
    for job in jobs:
        alike.setdefault(str(job.config["seed"]), []).append(job)
    return list(itertools.chain.from_iterable(alike.values()))


def parts(jobs: Sequence[RunSpec], number: int) -> list[list[RunSpec]]:
    """The jobs in so many parts, whose sizes differ by at most one."""
    ends = [len(jobs) * part // max(number, 1) for part in range(number + 1)]
    return [list(jobs[start:end]) for start, end in itertools.pairwise(ends)]


def even(jobs: Sequence[RunSpec], number: int, largest: int) -> list[tuple[float, list[RunSpec]]]:
    """Jobs in about `number` parts of the same expected time, which comes with each, of at most `largest` jobs."""
    timed = [(seconds(job.config), job) for job in jobs]
    share = sum(time for time, _ in timed) / max(number, 1)
    found: dict[int, list[RunSpec]] = {}
    before = 0.0
    for time, job in timed:
        found.setdefault(int((before + time / 2) / share), []).append(job)
        before += time
    cut = (few for part in found.values() for few in parts(part, math.ceil(len(part) / largest)))
    return [(sum(seconds(job.config) for job in few), few) for few in cut]


def seconds(config: Mapping[str, Any]) -> float:
    """The expected time of a run by its epochs, its samples and the sizes of its layers, as far as they are named.

    It only has to say which runs take longer than which: the chunks of runs that take longest are submitted first, so
    that a wrong guess costs at most the time of one chunk at the end.
    """
    data, trainer = (config.get(node) or {} for node in ("data", "trainer"))
    epochs = _count(trainer.get("max_epochs"), 1)
    samples = _count(data.get("n_train"), SAMPLES)
    steps = math.ceil(samples / min(_count(data.get("batch_size"), BATCH), samples))
    return A_RUN + epochs * (steps * A_STEP + samples * weights(config) * A_PRODUCT)


def weights(config: Mapping[str, Any]) -> int:
    """About how many weights a network has, by the sizes of its layers, as far as they are named."""
    data, model = (config.get(node) or {} for node in ("data", "model"))
    widths = [_count(data.get("num_inputs"), INPUTS)]
    for key, value in model.items():
        if "hidden" in key or "channels" in key or "dim" in key:
            widths += [_count(one, 1) for one in (value if isinstance(value, (list, tuple)) else [value])]
    return sum(a * b for a, b in itertools.pairwise([*widths, 10]))


def _count(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else otherwise


class _Looks:
    """What configurations look like, but for the settings in FREE; runs that look alike may train together.

    The nodes of a sweep's configurations are often the same objects, each of which is read once.
    """

    def __init__(self) -> None:
        self._read: dict[int, tuple[Any, str]] = {}  # with the node, so that its id stays its own

    def of(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        nodes = (f"{key}={self._node(key, value)}" for key, value in config.items() if key not in FREE[""])
        return (str((config["optimizer"] or {}).get("_target_")), *nodes)

    def _node(self, name: str, node: Any) -> str:
        if not isinstance(node, Mapping):
            return json.dumps(node, default=str)
        if id(node) not in self._read:
            free = FREE.get(name, ())
            kept = {key: value for key, value in node.items() if key not in free}
            self._read[id(node)] = (node, json.dumps(kept, sort_keys=True, default=str))
        return self._read[id(node)][1]
