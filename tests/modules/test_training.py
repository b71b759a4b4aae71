"""Training through Lightning against loops and metrics written without it."""

import functools

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch import nn
from torch.nn import functional

from lightning_d2l.data import base
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.synthetic import HighDimensionalData, PolynomialData
from lightning_d2l.modules.base import Diverged, SupervisedModule
from lightning_d2l.modules.classification import ClassificationModule
from lightning_d2l.modules.regression import RegressionModule
from lightning_d2l.nets.linear import LinearRegression
from lightning_d2l.nets.mlp import MLP

OPTIMIZERS = {
    "sgd": functools.partial(torch.optim.SGD, lr=0.02, weight_decay=0.01),
    "nesterov": functools.partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True),
    "adam": functools.partial(torch.optim.Adam, lr=0.01),
}
POINTS = [1, 4, 8, 10]


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


def polynomial() -> PolynomialData:
    return PolynomialData(
        3, [5.0, 1.2, -3.4, 5.6], True, noise=0.1, n_train=97, n_val=30, n_test=20, batch_size=10, seed=0
    )


def fit(module: SupervisedModule, data: TensorDataModule, epochs: int = 10, precision: str = "32-true") -> pl.Trainer:
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, precision=precision,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, data)
    return trainer


def classifier(optimizer: str, data: TensorDataModule, automatic: bool = False) -> ClassificationModule:
    torch.manual_seed(1)
    data.plan(7, [] if automatic else POINTS, ["val"])
    net = MLP(4, 3, [16], dropout=0.3)
    torch.manual_seed(2)  # the masks
    return ClassificationModule(net, OPTIMIZERS[optimizer], POINTS, data.evaluate, automatic)


def regressor(optimizer: str, data: TensorDataModule, automatic: bool = False, loss: str = "mse") -> RegressionModule:
    torch.manual_seed(1)
    data.plan(7, [] if automatic else POINTS, ["train", "val"])
    return RegressionModule(LinearRegression(4), OPTIMIZERS[optimizer], POINTS, data.evaluate, automatic, loss=loss)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("build", "draw"), [(classifier, lambda: Blobs(20, 0)), (regressor, polynomial)])
def test_chunks_and_automatic_optimisation_agree_to_the_bit(build, draw, optimizer):
    data = draw()
    chunked, automatic = build(optimizer, data), build(optimizer, draw(), automatic=True)
    first = fit(chunked, data)
    torch.manual_seed(2)
    automatic_data = draw()
    automatic = build(optimizer, automatic_data, automatic=True)
    second = fit(automatic, automatic_data)
    for name, value in chunked.state_dict().items():
        assert torch.equal(value, automatic.state_dict()[name]), name
    assert chunked.metrics == automatic.metrics
    assert (first.current_epoch, first.global_step) == (second.current_epoch, second.global_step)
    assert first.global_step == 10 * data.num_batches


def test_weights_equal_those_of_a_loop_without_lightning():
    data = Blobs(20, 0)
    module = classifier("nesterov", data)
    reference = MLP(4, 3, [16], dropout=0.3)
    reference.load_state_dict(module.net.state_dict())
    torch.manual_seed(2)
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    loader = data.train_dataloader().batches
    running = []
    for epoch in range(10):
        loader.set_epoch(epoch)
        order = loader.order(epoch)
        x, y = data.splits["train"]
        running = []
        for start in range(0, len(x), 20):
            rows = order[start : start + 20]
            output = reference(x[rows] / 255)
            loss = functional.cross_entropy(output, y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running.append((loss.item() * len(rows), (output.argmax(1) == y[rows]).sum().item()))
    torch.manual_seed(2)
    fit(module, data)
    for mine, theirs in zip(module.net.parameters(), reference.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    losses, correct = np.sum(running, axis=0) / 105
    assert module.metrics["loss/train"] == pytest.approx(losses, rel=1e-6)
    assert module.metrics["acc/train"] == pytest.approx(correct)


@pytest.mark.parametrize("rows", [5, 7, 4096])
def test_metrics_are_exact_over_a_split_whatever_the_batch_size(rows, monkeypatch):
    monkeypatch.setattr(base, "EVALUATION_BATCH", rows)
    data = Blobs(20, 0)
    module = classifier("adam", data)
    fit(module, data)
    x, y = data.splits["val"]
    module.eval()
    probabilities = module(x / 255).softmax(1).detach().double().numpy()
    probabilities /= probabilities.sum(1, keepdims=True)
    assert module.metrics["loss/val"] == pytest.approx(log_loss(y, probabilities), rel=1e-5)
    assert module.metrics["acc/val"] == pytest.approx(accuracy_score(y, probabilities.argmax(1)))


@pytest.mark.parametrize(("loss", "factor"), [("mse", 1.0), ("half_mse", 0.5)])
def test_squared_loss_with_and_without_its_half(loss, factor):
    data = polynomial()
    module = regressor("sgd", data, loss=loss)
    fit(module, data)
    for split in ("train", "val"):
        x, y = (t.float() for t in data.splits[split])
        expected = factor * (module(x) - y).double().pow(2).mean().item()
        assert module.metrics[f"loss/{split}"] == pytest.approx(expected, rel=1e-5)


def test_half_the_loss_is_half_the_learning_rate():
    whole, half = polynomial(), polynomial()
    first, second = regressor("sgd", whole), regressor("sgd", half, loss="half_mse")
    first.optimizer_factory = functools.partial(torch.optim.SGD, lr=0.01)
    second.optimizer_factory = functools.partial(torch.optim.SGD, lr=0.02)
    fit(first, whole)
    fit(second, half)
    torch.testing.assert_close(first.net[0].weight, second.net[0].weight)


def test_weight_decay_shrinks_weights_by_the_closed_form_and_leaves_biases():
    # Where no gradient reaches, in the null space of 20 samples in 200 dimensions, k steps of SGD leave
    # (1 - lr * weight_decay)^k of the initial weights.
    data = HighDimensionalData(200, 0.01, 0.05, noise=0.01, n_train=20, n_val=0, n_test=10, batch_size=5, seed=0)
    data.plan(0, [50], ["train"])
    torch.manual_seed(0)
    net = LinearRegression(200, init={"name": "normal", "std": 1.0})
    nn.init.constant_(net[0].bias, 3.0)
    before = net[0].weight.detach().clone().double()
    decay = functools.partial(torch.optim.SGD, lr=0.003, weight_decay=3.0)
    module = RegressionModule(net, decay, [50], ["train"], loss="half_mse")
    fit(module, data, epochs=50)
    x = data.splits["train"][0]
    null_space = torch.eye(200) - torch.linalg.pinv(x) @ x
    shrunk = null_space @ net[0].weight[0].detach().double()
    torch.testing.assert_close(shrunk, (1 - 0.009) ** 200 * null_space @ before[0], rtol=1e-3, atol=1e-4)
    assert [group["weight_decay"] for group in module.configure_optimizers().param_groups] == [3.0, 0.0]


@pytest.mark.parametrize("automatic", [False, True])
def test_divergence_names_the_step_and_the_learning_rate(automatic):
    data = polynomial()
    module = regressor("sgd", data, automatic)
    module.optimizer_factory = functools.partial(torch.optim.SGD, lr=30.0)
    x, y = (t.float() for t in data.splits["train"])
    weight, bias = (p.detach().clone() for p in module.net.parameters())
    loader = data.train_dataloader() if automatic else data.train_dataloader().batches
    step = 0
    for rows in (rows for epoch in range(10) for rows in loader.order(epoch).split(10)):
        step += 1
        error = x[rows] @ weight.T + bias - y[rows]
        if not error.pow(2).mean().isfinite():
            break
        weight -= 30 * 2 * error.T @ x[rows] / len(rows)
        bias -= 30 * 2 * error.mean()
    assert 1 < step < 100
    with pytest.raises(Diverged, match=rf"at step {step} with optimizer.lr=30.0"):
        fit(module, data)


def test_float64_runs_in_float64():
    data = polynomial()
    module = regressor("sgd", data)
    fit(module, data, precision="64-true")
    assert module.net[0].weight.dtype == torch.float64
    x, y = data.splits["train"]
    assert module.metrics["loss/train"] == pytest.approx((module(x) - y).pow(2).mean().item(), rel=1e-12)
