"""Dropout of a small tensor keeps the mean and increases the variance (d2l 4.6.4)."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from lightning_d2l.book.demos import Demo
from lightning_d2l.config.colours import BLUE, ORANGE, RED
from lightning_d2l.scratch.regularisation import dropout_layer

PROBABILITIES = (0.0, 0.5, 1.0)


def moments(h: Tensor, p: float, draws: int) -> tuple[Tensor, Tensor]:
    """The mean and the variance of each entry of h (k,) over independent draws of dropout, both (k,)."""
    dropped = dropout_layer(h.expand(draws, -1).clone(), p)
    return dropped.mean(0), dropped.var(0)


def run(seed: int, draws: int = 20_000) -> Demo:
    X = torch.arange(16, dtype=torch.float64).reshape(2, 8)
    h = X.flatten()[1:]  # without the entry 0, whose ratio to its mean is undefined
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shown = {p: dropout_layer(X, p) for p in PROBABILITIES}
        measured = {p: moments(h, p, draws) for p in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)}
        layer = nn.Dropout(0.5)
        in_training = layer.train()(X)
        in_evaluation = layer.eval()(X)
    ratios = {
        p: ((mean / h).mean().item(), (variance / (p / (1 - p) * h**2)).mean().item())
        for p, (mean, variance) in measured.items()
    }
    lines = ["Dropout of a 2 x 8 tensor of 0 to 15:"]
    for p, Y in shown.items():
        lines += [f"  p = {p:<5g}{row}" if i == 0 else f"           {row}" for i, row in enumerate(_rows(Y))]
    lines += [
        f"Each entry h over {draws:,} draws, then averaged over the entries:",
        f"{'p':>6}{'mean / h':>14}{'variance (1-p)/(p h^2)':>28}",
        *(f"{p:>6}{mean:>14.4f}{variance:>28.4f}" for p, (mean, variance) in ratios.items()),
        "An entry is 0 with probability p and h/(1-p) otherwise, so its mean is h and its",
        "variance p/(1-p) h^2: the noise is proportional to h. Since training keeps the",
        "mean, prediction uses the network unchanged. nn.Dropout(0.5), first row:",
        f"  train mode {_rows(in_training)[0]}",
        f"  eval mode  {_rows(in_evaluation)[0]}",
    ]
    mean, variance = ratios[0.5]
    numbers = {"mean / h": mean, "variance (1-p)/(p h^2)": variance}
    numbers["largest change in eval mode"] = (in_evaluation - X).abs().max().item()
    return Demo("\n".join(lines), numbers, {"dropout": picture(shown, h, measured)})


def _rows(X: Tensor) -> list[str]:
    return ["".join(f"{value:>6g}" for value in row) for row in X.tolist()]


def picture(shown: dict[float, Tensor], h: Tensor, measured: dict[float, tuple[Tensor, Tensor]]) -> Figure:
    """The tensor after dropout for each p; below, mean / h and variance / h^2 by p."""
    figure = Figure(figsize=(10, 6), dpi=120, layout="constrained")
    grid = figure.add_gridspec(2, 6, height_ratios=(1, 2.2))
    largest = max(float(X.max()) for X in shown.values())
    for column, (p, X) in enumerate(shown.items()):
        panel = figure.add_subplot(grid[0, 2 * column : 2 * column + 2])
        panel.imshow(X.numpy(), cmap="Blues", vmin=0, vmax=1.4 * largest)
        for i, row in enumerate(X.tolist()):
            for j, value in enumerate(row):
                dropped = value == 0 and (i, j) != (0, 0)
                panel.text(j, i, f"{value:g}", ha="center", va="center", fontsize=9, color=RED if dropped else "black")
        panel.set_title(f"p = {p:g}" + ", red: dropped" * (0 < p < 1))
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(True)
    left, right = figure.add_subplot(grid[1, :3]), figure.add_subplot(grid[1, 3:])
    probabilities = torch.linspace(0, 0.83, 200, dtype=torch.float64)
    left.axhline(1, color=ORANGE, linestyle="--", label="theory: h")
    right.plot(
        probabilities,
        probabilities / (1 - probabilities),
        "--",
        color=ORANGE,
        label="theory: p/(1 \N{MINUS SIGN} p) h²",
    )
    for panel, which, power, name in ((left, 0, 1, "mean / h"), (right, 1, 2, "variance / h²")):
        for p, found in measured.items():
            values = found[which] / h**power
            label = "measured, one point an entry" if p == min(measured) else None
            panel.plot([p] * len(h), values, "o", color=BLUE, markersize=4, alpha=0.5, label=label)
        panel.set(xlabel="dropout probability p", ylabel=name, xlim=(0, 0.85))
        panel.grid(alpha=0.3)
        panel.legend(fontsize=9)
    left.set(title="The mean stays", ylim=(0.8, 1.2))
    right.set_title("The variance grows without bound")
    return figure
