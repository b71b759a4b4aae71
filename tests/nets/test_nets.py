import math

import pytest
import torch
from torch import nn

from lightning_d2l.config.check import RequestError
from lightning_d2l.nets.initialisation import gain, initialise
from lightning_d2l.nets.linear import LinearRegression, SoftmaxRegression
from lightning_d2l.nets.mlp import ACTIVATIONS, MLP
from tests.runs import config


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_parameter_counts_of_the_book():
    assert count(SoftmaxRegression(784, 10)) == 7_850
    assert count(MLP(784, 10, 256)) == 203_530
    assert count(MLP(784, 10, [256, 256], dropout=[0.2, 0.5])) == 269_322
    assert count(LinearRegression(4, 1, bias=False)) == 4


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("relu", lambda x: x.clamp(min=0)),
        ("prelu", lambda x: torch.where(x > 0, x, 0.25 * x)),
        ("leaky_relu", lambda x: torch.where(x > 0, x, 0.01 * x)),
        ("sigmoid", lambda x: 1 / (1 + torch.exp(-x))),
        ("tanh", lambda x: (torch.exp(2 * x) - 1) / (torch.exp(2 * x) + 1)),
        ("identity", lambda x: x),
    ],
)
def test_mlp_is_affine_maps_with_an_activation_between(name, function):
    torch.manual_seed(0)
    net = MLP(6, 3, [5, 4], name).double()
    first, second, last = (layer for layer in net if isinstance(layer, nn.Linear))
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    hidden = function(x.reshape(7, 6) @ first.weight.T + first.bias)
    hidden = function(hidden @ second.weight.T + second.bias)
    torch.testing.assert_close(net(x), hidden @ last.weight.T + last.bias)


def test_num_layers_repeats_one_width_and_none_is_the_linear_model():
    for width in (5, [5]):
        torch.manual_seed(0)
        repeated = MLP(6, 3, width, "tanh", num_layers=3)
        torch.manual_seed(0)
        listed = MLP(6, 3, [5, 5, 5], "tanh")
        x = torch.randn(4, 6)
        assert torch.equal(repeated(x), listed(x))
    linear = MLP(6, 3, 5, "tanh", num_layers=0)
    assert count(linear) == count(SoftmaxRegression(6, 3))
    torch.testing.assert_close(linear(x), x @ linear[1].weight.T + linear[1].bias)


def test_num_layers_takes_one_width_and_a_dropout_for_each_layer():
    config("model=mlp", "model.num_layers=3", "model.num_hiddens=8", "model.dropout=[0.1,0.2,0.3]")
    for wrong, said in (
        (["model.num_hiddens=[8,9]"], r"model.num_hiddens=\[8, 9\]: must be one number where model.num_layers=3"),
        (["model.dropout=[0.1,0.2]"], r"model.dropout=\[0.1, 0.2\]: .* as model.num_layers=3"),
        (["model.num_layers=-1"], "model.num_layers=-1: must be a whole number from 0 up or null"),
    ):
        with pytest.raises(RequestError, match=said):
            config("model=mlp", "model.num_layers=3", *wrong)


def test_every_registered_activation_exists():
    from lightning_d2l.config import registry

    assert list(registry.ACTIVATIONS) == list(ACTIVATIONS)


def test_each_hidden_layer_has_its_dropout_rate_and_only_in_training():
    net = MLP(20, 2, [1000, 1000], "identity", [0.2, 0.5])
    rates = [layer.p for layer in net if isinstance(layer, nn.Dropout)]
    assert rates == [0.2, 0.5]
    assert isinstance(net[-1], nn.Linear)
    x = torch.randn(1, 20)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        ({"name": "normal", "std": 0.05}, 0.05**2),
        ("xavier_uniform", 2 / (400 + 300)),
        ("xavier_normal", 2 / (400 + 300)),
        ("kaiming", 2 / 400),
        ("zeros", 0.0),
        ("default", 1 / (3 * 400)),
    ],
)
def test_variance_of_initial_weights(init, variance):
    torch.manual_seed(0)
    net = MLP(400, 10, 300, "relu", init=init)
    weight = net[1].weight
    assert weight.var().item() == pytest.approx(variance, rel=0.03)
    if init != "default":
        assert not net[1].bias.any()


def test_xavier_uniform_has_the_books_bound():
    layer = nn.Linear(4, 8)
    initialise(layer, "xavier_uniform")
    bound = math.sqrt(6 / (4 + 8))
    assert bound == pytest.approx(0.7071, abs=1e-4)
    assert layer.weight.abs().max() <= bound
    assert layer.weight.abs().max() > 0.8 * bound


def test_constant_initialisation_leaves_hidden_units_equal():
    net = MLP(6, 2, 5, "tanh", init={"name": "constant", "value": 0.3})
    nn.functional.mse_loss(net(torch.randn(4, 6)), torch.randn(4, 2)).backward()
    gradient = net[1].weight.grad
    assert gradient.abs().max() > 0  # equal within rounding: a product may sum its rows in different orders
    torch.testing.assert_close(gradient, gradient[:1].expand_as(gradient), rtol=1e-5, atol=1e-7)


def test_gain_keeps_the_second_moment_level():
    x = torch.randn(200_000)
    for name in ("relu", "prelu", "leaky_relu", "identity"):
        output = gain(name) * ACTIVATIONS[name]()(x)
        assert output.pow(2).mean().item() == pytest.approx(1, rel=0.02)
