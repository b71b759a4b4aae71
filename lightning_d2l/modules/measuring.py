"""The metrics of a module on each split: what they are, and how Lightning's own loop collects them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from lightning_d2l.compat_lightning import trainer_of
from lightning_d2l.config.metrics import fits, for_task, is_top_k
from lightning_d2l.config.registry import METRICS
from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.data.batches import Batch
from lightning_d2l.modules.metrics import MAPPED, ONE_BY_ONE, SplitMetrics, defined, mapped, one_by_one, precise

MEASURED_NUMBERS = 2**20  # outputs that are kept before they are measured


class MeasuredModule(pl.LightningModule):
    """A LightningModule with metrics of each split: means over its samples, and metrics of all its outputs together.

    `metrics` are names of registered metrics, which are means over samples, and of those of config/metrics.py.

    Raises ValueError on a name that is neither, or for another task.
    """

    task: str  # "regression" or "classification"
    loss_changes = False  # whether the loss changes with each step, as one with parameters

    def __init__(self, metrics: Sequence[str] = ()) -> None:
        super().__init__()
        if wrong := [name for name in metrics if name not in METRICS and not fits(name, self.task)]:
            raise ValueError(f"metrics={wrong[0]}: must be one of {for_task(self.task, list(METRICS))}")
        self.metrics = tuple(metrics)
        own = [name for name in metrics if name not in METRICS]
        self.whole = tuple(name for name in own if name in MAPPED or name in ONE_BY_ONE or is_top_k(name))
        self._seen: dict[str, list[Batch]] = {}  # outputs and targets by split that are not measured yet
        self._means: dict[str, SplitMetrics] = {}  # by split

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of the metrics that are measured of each split."""
        raise NotImplementedError

    def targets(self, output: Tensor, y: Tensor) -> Tensor:
        """The targets in the shape and type that the loss takes; raises ValueError if they don't fit the outputs."""
        raise NotImplementedError

    def measure(self, output: Tensor, y: Tensor) -> dict[str, Tensor]:
        """The metrics of outputs (n, num_outputs) and their targets that are means over samples, by name."""
        names = [name for name in self.metrics if name in METRICS]
        return {name: METRICS[name](output, y).to(output.dtype).mean() for name in names}

    def measured(self, output: Tensor, y: Tensor) -> dict[str, Tensor]:
        """The metrics of all outputs and targets of a split, as they come from a loader, but for undefined ones."""
        return {**self.means(output, y), **self.of_whole(output, y)}

    def means(self, output: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Those that are means over samples, computed in float64 (float32 on MPS) as all metrics."""
        output = precise(output)
        found = self.measure(output, self.targets(output, y))
        return {name: found[name] for name in self.metric_names if name in found}

    def of_whole(self, output: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Those of all outputs together: of a part of them they are others."""
        if not self.whole:
            return {}
        output = precise(output)
        y = self.targets(output, y)
        return defined({**mapped(self.whole, output, y), **one_by_one(self.whole, output, y)})

    def measured_in_vmap(self, output: Tensor, y: Tensor) -> dict[str, Tensor]:
        """As `measured`, but for the metrics that torch.vmap can't map over members, `in_turn`."""
        if not self.whole:
            return self.means(output, y)
        double = precise(output)
        return {**self.means(output, y), **mapped(self.whole, double, self.targets(double, y))}

    @property
    def in_turn(self) -> tuple[str, ...]:
        """The metrics that are computed member by member."""
        return tuple(name for name in self.whole if name in ONE_BY_ONE)

    # Lightning's hooks

    def on_validation_epoch_end(self) -> None:
        for split in sorted({*self._seen, *self._means} - {RUNNING}):
            self.log_dict(self._computed(split), sync_dist=True)

    def on_test_epoch_end(self) -> None:
        for split in sorted({*self._seen, *self._means}):
            self.log_dict(self._computed(split), sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Within an epoch, also save the sums of the training metrics so far, of all processes."""
        self._measure(RUNNING)
        if means := self._means.get(RUNNING):
            with means.sync_context():
                saved = {"names": list(means.names), "total": means.total, "count": means.count}
                checkpoint["train_metrics"] = saved | ({"kept": means.kept()} if self.whole else {})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trainer = trainer_of(self)
        if (saved := checkpoint.get("train_metrics")) and (trainer is None or trainer.is_global_zero):
            means = self._means[RUNNING] = self._split_metrics()
            means.names, means.total, means.count = (*saved["names"],), saved["total"].clone(), saved["count"].clone()
            if "kept" in saved:
                means.outputs, means.targets = ([t.clone()] for t in saved["kept"])

    def _see(self, split: str, output: Tensor, y: Tensor) -> None:
        """Keep outputs and targets until there are enough to measure them: one measurement takes as long as a step."""
        self._seen.setdefault(split, []).append((output, y))
        if self.loss_changes or len(self._seen[split]) * output.numel() > MEASURED_NUMBERS:
            self._measure(split)

    def _measure(self, split: str) -> None:
        if seen := self._seen.pop(split, []):
            output, y = (torch.cat(parts) for parts in zip(*seen, strict=True))
            if split not in self._means:
                self._means[split] = self._split_metrics()
            # A process whose share is empty takes part too: the others wait for it when the means are computed.
            self._means[split].update(self.means(output, y), output, y)

    def _split_metrics(self) -> SplitMetrics:
        return SplitMetrics(self.of_whole if self.whole else None)

    def _computed(self, split: str) -> dict[str, Tensor]:
        self._measure(split)
        means = self._means.pop(split, None)
        return {f"{name}/{split}": value for name, value in means.compute().items()} if means else {}
