"""Parameters in words."""

import pytest
from torch import nn

from lightning_d2l.nets.blocks import MLPBlock, NestedMLP, TiedMLP
from lightning_d2l.nets.layer_names import parameter_names
from lightning_d2l.nets.linear import LinearRegression
from lightning_d2l.nets.mlp import MLP
from lightning_d2l.scratch.mlp import MLPScratch


def both(*layers: str) -> list[str]:
    return [f"{layer} {part}" for layer in layers for part in ("weight", "bias")]


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"fc": nn.Linear(2, 2)})
        self.scale = nn.Parameter(nn.Linear(1, 1).bias.detach())


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (MLP(4, 2, [3, 3]), both("hidden 1", "hidden 2", "output")),
        (MLP(4, 2, [3], activation="prelu"), [*both("hidden 1"), "PReLU 1 weight", *both("output")]),
        (LinearRegression(2, 1), both("output")),
        (MLPBlock(4, 2, 3), both("hidden", "out")),
        (NestedMLP(4, 2, [3, 3]), both("hidden 1", "hidden 2", "linear")),
        (TiedMLP(4, 2, 3), both("hidden 1", "hidden 2", "output")),
        (MLPScratch(4, 2, 3), ["W1", "b1", "W2", "b2"]),
        (Own(), [*both("hidden 1"), *both("BatchNorm1d 1"), *both("output")]),
        (Encoder(), ["scale", *both("encoder.fc")]),
        (nn.Linear(2, 1), ["weight", "bias"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_parameters_in_words(net, expected):
    names = parameter_names(net)
    assert [*names.values()] == expected
    assert [*names] == [name for name, _ in net.named_parameters()]
