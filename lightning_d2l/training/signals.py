"""Ctrl-C and SIGTERM end a run with its checkpoint written."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


class Stopped(BaseException):
    """A signal asked the run to stop."""

    def __init__(self, signum: int) -> None:
        self.signum = signum


@contextlib.contextmanager
def signals_stop_the_run() -> Iterator[None]:
    """The first SIGINT or SIGTERM raises Stopped; later ones are ignored while the checkpoint is written."""

    def stop(signum: int, frame: object) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise Stopped(signum)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
