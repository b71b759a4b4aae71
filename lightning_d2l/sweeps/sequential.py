"""One run after another, in this process."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_d2l.compat_hydra import env_override
from lightning_d2l.config.check import RequestError
from lightning_d2l.training.spec import RunSpec

if TYPE_CHECKING:
    from lightning_d2l.sweeps.sweep import Sweep


def train(sweep: Sweep, jobs: Sequence[RunSpec]) -> None:
    """Train runs one after another; one that fails does not stop the others, unless sweep.on_error=stop.

    Raises Stopped when a signal has ended a run.
    """
    from lightning_d2l.training.fit import run
    from lightning_d2l.training.signals import Stopped

    with env_override(dict(sweep.config.hydra.job.env_set)):
        for job in jobs:
            try:
                code = run(ready(job, resume=sweep.make_ready(job)))
            except RequestError:  # the checkpoint of an interrupted run can't be used
                shutil.rmtree(job.folder)
                code = run(ready(job, resume=False))
            if code > 128:
                raise Stopped(code - 128)
            if sweep.ended(job).state == "failed" and sweep.stop_on_error:
                return


def ready(job: RunSpec, *, resume: bool) -> RunSpec:
    """The same run, to start or to resume from its own checkpoint, with its folder."""
    job.folder.mkdir(parents=True, exist_ok=True)
    job.config = {**job.config, "resume": str(job.folder) if resume else None}
    return job
