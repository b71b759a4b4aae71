"""What training a regression and a classification have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_d2l.data.batches import Batch, Batches, Chunk, Chunks
from lightning_d2l.engine.exact import Exact
from lightning_d2l.engine.loop import Step, backpropagation, quickest, train_minibatches
from lightning_d2l.modules.losses import LOSSES, GaussianNLL

OptimizerFactory = Callable[[list[Any]], Optimizer]


class Diverged(Exception):
    """The loss became infinite or not a number."""


class SupervisedModule(pl.LightningModule):
    """A network, a loss and an optimizer, trained on minibatches and measured on whole splits.

    One Lightning step runs all the minibatches up to the next of `logging_points` (numbers of epochs, from 1). With
    `automatic_optimization` Lightning itself runs a step a minibatch: slower, to the same bits. `evaluate` names
    the splits of the validation dataloaders. At a logging point `metrics` holds what was measured, by names such
    as "loss/train". Unless "train" is evaluated, its metrics are those of each minibatch before the step on it.

    `loss` is a name of `LOSSES`, None for the usual one. `penalty` is what the descent adds to it, for the weights w:
    l1 * sum |w| + l2 / 2 * sum w^2 (d2l 4.5). No reported loss contains it.
    """

    usual_loss: str
    metric_names: tuple[str, ...] = ("loss",)

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        logging_points: list[int],
        evaluate: list[str],
        automatic_optimization: bool = False,
        loss: str | None = None,
        penalty: Mapping[str, float] = MappingProxyType({"l1": 0.0, "l2": 0.0}),
        gradients: bool = False,
    ) -> None:
        super().__init__()
        self.net, self.optimizer_factory = net, optimizer
        self.loss_name = loss or self.usual_loss
        self.loss = LOSSES[self.loss_name]()
        self.logging_points, self.evaluate = logging_points, evaluate
        self.automatic_optimization = automatic_optimization
        self.penalty, self.gradients = dict(penalty), gradients
        self.metrics: dict[str, float] = {}
        self._epoch: list[Step] = []  # what the last epoch's steps saw
        self._seen: dict[str, list[tuple[Tensor, Tensor]]] = {}  # outputs and targets by split

    def measure(self, output: Tensor, y: Tensor) -> dict[str, Tensor]:
        """The metrics, by `metric_names`, of the outputs (n, num_outputs) and targets of a whole split."""
        return {"loss": self.loss(output, y)}

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.net(x)
        return output

    def objective(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The mean loss of a minibatch and its penalty, which training descends, and the outputs."""
        x, y = batch
        output = self.net(x)
        value = self.loss(output, y)
        for norm, factor, power in (("l1", self.penalty["l1"], 1), ("l2", self.penalty["l2"] / 2, 2)):
            if self.penalty[norm]:
                value = value + factor * torch.stack([w.abs().pow(power).sum() for w in self.weights()]).sum()
        return value, output

    @property
    def monitor(self) -> str:
        """The metric whose lowest value marks the best epoch."""
        return "loss/val" if "val" in self.evaluate else "loss/train"

    def weights(self) -> list[Tensor]:
        """The parameters of two dimensions: not biases or slopes of activations."""
        return [p for p in self.net.parameters() if p.dim() >= 2]

    def configure_optimizers(self) -> Optimizer:
        """Weight decay acts on weights alone."""
        parameters = list(self.parameters())
        optimizer = self.optimizer_factory(parameters)
        if not optimizer.defaults.get("weight_decay"):
            return optimizer  # one group of parameters takes a shorter step than two
        weights = self.weights()
        others = [p for p in parameters if p.dim() < 2]
        groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
        return self.optimizer_factory([group for group in groups if group["params"]])

    def on_train_epoch_start(self) -> None:
        loader = self.trainer.train_dataloader
        assert isinstance(loader, (Batches, Chunks))
        loader.set_epoch(self.trainer.current_epoch)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        if not self.automatic_optimization:
            self._train_chunk(batch)
            return None
        loss, output = self.objective(batch)
        self._epoch.append((loss.detach(), output.detach(), batch[1]))
        return loss

    def _train_chunk(self, chunk: Chunk) -> None:
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        loop, gradient = self.trainer.fit_loop, backpropagation(self.objective, list(self.parameters()))
        steps = quickest(optimizer)
        for batches in chunk:
            if isinstance(optimizer, Exact):
                assert isinstance(batches, Batches)
                self._epoch = optimizer.solve(self, batches)
            else:
                self._epoch = train_minibatches(gradient, batches, steps)
            # Lightning stops by its count of optimizer steps, and resumes from it; these it did not see.
            loop.epoch_loop.manual_optimization.optim_step_progress.increment_by(len(self._epoch))
            self._require_finite_losses()
        loop.epoch_progress.increment_by(chunk.epochs - 1)  # it took the chunk for one epoch

    def _require_finite_losses(self) -> None:
        losses = torch.stack([loss for loss, _, _ in self._epoch])
        if not losses.isfinite().all():
            bad = int(losses.isfinite().logical_not().nonzero()[0])
            step = self.trainer.global_step - len(losses) + bad + 1
            raise self._diverged("the training loss", losses[bad].item(), step)

    def _diverged(self, what: str, value: float, step: int) -> Diverged:
        lr = [group["lr"] for optimizer in self.trainer.optimizers for group in optimizer.param_groups]
        return Diverged(f"{what} is {value} at step {step} with optimizer.lr={lr[0] if lr else None}")

    def on_train_epoch_end(self) -> None:
        epoch = self.trainer.current_epoch + 1
        if self.automatic_optimization:
            self._require_finite_losses()
        if epoch in self.logging_points:
            if "train" not in self.evaluate:
                self._seen["train"] = [(output, y) for _, output, y in self._epoch]
            self._report(epoch)
        self._epoch, self._seen = [], {}

    def on_validation_model_zero_grad(self) -> None:
        """Keep the gradients of the last step, which TensorBoard shows; the next step clears them."""

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._seen.setdefault(self.evaluate[dataloader_idx], []).append((self.net(batch[0]), batch[1]))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._seen.setdefault("test", []).append((self.net(batch[0]), batch[1]))

    def on_test_epoch_end(self) -> None:
        self._measure_splits()
        self._log(self.trainer.current_epoch)
        self._seen = {}

    def _report(self, epoch: int) -> None:
        """Measure the splits that were seen and the parameters."""
        self._measure_splits()
        weights = self.weights()
        found = self.measure_parameters([w.detach() for w in weights], [w.grad for w in weights])
        self.metrics |= {name: value.item() for name, value in found.items()}
        self._log(epoch)

    def _measure_splits(self) -> None:
        """Measure every split that was seen, whole and in float64."""
        self.metrics = {}
        for split, batches in sorted(self._seen.items()):
            output, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
            y = y.double() if y.is_floating_point() else y
            metrics = self.measure(output.double(), y)
            self.metrics |= {f"{name}/{split}": metrics[name].item() for name in self.metric_names}

    def _log(self, epoch: int) -> None:
        """Log what was measured, with the epoch on the x-axis."""
        for name, value in self.metrics.items():
            if not math.isfinite(value):
                raise self._diverged(name, value, self.trainer.global_step)
        self.log_dict({**self.metrics, "step": float(epoch)})  # Lightning hands "step" to the loggers as x

    def measure_parameters(self, weights: list[Tensor], gradients: list[Tensor | None]) -> dict[str, Tensor]:
        """The Euclidean norm of all weights together, and what else was asked for of the parameters.

        With a penalty the share of weights that are exactly 0; with `gradients` the norm of the last minibatch's
        gradient with respect to the first and the last layer's weights; of a Gaussian likelihood its noise.
        """
        metrics: dict[str, Tensor] = {}
        if weights:
            metrics["norm/weights"] = torch.stack([w.double().norm() for w in weights]).norm()
        if any(self.penalty.values()):
            zeros, total = torch.stack([(w == 0).sum() for w in weights]).sum(), sum(w.numel() for w in weights)
            metrics["zeros/weights"] = zeros.double() / total
        if self.gradients:
            for name, w, gradient in (("first", weights[0], gradients[0]), ("last", weights[-1], gradients[-1])):
                known = torch.zeros_like(w) if gradient is None else gradient
                metrics[f"gradient/{name}"] = known.double().norm()
        if isinstance(self.loss, GaussianNLL):
            metrics["sigma/noise"] = self.loss.sigma.detach()
        return metrics
