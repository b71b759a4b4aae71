"""Initial values of weights (d2l 4.8, 5.2.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lightning_d2l.config.registry import INITIALISATIONS

Init = str | Mapping[str, float | str]
"""A name, or {"name": ..., "std": of normal, "value": of constant, "bias_std": of the biases}."""


@runtime_checkable
class FactoredLayer(Protocol):
    """A linear layer that computes its weight from other parameters and initialises them itself.

    The protocol declares only the method: Python 3.12 and later look up data members without `__getattr__`, and so do
    not find a module's parameters. The bias is the attribute `bias`, as in nn.Linear.
    """

    def fill_weight(self, scheme: Callable[[Tensor], object]) -> None:
        """Initialise the factors; `scheme` fills a weight (out_features, in_features) in place."""


def gain(activation: str) -> float:
    """The factor that keeps the variance constant through an activation, by torch.nn.init.calculate_gain."""
    slopes = {"relu": 0.0, "leaky_relu": 0.01, "prelu": 0.25}
    if activation in slopes:
        return float(nn.init.calculate_gain("leaky_relu", slopes[activation]))
    return float(nn.init.calculate_gain("tanh" if activation == "tanh" else "linear"))


def thresholded_uniform_(weight: Tensor) -> None:
    """Draw from U(-10, 10) and keep what is at least 5 in absolute value, 0 elsewhere (d2l 5.2.2)."""
    nn.init.uniform_(weight, -10, 10)
    weight.data[weight.data.abs() < 5] = 0


def initialise(net: nn.Module, init: Init, activation: str = "identity") -> None:
    """Fill the weights of every linear layer by the scheme `init`, and its biases from N(0, bias_std^2) or with 0.

    "default" keeps torch's initial values; "kaiming" (He et al. 2015) is normal with variance gain^2 / n_in for
    the gain of `activation`; "xavier_uniform" and "xavier_normal" (Glorot and Bengio 2010) have variance
    2 / (n_in + n_out). A registered scheme is a function that fills a weight (out_features, in_features) in place.
    """
    settings = {"name": init} if isinstance(init, str) else dict(init)
    std, value, bias_std = (
        float(settings.get(key, other)) for key, other in (("std", 0.01), ("value", 0.0), ("bias_std", 0.0))
    )
    schemes: dict[str, Callable[[Tensor], object]] = {
        "normal": lambda w: nn.init.normal_(w, std=std),
        "xavier_uniform": nn.init.xavier_uniform_,
        "xavier_normal": nn.init.xavier_normal_,
        "kaiming": lambda w: nn.init.normal_(w, std=gain(activation) / w.shape[1] ** 0.5),
        "zeros": nn.init.zeros_,
        "constant": lambda w: nn.init.constant_(w, value),
        "thresholded_uniform": thresholded_uniform_,
    }
    if settings["name"] == "default":
        return
    name = str(settings["name"])
    scheme = INITIALISATIONS.get(name) or schemes[name]
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            with torch.no_grad():  # a registered scheme may change the weight itself
                scheme(layer.weight)
        elif isinstance(layer, FactoredLayer):
            layer.fill_weight(scheme)
        else:
            continue
        bias: Tensor | None = getattr(layer, "bias", None)
        if bias is not None:
            nn.init.normal_(bias, std=bias_std) if bias_std > 0 else nn.init.zeros_(bias)
