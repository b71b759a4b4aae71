"""A call from Python leaves the process as it was: random states, logging, warnings, Hydra, signals."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TextIO, TypeVar

from lightning_d2l.api.ended import RunFailed, told
from lightning_d2l.config.check import RequestError
from lightning_d2l.training.caller import Caller, called

P = ParamSpec("P")
T = TypeVar("T")

_turn = threading.RLock()  # random states, Hydra and warnings belong to the process, so that calls train in turn
_forked = False


def _renew() -> None:
    global _turn, _forked
    _turn, _forked = threading.RLock(), True  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def library_call(function: Callable[P, T]) -> Callable[P, T]:
    """A public function: of an error that it tells the caller sees the line, and none of the frames inside."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True  # pytest leaves this frame out
        try:
            return function(*args, **kwargs)
        except (RequestError, RunFailed) as caught:
            error, cause = caught, told(caught)
        raise error from cause

    return call


@contextlib.contextmanager
def library(*, verbose: bool, command: bool = False) -> Iterator[Caller]:
    """What is done in this block is done for a Python program; what it changes in the process is put back.

    Calls of several threads wait for each other. A `command` has the numbers that it has on a command line, so that
    torch's default type is float32.
    """
    import torch

    from lightning_d2l.api.notebook import notebook_display
    from lightning_d2l.training import fit  # noqa: F401  # imports change the process too, once and for good

    with _turn, contextlib.ExitStack() as stack:
        stack.enter_context(_states_kept())
        stack.enter_context(_logging_kept(silent=not verbose))
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_hydra_kept())
        if not verbose:
            warnings.simplefilter("ignore")
            stack.enter_context(_silence())
        if command:
            torch.set_default_dtype(torch.float32)
        display = notebook_display() if verbose else None
        try:
            yield stack.enter_context(called(Caller(silent=not verbose, display=display)))
        finally:
            if display is not None:
                display.finish()


@contextlib.contextmanager
def _states_kept() -> Iterator[None]:
    import numpy as np
    import torch

    from lightning_d2l.training.checkpoint import random_states, set_random_states
    from lightning_d2l.training.trainer import flags_kept

    states, errors = random_states(), np.geterr()
    threads, dtype, precision = torch.get_num_threads(), torch.get_default_dtype(), torch.get_float32_matmul_precision()
    grad, cudnn = torch.is_grad_enabled(), torch.backends.cudnn.deterministic
    try:
        if _forked:
            torch.set_num_threads(1)  # OpenMP's threads stay in the parent, and a child would wait for them for ever
        with flags_kept(), torch.inference_mode(False):  # which turns gradients on
            _start_autograd()
            yield
    finally:
        set_random_states(states)
        np.seterr(**errors)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_float32_matmul_precision(precision)
        torch.set_grad_enabled(grad)
        torch.backends.cudnn.deterministic = cudnn


@functools.cache
def _start_autograd() -> None:
    """Let autograd choose its threads, none without a GPU: after the tracing of a sweep, which has fake tensors, it
    would start one for a GPU that is not there, and a process with one can't be forked.
    """
    import torch

    torch.ones((), requires_grad=True).backward()  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _logging_kept(*, silent: bool) -> Iterator[None]:
    from lightning_d2l.compat_lightning import CHATTY_LOGGERS

    for name in ("lightning_d2l", *CHATTY_LOGGERS):
        logging.getLogger(name)  # so that it is among those of the manager
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    before = [
        (each, each.level, each.propagate, each.disabled, [*each.handlers], [*each.filters])
        for each in loggers
        if isinstance(each, logging.Logger)
    ]
    handlers = [handler for _, _, _, _, own, _ in before for handler in own] if silent else []
    thread = threading.get_ident()

    def of_others(record: logging.LogRecord) -> bool:
        return record.thread != thread

    for handler in handlers:
        handler.addFilter(of_others)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(of_others)
        for each, level, propagate, disabled, own, filters in before:
            each.propagate, each.disabled = propagate, disabled
            each.handlers[:], each.filters[:] = own, filters
            if each.level != level:
                each.setLevel(level)


@contextlib.contextmanager
def _hydra_kept() -> Iterator[None]:
    """Set aside what the program itself does with Hydra, and the program whose commands are printed."""
    from lightning_d2l.compat_hydra import hydra_set_aside
    from lightning_d2l.config.program import program, use_program

    before = program()
    with hydra_set_aside():
        try:
            yield
        finally:
            use_program(before)


class _Muted:
    """A stream on which one thread writes nothing, and the others as ever."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else self._stream.write(text)

    def isatty(self) -> bool:
        return threading.get_ident() != self._thread and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Print nothing from this thread."""
    before: dict[str, Any] = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    muted = {name: _Muted(stream) for name, stream in before.items() if stream is not None}
    for name, stream in muted.items():
        setattr(sys, name, stream)
    try:
        yield
    finally:
        for name, stream in muted.items():
            if getattr(sys, name) is stream:
                setattr(sys, name, before[name])
