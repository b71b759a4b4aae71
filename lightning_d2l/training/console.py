"""The messages of a run: a progress bar in a terminal, a line an epoch in a log, a small table at the end."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lightning_d2l.compat_lightning import CHATTY_LOGGERS
from lightning_d2l.config.escape import terminal
from lightning_d2l.config.lines import LOG, cells, columns, fill
from lightning_d2l.config.program import is_long_command
from lightning_d2l.config.text import number
from lightning_d2l.config.trainer import NO_LIMIT, RUNNING
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.training.caller import display

log = logging.getLogger(__name__)

# Messages of Lightning, TensorBoard and torch's tracer that come with every run, and that a reader can't act on.
_CHATTER = (
    "GPU available", "TPU available", "HPU available", "`Trainer.fit` stopped",
    "LOCAL_RANK", "Restored all states", "Restoring states", "Loaded model weights",
    "`isinstance(treespec, LeafSpec)`", "does not have many workers", "smaller than the logging interval",
    "exists and is not empty",
    "Please use the new API settings", "Consider setting `num_workers",
    "`torch.jit.trace`", "`torch.jit.trace_method`",
    "Initializing distributed", "All distributed processes registered", "`fast_dev_run` mode",
    "was configured so",
    "Converting a tensor to a Python boolean", "The `srun` command is available",
)  # fmt: skip


_ADVERTISEMENTS = ("litlogger", "litmodels")
TRAIN_LOG = "train.log"
DATE = "%Y-%m-%d"  # the first line of the log; the others have the time alone
WHOLE = ("look at it  ", "use it  ", "run folder  ")  # how lines begin that hold one command or path
SPLITS = (RUNNING, "train", "val", "test")
NO_METRICS = ("epoch", "step", "lr")  # of a row


class Lines(logging.Formatter):
    """Messages in lines of at most `width` columns. Long words, commands and tracebacks are not broken.

    A line of items that are separated by two blanks is broken between items, and continues below the second item.
    """

    def __init__(self, text: str, date: str | None = None, width: int = LOG) -> None:
        super().__init__(text, date)
        self.width = width

    def format(self, record: logging.LogRecord) -> str:
        whole, message = (terminal(text, keep="\n\t") for text in (super().format(record), record.getMessage()))
        if message.startswith("Traceback"):
            return whole
        prefix = len(whole) - len(message)
        first, *others = whole.split("\n")
        lines = [_wrapped(first, prefix, self.width), *(_wrapped(line, 0, self.width) for line in others)]
        return "\n".join(lines)


_WITH_TIME = Lines("%(asctime)s %(message)s", "%H:%M:%S")


def _wrapped(line: str, prefix: int, width: int) -> str:
    if cells(line) <= width or is_long_command(line) or line[max(prefix, 0) :].startswith(WHOLE):
        return line
    label, *items = line.split("  ")
    indent = " " * (cells(label) + 2 if items and cells(label) < width // 2 else prefix + 2)
    if items:  # a line is not broken at "\0"
        line = "  ".join(item.replace(" ", "\0") for item in [f"{label}  {items[0]}", *items[1:]])
    first = line[: len(line) - len(line.lstrip())]
    return fill(line, width, first=first, rest=indent).replace("\0", " ")


def _no_advertisement(record: logging.LogRecord) -> bool:
    return not any(words in record.getMessage() for words in _ADVERTISEMENTS)


def _no_chatter(record: logging.LogRecord) -> bool:
    return not any(words in record.getMessage() for words in _CHATTER)


def quiet() -> None:
    """Hide the advertisements and notices of dependencies, by their words; other warnings stay."""
    no_advertisements()
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).addFilter(_no_chatter)
    for words in _CHATTER:
        warnings.filterwarnings("ignore", message=f".*{re.escape(words)}")


def no_advertisements() -> None:
    """Hide what Lightning advertises, also from those who ask for every message."""
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).addFilter(_no_advertisement)


def said_before() -> None:
    """Hide what Lightning says of a module without validation_step or test_step: the first run of a sweep said it."""
    warnings.filterwarnings("ignore", message=r".*You (passed in|defined) a `\w+` but have no `")


class LogFile(logging.FileHandler):
    """The handler of train.log. Messages wait in memory until `start`, since a refused request writes nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / TRAIN_LOG, encoding="utf-8", errors="backslashreplace", delay=True)
        self.setFormatter(_WITH_TIME)
        self.started = False
        self._waiting: list[logging.LogRecord] = []

    def start(self) -> None:
        """Write what waits, and from now on each message at once; raises OSError if the file can't be written."""
        if not self.started:
            if self.stream is None:
                self.stream = self._open()
            self.started = True
            for record in self._waiting:
                super().emit(record)
            self._waiting = []

    def emit(self, record: logging.LogRecord) -> None:
        if self.started:
            super().emit(record)
        else:
            self._waiting.append(record)


@contextmanager
def log_to(folder: Path, *, verbose: bool, silent: bool = False, wait: bool = False) -> Iterator[LogFile]:
    """Send messages to train.log, with their time, and to the console unless `silent`; DEBUG only if `verbose`.

    With `wait`, train.log is written from the `start` of the handler that is returned.
    """
    package, root = logging.getLogger("lightning_d2l"), logging.getLogger()
    screen, file = logging.StreamHandler(sys.stdout), LogFile(folder)
    screen.setLevel(logging.CRITICAL + 1 if silent else logging.DEBUG if verbose else logging.INFO)
    screen.setFormatter(Lines("%(message)s", width=min(columns(), LOG)))
    package.setLevel(logging.DEBUG)
    # A full disk is reported once, by the run, and not again by each line of its log and by TensorBoard's thread.
    raise_exceptions, logging.raiseExceptions = logging.raiseExceptions, False
    before, threading.excepthook = threading.excepthook, lambda args: log.debug("%r", args.exc_value)
    for handler in (screen, file):
        root.addHandler(handler)
    try:
        file.handle(logging.makeLogRecord({"msg": time.strftime(DATE)}))
        if not wait:
            file.start()
        yield file
    finally:
        threading.excepthook, logging.raiseExceptions = before, raise_exceptions
        for handler in (screen, file):
            root.removeHandler(handler)
            with suppress(OSError):
                handler.close()


class _Bar(Progress):
    """A progress bar that reads the number of served minibatches from the data module."""

    data: TensorDataModule

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.tasks:
            self.update(TaskID(0), completed=self.data.served)
        yield from super().get_renderables()


class Console:
    """The line of each logging point, and a bar in a terminal, where the lines go to the log file alone."""

    def __init__(self, data: TensorDataModule, epoch: int, max_epochs: int, *, bar: bool) -> None:
        """Start the clock and show the bar, at a number of finished epochs."""
        self.data, self.max_epochs = data, max_epochs
        self.bar: _Bar | None = None
        self.display = display() if bar else None  # of a notebook, which has no terminal
        if bar and not self.display and sys.stdout is not None and sys.stdout.isatty():
            columns = ("epoch {task.fields[epoch]}" + _out_of(max_epochs), "{task.fields[metrics]}")
            left, right = (TextColumn(column, markup=False) for column in columns)
            self.bar = _Bar(left, BarColumn(bar_width=None), right, TimeRemainingColumn(compact=True), expand=True)
            self.bar.data = data
            self.bar.add_task(
                "", total=None if max_epochs == NO_LIMIT else max_epochs * data.num_batches, epoch=epoch, metrics=""
            )
            self.bar.start()
        self.last_epoch, self.last_time = epoch, time.monotonic()

    def row(self, metrics: Mapping[str, float]) -> None:
        """Show the metrics of a logging point."""
        epoch, now = int(metrics["epoch"]), time.monotonic()
        epochs, size = epoch - self.last_epoch, self.data.sizes()["train"]
        done, unit = (epochs * self.data.num_batches, "batches") if size is None else (epochs * size, "samples")
        rate = f"{done / max(now - self.last_time, 1e-9):,.0f} {unit}/s"
        level = logging.DEBUG if self.bar or self.display else logging.INFO
        log.log(level, "%s  %s", epoch_line(epoch, self.max_epochs, metrics), rate)
        if self.display:
            self.display.row(metrics, self.max_epochs)
        if self.bar:
            of_train = [metrics[name] for name in ("loss/train", f"loss/{RUNNING}") if name in metrics]
            loss = f"loss {number(of_train[0])}  " if of_train else ""
            self.bar.update(TaskID(0), epoch=epoch, metrics=f"{loss}{rate}")
        self.last_epoch, self.last_time = epoch, now

    def stop(self) -> None:
        """Remove the bar. It may be called at any time, and more than once."""
        if self.bar:
            self.bar.stop()


def epoch_line(epoch: int, max_epochs: int, metrics: Mapping[str, float]) -> str:
    """The line of a logging point."""
    shown = [name for name in metrics if name.startswith(("loss/", "acc/"))]
    shown = shown or [name for name in metrics if name not in NO_METRICS]  # of a custom module
    values = "  ".join(f"{name} {number(metrics[name])}" for name in shown)
    return f"epoch {epoch}{_out_of(max_epochs)}  {values}"


def _out_of(max_epochs: int) -> str:
    return "" if max_epochs == NO_LIMIT else f"/{max_epochs}"


def stopped_line(stopped: Mapping[str, Any]) -> str:
    """The line of a run that a callback stopped, from the field `stopped` of its record."""
    return f"stopped early after epoch {stopped['epoch']}: {stopped['reason']} ({stopped['by']})"


def pruned_line(pruned: Mapping[str, Any]) -> str:
    """The line of a run that its sweep stopped early, from the field `pruned` of its record."""
    return f"pruned after epoch {pruned['epoch']}, at rung {pruned['rung']}: its setting is among the worse ones"


def write_log(folder: Path, messages: Iterable[str]) -> None:
    """Write a train.log with these messages, at the present time."""
    record = logging.makeLogRecord({})
    with (folder / TRAIN_LOG).open("w", encoding="utf-8", errors="backslashreplace") as file:
        for record.msg in [time.strftime(DATE), *messages]:
            file.write(f"{_WITH_TIME.format(record)}\n")


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Metrics of a few rows, such as final and best, in at most 80 columns; others follow below."""
    splits = [s for s in SPLITS if any(k.endswith(f"/{s}") for row in rows.values() for k in row)]
    widths = [max(12, len(split) + 1) for split in splits]
    cells_of: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    for title, row in rows.items():
        for metric in dict.fromkeys(name.split("/")[0] for name in row if name.endswith(SPLITS)):
            values = (row.get(f"{metric}/{split}") for split in splits)
            cells_of[f"{title} {metric}"] = ["" if value is None else number(value) for value in values]
        names = [name for name in row if name not in NO_METRICS and not name.endswith(SPLITS)]
        others |= {f"{title} {name}": [number(row[name])] for name in names}
    left = min(max([12, *map(len, (*cells_of, *others))]), max(LOG - sum(widths), 12))
    head = {"": [*splits]} if splits else {}
    return "\n".join(
        title.ljust(left) + "".join(map(str.rjust, found, widths or [12]))
        for title, found in [*head.items(), *cells_of.items(), *others.items()]
    )
