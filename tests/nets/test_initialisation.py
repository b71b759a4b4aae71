import pytest
import torch
from torch import nn

from lightning_d2l.nets.blocks import NestedMLP
from lightning_d2l.nets.initialisation import initialise
from lightning_d2l.nets.phm import PHMLinear


def test_thresholded_uniform_is_zero_half_of_the_time_and_never_small():
    torch.manual_seed(0)
    layer = nn.Linear(400, 300)
    initialise(layer, "thresholded_uniform")
    size = layer.weight.detach().abs()
    kept = size[size > 0]
    assert len(kept) / size.numel() == pytest.approx(0.5, abs=0.01)
    assert kept.min() >= 5
    assert kept.max() <= 10
    assert kept.mean().item() == pytest.approx(7.5, rel=0.01)
    assert layer.weight.mean().item() == pytest.approx(0, abs=0.1)
    assert not layer.bias.any()


@pytest.mark.parametrize("layer", [nn.Linear(4, 20_000), PHMLinear(4, 20_000, 2)])
def test_biases_are_zero_or_normal_with_bias_std(layer):
    initialise(layer, {"name": "normal", "std": 1.0, "bias_std": 0.0})
    assert not layer.bias.any()
    initialise(layer, {"name": "normal", "std": 1.0, "bias_std": 0.3})
    assert layer.bias.std().item() == pytest.approx(0.3, rel=0.05)
    assert layer.weight.std().item() == pytest.approx(1, rel=0.05)


def test_without_bias_std_biases_draw_no_random_numbers():
    """Without bias_std the biases draw no random numbers, so the weights do not depend on them."""
    nets = [nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)) for _ in range(2)]
    torch.manual_seed(0)
    initialise(nets[0], {"name": "normal", "std": 0.1, "bias_std": 0.0})
    torch.manual_seed(0)
    for layer in nets[1]:
        nn.init.normal_(layer.weight, std=0.1)
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(*nets, strict=True))


def test_layers_of_nested_blocks_are_found():
    torch.manual_seed(0)
    net = NestedMLP(6, 2, [5, 4], {"name": "constant", "value": 0.3, "bias_std": 0.0})
    weights = [m for m in net.modules() if isinstance(m, nn.Linear)]
    assert len(weights) == 3
    assert all((m.weight == 0.3).all() and not m.bias.any() for m in weights)
