"""Xavier initialisation: variance 2 / (n_in + n_out), uniform within sqrt(6 / (n_in + n_out)) (d2l 4.8.2.3)."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightning_d2l.book.demos import Demo
from lightning_d2l.config.colours import BLUE, ORANGE, RED
from lightning_d2l.data.streams import stream
from lightning_d2l.nets.initialisation import initialise

SIZES = ((4, 8), (20, 256), (256, 10))
NUMBERS = 100_000  # weights drawn for each size


def draws(n_in: int, n_out: int, scheme: str) -> Tensor:
    """At least NUMBERS weights, (m,), of as many layers as that takes."""
    weights = []
    for _ in range(-(-NUMBERS // (n_in * n_out))):
        layer = torch.nn.Linear(n_in, n_out)
        initialise(layer, scheme)
        weights.append(layer.weight.detach().flatten())
    return torch.cat(weights)


def bound(n_in: int, n_out: int) -> float:
    """The bound of the uniform distribution (Glorot and Bengio 2010, equation 16)."""
    return float((6 / (n_in + n_out)) ** 0.5)


def run(seed: int) -> Demo:
    numbers: dict[str, float] = {}
    lines = [
        f"At least {NUMBERS:,} weights of each layer, formula and measurement:",
        f"  {'layer':<18}{'bound':>10}{'largest |w|':>13}{'variance':>11}{'uniform':>11}{'normal':>11}",
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("demo", seed, 0))
        for n_in, n_out in SIZES:
            name, variance = f"Linear({n_in}, {n_out})", 2 / (n_in + n_out)
            uniform, normal = (draws(n_in, n_out, scheme) for scheme in ("xavier_uniform", "xavier_normal"))
            largest, spreads = uniform.abs().max().item(), (uniform.var().item(), normal.var().item())
            cells = "".join(f"{value:>11.5f}" for value in (variance, *spreads))
            lines.append(f"  {name:<18}{bound(n_in, n_out):>10.4f}{largest:>13.4f}{cells}")
            numbers |= {
                f"bound {name}": bound(n_in, n_out),
                f"largest |w| {name}": largest,
                f"variance {name}": variance,
                f"variance of uniform weights {name}": spreads[0],
                f"variance of normal weights {name}": spreads[1],
            }
            if (n_in, n_out) == SIZES[0]:
                figure = picture(uniform, normal, name, bound(n_in, n_out))
    return Demo("\n".join(lines), numbers, {"xavier": figure})


def picture(uniform: Tensor, normal: Tensor, name: str, end: float) -> Figure:
    """The distributions of uniform and normal weights, with the bound of the uniform distribution."""
    figure = Figure(figsize=(5.6, 3.6), dpi=120, layout="constrained")
    panel = figure.subplots()
    for weights, colour, label in ((uniform, BLUE, "uniform"), (normal, ORANGE, "normal")):
        edges = [end * k / 20 for k in range(-60, 61)]
        panel.hist(weights, edges, density=True, histtype="step", color=colour, linewidth=1.5, label=label)
    for x in (-end, end):
        panel.axvline(x, color=RED, linestyle="--", label="bound" if x > 0 else None)
    panel.set(xlabel=f"weight of {name}", ylabel="density", xlim=(-2, 2), title="Xavier initialisation, equal variance")
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8)
    return figure
