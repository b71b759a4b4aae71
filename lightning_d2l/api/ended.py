"""How a call ends: with its result, with the error that it told, or with the signal that stopped it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.studies.sweep_file import SWEEP_FILE
from lightning_d2l.training.caller import Caller
from lightning_d2l.training.record import RUN_FILE

if TYPE_CHECKING:
    from lightning_d2l.api.finished import Run

THROUGH = ("lightning_d2l", "pytorch_lightning", "torch", "contextlib")
"""Packages whose frames lie between a call and the caller's own code that raised an error."""


class RunFailed(RuntimeError):
    """The model, the data or a callback of a run raised an error, its `__cause__`. `run` is the recorded run."""

    def __init__(self, message: str, run: Run) -> None:
        super().__init__(message)
        self.run = run

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.run)  # so that it comes back from a worker process


def told(error: RequestError | RunFailed) -> BaseException | None:
    """Take the frames inside off an error that a call tells; returns what has caused it, if the caller's code did.

    A traceback then ends with the line that called, and the frame of this package that raises the error again; IPython
    leaves that one out too. The traceback of a cause starts in the caller's own code.
    """
    error.__traceback__ = None
    if "IPython" in sys.modules:
        error._render_traceback_ = lambda: _rendered(error)  # type: ignore[union-attr]  # IPython looks for this name
    cause = error.__cause__ if isinstance(error, RunFailed) else None
    if cause is not None:
        cause.__traceback__ = _own_code(cause.__traceback__)
    return cause


def _own_code(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from its first frame outside THROUGH on, or all of it if there is none."""
    found = trace
    while found is not None and str(found.tb_frame.f_globals.get("__name__")).partition(".")[0] in THROUGH:
        found = found.tb_next
    return found or trace


def _rendered(error: BaseException) -> list[str]:
    """The lines that IPython shows of an error: up to the last frame outside this package."""
    from IPython import get_ipython

    last = trace = error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] != "lightning_d2l":
            last = trace
        trace = trace.tb_next
    if last is not None:
        last.tb_next = None
    shell: Any = get_ipython()
    lines: list[str] = shell.InteractiveTB.structured_traceback(type(error), error, error.__traceback__, tb_offset=1)
    return lines


def after(code: int, folder: Path | None, program: Caller) -> None:
    """Raise what a call with this exit code must: nothing if there is a result in its folder.

    A wrong request is RequestError. KeyboardInterrupt gives the result so far, and is raised where there is none; any
    other signal is sent again, now that everything is written.
    """
    if code == 2:
        if isinstance(program.error, RequestError):
            raise program.error
        raise RequestError(f"{folder}: can't be written")
    if code > 128:
        if code - 128 != signal.SIGINT:
            signal.raise_signal(code - 128)
        if folder is None or not any((folder / name).is_file() for name in (RUN_FILE, SWEEP_FILE)):
            raise KeyboardInterrupt
