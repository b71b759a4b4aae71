"""One run after another, in this process."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_d2l.compat_hydra import env_override
from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps.compose import write_hydra_files
from lightning_d2l.training.spec import RunSpec

if TYPE_CHECKING:
    from lightning_d2l.sweeps.sweep import Sweep


def train(sweep: Sweep, jobs: Sequence[RunSpec]) -> None:
    """Train jobs one after another; a run that fails costs no other, unless sweep.on_error=stop.

    Raises Stopped when a signal has ended a run.
    """
    from lightning_d2l.training.job import run
    from lightning_d2l.training.signals import Stopped

    with env_override(dict(sweep.config.hydra.job.env_set)):
        for job in jobs:
            try:
                code = run(request(sweep, job, resume=sweep.make_ready(job)))
            except RequestError:  # the checkpoint of an interrupted run is no use
                shutil.rmtree(job.folder)
                code = run(request(sweep, job, resume=False))
            if code > 128:
                raise Stopped(code - 128)
            if sweep.ended(job).status == "failed" and sweep.stop_on_error:
                return


def request(sweep: Sweep, job: RunSpec, *, resume: bool) -> RunSpec:
    """A job with its .hydra files in its folder, to be trained from its start or from its own checkpoint."""
    nodes = sweep.composer.nodes(job.overrides)
    nodes["hydra"] |= {"sweep": {**nodes["hydra"]["sweep"], "dir": str(sweep.folder), "subdir": job.name}}
    write_hydra_files(job.folder, nodes, job.number or 0)
    return dataclasses.replace(job, config={**job.config, "resume": str(job.folder) if resume else None})
