"""Small data sets, and one run or many by each loop."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor

from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.synthetic import HighDimensionalData, PolynomialData
from lightning_d2l.engine.chunks import ChunkedModule
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.training.recorder import LoggingPoints, logged_metrics


class Blobs(TensorDataModule):
    """Three noisy clusters, as pixels."""

    name, task, class_names = "blobs", "classification", ("a", "b", "c")

    def draw(self):
        random = torch.Generator().manual_seed(self.seed)

        def split(n):
            y = torch.randint(3, (n,), generator=random)
            x = 60 * y[:, None, None] + 60 * torch.randn(n, 2, 2, generator=random) + 60
            return x.clamp(0, 255).to(torch.uint8), y

        return {"train": split(105), "val": split(37), "test": split(41)}


def prepared(data: TensorDataModule, shuffle_seed: int, evaluate: tuple[str, ...] = ("train", "val")) -> Any:
    data.setup()
    data.shuffle_seed, data.evaluate = shuffle_seed, list(evaluate)
    return data


def polynomial(seed: int = 0, degree: int = 3) -> PolynomialData:
    return PolynomialData(
        degree, [5.0, 1.2, -3.4, 5.6], True, noise=0.1, n_train=33, n_val=12, n_test=9, batch_size=10, seed=seed
    )


def wide(seed: int) -> HighDimensionalData:
    return HighDimensionalData(8, 0.1, 0.05, noise=0.1, n_train=25, n_val=5, n_test=9, batch_size=7, seed=seed)


class Rows(Checkpoint):
    """The metrics at the logging points."""

    def __init__(self, points: list[int]) -> None:
        self.points = points
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch + 1 in self.points:
            row = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
            self.rows.append(row | logged_metrics(trainer))


def trainer(precision: torch.dtype, *callbacks: pl.Callback, epochs: int) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=bool(callbacks),
        precision="64-true" if precision == torch.float64 else "32-true", callbacks=list(callbacks),
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip


def fit(
    module: SupervisedModule,
    data: TensorDataModule,
    points: list[int],
    *,
    lightning: bool = False,
    precision: torch.dtype = torch.float32,
) -> Rows:
    """Train one run by the fast loop or by Lightning's own; returns its metrics."""
    rows = Rows(points)
    if lightning:
        trainer(precision, LoggingPoints(points), rows, epochs=points[-1]).fit(module, data)
    else:
        trainer(precision, rows, epochs=points[-1]).fit(ChunkedModule(module.to(precision), data, points))
    return rows


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Weights of two loops, by name, agree within rounding in float32: 1e-5 of a tensor's largest number."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name] - value).abs().max() <= 1e-5 * value.abs().max(), name


def step_beside(
    memberwise: Any, optimizers: list[Any], stack: list[Tensor], own: list[list[Tensor]], random: torch.Generator
) -> None:
    """Take 20 steps with stacked parameters, and with each member's own, along the same random gradients."""
    for _ in range(20):
        for i, p in enumerate(stack):
            p.grad = torch.randn(p.shape, generator=random, dtype=torch.float64)
            for member, mine in enumerate(own):
                mine[i].grad = p.grad[member].clone()
        memberwise.step()
        for optimizer in optimizers:
            optimizer.step()
