"""A logger of Lightning's as that of a run."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from lightning_d2l.training.files import Row

log = logging.getLogger(__name__)

Ids = Mapping[str, str]
"""What a run's record keeps of a logger, so that a resumed run continues what the service has."""


def waiting(kind: type[Logger]) -> Any:
    """A class of Lightning's whose `experiment` is None before `open`: the Trainer asks for it before it trains."""
    made: Any

    def experiment(self: Any) -> Any:
        return super(made, self).experiment if self.opened_by_run else None

    made = type(kind.__name__, (kind,), {"experiment": property(experiment), "opened_by_run": False})
    return made


class RunLogger:
    """A logger of Lightning's in a run: it logs from `open` to `close`, and its errors are warnings.

    Lightning counts epochs and steps from 0. What is passed on has the number of the epoch, from 1, as "epoch", and the
    number of optimizer steps so far as its step, as the rows of metrics.csv. The logger needs Lightning's methods only.
    """

    def __init__(self, label: str, logger: Any) -> None:
        self.label, self.logger = label, logger
        self.opened = self.failed = False
        self.known_until = -1  # the step until which the service has the metrics of a resumed run
        passed_on = ("log_metrics", "log_hyperparams", "log_graph", "save", "after_save_checkpoint", "finalize")
        self._methods = {name: getattr(logger, name) for name in passed_on}
        for name in passed_on:  # what the Trainer calls
            setattr(logger, name, functools.partial(self.send, name))
        setattr(logger, "log_metrics", self._log_metrics)  # noqa: B010
        for name in ("log_hyperparams", "finalize"):  # `open` and `close` call them
            setattr(logger, name, _nothing)

    def open(self, parameters: Mapping[str, Any], history: Sequence[Row]) -> Ids:
        """Start to log, with the hyperparameters and the rows so far of a resumed run; returns what the record keeps.

        Of several processes the first one logs.
        """
        if rank_zero_only.rank:  # type: ignore[attr-defined]
            return {}
        self.opened = self.logger.opened_by_run = True
        ids: Ids = {}
        try:
            with self._warned():
                ids = self.start(history)
                self.send_parameters(parameters)
        except BaseException:  # a signal: there is nothing that could be ended
            self.failed = True
            raise
        self.send("save")
        return ids

    def log_row(self, row: Mapping[str, float]) -> None:
        """Log the metrics of a logging point, with its "epoch" and "step"."""
        step = int(row["step"])
        if step > self.known_until:
            self.send("log_metrics", {name: value for name, value in row.items() if name != "step"}, step)
            self.send("save")

    def close(self, test: Mapping[str, float], code: int) -> None:
        """Log the row of the test metrics, if any, and end: with the exit code of the run, 0 if it completed."""
        if not self.opened:
            return
        if test:
            self.known_until = -1  # the last row has the same step
            self.log_row(test)
        self.send("finalize", self.status(code))
        self.opened = False
        with self._warned():
            self.end(code)

    def look(self) -> str:
        """The command that shows what was logged, if there is one."""
        return ""

    def start(self, history: Sequence[Row]) -> Ids:
        """Open files or connections."""
        return {}

    def send_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log the hyperparameters."""
        self.send("log_hyperparams", dict(parameters))

    def status(self, code: int) -> str:
        """What the logger's `finalize` is called with."""
        return "failed" if code else "success"

    def end(self, code: int) -> None:
        """Close what Lightning leaves open."""

    def send(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Call a method of the logger, between `open` and `close`; its first error is a warning, and ends the calls."""
        if self.opened and not self.failed:
            with self._warned():
                self._methods[method](*args, **kwargs)

    def _log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if "epoch" in metrics and step is not None:
            metrics, step = {**metrics, "epoch": int(metrics["epoch"]) + 1}, step + 1
        if step is None or step > self.known_until:
            self.send("log_metrics", metrics, step)

    @contextlib.contextmanager
    def _warned(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not self.failed:
                reason = (str(error).strip() or repr(error)).splitlines()[0]
                log.warning("%s: nothing more is logged: %s", self.label, reason[:300])
            self.failed = True


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Does nothing."""
