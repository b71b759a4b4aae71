"""The Python program that called for runs, in place of a command line: what it is told while they train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol


class Display(Protocol):
    """What shows a run, or the runs of a sweep, while they train."""

    def row(self, metrics: Mapping[str, float], max_epochs: int) -> None:
        """Show the metrics of a logging point of a single run."""

    def progress(self, done: float, total: int, words: str) -> None:
        """Show how many runs of a sweep have ended."""


@dataclass
class Caller:
    """A call from Python. `error` is set to what made the run fail, or the request wrong."""

    silent: bool = False
    display: Display | None = None
    error: BaseException | None = None


_caller: ContextVar[Caller | None] = ContextVar("_caller", default=None)


def caller() -> Caller | None:
    """The call from Python that this thread does, or None for a command line."""
    return _caller.get()


def is_silent() -> bool:
    """Whether messages go to train.log alone."""
    program = _caller.get()
    return program is not None and program.silent


def display() -> Display | None:
    """What shows the progress, in place of lines and bars."""
    program = _caller.get()
    return program.display if program else None


@contextmanager
def called(program: Caller) -> Iterator[Caller]:
    """In this block, and in this thread alone, `program` has called for what is done."""
    token = _caller.set(program)
    try:
        yield program
    finally:
        _caller.reset(token)


def tell_caller(error: BaseException) -> bool:
    """Tell the call from Python, if there is one, what failed; returns whether its program was interrupted.

    Lightning turns KeyboardInterrupt into SystemExit.
    """
    if (program := _caller.get()) is None:
        return False
    program.error = error
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None
