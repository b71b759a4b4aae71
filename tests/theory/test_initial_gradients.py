import numpy as np
import pytest
import torch
from torch import nn

from lightning_d2l.data.download import official_folder, read_official
from lightning_d2l.nets.initialisation import initialise
from lightning_d2l.nets.mlp import ACTIVATIONS, MLP
from lightning_d2l.theory.initialisation import initial_gradients
from lightning_d2l.theory.signals import IMAGES, pair_means, weight_variance


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "sigmoid"])
def test_pair_means_by_simulation(activation):
    random = torch.Generator().manual_seed(0)
    u, e = torch.randn(2, 400_000, generator=random, dtype=torch.float64)
    u, v = 1.3**0.5 * u, 1.3**0.5 * (0.6 * u + 0.8 * e)
    pair = [z.clone().requires_grad_() for z in (u, v)]
    values = [ACTIVATIONS[activation]()(z) for z in pair]
    slopes = torch.autograd.grad(sum(f.sum() for f in values), pair)
    expected = pair_means(activation, 1.3, 0.6 * 1.3)
    for (a, b), theory_value in zip((values, slopes), expected, strict=True):
        product = (a * b).detach()
        assert abs(product.mean() - theory_value) < 4 * product.std() / 400_000**0.5 + 1e-9


@pytest.mark.parametrize("init", ["normal", "xavier_normal", "xavier_uniform", "kaiming"])
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "sigmoid"])
def test_weight_variance_is_that_of_the_initialisation(init, activation):
    layer = nn.Linear(300, 700)
    torch.manual_seed(0)
    initialise(layer, init, activation)
    assert layer.weight.var().item() == pytest.approx(weight_variance(init, activation, 300, 700), rel=0.02)


def images_by_class(root, n):
    """The first n of each class, (10, n, 784) in [0, 1]."""
    x, y = read_official(official_folder(root, "official")[0], "train")
    return torch.stack([torch.from_numpy(x[y == k][:n]).flatten(1).float() / 255 for k in range(10)])


def test_mean_inner_products_of_the_images(official_root):
    n = 6000
    x = images_by_class(official_root, n)
    own = x.square().sum((1, 2)).double() / n
    between = (means := x.mean(1).double()) @ means.T
    same = (between.diagonal() * n**2 - own * n) / (n * (n - 1))
    other = (between.sum() - between.trace()) / 90
    for name, value in (("own", own.mean()), ("same", same.mean()), ("other", other)):
        assert IMAGES[name] == pytest.approx(value.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("init", "activation"), [("normal", "tanh"), ("xavier_normal", "relu"), ("xavier_normal", "sigmoid")]
)
def test_initial_gradients_are_those_of_wide_networks(official_root, init, activation):
    """Root mean square over networks; single ones differ, since they have 10 outputs and a finite width."""
    x, y = images_by_class(official_root, 20).flatten(0, 1), torch.arange(10).repeat_interleave(20)
    squares = []
    for seed in range(16):
        torch.manual_seed(seed)
        net = MLP(784, 10, 256, activation, init=init, num_layers=4)
        nn.functional.cross_entropy(net(x), y).backward()
        weights = [p for p in net.parameters() if p.dim() == 2]
        squares.append([w.grad.double().norm().item() ** 2 for w in (weights[0], weights[-1])])
    expected = initial_gradients(init, activation, 256, 4, 200)
    np.testing.assert_allclose(np.sqrt(np.mean(squares, 0)), expected, rtol=0.3)
