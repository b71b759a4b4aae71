"""Activation functions and their gradients: ReLU, pReLU, sigmoid, tanh (d2l 4.1.2)."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from lightning_d2l.book.demos import Demo
from lightning_d2l.config.colours import BLUE, GREY, ORANGE
from lightning_d2l.nets.mlp import ACTIVATIONS

SHOWN = {"relu": "ReLU", "prelu": "pReLU, slope 0.25", "sigmoid": "sigmoid", "tanh": "tanh"}


def inputs() -> Tensor:
    """x = -8, -7.9, ..., 7.9 in float64. Dividing integers gives 0 exactly, where ReLU has its kink."""
    return torch.arange(-80, 80, dtype=torch.float64) / 10


def value_and_gradient(activation: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """An elementwise function at x and its derivative by autograd, both in the shape of x."""
    x = x.detach().requires_grad_()
    value = activation(x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


def run(seed: int) -> Demo:
    """The demo is deterministic; `seed` is not used."""
    x = inputs()
    curves = {name: value_and_gradient(ACTIVATIONS[name]().to(x.dtype), x) for name in SHOWN}
    numbers: dict[str, float] = {}
    lines = [f"{'gradient of':<20}{'largest':>10}{'at x = -8':>14}{'at x = 7.9':>14}"]
    for name, (_, gradient) in curves.items():
        numbers |= {f"max {name}'": float(gradient.max()), f"{name}' at -8": float(gradient[0])}
        lines.append(f"  {SHOWN[name]:<18}{gradient.max():>10.4g}{gradient[0]:>14.4g}{gradient[-1]:>14.4g}")
    lines += [
        "sigmoid' = sigmoid (1 - sigmoid) is at most 1/4, at 0, so ten sigmoids in",
        f"sequence multiply a gradient by at most {0.25**10:.0e}. tanh' = 1 - tanh^2 is 1 at 0.",
        "Both vanish for large |x|. ReLU passes a gradient unchanged where x > 0, and",
        "blocks it elsewhere (torch defines it as 0 at the kink). pReLU multiplies it by",
        "a learned slope there.",
    ]
    return Demo("\n".join(lines), numbers, {"activations": picture(x, curves)})


def picture(x: Tensor, curves: dict[str, tuple[Tensor, Tensor]]) -> Figure:
    """The functions of x above, their gradients below, a column for each."""
    figure = Figure(figsize=(11, 4.8), dpi=120, layout="constrained")
    panels = figure.subplots(2, len(curves), sharex=True)
    for (upper, lower), name in zip(panels.T, curves, strict=True):
        value, gradient = curves[name]
        upper.plot(x, value, color=BLUE)
        upper.set_title(SHOWN[name])
        lower.plot(x, gradient, color=ORANGE)
        lower.set(xlabel="x", ylim=(-0.05, 1.1))
        peak = float(gradient.max())
        lower.axhline(peak, color=GREY, linestyle=":", linewidth=1)
        lower.text(-8, peak + 0.02, f"largest {peak:.3g}", fontsize=8, color=GREY)
        for panel in (upper, lower):
            panel.grid(alpha=0.3)
    panels[0, 0].set_ylabel("value")
    panels[1, 0].set_ylabel("gradient")
    return figure
