"""LightningModules that are no classifiers: a scheduler of their own, two optimizers, outputs that are no classes."""

import json
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_d2l import app, cli, register
from lightning_d2l.plugins import REGISTERED, registering
from lightning_d2l.training.files import MetricsFile


class Coder(pl.LightningModule):
    """An autoencoder of the inputs, without a test_step, whose rate falls by half after each epoch."""

    def __init__(self, num_inputs: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(num_inputs, 1), nn.Linear(1, num_inputs)
        self.scheduler = "a name that SupervisedModule has too"

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = nn.functional.mse_loss(self.decoder(self(batch[0])), batch[0])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.4)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]


class Pair(pl.LightningModule):
    """Two optimizers by hand, as for a GAN: the network takes noise, and its losses are of no split."""

    def __init__(self, num_inputs: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.made, self.judge = nn.Linear(7, num_inputs), nn.Linear(num_inputs, 1)

    def forward(self, noise: Tensor) -> Tensor:
        return self.made(noise)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x = batch[0]
        judged = self.judge(self(torch.ones(len(x), 7))).mean()
        losses = {"g_loss": -judged, "d_loss": judged.detach() - self.judge(x).mean()}
        self.log_dict(losses)
        for optimizer, loss in zip(self.optimizers(), losses.values(), strict=True):
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(part.parameters(), lr=1e-3) for part in (self.made, self.judge)]


class Sized(nn.Sequential):
    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__(nn.Linear(num_inputs, 3), nn.ReLU(), nn.Linear(3, num_outputs))


class Lazy(nn.Sequential):
    """`Sized`, as the book writes it."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__(nn.LazyLinear(3), nn.ReLU(), nn.LazyLinear(num_outputs))


class LazyCoder(Coder):
    def __init__(self, num_inputs: int) -> None:
        super().__init__(num_inputs)
        self.encoder, self.unused = nn.LazyLinear(1), nn.Identity().eval()

    def on_train_start(self) -> None:
        assert self.encoder.training
        assert not self.unused.training


class Unused(LazyCoder):
    def __init__(self, num_inputs: int) -> None:
        super().__init__(num_inputs)
        self.unused = nn.LazyLinear(1)


class Points(pl.LightningDataModule):
    """Two classes."""

    def _loader(self) -> DataLoader:
        x = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=4)

    train_dataloader = val_dataloader = test_dataloader = _loader


@pytest.fixture(autouse=True)
def _registered(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for made in (Coder, Pair, Sized, Lazy, LazyCoder, Unused):
        register.model(made)
    register.data(Points)
    yield
    for made in [*REGISTERED.values()]:
        registering.remove(made)


def train(model: str, *words: str) -> list[dict[str, float]]:
    """The rows of a run in the folder `run`."""
    small = ["data=Points", "trainer.max_epochs=2", "trainer.accelerator=cpu", "hydra.run.dir=run"]
    assert app.main([f"model={model}", *small, *words]) == 0
    return MetricsFile(Path("run")).rows()


def test_the_rate_of_a_custom_modules_own_scheduler_is_logged_as_that_of_each_epochs_last_step():
    rows = train("Coder", "callbacks=lr_monitor", "logger=none")
    assert [row["lr"] for row in rows] == [0.4, 0.2]


def test_outputs_that_are_no_classes_are_predicted_as_numbers_and_nothing_is_evaluated_without_a_test_step(capsys):
    train("Coder", "logger=none")
    capsys.readouterr()
    assert cli.main(["predict", "run", "--format=json"]) == 0
    found = json.loads(capsys.readouterr().out)
    net = Coder(4)
    net.load_state_dict(torch.load("run/checkpoints/best.ckpt", weights_only=True)["state_dict"])
    expected = net(Points().test_dataloader().dataset.tensors[0][:10])
    torch.testing.assert_close(torch.tensor([row["prediction"] for row in found]), expected.detach())
    assert cli.main(["predict", "run"]) == 0
    assert f"{expected[0].item():.6g}" in capsys.readouterr().out
    assert cli.main(["evaluate", "run"]) == 2
    assert "Coder defines no test_step" in capsys.readouterr().err


def test_losses_of_no_split_are_shown_and_a_net_that_takes_other_inputs_is_named(capsys):
    rows = train("Pair", "logger=tensorboard", "logger.tensorboard.graph=false", "trainer.log_every_n_steps=1")
    printed = capsys.readouterr().out.split("\n")
    for name in ("g_loss", "d_loss"):
        assert any(line.startswith("epoch 2/2") and f"{name} " in line for line in printed)
        assert any(line.startswith(f"final {name} ") for line in printed)
    events = EventAccumulator("run")
    events.Reload()
    assert events.Scalars("g_loss")[-1].value == pytest.approx(rows[-1]["g_loss"])
    assert Path("run/figures/curves.png").exists()
    assert cli.main(["predict", "run"]) == 2
    error = capsys.readouterr().err
    assert "Pair: its forward must map inputs (10, 4) to one tensor" in error
    assert len(error.splitlines()) == 1


def test_lazy_layers_take_their_sizes_from_the_data(capsys):
    train("Sized", "logger=none", "hydra.run.dir=sized")
    assert MetricsFile(Path("sized")).rows() == train("Lazy", "logger=none") != []
    assert cli.main(["predict", "run"]) == 0
    same = ["model=Lazy", "data=Points", "trainer.accelerator=cpu", "logger=none"]
    assert app.main([*same, "trainer.max_epochs=3", "resume=run"]) == 0
    train("LazyCoder", "logger=none", "hydra.run.dir=coder")
    assert len(MetricsFile(Path("coder")).rows()) == 2
    capsys.readouterr()
    assert app.main(["model=Unused", "data=Points", "trainer.max_epochs=1"]) == 2
    assert "model: unused.weight has no size yet after forward(x)" in capsys.readouterr().err
