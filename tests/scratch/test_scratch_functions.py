"""Each function equals torch's in value and gradient, and is stable where the naive form is not."""

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.metrics import accuracy_score
from torch import nn
from torch.nn import functional

from lightning_d2l.scratch.data import data_iter, synthetic_data
from lightning_d2l.scratch.linear_regression import LinearRegressionScratch, linreg, squared_loss
from lightning_d2l.scratch.mlp import DropoutMLPScratch, MLPScratch, relu
from lightning_d2l.scratch.regularisation import dropout_layer, l1_penalty, l2_penalty
from lightning_d2l.scratch.softmax_regression import (
    SoftmaxRegressionScratch,
    accuracy,
    cross_entropy,
    cross_entropy_with_logits,
    log_sum_exp,
    softmax,
    stable_softmax,
)

RANDOM = torch.Generator().manual_seed(0)
X = torch.randn(6, 4, generator=RANDOM, dtype=torch.float64).index_fill(1, torch.tensor([2]), 0.0)  # with exact zeros
Y = torch.randint(4, (6,), generator=RANDOM)
W = torch.randn(4, 3, generator=RANDOM, dtype=torch.float64)
B = torch.randn(3, generator=RANDOM, dtype=torch.float64)
NUMBERS = torch.randn(6, 4, generator=RANDOM, dtype=torch.float64)
PAIRS = {
    "relu": (relu, functional.relu),
    "softmax": (softmax, lambda x: functional.softmax(x, 1)),
    "stable_softmax": (stable_softmax, lambda x: functional.softmax(x, 1)),
    "log_sum_exp": (log_sum_exp, lambda x: torch.logsumexp(x, 1)),
    "cross_entropy_with_logits": (
        lambda x: cross_entropy_with_logits(x, Y),
        lambda x: functional.cross_entropy(x, Y, reduction="none"),
    ),
    "cross_entropy": (
        lambda x: cross_entropy(softmax(x), Y),
        lambda x: functional.cross_entropy(x, Y, reduction="none"),
    ),
    "linreg": (lambda x: linreg(x, W, B), lambda x: functional.linear(x, W.T, B)),
    "squared_loss": (
        lambda x: squared_loss(x, NUMBERS),
        lambda x: functional.mse_loss(x, NUMBERS, reduction="none") / 2,
    ),
    "l2_penalty": (l2_penalty, lambda x: torch.linalg.vector_norm(x) ** 2 / 2),
    "l1_penalty": (l1_penalty, lambda x: functional.l1_loss(x, torch.zeros_like(x), reduction="sum")),
}


@pytest.mark.parametrize("name", PAIRS)
def test_value_and_gradient_equal_torchs(name):
    results = []
    for function in PAIRS[name]:
        x = X.clone().requires_grad_()
        value = function(x)
        weights = torch.linspace(1, 2, value.numel(), dtype=x.dtype).reshape(value.shape)
        results.append((value, *torch.autograd.grad((weights * value).sum(), x)))
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


def test_relu_treats_infinities_and_nan_as_torch_does():
    x = torch.tensor([-math.inf, -1.0, -0.0, 2.0, math.inf, math.nan])
    torch.testing.assert_close(relu(x), torch.relu(x), equal_nan=True)


def test_targets_may_have_another_shape_than_predictions():
    y_hat, y = NUMBERS[:, :1], NUMBERS[:, 1]
    assert squared_loss(y_hat, y).shape == (6, 1)
    torch.testing.assert_close(squared_loss(y_hat, y)[:, 0], (y_hat[:, 0] - y) ** 2 / 2)


def test_gradient_of_cross_entropy_is_the_softmax_minus_the_one_hot_label():
    logits = X.clone().requires_grad_()
    cross_entropy_with_logits(logits, Y).sum().backward()
    torch.testing.assert_close(logits.grad, softmax(X) - functional.one_hot(Y, 4))


def test_exp_overflows_in_the_naive_softmax_and_not_in_the_stable_one():
    logits = torch.tensor([[0.0, 100.0, 1.0], [-200.0, -201.0, -202.0]])
    naive = softmax(logits)
    assert naive[0, 1].isnan()  # infinity / infinity
    assert naive[1].isnan().all()  # 0 / 0
    torch.testing.assert_close(stable_softmax(logits), functional.softmax(logits, 1))


def test_only_the_naive_cross_entropy_is_infinite_where_a_probability_underflows():
    logits, y = torch.tensor([[0.0, 200.0], [0.0, 1e30]]), torch.tensor([0, 0])
    assert cross_entropy(stable_softmax(logits), y).isposinf().all()
    assert (
        cross_entropy_with_logits(logits, y).tolist() == functional.cross_entropy(logits, y, reduction="none").tolist()
    )
    assert cross_entropy_with_logits(logits, y)[0] == 200


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e6])
def test_log_sum_exp_equals_scipys_at_any_size(scale):
    torch.testing.assert_close(log_sum_exp(scale * X), torch.from_numpy(logsumexp(scale * X.numpy(), axis=1)))


def test_a_small_loss_of_large_logits_keeps_its_digits():
    loss = cross_entropy_with_logits(torch.tensor([[1000.0, 990.0]]), torch.tensor([0]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log1p(math.exp(-10)), rel=1e-3)


def test_toy_example_of_the_book():
    y, y_hat = torch.tensor([0, 2]), torch.tensor([[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]])
    assert cross_entropy(y_hat, y).tolist() == pytest.approx([2.3026, 0.6931], abs=5e-5)
    assert cross_entropy_with_logits(y_hat.log(), y).tolist() == pytest.approx([-math.log(0.1), math.log(2)])
    assert accuracy(y_hat, y) == 0.5


def test_accuracy_equals_scikit_learns():
    assert accuracy(X, Y) == pytest.approx(accuracy_score(Y, X.argmax(1)))


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
def test_dropout_equals_torchs_with_the_same_seed(p):
    x = X + 3.0
    torch.manual_seed(1)
    mine = dropout_layer(x, p)
    torch.manual_seed(1)
    torch.testing.assert_close(mine, functional.dropout(x, p), rtol=1e-15, atol=0)


def test_dropout_with_p_0_is_the_identity_and_with_p_1_is_zero():
    toy = torch.arange(16.0).reshape(2, 8)
    assert torch.equal(dropout_layer(toy, 0), toy)
    assert not dropout_layer(toy, 1).any()
    halved = dropout_layer(toy, 0.5)
    assert torch.equal(halved, torch.where(halved == 0, halved, 2 * toy))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_expectation_and_adds_variance_p_over_1_minus_p(p):
    torch.manual_seed(0)
    n = 400_000
    dropped = dropout_layer(torch.full((n,), 2.0, dtype=torch.float64), p)
    std = 2 * math.sqrt(p / (1 - p))
    assert dropped.mean().item() == pytest.approx(2, abs=4 * std / math.sqrt(n))
    assert dropped.std().item() == pytest.approx(std, rel=0.02)
    assert (dropped == 0).double().mean().item() == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n))


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_dropout_rejects_p_outside_0_and_1(p):
    with pytest.raises(ValueError, match=r"must be a number in \[0, 1\]"):
        dropout_layer(X, p)


def test_data_iter_gives_every_sample_once_with_its_label_and_a_ragged_last_batch():
    features, labels = torch.arange(23.0)[:, None], torch.arange(23) * 10
    random = torch.Generator().manual_seed(0)
    epochs = [list(data_iter(5, features, labels, random)) for _ in range(2)]
    orders = []
    for batches in epochs:
        assert [len(x) for x, _ in batches] == [5, 5, 5, 5, 3]
        x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
        assert torch.equal(10 * x[:, 0].long(), y)
        assert sorted(y.tolist()) == labels.tolist()
        orders.append(y.tolist())
    assert orders[0] != orders[1]
    again = torch.cat([y for _, y in data_iter(5, features, labels, torch.Generator().manual_seed(0))])
    assert again.tolist() == orders[0]


def test_least_squares_finds_the_weights_and_the_noise_of_synthetic_data():
    w, n = torch.tensor([2.0, -3.4], dtype=torch.float64), 20_000
    features, y = synthetic_data(w, 4.2, n, 0.01, torch.Generator().manual_seed(0))
    assert (features.shape, y.shape) == ((n, 2), (n, 1))
    design = np.column_stack([features, np.ones(n)])
    found, residual, *_ = np.linalg.lstsq(design, y.numpy()[:, 0], rcond=None)
    assert found == pytest.approx([2.0, -3.4, 4.2], abs=5 * 0.01 / math.sqrt(n))
    assert math.sqrt(residual[0] / n) == pytest.approx(0.01, rel=0.02)
    assert features.std(0).tolist() == pytest.approx([1, 1], rel=0.02)


def test_parameter_counts_of_the_book():
    counts = {
        net: sum(p.numel() for p in net(784, 10).parameters())
        for net in (SoftmaxRegressionScratch, MLPScratch, DropoutMLPScratch)
    }
    assert list(counts.values()) == [7_850, 203_530, 269_322]
    assert sum(p.numel() for p in LinearRegressionScratch(2).parameters()) == 3
    assert sum(p.numel() for p in LinearRegressionScratch(4, bias=False).parameters()) == 4


@pytest.mark.parametrize(("net", "std"), [(SoftmaxRegressionScratch, 0.01), (MLPScratch, 0.01), (MLPScratch, 0.5)])
def test_initial_weights_are_normal_and_biases_zero(net, std):
    torch.manual_seed(0)
    for name, parameter in net(400, 300, std=std).named_parameters():
        if name.startswith("W"):
            assert parameter.std().item() == pytest.approx(std, rel=0.02)
            assert abs(parameter.mean().item()) < 4 * std / math.sqrt(parameter.numel())
        else:
            assert not parameter.any()


def test_dropout_mlp_has_the_initial_values_of_nn_linear():
    torch.manual_seed(0)
    net = DropoutMLPScratch(400, 500, [300], [0.5])
    for (n_in, n_out), W, b in zip([(400, 300), (300, 500)], net.W, net.b, strict=True):
        reference = nn.Linear(n_in, n_out)
        quantiles = torch.linspace(0, 1, 21)
        spread = (2 / math.sqrt(n_in)) * 0.02
        torch.testing.assert_close(
            W.flatten()[:90_000].quantile(quantiles),
            reference.weight.flatten()[:90_000].quantile(quantiles),
            rtol=0, atol=spread,
        )  # fmt: skip
        assert b.abs().max() <= n_in**-0.5
        assert b.std().item() == pytest.approx(1 / math.sqrt(3 * n_in), rel=0.15)


def test_dropout_mlp_drops_only_in_training_and_needs_a_probability_for_each_layer():
    net = DropoutMLPScratch(20, 2, [50, 50])
    x = torch.randn(3, 4, 5)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))
    with pytest.raises(ValueError, match="one value a hidden layer"):
        DropoutMLPScratch(20, 2, [50, 50], [0.5])
