"""Initial values of weights (d2l 4.8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

Init = str | Mapping[str, float | str]
"""A name, or {"name": ..., "std": of normal, "value": of constant}."""


def gain(activation: str) -> float:
    """The factor that keeps the variance level through an activation, as torch.nn.init.calculate_gain has it."""
    slopes = {"relu": 0.0, "leaky_relu": 0.01, "prelu": 0.25}
    if activation in slopes:
        return float(nn.init.calculate_gain("leaky_relu", slopes[activation]))
    return float(nn.init.calculate_gain("tanh" if activation == "tanh" else "linear"))


def initialise(net: nn.Module, init: Init, activation: str = "identity") -> None:
    """Set the weights of every linear layer by the scheme that `init` names, and its biases to 0.

    "default" leaves torch's own values; "kaiming" (He et al. 2015) is normal with variance gain^2 / n_in for the
    gain of `activation`; "xavier_uniform" and "xavier_normal" (Glorot and Bengio 2010) have variance
    2 / (n_in + n_out).
    """
    settings = {"name": init} if isinstance(init, str) else dict(init)
    std, value = float(settings.get("std", 0.01)), float(settings.get("value", 0.0))
    schemes: dict[str, Callable[[Tensor], object]] = {
        "normal": lambda w: nn.init.normal_(w, std=std),
        "xavier_uniform": nn.init.xavier_uniform_,
        "xavier_normal": nn.init.xavier_normal_,
        "kaiming": lambda w: nn.init.normal_(w, std=gain(activation) / w.shape[1] ** 0.5),
        "zeros": nn.init.zeros_,
        "constant": lambda w: nn.init.constant_(w, value),
    }
    if settings["name"] == "default":
        return
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            schemes[str(settings["name"])](layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
