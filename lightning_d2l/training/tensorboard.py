"""The TensorBoard logger of a run."""

from __future__ import annotations

import functools
import io
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import torch
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from lightning_d2l import compat_tensorboard as events
from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.training.files import Row, replacing

log = logging.getLogger(__name__)


Arguments = ParamSpec("Arguments")


def _never_fails(
    method: Callable[Concatenate[TensorBoard, Arguments], None],
) -> Callable[Concatenate[TensorBoard, Arguments], None]:
    """A method that writes events while there is a file; its first error is a warning, and ends the writing."""

    @functools.wraps(method)
    def guarded(self: TensorBoard, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        if not self.failed:
            try:
                method(self, *args, **kwargs)
            except Exception as error:
                self.failed = True
                reason = (str(error).strip() or repr(error)).splitlines()[0]
                log.warning("TensorBoard: no more events are written: %s", reason[:300])

    return guarded


class TensorBoard(Logger):
    """Logs scalars by epoch, hyperparameters, the graph, histograms and figures; all splits of a metric share a chart.

    With `by_step`, set before `open`, the x axis is Lightning's own, for a custom module, which may log at any step.
    Before `open` nothing is written. An error, such as a full disk, is a warning: training does not need the events.
    `histograms_every_n_epochs` is the interval for histograms of weights and gradients; 0 writes none. Runs of a sweep
    have no graph, histograms or figures.
    """

    name, version = "tensorboard", ""

    def __init__(self, graph: bool, histograms_every_n_epochs: int, figures: bool) -> None:
        super().__init__()
        self.graph, self.histograms_every_n_epochs, self.figures = graph, histograms_every_n_epochs, figures
        self.net: nn.Module | None = None
        self.next_histogram = 1
        self.failed = self.by_step = False
        self.writer: SummaryWriter | None = None

    @property
    def experiment(self) -> SummaryWriter | None:
        """What a custom module writes to by itself; None before `open`."""
        return self.writer

    @_never_fails
    def open(self, folder: Path, hparams: Mapping[str, Any], metrics: tuple[str, ...], history: list[Row]) -> None:
        """Start writing into a run's folder; `history` holds the logged rows of a resumed run."""
        last = int(history[-1]["step" if self.by_step else "epoch"]) if history else 0
        self.writer = SummaryWriter(str(folder), purge_step=last or None)  # later events are hidden
        self.metrics, self.has_layout = metrics, False
        if history and not self.by_step:  # its last events may be lost
            self.log_metrics(_scalars(history[-1]), last)
        if not history:
            events.add_summary(self.writer, _hparams(folder, hparams))

    @_never_fails
    def watch(self, net: nn.Module, example: Tensor) -> None:
        """Write the graph of a network for an input (1, ...), and its histograms at later logging points."""
        self.net = net
        if self.graph and self.writer:
            net.eval()  # without dropout, tracing draws no random numbers of the run
            try:
                with torch.no_grad(), redirect_stdout(io.StringIO()):  # on failure add_graph prints the whole error
                    self.writer.add_graph(net, example)
            except Exception as error:  # training does not need the graph
                log.warning("no graph for TensorBoard: %s", (str(error).strip() or repr(error)).splitlines()[0])
            net.train()

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: `open` writes the hyperparameters."""

    @_never_fails
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self.writer is None:
            return
        if "epoch" in metrics:  # Lightning counts epochs from 0; the x axis is the number of finished epochs
            step = step if self.by_step else int(metrics["epoch"]) + 1
            metrics = {name: value for name, value in metrics.items() if name != "epoch"}
        measured = any(name in metrics for name in ("loss/train", f"loss/{RUNNING}"))
        if not self.has_layout and measured:
            events.add_summary(self.writer, _layout(self.metrics, metrics))
            self.has_layout = True
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)
        due = self.histograms_every_n_epochs and step is not None and step >= self.next_histogram
        if self.net and step is not None and due and measured:
            for name, parameter in self.net.named_parameters():
                _add_histogram(self.writer, f"weights/{name}", parameter.detach(), step)
                if parameter.grad is not None:
                    _add_histogram(self.writer, f"gradients/{name}", parameter.grad, step)
            self.next_histogram = step + self.histograms_every_n_epochs

    @_never_fails
    def add_pictures(self, pictures: list[Path], step: int) -> None:
        """Add PNG files as images, tagged by file name."""
        if self.writer is None or not self.figures:
            return
        for path in pictures:
            events.add_summary(self.writer, events.image_summary(f"figures/{path.stem}", path.read_bytes()), step)

    @_never_fails
    def save(self) -> None:
        """Flush the events; Lightning calls this after each `log_metrics`, so a killed run keeps its events."""
        if self.writer:
            self.writer.flush()

    @_never_fails
    def close(self) -> None:
        if self.writer:
            self.writer.close()


def _add_histogram(writer: SummaryWriter, tag: str, values: Tensor, step: int) -> None:
    """Add a histogram computed by torch, since numpy's threads would keep spinning beside the training threads."""
    values = values.flatten().cpu().double()
    if values.isfinite().all():
        counts, edges = torch.histogram(values, 64)
        writer.add_histogram_raw(
            tag,
            min=float(values.min()),
            max=float(values.max()),
            num=len(values),
            sum=float(values.sum()),
            sum_squares=float(values.square().sum()),
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
            global_step=step,
        )


def write_events(
    folder: Path, hparams: Mapping[str, Any], metrics: tuple[str, ...], rows: Sequence[Row], test: Row, step: int
) -> None:
    """Write a finished run's events in one file, eight times as fast as `TensorBoard`; `test` metrics are at `step`."""
    now = time.time()
    points = [(int(row["epoch"]), _scalars(row)) for row in rows] + ([(step, test)] if test else [])
    names = dict.fromkeys(name for _, values in points for name in values)
    start = events.SessionLog(status=events.SessionLog.START)  # hides these steps of an interrupted attempt
    found = [events.Event(step=1, session_log=start)]
    found += [events.Event(summary=summary) for summary in (_hparams(folder, hparams), _layout(metrics, names))]
    for at, values in points:
        scalars = [events.Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        found.append(events.Event(step=at, summary=events.Summary(value=scalars)))
    # TensorBoard reads the files of a folder by name; the time sorts this file after older ones.
    name = f"events.out.tfevents.{int(now):010}.{socket.gethostname()}.{os.getpid()}.whole"
    with replacing(folder / name) as file:
        events.write_records(file, found, now)


def write_text(folder: Path, tag: str, text: str) -> None:
    """Write a text of a finished run, for the Text page, in place of an earlier one."""
    for old in folder.glob(f"events.out.tfevents.*.{tag}"):
        old.unlink()
    now = time.time()
    with replacing(folder / f"events.out.tfevents.{int(now):010}.{socket.gethostname()}.{os.getpid()}.{tag}") as file:
        events.write_records(file, [events.Event(summary=events.text_summary(tag, text))], now)


def _scalars(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in ("epoch", "step")}


def _hparams(folder: Path, hparams: Mapping[str, Any]) -> events.Summary:
    plain = {k: v if isinstance(v, (bool, int, float)) else str(v) for k, v in hparams.items()}
    return events.hparams_summary(plain, folder.name)


def _layout(metrics: Iterable[str], names: Iterable[str]) -> events.Summary:
    """One chart for each metric with all splits, and one for each prefix of the other `names`, such as gradient/."""
    groups: dict[str, list[str]] = {}
    for name in names:
        if (group := name.partition("/")[0]) not in metrics:
            groups.setdefault(group, []).append(name)
    splits = "(train|val|test)(_running)?"
    categories = {
        "train, validation and test on one chart": {metric: f"^{metric}/{splits}$" for metric in metrics},
        "parameters": {", ".join(tags): f"^({'|'.join(tags)})$" for tags in groups.values()},
    }
    return events.layout_summary({category: charts for category, charts in categories.items() if charts})
