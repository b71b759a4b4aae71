"""How a call ends: with its result, with the error that it told, or with the signal that stopped it."""

from __future__ import annotations

import signal
from pathlib import Path

from lightning_d2l.config.check import RequestError
from lightning_d2l.studies.sweep_file import SWEEP_FILE
from lightning_d2l.training.caller import Caller
from lightning_d2l.training.record import RUN_FILE


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
