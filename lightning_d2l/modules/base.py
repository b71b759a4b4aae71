"""What training a regression and a classification have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_d2l.compat_lightning import trainer_of
from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.data.batches import Batch
from lightning_d2l.modules.build import OptimizerFactory, layer, network, optimizer_factory, require_parameters
from lightning_d2l.modules.losses import GaussianNLL, build_loss
from lightning_d2l.modules.measuring import MeasuredModule
from lightning_d2l.modules.schedule import looks, looks_after, monitored, rate, scheduler_config
from lightning_d2l.nets.least_squares import Solution


class SupervisedModule(MeasuredModule):
    """A network, a loss and an optimizer as a LightningModule, for any Trainer and any batches (x, y).

    `net` is a network or its description, such as `{"_target_": "lightning_d2l.nets.mlp.MLP", "num_inputs": 4, ...}`.
    `loss` is a name of `LOSSES` or of a registered loss, None for the usual one. `optimizer` is a name such as "sgd", a
    description `{"_target_": "torch.optim.SGD", "lr": 0.1}`, or a function from parameters to an optimizer.

    `penalty` is added to the loss that training minimises, for the weights w: l1 * sum |w| + l2 / 2 * sum w^2
    (d2l 4.5). No reported loss contains it. With `gradients` the norms of gradients are measured too. `metrics` are
    more metrics to measure: names such as "rmse" or "auroc", see config/metrics.py, and of registered ones.

    `scheduler` describes a schedule of the learning rate: `{"_target_": "torch.optim.lr_scheduler.StepLR", ...}`.
    `transform` describes a layer between the inputs and the network, in training and prediction. `preprocessing`
    describes the layer that makes inputs of raw samples: data hold what it returned, so training does not call it.

    Metrics are logged at the end of an epoch as `<metric>/<split>`. Splits are "train", "val" and "test", or the keys
    of a dict of loaders; of a list of loaders "val", "val_1" and so on. Where no validation loader of the name "train"
    measures the training data, "train_running" are the means over the epoch's minibatches, each before the step on it.

    Descriptions, names and numbers are saved as hyperparameters, so that `load_from_checkpoint` needs no more
    arguments; anything else is passed to it again: `load_from_checkpoint(path, net=net)`.

    Raises ValueError on a name that is not registered, on a metric that does not fit the task, and on a batch whose
    targets don't fit the outputs.
    """

    usual_loss: str
    solution: Solution | None = None  # what optimizer=exact has solved for

    def __init__(
        self,
        net: nn.Module | Mapping[str, Any],
        loss: str | None = None,
        optimizer: str | Mapping[str, Any] | OptimizerFactory = "sgd",
        *,
        penalty: Mapping[str, float] | None = None,
        gradients: bool = False,
        metrics: Sequence[str] = (),
        scheduler: Mapping[str, Any] | None = None,
        transform: Mapping[str, Any] | None = None,
        preprocessing: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(metrics)
        self.net, net_description = network(net)
        self.transform, self.preprocessing = layer(transform), layer(preprocessing)
        self.optimizer_factory, optimizer_description = optimizer_factory(optimizer)
        self.loss_name = loss or self.usual_loss
        self.loss = build_loss(self.loss_name)
        self.loss_changes = isinstance(self.loss, GaussianNLL)
        self.scheduler = scheduler
        self.penalty = {"l1": 0.0, "l2": 0.0, **(penalty or {})}
        self.gradients = gradients
        plain = {"loss": self.loss_name, "penalty": dict(self.penalty), "gradients": gradients, **settings}
        described = {"net": net_description, "optimizer": optimizer_description}
        given = {"scheduler": scheduler, "transform": transform, "preprocessing": preprocessing}
        described |= {name: dict(value) for name, value in given.items() if value is not None}
        plain |= {"metrics": list(metrics)} if metrics else {}
        self.save_hyperparameters(plain | {key: value for key, value in described.items() if value is not None})
        self._place: tuple[int, int] | None = None  # epoch and batch of the last training step
        self._rate: float | None = None  # the learning rate of the last step, where there is a schedule

    # What is computed: pure functions of tensors, which the engine calls too

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.net(x if self.transform is None else self.transform(x))
        return output

    def objective(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The mean loss of a minibatch plus the penalty, which training minimises, and the outputs."""
        x, y = batch
        output = self.forward(x)
        value = self.loss(output, self.targets(output, y))
        for norm, factor, power in (("l1", self.penalty["l1"], 1), ("l2", self.penalty["l2"] / 2, 2)):
            if self.penalty[norm]:
                value = value + factor * torch.stack([w.abs().pow(power).sum() for w in self.weights()]).sum()
        return value, output

    def measure(self, output: Tensor, y: Tensor) -> dict[str, Tensor]:
        """The metrics of outputs (n, num_outputs) and their targets that are means over samples, by name."""
        return {"loss": self.loss(output, y), **super().measure(output, y)}

    def weights(self) -> list[Tensor]:
        """The parameters of two dimensions or more: no biases or slopes of activations."""
        return [p for p in self.net.parameters() if p.dim() >= 2]

    def measure_parameters(self, weights: list[Tensor], gradients: list[Tensor | None]) -> dict[str, Tensor]:
        """The Euclidean norm of all weights together, and the metrics that a penalty, a loss or `gradients` adds.

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

    # Lightning's hooks

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer, and the schedule of its learning rate where there is one."""
        optimizer = self.build_optimizer()
        if self.scheduler is None:
            return optimizer
        scheduler: Any = scheduler_config(optimizer, self.scheduler)
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def build_optimizer(self) -> Optimizer:
        """The optimizer; its weight decay acts on weights alone."""
        parameters = list(self.parameters())
        require_parameters(self.hparams.get("optimizer"), self)
        optimizer = self.optimizer_factory(parameters)
        if not optimizer.defaults.get("weight_decay"):
            return optimizer  # one group of parameters takes a shorter step than two
        weights = self.weights()
        others = [p for p in parameters if p.dim() < 2]
        groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
        return self.optimizer_factory([group for group in groups if group["params"]])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, output = self.objective(batch)
        place = self.current_epoch, batch_idx
        if place == self._place:  # LBFGS evaluates a batch several times
            return loss
        self._place = place
        if batch_idx == 0:  # after a resume at the end of an epoch Lightning calls no on_train_epoch_start
            self._seen.pop(RUNNING, None)
            self._means.pop(RUNNING, None)
        if not self._validates_training_data():
            self._see(RUNNING, output.detach(), batch[1])
        return loss

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        trainer = trainer_of(self)
        self._see(_split("val", trainer.val_dataloaders if trainer else None, dataloader_idx), self(batch[0]), batch[1])

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        trainer = trainer_of(self)
        loaders = trainer.test_dataloaders if trainer else None
        self._see(_split("test", loaders, dataloader_idx), self(batch[0]), batch[1])

    def predict_step(self, batch: Batch | Tensor, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """The network's outputs for the inputs of a batch (x, y), or for x itself."""
        output: Tensor = self(batch if isinstance(batch, Tensor) else batch[0])
        return output

    def on_validation_model_zero_grad(self) -> None:
        """Keep the gradients of the last step, which are measured at the end of the epoch."""

    def on_train_epoch_end(self) -> None:
        weights = self.weights()
        found = self.measure_parameters([w.detach() for w in weights], [w.grad for w in weights])
        found |= self._computed(RUNNING)
        self.log_dict(found | self._scheduled(found), sync_dist=True)
        self._place = None

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a scheduler, but for one that looks at a metric: the end of the epoch does."""
        self._rate = rate(scheduler)
        if not looks(scheduler):
            scheduler.step()

    def _scheduled(self, metrics: Mapping[str, Any]) -> dict[str, Tensor]:
        """The learning rate of the epoch's last step. A scheduler that looks at a metric takes its step: Lightning
        would take it after checkpoints are written, and not at all in a resumed run."""
        trainer = trainer_of(self)
        if self.scheduler is None or trainer is None or not trainer.lr_scheduler_configs:
            return {}
        scheduler: Any = trainer.lr_scheduler_configs[0].scheduler
        used = rate(scheduler) if self._rate is None else self._rate
        if looks(scheduler) and looks_after(self.scheduler, trainer.current_epoch + 1):
            seen = {**trainer.callback_metrics, **metrics}
            scheduler.step(seen[monitored(self.scheduler, seen)])
        return {"lr": torch.tensor(used, dtype=torch.float64)}

    def _validates_training_data(self) -> bool:
        trainer = trainer_of(self)
        loaders = trainer.val_dataloaders if trainer else None
        return isinstance(loaders, dict) and "train" in loaders


def _split(name: str, loaders: Any, number: int) -> str:
    """The split of a loader: its key where the loaders are a dict, else val, val_1, val_2, or so for test."""
    if isinstance(loaders, dict):
        return str(list(loaders)[number])
    return f"{name}_{number}" if number else name
