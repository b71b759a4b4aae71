"""Data of the user's own: a LightningDataModule as it is and in memory, and what a function may return."""

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split

from lightning_d2l.config.check import RequestError
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.function import build_data_of
from lightning_d2l.data.loaders import LoaderData
from lightning_d2l.engine.choice import needs_lightning
from lightning_d2l.modules import ClassificationModule, RegressionModule
from lightning_d2l.nets.mlp import MLP

QUIET = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
    "enable_progress_bar": False, "enable_model_summary": False,
}  # fmt: skip
X, Y = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3


class Blobs(pl.LightningDataModule):
    """Written as in Lightning's documentation: a random split, a shuffled loader, a hook, workers."""

    def __init__(self, n: int = 60, batch_size: int = 7) -> None:
        super().__init__()
        self.n, self.batch_size, self.calls = n, batch_size, []

    def prepare_data(self) -> None:
        self.calls.append("prepare")

    def setup(self, stage: str) -> None:
        self.calls.append(str(getattr(stage, "value", stage)))
        self.trained, self.val, self.tested = random_split(TensorDataset(X[: self.n], Y[: self.n]), [0.6, 0.2, 0.2])

    def teardown(self, stage: str) -> None:
        self.calls.append(f"end of {getattr(stage, 'value', stage)}")

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.trained, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.val, 5)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(self.tested, 5)

    def on_before_batch_transfer(self, batch, dataloader_idx):
        return batch[0] * 2, batch[1]


class Foreign(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 3)

    def training_step(self, batch, batch_idx):
        return functional.cross_entropy(self.layer(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))

    def test_step(self, batch, batch_idx):
        self.log("test_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def loaders(made: pl.LightningDataModule | None = None, **settings) -> LoaderData:
    data = LoaderData(made or Blobs(**settings))
    data.setup()
    return data


def trained(data: pl.LightningDataModule):
    """What Lightning's own loop makes of data, with one seed for its loaders."""
    module, trainer = Foreign(), pl.Trainer(**QUIET, max_epochs=3)
    torch.manual_seed(5)
    trainer.fit(module, datamodule=data)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return module.state_dict(), logged, trainer.test(module, datamodule=data, verbose=False)


def test_lightning_trains_on_it_as_on_the_data_module_itself():
    wrapped = loaders()
    plain = Blobs()
    plain.setup = lambda stage: None  # random_split draws anew, so the rows are those of the other
    plain.trained, plain.val, plain.tested = wrapped.module.trained, wrapped.module.val, wrapped.module.tested
    wrapped.module.setup = lambda stage: None
    weights, logged, tested = trained(wrapped)
    expected, *others = trained(plain)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert [logged, tested] == others


def test_hooks_are_called_once_a_stage_in_lightnings_order():
    data = loaders()
    data.identity()
    module = Foreign()
    pl.Trainer(**QUIET, max_epochs=1).fit(module, datamodule=data)
    pl.Trainer(**QUIET).test(module, datamodule=data, verbose=False)
    calls = data.module.calls
    assert calls[:2] == ["prepare", "fit"]
    assert calls.count("prepare") == 1
    assert [call for call in calls if call.startswith("end")] == ["end of fit", "end of test"]
    assert calls.count("fit") == calls.count("test") == 1


def test_sizes_task_and_classes_are_found_and_no_random_number_is_drawn():
    torch.manual_seed(9)
    before = torch.get_rng_state()
    data = loaders()
    assert (data.task, data.num_inputs, data.num_outputs, data.class_names) == ("classification", 4, 3, ("0", "1", "2"))
    assert (data.num_batches, data.sizes()) == (6, {"train": 36, "val": 12, "test": 12})
    x, y = data.samples("train", 10)
    rows = data.module.trained.indices[:10]
    assert torch.equal(x, X[rows])
    assert torch.equal(y, Y[rows])
    assert loaders().identity() == data.identity() != loaders(n=57).identity()
    assert torch.equal(torch.get_rng_state(), before)


def test_attributes_name_the_classes():
    module = Blobs()
    module.class_names = ["ant", "bee", "cat", "dog"]
    assert (loaders(module).class_names, loaders(module).num_outputs) == (("ant", "bee", "cat", "dog"), 4)


class Squares(Dataset):
    """Numbers to predict, made one by one."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, row: int):
        return np.array([row / 40], np.float64), row**2 / 1600


def squares() -> Squares:
    return Squares()


def test_datasets_are_split_and_modules_of_this_package_take_their_numbers():
    data = build_data_of(squares, {"val_size": 10, "test_size": 0.25})
    data.setup()
    assert (data.task, data.num_inputs, data.num_outputs) == ("regression", 1, 1)
    assert data.sizes() == {"train": 20, "val": 10, "test": 10}
    module = RegressionModule(MLP(1, 1, 4))
    trainer = pl.Trainer(**QUIET, max_epochs=2)
    trainer.fit(module, datamodule=data)
    x, y = data.samples("val")
    expected = functional.mse_loss(module(x.float()), y[:, None].float()).item()
    assert float(trainer.callback_metrics["loss/val"]) == pytest.approx(expected, rel=1e-5)


def test_in_memory_the_fast_loop_trains_the_same_samples():
    data = build_data_of(Blobs, {"n": 60, "in_memory": True, "seed": 3})
    data.setup()
    assert isinstance(data, TensorDataModule)
    assert (data.batch_size, data.task, data.num_outputs) == (7, "classification", 3)
    module = ClassificationModule(MLP(4, 3, 4))
    assert needs_lightning(module, data) == ""
    assert "Blobs" in needs_lightning(module, build_data_of(Blobs, {"n": 60}))
    assert sorted(map(tuple, torch.cat([x for x, _ in data.splits.values()]).tolist())) == sorted(
        map(tuple, X.tolist())
    )


class OnlyTraining(Blobs):
    """A data module of two classes that are not numbered from 0."""

    val_dataloader = pl.LightningDataModule.val_dataloader
    test_dataloader = pl.LightningDataModule.test_dataloader

    def setup(self, stage: str) -> None:
        self.trained = TensorDataset(X, (Y > 0).long() * 2 - 1)


def test_missing_splits_are_held_out_in_memory_alone_and_other_classes_are_numbered():
    data = build_data_of(OnlyTraining, {"in_memory": True, "test_size": 15, "val_size": 0.2})
    data.setup()
    assert data.sizes() == {"test": 15, "val": 12, "train": 33}
    assert data.class_names == ("-1", "1")
    assert data.splits["test"][1].bincount().tolist() == [5, 10]
    as_it_is = loaders(OnlyTraining())
    assert (as_it_is.split_names, as_it_is.val_dataloader(), as_it_is.monitor) == (["train"], [], "loss/train_running")
    with pytest.raises(RequestError, match="OnlyTraining: the classes are -1, 1; must be 0 to 1"):
        _ = as_it_is.num_outputs


def frame(n: int = 60) -> pd.DataFrame:
    return pd.DataFrame({"size": np.arange(n) * 1.0, "kind": ["a", "b"] * (n // 2), "price": np.arange(n) * 2.5})


RETURNED = {
    "tensors": (X, Y),
    "arrays": (X.numpy(), Y.numpy()),
    "names of classes": (X.numpy(), np.array(["ant", "bee", "cat"])[Y.numpy()]),
    "other numbers": (X, Y * 10 - 5),
    "three splits": ((X, Y), (X[:9], Y[:9]), (X[9:30], Y[9:30])),
    "a dict": {"train": (X, Y), "validation": (X[:9], Y[:9])},
    "scikit-learn's": {"data": X.numpy(), "target": Y.numpy(), "target_names": ["ant", "bee", "cat"]},
}


@pytest.mark.parametrize("kind", RETURNED)
def test_what_a_function_returns_becomes_splits(kind):
    data = build_data_of(lambda: RETURNED[kind], {"batch_size": 5})
    data.setup()
    assert (data.task, data.num_inputs, data.num_outputs, data.batch_size) == ("classification", 4, 3, 5)
    sizes = {"three splits": (60, 9, 21), "a dict": (48, 9, 12)}.get(kind, (42, 6, 12))
    assert tuple(data.sizes()[split] for split in ("train", "val", "test")) == sizes
    places = {tuple(x): int(y) for x, y in zip(X.tolist(), Y, strict=True)}
    for x, y in data.splits.values():
        assert [places[tuple(row)] for row in x.float().tolist()] == y.tolist()
    named = kind in ("names of classes", "scikit-learn's")
    assert data.class_names == (
        ("ant", "bee", "cat") if named else ("-5", "5", "15") if "other" in kind else ("0", "1", "2")
    )


def test_numbers_images_and_folds():
    data = build_data_of(lambda: (X, Y), {"task": "regression", "folds": 5, "fold": 1, "test_size": 10})
    data.setup()
    assert (data.task, data.sizes()) == ("regression", {"train": 40, "test": 10, "val": 10})
    pixels = np.zeros((20, 6, 8, 3), np.uint8)
    pixels[..., 2] = 51
    data = build_data_of(lambda: (pixels, np.arange(20) % 2), {"standardize": True, "augment": "flip"})
    data.setup()
    assert data.splits["train"][0].shape[1:] == (3, 6, 8)
    assert data.transform["mean"] == pytest.approx([0, 0, 0.2])


def test_a_frame_is_encoded_by_its_training_rows():
    data = build_data_of(frame, {"target": "price", "task": "regression"})
    data.setup()
    sizes = [column for column in data.preprocessing["columns"] if column["name"] == "size"]
    y = data.splits["train"][1][:, 0] / 2.5  # the sizes
    assert sizes[0]["mean"] == pytest.approx(float(y.mean()))
    assert sizes[0]["scale"] == pytest.approx(float(y.std(correction=0)))
    assert (data.num_inputs, data.class_names) == (3, ())
    splits = build_data_of(lambda: {"train": frame(), "test": frame(20)}, {"target": "kind", "val_size": 0.25})
    splits.setup()
    assert splits.sizes() == {"train": 45, "val": 15, "test": 20}
    assert splits.class_names == ("a", "b")


class Own(TensorDataModule):
    name, task, class_names = "own", "classification", ("a", "b", "c")

    def draw(self):
        return {"train": (X, Y), "test": (X, Y)}


def test_a_tensor_data_module_is_used_as_it_is():
    data = build_data_of(Own, {"batch_size": 5, "seed": 1})
    assert type(data) is Own
    assert (data.batch_size, data.seed) == (5, 1)


NAN = X.clone()
NAN[7, 2] = float("nan")
REFUSED = {
    "nothing": (None, "must be .x, y. of tensors or arrays"),
    "one array": (X, "must be .x, y. of tensors or arrays"),
    "four arrays": ((X, X, Y, Y), "returned 4 parts"),
    "a dict without train": ({"test": (X, Y)}, "returned a dict of test; must have train"),
    "lengths": ((X, Y[:7]), "x has 60 samples and y 7; must be as many"),
    "no samples": ((X[:0], Y[:0]), "holds no samples"),
    "missing values": ((NAN, Y), "x of sample 7 is missing or infinite"),
    "text": (([["a"]] * 60, Y), "x: list is not made of numbers"),
    "one class": ((X, Y * 0), "y has one class, 0; must have at least two"),
    "widths": (
        {"train": (X, Y), "test": (X[:, :2], Y)},
        "x of test is 2 of float32 a sample, and 4 of float32 in train",
    ),
    "kinds": ({"train": (X, Y), "test": (X, X[:, 0])}, "y of test is 1 of float32, and one number of int64 in train"),
    "a frame without a target": (frame(), "data.target=null: must be a column of the DataFrame"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_network_can_take_is_refused_in_one_line(kind):
    returned, words = REFUSED[kind]
    with pytest.raises(RequestError, match=words) as refused:
        build_data_of(lambda: returned, {}).setup()
    assert "\n" not in str(refused.value)


def test_settings_of_tensors_are_refused_for_loaders():
    with pytest.raises(RequestError, match=r"data\.folds=5: must be left out, or come with data\.in_memory=true"):
        build_data_of(Blobs, {"folds": 5, "fold": 0})
    with pytest.raises(RequestError, match=r"none of the 60 samples is left to train on"):
        build_data_of(lambda: (X, Y), {"test_size": 60}).setup()
