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
from lightning_d2l.modules.foreign import metric_name
from lightning_d2l.nets.layer_names import parameter_names
from lightning_d2l.training.files import Row, replacing
from lightning_d2l.training.hparams import Value

log = logging.getLogger(__name__)

SPLITS = ("train", RUNNING, "val", "test")
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
    """Logs scalars by epoch, hyperparameters, texts, the graph, histograms and figures.

    With `by_step`, set before `open`, the x axis is Lightning's own, for a custom module, which may log at any step.
    With `apart`, set before `open`, each split has a folder of its own inside the run's: TensorBoard takes it for a run
    and so draws the splits of a metric on one chart in different colours. Else one file holds them, `loss/val` and so
    on, and one chart of the page Custom Scalars has the splits of a metric in the run's colour.

    Before `open` nothing is written. An error, such as a full disk, is a warning: training does not need the events.
    `histograms_every_n_epochs` is the interval for histograms of weights and gradients, which the last epoch has too; 0
    writes none. Runs of a sweep have no histograms, texts or figures, and a graph only if `graph` is True, not None.
    """

    name, version = "tensorboard", ""

    def __init__(self, graph: bool | None, histograms_every_n_epochs: int, figures: bool) -> None:
        super().__init__()
        self.graph, self.histograms_every_n_epochs, self.figures = graph, histograms_every_n_epochs, figures
        self.net: nn.Module | None = None
        self.next_histogram, self.last_histogram, self.max_epochs = 1, 0, 0
        self.failed = self.by_step = self.apart = False
        self.writer: SummaryWriter | None = None
        self.splits: dict[str, events.EventFile] = {}

    @property
    def experiment(self) -> SummaryWriter | None:
        """What a custom module writes to by itself; None before `open`."""
        return self.writer

    @_never_fails
    def open(
        self,
        folder: Path,
        hparams: Mapping[str, Value],
        metrics: tuple[str, ...],
        history: list[Row],
        texts: Mapping[str, str] | None = None,
    ) -> None:
        """Start writing into a run's folder; `history` has the rows of a resumed run, `texts` Markdown by tag."""
        self.folder, self.last = folder, int(history[-1]["step" if self.by_step else "epoch"]) if history else 0
        self.writer = SummaryWriter(str(folder), purge_step=self.last or None)  # later events are hidden
        self.metrics, self.has_layout = metrics, self.apart
        if history and not self.by_step:  # its last events may be lost
            self.log_metrics(_scalars(history[-1]), self.last)
        if not history:
            events.add_summary(self.writer, events.hparams_summary(hparams))
            for tag, text in (texts or {}).items():
                events.add_summary(self.writer, events.text_summary(tag, text))

    def watch(self, net: nn.Module, max_epochs: int) -> None:
        """Write histograms of a network's parameters and gradients at later logging points; the last has them too."""
        self.net, self.max_epochs = net, max_epochs

    @_never_fails
    def add_graph(self, net: nn.Module, example: Tensor) -> None:
        """Write the graph of a network for an input (1, ...), unless `graph` is False."""
        if self.graph is not False and self.writer:
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
        placed: dict[str, dict[str, float]] = {}
        for name, value in metrics.items():
            tag, split = self._placed(name)
            placed.setdefault(split, {})[tag] = value
        for tag, value in placed.pop("", {}).items():
            self.writer.add_scalar(tag, value, step)
        for split, values in placed.items():
            self._file_of(split).add(_scalar_event(step or 0, values))
        if step is not None and (step >= self.next_histogram or step == self.max_epochs) and measured:
            self._add_histograms(step)

    def _placed(self, name: str) -> tuple[str, str]:
        """The tag of a metric and the split whose folder has it; the run's own folder has no split."""
        if not self.apart:
            return name, ""
        of_step = "_step" if self.by_step and name.endswith("_step") else ""
        known = (metric_name(name.removesuffix("_step")) or name) if self.by_step else name
        tag, _, split = known.rpartition("/")
        return (f"{tag}{of_step}", split) if tag and split in SPLITS else (name, "")

    def _file_of(self, split: str) -> events.EventFile:
        if split not in self.splits:
            (self.folder / split).mkdir(exist_ok=True)
            file = events.EventFile(self.folder / split / _file_name(time.time_ns(), split))
            if self.last:
                file.add(_start(self.last))
            self.splits[split] = file
        return self.splits[split]

    def _add_histograms(self, step: int) -> None:
        if not (self.net and self.writer and self.histograms_every_n_epochs) or step == self.last_histogram:
            return
        words = parameter_names(self.net)
        for name, parameter in self.net.named_parameters():
            _add_histogram(self.writer, f"weights/{words[name]}", parameter.detach(), step)
            if parameter.grad is not None:
                _add_histogram(self.writer, f"gradients/{words[name]}", parameter.grad, step)
        self.last_histogram, self.next_histogram = step, step + self.histograms_every_n_epochs

    @_never_fails
    def end(self, step: int) -> None:
        """Write the histograms of the weights after the last epoch of a run that ended early."""
        self._add_histograms(step)

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
        for file in self.splits.values():
            file.close()
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
    folder: Path, hparams: Mapping[str, Value], metrics: tuple[str, ...], rows: Sequence[Row], test: Row, step: int
) -> None:
    """Write a finished run's events in one file, eight times as fast as `TensorBoard`; `test` metrics are at `step`."""
    now = time.time()
    points = [(int(row["epoch"]), _scalars(row)) for row in rows] + ([(step, test)] if test else [])
    names = dict.fromkeys(name for _, values in points for name in values)
    found = [_start(1)]  # hides these steps of an interrupted attempt
    found += [events.Event(summary=each) for each in (events.hparams_summary(hparams), _layout(metrics, names))]
    found += [_scalar_event(at, values) for at, values in points]
    # TensorBoard reads the files of a folder by name; the time sorts this file after older ones.
    with replacing(folder / _file_name(int(now), "whole")) as file:
        events.write_records(file, found, now)


def write_graph(folder: Path, net: nn.Module, example: Tensor) -> None:
    """Write the graph of a run that has trained among others."""
    board = TensorBoard(graph=True, histograms_every_n_epochs=0, figures=False)
    board.writer = SummaryWriter(str(folder), filename_suffix=".graph")
    board.add_graph(net, example)
    board.close()


def write_text(folder: Path, tag: str, text: str) -> None:
    """Write a text of a finished run, for the Text page, in place of an earlier one."""
    for old in folder.glob(f"events.out.tfevents.*.{tag}"):
        old.unlink()
    now = time.time()
    with replacing(folder / _file_name(int(now), tag)) as file:
        events.write_records(file, [events.Event(summary=events.text_summary(tag, text))], now)


def _file_name(now: int, what: str) -> str:
    return f"events.out.tfevents.{now:010}.{socket.gethostname()}.{os.getpid()}.{what}"


def _start(step: int) -> events.Event:
    """An event that hides those of this step and of later ones in older files."""
    return events.Event(step=step, session_log=events.SessionLog(status=events.SessionLog.START))


def _scalar_event(step: int, values: Mapping[str, float]) -> events.Event:
    scalars = [events.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    return events.Event(step=step, summary=events.Summary(value=scalars))


def _scalars(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in ("epoch", "step")}


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
