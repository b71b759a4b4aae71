"""What a sweep would train: its jobs, what varies, and the number of parameters of each network."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lightning_d2l.config.check import RequestError
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.training.build import build_data, build_module
from lightning_d2l.training.spec import RunSpec

# Settings of the data that no size of a network depends on; one network is built for all jobs that differ in these.
VALUES = {
    "root", "seed", "noise", "label_noise", "n_train", "n_val", "n_test", "val_size", "batch_size", "folds", "fold",
}  # fmt: skip


def listing(jobs: Sequence[RunSpec], varied: Sequence[str]) -> str:
    """A line for each job: its number, its number of parameters and its name.

    Raises RequestError with the name of a job whose network can't be built.
    """
    data: dict[str, TensorDataModule] = {}
    counts: dict[str, int] = {}
    lines = [f"{len(jobs)} runs; {_varies(jobs, varied)}", f"{'job':>5}{'parameters':>12}  name"]
    for job in jobs:
        shape = json.dumps({key: value for key, value in job.config["data"].items() if key not in VALUES})
        structure = shape + json.dumps([job.config["model"], job.config["loss"]])
        try:
            if shape not in data:
                data[shape] = build_data(job.config)
            if structure not in counts:
                module = build_module(job.config, data[shape])
                counts[structure] = sum(parameter.numel() for parameter in module.parameters())
        except Exception as error:
            raise RequestError(f"job {job.number} ({job.name}): {type(error).__name__}: {error}") from error
        lines.append(f"{job.number:5}{counts[structure]:12,}  {job.name}")
    return "\n".join([*lines, "nothing was trained or written: sweep.dry_run=true"])


def _varies(jobs: Sequence[RunSpec], varied: Sequence[str]) -> str:
    numbers = []
    for key in varied:
        values = {o for job in jobs for o in job.overrides if o.lstrip("+").partition("=")[0] == key}
        numbers.append(f"{key} ({len(values)})")
    return f"what varies, with the number of values: {', '.join(numbers)}" if numbers else "nothing varies"
