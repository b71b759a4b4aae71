"""Any number of layers without activation functions is one affine map (d2l 4.1.1)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from lightning_d2l.book.demos import Demo
from lightning_d2l.config.colours import BLUE, ORANGE
from lightning_d2l.nets.mlp import MLP

WIDTHS = [32, 32, 32, 32]


def collapse(layers: Iterable[nn.Linear]) -> tuple[Tensor, Tensor]:
    """The weight W (n_out, n_in) and bias b (n_out,) of the affine map that is the composition of the layers.

    Applied from the first layer on: W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2).
    """
    first, *others = layers
    weight, bias = first.weight.detach(), _bias(first)
    for layer in others:
        weight, bias = layer.weight.detach() @ weight, layer.weight.detach() @ bias + _bias(layer)
    return weight, bias


def best_affine_fit(x: Tensor, y: Tensor) -> Tensor:
    """The values (n, q) at x (n, d) of the affine function closest to y (n, q), by least squares."""
    design = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    fitted: Tensor = design @ torch.linalg.lstsq(design, y).solution
    return fitted


def difference(y: Tensor, other: Tensor) -> float:
    """The distance between two outputs (n, q), as a fraction of the norm of y minus its mean."""
    return float((y - other).norm() / (y - y.mean(0)).norm())


def run(seed: int) -> Demo:
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)[:, None]
    outputs = {}
    for activation in ("identity", "relu"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # the same weights for both
            net = MLP(1, 1, WIDTHS, activation).double()
        with torch.no_grad():
            outputs[activation] = net(x)
    weight, bias = collapse(layer for layer in net if isinstance(layer, nn.Linear))
    affine = x @ weight.T + bias
    fitted = best_affine_fit(x, outputs["relu"])
    numbers = {
        "difference without activation": difference(outputs["identity"], affine),
        "difference with relu": difference(outputs["relu"], fitted),
    }
    parameters = sum(p.numel() for p in net.parameters())
    text = (
        f"Five linear layers, 1-32-32-32-32-1, with {parameters:,} weights and biases:\n"
        f"  they are the line y = {weight.item():.5f} x + {bias.item():.5f}\n"
        f"  difference of the network from that line  {numbers['difference without activation']:.1e}  (rounding)\n"
        "The same weights with ReLU after each hidden layer:\n"
        f"  difference from the best-fitting line     {numbers['difference with relu']:.2f}\n"
        "Differences are fractions of the output's spread around its mean.\n"
        "W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2) is affine again, so depth alone\n"
        "adds nothing. Activation functions between the layers prevent the collapse."
    )
    figure = Figure(figsize=(9.5, 3.8), dpi=120, layout="constrained")
    panels = figure.subplots(1, 2)
    shown = (
        ("Without activation: one affine map", outputs["identity"], affine, "collapsed: y = W x + b"),
        ("The same weights with ReLU: not affine", outputs["relu"], fitted, "best affine fit"),
    )
    for panel, (title, output, line, label) in zip(panels, shown, strict=True):
        panel.plot(x, output, color=BLUE, linewidth=3, label="five layers")
        panel.plot(x, line, "--", color=ORANGE, label=label)
        panel.set(title=title, xlabel="x", ylabel="output")
        panel.grid(alpha=0.3)
        panel.legend()
    return Demo(text, numbers, {"collapse": figure})


def _bias(layer: nn.Linear) -> Tensor:
    return layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias.detach()
