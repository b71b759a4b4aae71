"""The fast loop of one run against Lightning's own loop, and against loops and metrics written without either."""

import functools

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss
from torch import nn
from torch.nn import functional

from lightning_d2l.data import base
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.batches import Batches
from lightning_d2l.data.synthetic import HighDimensionalData
from lightning_d2l.engine.choice import needs_lightning
from lightning_d2l.engine.chunks import Chunks
from lightning_d2l.engine.loop import Diverged
from lightning_d2l.modules import ClassificationModule, RegressionModule
from lightning_d2l.nets.linear import LinearRegression
from lightning_d2l.nets.mlp import MLP
from tests.engine.sets import Blobs, Rows, assert_close, fit, polynomial, prepared

OPTIMIZERS = {
    "sgd": functools.partial(torch.optim.SGD, lr=0.02, weight_decay=0.01),
    "nesterov": functools.partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True),
    "adam": functools.partial(torch.optim.Adam, lr=0.01),
}
POINTS = [1, 4, 8, 10]


def classifier(optimizer: str) -> tuple[ClassificationModule, Blobs]:
    """A network with dropout, whose training metrics are those of each minibatch before the step on it."""
    torch.manual_seed(1)
    net = MLP(4, 3, [16], dropout=0.3)
    torch.manual_seed(2)  # the masks
    return ClassificationModule(net, optimizer=OPTIMIZERS[optimizer]), prepared(Blobs(20, 0), 7, ("val",))


def regressor(optimizer: str, loss: str = "mse") -> tuple[RegressionModule, TensorDataModule]:
    torch.manual_seed(1)
    return RegressionModule(LinearRegression(4), loss, OPTIMIZERS[optimizer]), prepared(polynomial(), 7)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("build", [classifier, regressor])
def test_both_loops_give_the_same_weights_and_metrics(build, optimizer):
    """Within rounding; the metrics, too, are summed over other pieces of a split."""
    (fast, data), points = build(optimizer), POINTS
    first = fit(fast, data, points)
    slow, data = build(optimizer)
    second = fit(slow, data, points, lightning=True)
    assert_close(fast.state_dict(), slow.state_dict())
    assert len(first.rows) == len(second.rows) == len(points)
    for mine, theirs in zip(first.rows, second.rows, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)
        assert list(mine) == list(theirs)
    assert first.rows[-1]["step"] == 10 * data.num_batches


def test_weights_equal_those_of_a_loop_without_lightning():
    module, data = classifier("nesterov")
    reference = MLP(4, 3, [16], dropout=0.3)
    reference.load_state_dict(module.net.state_dict())
    torch.manual_seed(2)
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    loader = data.train_dataloader()
    running = []
    for epoch in range(10):
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
    metrics = fit(module, data, POINTS).rows[-1]
    assert_close(module.net.state_dict(), reference.state_dict())
    losses, correct = np.sum(running, axis=0) / 105
    assert metrics["loss/train_running"] == pytest.approx(losses, rel=1e-5)
    assert metrics["acc/train_running"] == pytest.approx(correct)


@pytest.mark.parametrize("rows", [5, 7, 4096])
def test_metrics_are_exact_over_a_split_whatever_the_batch_size(rows, monkeypatch):
    monkeypatch.setattr(base, "EVALUATION_BATCH", rows)
    module, data = classifier("adam")
    metrics = fit(module, data, POINTS).rows[-1]
    x, y = data.splits["val"]
    labels = y.numpy()
    probabilities = module.eval()(x / 255).softmax(1).detach().double().numpy()
    probabilities /= probabilities.sum(1, keepdims=True)
    assert metrics["loss/val"] == pytest.approx(log_loss(labels, probabilities), rel=1e-5)
    assert metrics["acc/val"] == pytest.approx(accuracy_score(labels, probabilities.argmax(1)))


@pytest.mark.parametrize(("loss", "factor"), [("mse", 1.0), ("half_mse", 0.5)])
def test_squared_loss_with_and_without_its_half(loss, factor):
    module, data = regressor("sgd", loss)
    metrics = fit(module, data, POINTS).rows[-1]
    for split in ("train", "val"):
        x, y = (t.float() for t in data.splits[split])
        expected = factor * (module(x) - y).double().pow(2).mean().item()
        assert metrics[f"loss/{split}"] == pytest.approx(expected, rel=1e-5)


def test_half_the_loss_is_half_the_learning_rate():
    nets = []
    for loss, lr in (("mse", 0.01), ("half_mse", 0.02)):
        module, data = regressor("sgd", loss)
        module.optimizer_factory = functools.partial(torch.optim.SGD, lr=lr)
        fit(module, data, POINTS)
        nets.append(module.net)
    torch.testing.assert_close(nets[0][0].weight, nets[1][0].weight)


def test_weight_decay_shrinks_weights_by_the_closed_form_and_leaves_biases():
    # Where no gradient reaches, in the null space of 20 samples in 200 dimensions, k steps of SGD leave
    # (1 - lr * weight_decay)^k of the initial weights.
    data = HighDimensionalData(200, 0.01, 0.05, noise=0.01, n_train=20, n_val=0, n_test=10, batch_size=5, seed=0)
    torch.manual_seed(0)
    net = LinearRegression(200, init={"name": "normal", "std": 1.0})
    nn.init.constant_(net[0].bias, 3.0)
    before = net[0].weight.detach().clone().double()
    decay = functools.partial(torch.optim.SGD, lr=0.003, weight_decay=3.0)
    module = RegressionModule(net, "half_mse", decay)
    fit(module, prepared(data, 0, ("train",)), [50])
    x = data.splits["train"][0]
    null_space = torch.eye(200) - torch.linalg.pinv(x) @ x
    shrunk = null_space @ net[0].weight[0].detach().double()
    torch.testing.assert_close(shrunk, (1 - 0.009) ** 200 * null_space @ before[0], rtol=1e-3, atol=1e-4)
    assert [group["weight_decay"] for group in module.configure_optimizers().param_groups] == [3.0, 0.0]


@pytest.mark.parametrize("lightning", [False, True])
def test_divergence_names_the_step_and_the_learning_rate(lightning):
    module, data = regressor("sgd")
    module.optimizer_factory = functools.partial(torch.optim.SGD, lr=30.0)
    x, y = (t.float() for t in data.splits["train"])
    weight, bias = (p.detach().clone() for p in module.net.parameters())
    loader, step = data.train_dataloader(), 0
    for rows in (rows for epoch in range(10) for rows in loader.order(epoch).split(10)):
        step += 1
        error = x[rows] @ weight.T + bias - y[rows]
        if not error.pow(2).mean().isfinite():
            break
        weight -= 30 * 2 * error.T @ x[rows] / len(rows)
        bias -= 30 * 2 * error.mean()
    assert 1 < step < 40
    with pytest.raises(Diverged, match=rf"at step {step} with optimizer.lr=30.0"):
        fit(module, data, POINTS, lightning=lightning)


def test_float64_runs_in_float64():
    module, data = regressor("sgd")
    metrics = fit(module, data, POINTS, precision=torch.float64).rows[-1]
    assert module.net[0].weight.dtype == torch.float64
    x, y = data.splits["train"]
    assert metrics["loss/train"] == pytest.approx((module(x) - y).pow(2).mean().item(), rel=1e-12)


@given(n=st.integers(1, 60), points=st.sets(st.integers(1, 12), min_size=1))
@settings(max_examples=25)
def test_chunks_are_the_epochs_between_logging_points(n, points):
    def loader() -> Batches:
        x = torch.arange(n, dtype=torch.float32)[:, None]
        return Batches(x, x.clone(), 8, torch.float32, 0)

    def order_of(batches: Batches) -> list[float]:
        return torch.cat([x for x, _ in batches]).flatten().tolist()

    batches, reference, epoch = loader(), loader(), 0
    chunks = Chunks(batches, sorted(points))
    for point in sorted(points):
        chunks.sampler.set_epoch(epoch)
        (chunk,) = chunks
        assert epoch + chunk.epochs == point
        rows = [row for batches in chunk for row in order_of(batches)]
        expected = []
        for e in range(epoch, point):
            reference.set_epoch(e)
            expected += order_of(reference)
        assert rows == expected
        assert batches.served == point * len(batches)
        epoch = point


# The choice of the loop


class WithHook(RegressionModule):
    def on_train_batch_end(self, *args: object) -> None:
        """A hook that the fast loop would not call."""


class Plain(pl.LightningModule):
    """A LightningModule without an objective."""


@pytest.mark.parametrize(
    ("module", "callbacks", "settings", "reason"),
    [
        (RegressionModule(LinearRegression(4)), [], {"accelerator": "cpu", "devices": 1, "precision": "64-true"}, ""),
        (Plain(), [], {}, "Plain, which has no objective(batch),"),
        (WithHook(LinearRegression(4)), [], {}, "WithHook.on_train_batch_end"),
        (RegressionModule(LinearRegression(4)), [Rows([1])], {}, "the callback Rows"),
        (RegressionModule(LinearRegression(4)), [], {"gradient_clip_val": 0.5}, "trainer.gradient_clip_val=0.5"),
        (RegressionModule(LinearRegression(4)), [], {"gradient_clip_val": None}, ""),
        (RegressionModule(LinearRegression(4)), [], {"precision": "bf16-mixed"}, "trainer.precision=bf16-mixed"),
        (RegressionModule(LinearRegression(4)), [], {"devices": 2}, "trainer.devices=2"),
    ],
)
def test_what_needs_lightnings_own_loop_is_named(module, callbacks, settings, reason):
    assert needs_lightning(module, polynomial(), callbacks, settings) == reason


def test_data_that_are_not_tensors_in_memory_need_lightnings_own_loop():
    data = pl.LightningDataModule()
    assert needs_lightning(RegressionModule(LinearRegression(4)), data) == (
        "the data of LightningDataModule, which are not tensors in memory,"
    )


def test_the_fast_loop_counts_steps_and_epochs_as_lightnings_own():
    counts = []
    for lightning in (False, True):
        module, data = regressor("sgd")
        seen = fit(module, data, POINTS, lightning=lightning)
        counts.append([(row["epoch"], row["step"]) for row in seen.rows])
    assert counts[0] == counts[1]
