import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_d2l import register
from lightning_d2l.config.check import RequestError
from lightning_d2l.data.arrays import Splits
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.loaders import LoaderData
from lightning_d2l.modules import ClassificationModule, RegressionModule
from lightning_d2l.plugins import registering
from lightning_d2l.training import baselines
from lightning_d2l.training.record import RunRecord
from tests.conftest import ROOT
from tests.runs import run_here

GENERATOR = torch.Generator().manual_seed(0)
HOUSES = ["data=csv", f"data.path={ROOT / 'docs/houses.csv'}", "data.target=price", "trainer.accelerator=cpu"]
SOLVED = [*HOUSES, "logger=none", "model=linear_regression", "optimizer=exact"]


class Given(TensorDataModule):
    """Splits that are given."""

    name, task = "given", "regression"

    def __init__(self, splits: Splits, classes: int = 0) -> None:
        super().__init__(10)
        self.splits, self.class_names = splits, tuple(map(str, range(classes)))
        self.task = "classification" if classes else "regression"


def numbers(q: int = 1) -> Given:
    sizes = {"train": 60, "val": 30, "test": 20}
    return Given(
        {s: (torch.randn(n, 3, generator=GENERATOR), torch.randn(n, q, generator=GENERATOR)) for s, n in sizes.items()}
    )


def classes() -> Given:
    """Three classes of different frequencies."""
    sizes, p = {"train": 60, "val": 30}, torch.tensor([0.6, 0.3, 0.1])
    drawn = {s: torch.multinomial(p, n, replacement=True, generator=GENERATOR) for s, n in sizes.items()}
    return Given({s: (torch.randn(len(y), 3, generator=GENERATOR), y) for s, y in drawn.items()}, classes=3)


def arrays(data: Given) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {split: (x.numpy(), y.numpy()) for split, (x, y) in data.splits.items()}


@pytest.mark.parametrize("q", [1, 2])
def test_the_trivial_predictor_of_numbers_is_the_mean(q):
    data = numbers(q)
    found = baselines.trivial(data, RegressionModule(nn.Linear(3, q)))
    half = baselines.trivial(data, RegressionModule(nn.Linear(3, q), loss="half_mse"))
    oracle = DummyRegressor().fit(*arrays(data)["train"])
    for split, (x, y) in arrays(data).items():
        expected = mean_squared_error(y, oracle.predict(x).reshape(y.shape))
        assert found[f"loss/{split}"] == pytest.approx(expected)
        assert half[f"loss/{split}"] == pytest.approx(expected / 2)


def test_the_trivial_predictor_of_classes_is_their_frequencies():
    data = classes()
    found = baselines.trivial(data, ClassificationModule(nn.Linear(3, 3)))
    squares = baselines.trivial(data, ClassificationModule(nn.Linear(3, 3), loss="one_hot_mse"))
    oracle = DummyClassifier(strategy="prior").fit(*arrays(data)["train"])
    for split, (x, y) in arrays(data).items():
        p = oracle.predict_proba(x)
        assert found[f"loss/{split}"] == pytest.approx(log_loss(y, p, labels=[0, 1, 2]))
        assert found[f"acc/{split}"] == accuracy_score(y, oracle.predict(x))
        assert squares[f"loss/{split}"] == pytest.approx(np.square(np.eye(3)[y] - p).mean())


def test_a_class_that_training_lacks_is_not_impossible():
    data = Given(
        {"train": (torch.zeros(4, 1), torch.tensor([0, 0, 1, 1])), "val": (torch.zeros(1, 1), torch.tensor([2]))}, 3
    )
    found = baselines.trivial(data, ClassificationModule(nn.Linear(1, 3)))
    assert found["loss/val"] == pytest.approx(math.log(7))


def test_a_likelihood_is_compared_by_its_squares_and_its_own_normal_distribution():
    data = numbers()
    y = data.splits["train"][1].double()
    found = baselines.trivial(data, RegressionModule(nn.Linear(3, 1), loss="gaussian_nll"))
    normal = torch.distributions.Normal(y.mean(), y.std(correction=0))
    assert found["loss/train"] == pytest.approx(float(-normal.log_prob(y).mean()), rel=1e-5)
    assert found["mse/train"] == pytest.approx(float(y.var(correction=0)), rel=1e-5)


def test_a_registered_loss_takes_the_better_constant_and_one_that_takes_none_says_nothing():
    try:
        register.loss(lambda output, y: (output - y).abs().mean(), name="absolute")
        register.loss(lambda output, y: output.no_such_thing(), name="odd")
        data = numbers()
        y = data.splits["train"][1]
        found = baselines.trivial(data, RegressionModule(nn.Linear(3, 1), loss="absolute"))
        assert found["loss/train"] == pytest.approx(float((y - y.median()).abs().mean()), rel=0.02)
        assert found["loss/train"] <= float((y - y.mean()).abs().mean())
        assert baselines.trivial(data, RegressionModule(nn.Linear(3, 1), loss="odd")) == {}
    finally:
        for made in [made for made in registering.REGISTERED.values() if made.name in ("absolute", "odd")]:
            registering.remove(made)


def test_loaders_tell_what_their_datasets_hold_and_a_custom_module_only_the_accuracy():
    class Loaders(pl.LightningDataModule):
        def train_dataloader(self):
            return DataLoader(TensorDataset(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1])), 2, shuffle=True)

        def val_dataloader(self):
            return DataLoader(TensorDataset(torch.zeros(2, 2), torch.tensor([0, 1])), 2)

    found = baselines.baselines({}, LoaderData(Loaders()), pl.LightningModule(), None)
    assert found == {"samples": {"train": 4, "val": 2}, "trivial": {"acc/train": 0.75, "acc/val": 0.5}}


def test_references_are_fitted_to_the_training_split_once_for_a_data_set(tmp_path, monkeypatch):
    fitted = []
    fit = baselines._fit
    monkeypatch.setattr(baselines, "_fit", lambda name, data: fitted.append(data) or fit(name, data))
    for name in ("a", "b"):
        assert run_here(tmp_path / name, *SOLVED, "study.reference=gradient_boosting") == 0
    assert len(fitted) == 1
    (x, y), (val_x, val_y) = ([t.numpy() for t in fitted[0].splits[split]] for split in ("train", "val"))
    oracle = HistGradientBoostingRegressor(random_state=0).fit(x, y[:, 0])
    found = RunRecord.read(tmp_path / "b").fields["baselines"]["reference"]
    assert found["name"] == "gradient_boosting"
    assert found["loss/val"] == pytest.approx(mean_squared_error(val_y[:, 0], oracle.predict(val_x)), rel=1e-5)


@pytest.mark.parametrize("name", ["knn", "mlp", "gradient_boosting"])
def test_references_of_classes_beat_the_trivial_predictor(name):
    """Two clouds of points, in which nearly every sample can be told."""
    y = torch.arange(400) % 2
    x = torch.randn(400, 2, generator=GENERATOR) + 3.0 * y[:, None]
    data = Given({"train": (x[:300], y[:300]), "val": (x[300:], y[300:])}, classes=2)
    module = ClassificationModule(nn.Linear(2, 2))
    found = baselines.baselines({"reference": name}, data, module, None)
    assert found["reference"]["acc/val"] > 0.9
    assert 0 < found["reference"]["loss/val"] < 0.3 * found["trivial"]["loss/val"]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (
            "foo",
            "study.reference=foo: must be a number in (0, inf) or one of bayes, knn, gradient_boosting, mlp or null",
        ),
        ("-1", "study.reference=-1: must be a number"),
        ("bayes", "study.reference=bayes: the noise of houses.csv in mse is not known"),
    ],
)
def test_a_reference_that_is_none_is_refused(tmp_path, reference, words):
    with pytest.raises(RequestError) as error:
        run_here(tmp_path / "run", *SOLVED, f"study.reference={reference}", part_of_sweep=False)
    assert str(error.value).startswith(words)
    assert not (tmp_path / "run").exists()


def test_a_baseline_needs_scikit_learn(monkeypatch, tmp_path):
    monkeypatch.setattr("lightning_d2l.config.loggers._is_installed", lambda package: package != "sklearn")
    with pytest.raises(RequestError, match=r"scikit-learn is not installed: pip install 'lightning_d2l\[baselines\]'"):
        run_here(tmp_path / "run", *SOLVED, "study.reference=knn")
