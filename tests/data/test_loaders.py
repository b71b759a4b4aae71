"""The DataModules with a LightningModule that knows nothing of this package, against plain DataLoaders."""

import itertools

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Sampler, TensorDataset

from lightning_d2l.data import fashion_mnist
from lightning_d2l.data.fashion_mnist import FashionMNISTData
from lightning_d2l.data.synthetic import HighDimensionalData, PolynomialData, SyntheticRegressionData
from lightning_d2l.modules import ClassificationModule, RegressionModule
from lightning_d2l.nets.linear import LinearRegression
from lightning_d2l.nets.mlp import MLP

QUIET = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
    "enable_progress_bar": False, "enable_model_summary": False,
}  # fmt: skip
SIZES = {"noise": 0.1, "n_train": 97, "n_val": 30, "n_test": 20, "batch_size": 10, "seed": 0}


class Foreign(pl.LightningModule):
    """A network of one layer, written as in Lightning's documentation."""

    def __init__(self, num_inputs: int, num_outputs: int, loss=functional.mse_loss) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.loss = nn.Linear(num_inputs, num_outputs), loss

    def forward(self, x):
        return self.layer(x.flatten(1))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return self.loss(self(x), y)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        x, y = batch
        self.log("valid", self.loss(self(x), y), batch_size=len(x))

    def test_step(self, batch, batch_idx):
        x, y = batch
        self.log("tested", self.loss(self(x), y), batch_size=len(x))

    def predict_step(self, batch, batch_idx):
        return self(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.02)


def polynomial(**changed) -> PolynomialData:
    return PolynomialData(3, [5.0, 1.2, -3.4, 5.6], True, **{**SIZES, **changed})


def garments() -> FashionMNISTData:
    return FashionMNISTData(
        root=None, source="generated", val_size=40, n_train=97, resize=None, label_noise=0.0, batch_size=10, seed=0
    )


DATA = {
    "polynomial": polynomial,
    "synthetic_regression": lambda: SyntheticRegressionData([2.0, -3.4], 4.2, **SIZES),
    "high_dimensional": lambda: HighDimensionalData(20, 0.01, 0.05, **SIZES),
    "fashion_mnist": garments,
}


@pytest.fixture(autouse=True)
def _few_garments(monkeypatch):
    def numbered(split: str):
        n = {"train": 300, "test": 55}[split]
        images = np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)
        return images, (np.arange(n) % 10).astype(np.uint8)

    monkeypatch.setattr(fashion_mnist, "generated_garments", numbered)


def foreign(data) -> Foreign:
    return Foreign(
        data.num_inputs,
        data.num_outputs,
        functional.cross_entropy if data.task == "classification" else functional.mse_loss,
    )


def ours(data) -> RegressionModule | ClassificationModule:
    torch.manual_seed(0)
    optimizer = {"_target_": "torch.optim.SGD", "lr": 0.02}
    if data.task == "classification":
        return ClassificationModule(MLP(data.num_inputs, data.num_outputs, []), optimizer=optimizer)
    return RegressionModule(LinearRegression(data.num_inputs), optimizer=optimizer)


MODULES = pytest.mark.parametrize("create", [foreign, ours])


def ready(draw, shuffle_seed: int = 7):
    data = draw()
    data.setup()
    data.shuffle_seed = shuffle_seed
    return data


def as_float(data, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A split as a network takes it."""
    x, y = data.splits[split]
    return x.float() / 255 if x.dtype == torch.uint8 else x.float(), y.float() if y.is_floating_point() else y


def rows_of(data, x: torch.Tensor) -> list[int]:
    """Which samples of the training split a batch x holds."""
    known = {row.numpy().tobytes(): number for number, row in enumerate(as_float(data, "train")[0])}
    return [known[row.numpy().tobytes()] for row in x.float().cpu()]


class Orders(Sampler):
    """The orders of the epochs, written down."""

    def __init__(self, orders: list[list[int]]) -> None:
        self.orders, self.epoch = orders, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.orders[0])

    def __iter__(self):
        return iter(self.orders[self.epoch])


def plain_loaders(data, epochs: int, dtype: torch.dtype = torch.float32) -> list[DataLoader]:
    """DataLoaders of the training samples in the orders that `data` gives them, and of the validation samples."""
    loader, orders = data.train_dataloader(), []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        orders.append([row for x, _ in loader for row in rows_of(data, x)])
    train, val = (TensorDataset(*(t.to(dtype) for t in data.splits[split])) for split in ("train", "val"))
    return [DataLoader(train, data.batch_size, sampler=Orders(orders)), DataLoader(val, 1000)]


class Events(pl.Callback):
    """Every batch in its order: the epoch, the number of steps before it, its number and its samples."""

    def __init__(self, data) -> None:
        self.data, self.seen = data, []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        step = (trainer.current_epoch, trainer.global_step, batch_idx)
        self.seen.append(("train", *step, *rows_of(self.data, batch[0])))

    def on_validation_batch_start(self, trainer, module, batch, batch_idx, dataloader_idx=0):
        if not trainer.sanity_checking:
            self.seen.append(("val", trainer.current_epoch, trainer.global_step, batch_idx, len(batch[0])))

    def of(self, kind: str) -> list[tuple]:
        return [event for event in self.seen if event[0] == kind]


@pytest.mark.parametrize("name", DATA)
@MODULES
def test_fit_validate_test_and_predict_with_every_default(name, create):
    data = ready(DATA[name])
    module, trainer = create(data), pl.Trainer(max_epochs=2)
    before = [p.detach().clone() for p in module.parameters()]
    trainer.fit(module, datamodule=data)
    assert trainer.global_step == 20
    assert all(not torch.equal(old, new.cpu()) for old, new in zip(before, module.parameters(), strict=True))
    fitted = {key: float(v) for key, v in trainer.callback_metrics.items() if key in ("valid", "loss/val")}
    (validated,) = trainer.validate(module, datamodule=data)
    (tested,) = trainer.test(module, datamodule=data)
    outputs = torch.cat(trainer.predict(module, dataloaders=data.test_dataloader()))
    assert {key: validated[key] for key in fitted} == pytest.approx(fitted, rel=1e-6)
    assert fitted
    module.cpu()
    loss_of = functional.cross_entropy if data.task == "classification" else functional.mse_loss
    keys = ("valid", "tested") if create is foreign else ("loss/val", "loss/test")
    for split, key, found in (("val", keys[0], validated), ("test", keys[1], tested)):
        x, y = as_float(data, split)
        expected = loss_of(module(x).double(), y.double() if y.is_floating_point() else y).item()
        assert found[key] == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(outputs.cpu(), module(as_float(data, "test")[0]).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", DATA)
def test_an_epochs_order_is_a_function_of_the_shuffle_seed_and_the_epoch(name):
    def orders(data):
        seen = Events(data)
        pl.Trainer(**QUIET, max_epochs=3, callbacks=[seen]).fit(foreign(data), datamodule=data)
        found = [[row for event in seen.of("train") if event[1] == epoch for row in event[4:]] for epoch in range(3)]
        assert all(sorted(order) == list(range(97)) for order in found)
        return found

    first, again, other = (orders(ready(DATA[name], seed)) for seed in (7, 7, 8))
    assert first == again
    assert all(a != b for a, b in itertools.combinations([*first, *other], 2))


SETTINGS = {
    # settings of the Trainer: minibatches seen, steps of the optimizer, validations
    "defaults": ({}, 30, 30, 3),
    "one device": ({"accelerator": "cpu", "devices": 1}, 30, 30, 3),
    "limit_train_batches=4": ({"limit_train_batches": 4}, 12, 12, 3),
    "limit_train_batches=0.55": ({"limit_train_batches": 0.55}, 15, 15, 3),
    "fast_dev_run": ({"fast_dev_run": True}, 1, 1, 1),
    "fast_dev_run=3": ({"fast_dev_run": 3}, 3, 3, 1),
    "accumulate_grad_batches": ({"accumulate_grad_batches": 4}, 30, 9, 3),
    "gradient_clip_val": ({"gradient_clip_val": 0.1}, 30, 30, 3),
    "gradient_clip_algorithm": ({"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"}, 30, 30, 3),
    "bf16-mixed": ({"precision": "bf16-mixed"}, 30, 30, 3),
    "64-true": ({"precision": "64-true"}, 30, 30, 3),
    "max_steps": ({"max_steps": 13, "max_epochs": -1}, 13, 13, 1),
    "val_check_interval=4": ({"val_check_interval": 4}, 30, 30, 6),
    "val_check_interval=0.25": ({"val_check_interval": 0.25}, 30, 30, 15),
    "val_check_interval over epochs": ({"val_check_interval": 12, "check_val_every_n_epoch": None}, 30, 30, 2),
    "check_val_every_n_epoch": ({"check_val_every_n_epoch": 2}, 30, 30, 1),
    "limit_val_batches=0": ({"limit_val_batches": 0}, 30, 30, 0),
    "overfit_batches=2": ({"overfit_batches": 2}, 6, 6, 3),
    "reload_dataloaders": ({"reload_dataloaders_every_n_epochs": 1}, 30, 30, 3),
}


@pytest.mark.parametrize("setting", SETTINGS)
@MODULES
def test_each_setting_of_the_trainer_does_what_it_does_with_plain_loaders(setting, create):
    settings, num_batches, num_steps, num_validations = SETTINGS[setting]
    data, found = ready(polynomial), []
    loaders = plain_loaders(data, 4, torch.float64 if setting == "64-true" else torch.float32)
    for arguments in ({"datamodule": data}, dict(zip(("train_dataloaders", "val_dataloaders"), loaders, strict=True))):
        module, seen = create(data), Events(data)
        trainer = pl.Trainer(**{**QUIET, "max_epochs": 3, "callbacks": [seen], **settings})
        trainer.fit(module, **arguments)
        found.append((seen, trainer.global_step, trainer.current_epoch, module.state_dict()))
    (mine, *counts, weights), (theirs, *expected, expected_weights) = found
    assert mine.seen == theirs.seen
    assert counts == expected
    assert (len(mine.of("train")), counts[0], len(mine.of("val"))) == (num_batches, num_steps, num_validations)
    torch.testing.assert_close(weights, expected_weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", DATA)
def test_loaders_feed_a_loop_without_lightning(name):
    data = ready(DATA[name])
    train = data.train_dataloader()
    next(iter(train))  # left unfinished
    for _ in range(2):
        x, y = zip(*train, strict=True)
        assert [len(part) for part in x] == [10] * 9 + [7]
        rows = rows_of(data, torch.cat(x))
        assert sorted(rows) == list(range(97))
        assert torch.equal(torch.cat(y), as_float(data, "train")[1][rows])
    for split, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        for part, expected in zip(zip(*loader, strict=True), as_float(data, split), strict=True):
            assert torch.equal(torch.cat(part), expected)


def test_the_training_data_are_validated_where_asked():
    data = ready(polynomial)
    data.evaluate = ["train", "val"]
    module, trainer = ours(data), pl.Trainer(**QUIET, max_epochs=2)
    trainer.fit(module, datamodule=data)
    for split in ("train", "val"):
        x, y = as_float(data, split)
        expected = functional.mse_loss(module(x).double(), y.double()).item()
        assert float(trainer.callback_metrics[f"loss/{split}"]) == pytest.approx(expected, rel=1e-6)
    other, trainer = foreign(data), pl.Trainer(**QUIET, max_epochs=2)
    trainer.fit(other, datamodule=data)
    validated = [float(v) for name, v in trainer.callback_metrics.items() if name.startswith("valid")]
    expected = [functional.mse_loss(other(x), y).item() for x, y in (as_float(data, s) for s in ("train", "val"))]
    assert validated == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "stops"),
    [({}, [1, 7, 10, 13, 20, 29]), ({"limit_train_batches": 4}, [1, 4, 6, 8]), ({"val_check_interval": 5}, [5, 12])],
)
@MODULES
def test_a_checkpoint_within_an_epoch_resumes_to_the_same_bits(create, settings, stops):
    def fit(max_steps: int, **arguments):
        data = ready(polynomial)
        module, seen = create(data), Events(data)
        keep = ModelCheckpoint("kept", "{step}", every_n_train_steps=1, save_top_k=-1, monitor=None)
        trainer = pl.Trainer(
            **{**QUIET, "enable_checkpointing": True, **settings},
            max_epochs=3,
            max_steps=max_steps,
            callbacks=[seen, keep],
        )
        trainer.fit(module, datamodule=data, **arguments)
        metrics = {name: v.item() for name, v in trainer.callback_metrics.items()}
        return seen.of("train"), trainer.global_step, metrics, module

    seen, steps, metrics, whole = fit(-1)
    for stop in stops:
        resumed_seen, resumed_steps, resumed_metrics, resumed = fit(
            -1, ckpt_path=f"kept/step={stop}.ckpt", weights_only=True
        )
        assert resumed_seen == seen[stop:], stop
        assert resumed_steps == steps
        assert resumed_metrics == pytest.approx(metrics, rel=1e-12)
        assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True)), stop


@pytest.mark.parametrize("settings", [{}, {"limit_train_batches": 4}, {"overfit_batches": 2}])
@MODULES
def test_more_epochs_after_a_finished_run_equal_one_longer_run(create, settings):
    def fit(max_epochs: int, **arguments):
        data = ready(polynomial)
        module, seen = create(data), Events(data)
        trainer = pl.Trainer(**QUIET, max_epochs=max_epochs, callbacks=[seen], **settings)
        trainer.fit(module, datamodule=data, **arguments)
        trainer.save_checkpoint(f"after {max_epochs}.ckpt")
        return [event for event in seen.of("train") if event[1] == 2], module

    fit(2)
    expected, whole = fit(3)
    found, resumed = fit(3, ckpt_path="after 2.ckpt", weights_only=True)
    assert expected
    assert found == expected
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
