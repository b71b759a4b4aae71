"""Ctrl-C, SIGTERM and SIGHUP end a run with its checkpoint written."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(BaseException):
    """A signal asked the run to stop."""

    def __init__(self, signum: int) -> None:
        self.signum = signum

    @property
    def name(self) -> str:
        """Such as SIGINT."""
        return signal.Signals(self.signum).name


class Signals:
    """The signals of a run: the first raises Stopped, unless the run is ending; `received` is its number, or 0."""

    def __init__(self) -> None:
        self.received, self._ending = 0, False

    def end(self) -> None:
        """From now on a signal raises nothing: what is being written is written whole."""
        self._ending = True

    def handle(self, signum: int, frame: object) -> None:
        """What the interpreter calls when a signal arrives."""
        self.received = self.received or signum
        if not self._ending:
            self._ending = True  # the checkpoint is written next
            raise Stopped(signum)


@contextlib.contextmanager
def signals_stop_the_run() -> Iterator[Signals]:
    """The first SIGINT, SIGTERM or SIGHUP raises Stopped; later ones are ignored while the checkpoint is written.

    In a thread other than the main one, which gets no signals, nothing is changed. SIGHUP stays ignored where it was,
    as under nohup.
    """
    signals = Signals()
    before = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) != signal.SIG_IGN:
                    before[number] = signal.getsignal(number)
                    signal.signal(number, signals.handle)
        yield signals
    finally:
        signals.end()
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
