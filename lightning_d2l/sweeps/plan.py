"""The plan of a sweep: its jobs in chunks, so that runs of one structure train together and no worker waits long."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_d2l.training.spec import RunSpec

FEW = 20  # runs of one structure that are not worth another chunk
A_WORKER = 4  # chunks for each worker, of runs that train one by one
# Settings in which runs that train together may differ, by node; the runs themselves decide, when they are built.
FREE = {
    "": {"seed", "resume", "optimizer", "penalty"},
    "data": {"seed", "test_seed", "noise", "label_noise", "fold", "root", "degree", "coefficients"},
    "model": {"dropout"},
}


def plan(jobs: Sequence[RunSpec], largest: int, workers: int) -> list[list[RunSpec]]:
    """The jobs in chunks of at most `largest`, in their order within each.

    Runs that look alike share chunks, of equal sizes; there are as many as there are workers, if each has FEW runs.
    The other runs share chunks so that each worker gets several, one after another.
    """
    alike: dict[str, list[RunSpec]] = {}
    for job in jobs:
        alike.setdefault(_looks(job.config), []).append(job)
    found: list[list[RunSpec]] = []
    alone: list[RunSpec] = []
    for group in alike.values():
        if len(group) < 2:
            alone += group
        else:
            found += parts(group, max(math.ceil(len(group) / largest), min(workers, len(group) // FEW), 1))
    return found + parts(alone, min(len(alone), max(A_WORKER * workers, math.ceil(len(alone) / largest))))


def parts(jobs: Sequence[RunSpec], number: int) -> list[list[RunSpec]]:
    """The jobs in so many parts, whose sizes differ by at most one."""
    ends = [len(jobs) * part // max(number, 1) for part in range(number + 1)]
    return [list(jobs[start:end]) for start, end in itertools.pairwise(ends)]


def _looks(config: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in config.items() if key not in FREE[""]}
    for node in ("data", "model"):
        kept[node] = {key: value for key, value in config[node].items() if key not in FREE[node]}
    kept["optimizer"] = (config["optimizer"] or {}).get("_target_")
    return json.dumps(kept, sort_keys=True, default=str)
