import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from lightning_d2l.config.check import RequestError
from lightning_d2l.nets.phm import PHMMLP, PHMLinear
from tests.runs import config


@pytest.mark.parametrize("n", [2, 3, 4, 12])
def test_weight_is_the_sum_of_kronecker_products(n):
    layer = PHMLinear(24, 36, n).double()
    by_hand = sum(np.kron(a, s) for a, s in zip(layer.A.detach().numpy(), layer.S.detach().numpy(), strict=True))
    np.testing.assert_allclose(layer.weight.detach().numpy(), by_hand, atol=1e-14)
    x = torch.randn(5, 24, dtype=torch.float64)
    np.testing.assert_allclose(layer(x).detach(), x.numpy() @ by_hand.T + layer.bias.detach().numpy(), atol=1e-12)


def test_quaternion_product_is_a_special_case():
    """Hamilton's product as PHM with n = 4 (Zhang et al. 2021, equation 6): i j = k, j i = -k, i i = -1."""
    layer = PHMLinear(4, 4, 4, bias=False)
    units = torch.eye(4)
    rules = {(0, 0): (0, 1), (1, 1): (0, -1), (2, 2): (0, -1), (3, 3): (0, -1),
             (1, 2): (3, 1), (2, 1): (3, -1), (2, 3): (1, 1), (3, 2): (1, -1), (3, 1): (2, 1), (1, 3): (2, -1),
             **{(0, j): (j, 1) for j in (1, 2, 3)}, **{(i, 0): (i, 1) for i in (1, 2, 3)}}  # fmt: skip
    with torch.no_grad():
        layer.A.zero_()
        for (i, j), (k, sign) in rules.items():
            layer.A[i, k, j] = sign  # e_i e_j = sign e_k: A_i is multiplication by e_i from the left
        left = torch.tensor([0.5, -1.0, 2.0, 3.0])
        layer.S.copy_(left[:, None, None])
    for j in range(4):
        expected = sum(left[i] * sign * units[k] for (i, jj), (k, sign) in rules.items() if jj == j)
        torch.testing.assert_close(layer(units[j]), expected)


def test_with_n_1_it_is_a_linear_layer():
    torch.manual_seed(3)
    linear = nn.Linear(6, 4)
    torch.manual_seed(3)
    phm = PHMLinear(6, 4, 1)
    assert torch.equal(phm.weight, linear.weight)
    assert torch.equal(phm.bias, linear.bias)
    x, y = torch.randn(5, 6), torch.randn(5, 4)
    for layer in (linear, phm):
        functional.mse_loss(layer(x), y).backward()
    assert torch.equal(phm(x), linear(x))
    assert torch.equal(phm.S.grad[0], linear.weight.grad)
    assert [name for name, _ in phm.named_parameters()] == ["S", "bias"]


def test_gradients_reach_every_factor():
    layer = PHMLinear(8, 4, 2).double()
    x = torch.randn(3, 8, dtype=torch.float64)

    def output(a: torch.Tensor, s: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, {"A": a, "S": s, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(output, (layer.A, layer.S, layer.bias))
    layer(x).square().sum().backward()
    assert all((p.grad != 0).all() for p in layer.parameters())


@pytest.mark.parametrize(("n", "weights"), [(1, 200_704), (2, 100_360), (4, 50_240), (8, 25_600), (16, 16_640)])
def test_number_of_weights_from_784_to_256(n, weights):
    assert sum(p.numel() for p in PHMLinear(784, 256, n, bias=False).parameters()) == weights


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        ("default", 1 / (3 * 400)),
        ({"name": "normal", "std": 0.02}, 0.02**2),
        ("xavier_uniform", 2 / (400 + 300)),
        ("kaiming", 2 / 400),
        ("zeros", 0.0),
    ],
)
def test_entries_have_the_variance_of_a_plain_weight(init, variance):
    torch.manual_seed(0)
    first = PHMMLP(400, 10, 300, 4, "relu", init)[1]
    assert isinstance(first, PHMLinear)
    assert first.weight.mean().item() == pytest.approx(0, abs=1e-3)
    for block in first.weight.reshape(4, 75, 4, 100).permute(0, 2, 1, 3).reshape(16, -1):
        assert block.var().item() == pytest.approx(variance, rel=0.1)
    assert first.bias.any() == (init == "default")


def test_sizes_that_n_does_not_divide_are_rejected():
    with pytest.raises(ValueError, match="in_features=784: must be a multiple of n=3"):
        PHMLinear(784, 256, 3)
    with pytest.raises(ValueError, match="out_features=10"):
        PHMLinear(784, 10, 4)
    for wrong, answer in {
        "model.n=3": r"model.n=3: must divide every one of model.num_hiddens=\[256\]",
        "data.resize=27": "model.n=4: must divide 729",
        "data=synthetic_regression": "model.n=4: must divide 2",
        "model.n=0": "model.n=0: must be a whole number from 1 up",
    }.items():
        with pytest.raises(RequestError, match=answer):
            config("model=phm_mlp", wrong)
    config("model=phm_mlp", "data=polynomial", "data.degree=7", "model.num_hiddens=[8,12]")
