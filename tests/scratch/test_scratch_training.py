"""From the same initial values and batches, training from scratch and with torch gives the same weights."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional

from lightning_d2l.scratch.data import data_iter, synthetic_data
from lightning_d2l.scratch.linear_regression import LinearRegressionScratch, linreg, squared_loss
from lightning_d2l.scratch.mlp import DropoutMLPScratch, MLPScratch
from lightning_d2l.scratch.regularisation import l2_penalty
from lightning_d2l.scratch.sgd import SGD, sgd
from lightning_d2l.scratch.softmax_regression import SoftmaxRegressionScratch, cross_entropy_with_logits
from lightning_d2l.scratch.train import train

EPOCHS, LR = 5, 0.1
same = functools.partial(torch.testing.assert_close, rtol=1e-6, atol=1e-12)


def batches(features, labels, seed=3):
    """A function that returns minibatches in a new order at each call; the last one is smaller."""
    random = torch.Generator().manual_seed(seed)
    return lambda: data_iter(16, features, labels, random)


def numbers():
    w = torch.tensor([2.0, -3.4, 0.5], dtype=torch.float64)
    return synthetic_data(w, 4.2, 105, 0.1, torch.Generator().manual_seed(0))


def images():
    """Three noisy clusters of 2 x 3 pixels."""
    random = torch.Generator().manual_seed(0)
    y = torch.randint(3, (105,), generator=random)
    return y[:, None, None] + torch.randn(105, 2, 3, generator=random, dtype=torch.float64), y


def torch_way(net, loss, optimizer, data):
    """nn.Linear, nn.functional and torch.optim: the mean loss of each epoch's samples."""
    history = []
    for _ in range(EPOCHS):
        seen = []
        for x, y in data():
            value = loss(net(x), y)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            seen += [value.item()] * len(x)
        history.append(sum(seen) / len(seen))
    return history


def weights_and_biases(scratch):
    """(W, b) of each layer, W (n_in, n_out)."""
    if isinstance(scratch, DropoutMLPScratch):
        return list(zip(scratch.W, scratch.b, strict=True))
    parameters = list(scratch.parameters())
    return list(zip(parameters[::2], parameters[1::2], strict=True))


def twin(scratch, *between):
    """The torch network with the same parameters, `between` its linear layers."""
    layers = [nn.Flatten()]
    for number, (W, b) in enumerate(weights_and_biases(scratch)):
        linear = nn.Linear(*W.shape, dtype=torch.float64)
        linear.load_state_dict({"weight": W.detach().T, "bias": b.detach()})
        layers += [linear, *between[number]] if number < len(between) else [linear]
    return nn.Sequential(*layers)


def assert_same_weights(scratch, net):
    linears = [layer for layer in net if isinstance(layer, nn.Linear)]
    for (W, b), linear in zip(weights_and_biases(scratch), linears, strict=True):
        same(W.T, linear.weight)
        same(b, linear.bias)


def half_mse(y_hat, y):
    return functional.mse_loss(y_hat, y) / 2


MODELS = {
    "linear regression": (lambda: LinearRegressionScratch(3, std=1.0), [], squared_loss, half_mse, numbers),
    "softmax regression": (
        lambda: SoftmaxRegressionScratch(6, 3), [], cross_entropy_with_logits, functional.cross_entropy, images,
    ),
    "mlp": (
        lambda: MLPScratch(6, 3, 8, std=0.5), [[nn.ReLU()]],
        cross_entropy_with_logits, functional.cross_entropy, images,
    ),
    "dropout mlp": (
        lambda: DropoutMLPScratch(6, 3, [8, 7], [0.2, 0.5]),
        [[nn.ReLU(), nn.Dropout(0.2)], [nn.ReLU(), nn.Dropout(0.5)]],
        cross_entropy_with_logits, functional.cross_entropy, images,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_losses_and_weights_equal_those_of_torch(name):
    build, between, scratch_loss, torch_loss, draw = MODELS[name]
    torch.manual_seed(1)
    scratch = build().double()
    net = twin(scratch, *between)
    start = [p.detach().clone() for p in scratch.parameters()]
    features, labels = draw()
    torch.manual_seed(2)  # the masks
    losses = train(scratch, scratch_loss, lambda n: sgd(scratch.parameters(), LR, n), batches(features, labels), EPOCHS)
    torch.manual_seed(2)
    expected = torch_way(net, torch_loss, torch.optim.SGD(net.parameters(), LR), batches(features, labels))
    assert losses == pytest.approx(expected, rel=1e-6)
    assert losses[-1] < 0.9 * losses[0]
    assert_same_weights(scratch, net)
    assert not any(torch.equal(p, before) for p, before in zip(scratch.parameters(), start, strict=True))


def test_l2_penalty_is_weight_decay():
    features, labels = numbers()
    torch.manual_seed(1)
    w = torch.randn(3, 1, dtype=torch.float64, requires_grad=True)
    b = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    linear = nn.Linear(3, 1, dtype=torch.float64)
    linear.load_state_dict({"weight": w.detach().T, "bias": b.detach()})
    penalised = train(
        lambda X: linreg(X, w, b),
        lambda y_hat, y: squared_loss(y_hat, y) + 0.7 * l2_penalty(w),
        lambda n: sgd([w, b], LR, n),
        batches(features, labels),
        EPOCHS,
    )
    groups = [{"params": [linear.weight], "weight_decay": 0.7}, {"params": [linear.bias]}]
    plain = torch_way(linear, half_mse, torch.optim.SGD(groups, LR), batches(features, labels))
    same(w.T, linear.weight)
    same(b, linear.bias)
    # The loss from scratch contains the penalty; with torch's weight decay it does not.
    assert all(mine > theirs for mine, theirs in zip(penalised, plain, strict=True))
    assert w.norm() < 0.75 * torch.tensor([2.0, -3.4, 0.5]).norm()


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_the_optimizer_equals_torchs(weight_decay):
    features, labels = images()
    torch.manual_seed(1)
    first = twin(MLPScratch(6, 3, 8, std=0.5).double(), [nn.ReLU()])
    second = twin(MLPScratch(6, 3, 8).double(), [nn.ReLU()])
    second.load_state_dict(first.state_dict())
    histories = []
    for net, optimizer in ((first, SGD), (second, torch.optim.SGD)):
        weights, biases = ([p for p in net.parameters() if p.dim() == d] for d in (2, 1))
        groups = [{"params": weights, "weight_decay": weight_decay}, {"params": biases}]
        histories.append(torch_way(net, functional.cross_entropy, optimizer(groups, LR), batches(features, labels)))
    assert histories[0] == pytest.approx(histories[1], rel=1e-9)
    for mine, theirs in zip(first.parameters(), second.parameters(), strict=True):
        same(mine, theirs)


def test_the_function_on_a_summed_loss_takes_the_same_step_as_the_optimizer_on_a_mean_loss():
    features, labels = numbers()
    w, v = (torch.ones(3, 1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    unused = torch.ones(2, requires_grad=True)
    squared_loss(features @ w, labels).sum().backward()
    sgd([w, unused], LR, len(labels))
    assert not w.grad.any()
    optimizer = SGD([v, unused], LR)

    def closure():
        optimizer.zero_grad()
        loss = squared_loss(features @ v, labels).mean()
        loss.backward()
        return loss

    before = squared_loss(features @ torch.ones_like(v), labels).mean()
    assert optimizer.step(closure).item() == pytest.approx(before.item())
    same(w, v)
    assert torch.equal(unused, torch.ones(2))


def test_linear_regression_of_the_book_follows_its_closed_form():
    # E[loss] = 1/2 |(w, b)|^2 (1 - lr)^(2 steps) + sigma^2 / 2, and a spread of the trajectory around it
    random = torch.Generator().manual_seed(0)
    true_w, true_b = torch.tensor([2.0, -3.4]), 4.2
    features, labels = synthetic_data(true_w, true_b, 1000, 0.01, random)
    w = (0.01 * torch.randn(2, 1, generator=random)).requires_grad_()
    b = torch.zeros(1, requires_grad=True)

    def net(X):
        return linreg(X, w, b)

    losses = []
    for _ in range(3):
        train(net, squared_loss, lambda n: sgd([w, b], 0.03, n), lambda: data_iter(10, features, labels, random), 1)
        losses.append(squared_loss(net(features), labels).mean().item())
    signal = (2**2 + 3.4**2 + 4.2**2) / 2
    assert losses[0] == pytest.approx(signal * 0.97**200 + 0.01**2 / 2, rel=0.5)
    assert losses[2] == pytest.approx(0.01**2 / 2, rel=0.15)
    assert (w.detach()[:, 0] - true_w).abs().max() < 1.5e-3
    assert abs(b.item() - true_b) < 1.5e-3
