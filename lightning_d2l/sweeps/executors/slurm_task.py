"""What a task of SLURM does: it trains chunks of a sweep until none is left, and begins anew after its time limit."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

REFUSED = "refused: no other task would train this sweep either"  # in the log of a task, after the reason

# What training needs is imported before a chunk is claimed: an exception that a signal raises in the many modules of
# torch may be lost there.
IMPORTED = (
    "lightning_d2l.training.fit", "lightning_d2l.sweeps.group", "lightning_d2l.sweeps.memory",
    "torch.fx.experimental.proxy_tensor",
)  # fmt: skip


class SlurmTask:
    """The function that submitit calls in a task of SLURM, with the folder of a sweep.

    SLURM sends SIGUSR2 before the time limit and before it preempts. The runs then write their checkpoints, and
    submitit asks SLURM to queue the task again, unless it has done so too often.
    """

    def __call__(self, sweep: str) -> None:
        if os.environ.get("SLURM_PROCID", "0") != "0":  # one worker for each task, whatever was asked for
            return
        signal.signal(signal.SIGTERM, lambda signum, frame: os._exit(128 + signum))
        for name in IMPORTED:
            importlib.import_module(name)
        from lightning_d2l.sweeps.executors.submitted import settle, train_ends_of_lean
        from lightning_d2l.sweeps.worker import main

        queue_again, asked = signal.getsignal(signal.SIGUSR2), []

        def stop(signum: int, frame: object) -> None:
            asked.append(signum)
            os.kill(os.getpid(), signal.SIGTERM)

        signal.signal(signal.SIGUSR2, stop)
        code = main([sweep], owner=task_id(), then=train_ends_of_lean)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # SLURM ends a task that it queues again
        if code > 128 and asked and callable(queue_again):
            queue_again(signal.SIGUSR2, None)  # does not return
        if code == 2:
            print(REFUSED, flush=True)
        if code:
            sys.exit(code)
        settle(Path(sweep))

    def checkpoint(self, sweep: str) -> Any:
        """What the task does when it begins anew; submitit needs it."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, sweep)


def task_id() -> str:
    """The id of this task in SLURM, such as 12_3 in an array; the same when SLURM has begun it anew."""
    array, number = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{number}" if array else os.environ.get("SLURM_JOB_ID", "")
