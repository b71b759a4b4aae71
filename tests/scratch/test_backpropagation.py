import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_d2l.scratch.backpropagation import ACTIVATIONS, LOSSES, OneHiddenLayer

PHI = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
every_net = pytest.mark.parametrize(("activation", "loss"), list(itertools.product(ACTIVATIONS, LOSSES)))


def example(activation: str, loss: str, n: int) -> tuple[OneHiddenLayer, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    draw = {"generator": rng, "dtype": torch.float64}
    W1, W2, x = torch.randn(5, 4, **draw), torch.randn(3, 5, **draw), torch.randn(4, n, **draw)
    classes = functional.one_hot(torch.randint(3, (n,), generator=rng), 3).double().T
    y = torch.randn(3, n, **draw) if loss == "squared" else classes
    return OneHiddenLayer(W1, W2, 0.3, activation, loss), x, y


@pytest.mark.parametrize("n", [1, 6])
@every_net
def test_every_gradient_equals_autograd(activation, loss, n):
    net, x, y = example(activation, loss, n)
    W1, W2 = net.W1.clone().requires_grad_(), net.W2.clone().requires_grad_()
    # samples in rows, as torch has them
    z = functional.linear(x.T, W1)
    h = PHI[activation](z)
    o = functional.linear(h, W2)
    if loss == "squared":
        L = nn.MSELoss(reduction="sum")(o, y.T) / (2 * n)
    else:
        L = functional.cross_entropy(o, y.T.argmax(1))
    s = 0.3 / 2 * (torch.linalg.matrix_norm(W1) ** 2 + torch.linalg.matrix_norm(W2) ** 2)
    (dL_do,) = torch.autograd.grad(L, o, retain_graph=True)
    dJ_do, dJ_dW2, dJ_dh, dJ_dz, dJ_dW1 = torch.autograd.grad(L + s, (o, W2, h, z, W1))

    kept = net.forward(x, y)
    found = net.backward(x, y, kept)
    for by_hand, expected in (
        (kept.J, L + s),
        (found.dL_do, dL_do.T),
        (found.dJ_do, dJ_do.T),
        (found.dJ_dW2, dJ_dW2),
        (found.dJ_dh, dJ_dh.T),
        (found.dJ_dz, dJ_dz.T),
        (found.dJ_dW1, dJ_dW1),
    ):
        torch.testing.assert_close(by_hand, expected, rtol=0, atol=1e-10)
    assert found.dJ_dL == found.dJ_ds == 1


@every_net
def test_gradients_equal_central_differences(activation, loss):
    net, x, y = example(activation, loss, 6)
    found = net.backward(x, y, net.forward(x, y))
    step = 1e-5
    for W, gradient in ((net.W1, found.dJ_dW1), (net.W2, found.dJ_dW2)):
        numeric = torch.zeros_like(W)
        for index in itertools.product(*map(range, W.shape)):
            value = W[index].item()
            W[index] = value + step
            above = net.forward(x, y).J
            W[index] = value - step
            below = net.forward(x, y).J
            W[index] = value
            numeric[index] = (above - below) / (2 * step)
        # rounding is about J eps / step = 1e-10 with J near 10, the cubic term step^2 J''' / 6 about as much
        torch.testing.assert_close(gradient, numeric, rtol=0, atol=1e-8)


def test_a_batch_is_the_mean_of_its_samples():
    net, x, y = example("tanh", "cross_entropy", 6)
    batch = net.backward(x, y, net.forward(x, y))
    single = [net.backward(a, b, net.forward(a, b)) for a, b in zip(x.split(1, 1), y.split(1, 1), strict=True)]
    torch.testing.assert_close(batch.dJ_dW1, torch.stack([one.dJ_dW1 for one in single]).mean(0))
    torch.testing.assert_close(batch.dJ_dW2, torch.stack([one.dJ_dW2 for one in single]).mean(0))


def test_no_autograd_is_involved():
    net, x, y = example("relu", "squared", 2)
    net.W1.requires_grad_()
    with torch.inference_mode():
        found = net.backward(x, y, net.forward(x, y))
    assert not found.dJ_dW1.requires_grad
