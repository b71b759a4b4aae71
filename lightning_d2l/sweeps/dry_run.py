"""What a sweep would do: its jobs, what varies, and how many parameters each has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps.grid import Job
from lightning_d2l.training.job import build_data, build_module

# Settings of the data that change no size of a network: jobs that differ in these alone are built once.
VALUES = {
    "root", "seed", "noise", "label_noise", "n_train", "n_val", "n_test", "val_size", "batch_size", "folds", "fold",
}  # fmt: skip


def listing(jobs: Sequence[Job], varied: Sequence[str]) -> str:
    """A line a job, with its number, its number of parameters and its name."""
    counts: dict[str, int] = {}
    lines = [f"{len(jobs)} runs; {_varies(jobs, varied)}", f"{'job':>5}{'parameters':>12}  name"]
    for job in jobs:
        key = _structure(job.config)
        if key not in counts:
            counts[key] = _num_parameters(job)
        lines.append(f"{job.number:5}{counts[key]:12,}  {job.name}")
    return "\n".join([*lines, "nothing was trained or written: sweep.dry_run=true"])


def _varies(jobs: Sequence[Job], varied: Sequence[str]) -> str:
    numbers = []
    for key in varied:
        values = {o for job in jobs for o in job.overrides if o.lstrip("+").partition("=")[0] == key}
        numbers.append(f"{key} ({len(values)})")
    return f"what varies, with the number of values: {', '.join(numbers)}" if numbers else "nothing varies"


def _structure(config: dict[str, Any]) -> str:
    data = {key: value for key, value in config["data"].items() if key not in VALUES}
    return json.dumps([config["model"], config["loss"], data], sort_keys=True)


def _num_parameters(job: Job) -> int:
    try:
        module = build_module(job.config, build_data(job.config), [])
    except Exception as error:
        raise RequestError(f"job {job.number} ({job.name}): {type(error).__name__}: {error}") from error
    return sum(parameter.numel() for parameter in module.parameters())
