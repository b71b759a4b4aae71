"""A job of seconds that sees, before any task is submitted, whether a node of SLURM could train a sweep."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps.executors import slurm_site
from lightning_d2l.sweeps.executors.slurm_site import FOLDER, SlurmError

START = 20.0  # seconds in which the job must start; in a longer queue the first task sees what is wrong
END = 120.0  # seconds in which it must end; Python may start slowly from a network drive
MINUTES = 5  # its time limit
UNSEEN, UNWRITTEN = 91, 92  # exit codes of the job, which can't say a word where the folder is not shared
NOT_OVER = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING")


def probe(sweep: Path, word: str, name: str, settings: Mapping[str, Any], setup: Sequence[str]) -> bool:
    """Whether a node could train chunks of a sweep; False if none was free to say so, so that this is not known.

    `settings` are those of the launcher, and `setup` the lines for the shell of a task. The job is gone when the call
    returns. Raises RequestError, one line, if the node does not see the sweep's folder with the same `word` in it, or
    can't run this program in the driver's version and with its plugins.
    """
    folder = sweep.absolute() / FOLDER
    folder.mkdir(exist_ok=True)
    said = folder / f"probe-{secrets.token_hex(8)}.out"
    said.touch()
    try:
        job = _ended(_script(sweep, word, said, settings, setup), f"{name}-probe", settings)
        code, _, signum = job.get("ExitCode", "").partition(":")
        if job.get("JobState") == "COMPLETED":
            return True
        if job.get("JobState") != "FAILED" or signum != "0":  # cancelled, or the node failed: it says nothing
            return False
        raise RequestError(_reason(sweep, job.get("BatchHost", "a node of SLURM"), int(code or 0), said))
    finally:
        said.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()


def unshared(sweep: Path, node: str) -> str:
    """What to say where a node does not see the folder of a sweep."""
    return f"{sweep}: is not shared with {node}, a node of SLURM; choose a folder that all nodes see as one"


def _script(sweep: Path, word: str, said: Path, settings: Mapping[str, Any], setup: Sequence[str]) -> str:
    """The script of the job; it prints into the file `said`."""
    file = shlex.quote(str(said))
    words = [sys.executable, "-m", "lightning_d2l.sweeps.worker", str(sweep.absolute()), "--probe", word]
    if settings.get("srun_args"):  # such as a container
        words = ["srun", *settings["srun_args"], *words]
    return "\n".join([
        "#!/bin/sh",
        f"test -f {file} || exit {UNSEEN}",
        f"test -w {file} || exit {UNWRITTEN}",
        f"exec >>{file} 2>&1",
        *setup,
        f"exec {shlex.join(words)}",
        "",
    ])  # fmt: skip


def _ended(script: str, name: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """What SLURM says of a job of this script when it has ended; empty if it did not start or end in time."""
    options = slurm_site.options({**settings, "timeout_min": MINUTES})
    more = [f"--job-name={name}", "--parsable", "--no-requeue", "--nodes=1", "--ntasks=1", "--output=/dev/null"]
    try:
        number = slurm_site.ask("sbatch", *options, *more, script=script).strip().partition(";")[0]
        with _cancelled_at_last(number):
            found, end, began = slurm_site.job(number), time.monotonic() + START, False
            while (state := found.get("JobState", "")) in NOT_OVER:
                if state in ("RUNNING", "COMPLETING") and not began:
                    began, end = True, time.monotonic() + END
                if time.monotonic() > end:
                    return {}
                time.sleep(0.3)
                found = slurm_site.job(number)
            return found
    except SlurmError:  # the tasks will show it
        return {}


@contextlib.contextmanager
def _cancelled_at_last(number: str) -> Iterator[None]:
    """Leave no job, whatever happens; one that has ended can't be cancelled."""
    try:
        yield
    finally:
        with contextlib.suppress(SlurmError):
            slurm_site.ask("scancel", "--quiet", number)


def _reason(sweep: Path, node: str, code: int, said: Path) -> str:
    if code == UNSEEN:
        return unshared(sweep, node)
    if code == UNWRITTEN:
        return f"{sweep}: can't be written on {node}, a node of SLURM"
    lines = [line.strip() for line in said.read_text(errors="replace").splitlines() if line.strip()]
    last = lines[-1].removeprefix("error: ") if lines else f"it printed nothing and ended with exit code {code}"
    return f"{slurm_site.LAUNCHER}: a probe on {node} failed: {last}"[:400]
