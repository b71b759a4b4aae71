"""Hidden units with equal initial weights stay equal under gradient descent (d2l 4.8.1.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from lightning_d2l.book.demos import Demo
from lightning_d2l.config.colours import BLUE, GREEN, ORANGE
from lightning_d2l.data.batches import Batches
from lightning_d2l.data.streams import generator, stream
from lightning_d2l.nets.initialisation import Init
from lightning_d2l.nets.mlp import MLP

UNITS, EPOCHS, LR = 8, 40, 0.05
CASES: dict[str, tuple[Init, float]] = {
    "constant": ({"name": "constant", "value": 0.5}, 0.0),
    "constant with dropout": ({"name": "constant", "value": 0.5}, 0.2),
    "random": ({"name": "normal", "std": 0.5}, 0.0),
}
"""Initialisation and dropout of each network."""
STYLES = {"constant": (BLUE, "-"), "constant with dropout": (ORANGE, "--"), "random": (GREEN, "-.")}


@dataclass
class Trained:
    """Weights of the hidden layer before and after each minibatch (steps + 1, units, inputs), and the final loss.

    The loss is the mean squared error without dropout, as a fraction of the variance of the targets.
    """

    weights: Tensor
    loss: float


def distinct_units(weight: Tensor, tolerance: float = 1e-6) -> int:
    """The number of distinct rows of a weight matrix (units, inputs), up to a tolerance in the maximum norm."""
    kept: list[Tensor] = []
    for row in weight:
        if all((row - other).abs().max() > tolerance for other in kept):
            kept.append(row)
    return len(kept)


def train(init: Init, dropout: float, seed: int) -> Trained:
    """Train a tanh network with one hidden layer by minibatch SGD on y = x1 x2, which no single unit can represent."""
    x = torch.randn(256, 2, generator=generator("demo", seed, 0))
    y = x.prod(1, keepdim=True)
    batches = Batches(x, y, 16, torch.float32, shuffle_seed=stream("demo", seed, 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("demo", seed, 2))
        net = MLP(2, 1, UNITS, "tanh", dropout, init=init)
        hidden = next(layer for layer in net if isinstance(layer, nn.Linear))
        optimizer = torch.optim.SGD(net.parameters(), LR)
        weights = [hidden.weight.detach().clone()]
        for epoch in range(EPOCHS):
            batches.set_epoch(epoch)
            for features, targets in batches:
                optimizer.zero_grad()
                nn.functional.mse_loss(net(features), targets).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                weights.append(hidden.weight.detach().clone())
    with torch.no_grad():
        loss = float(nn.functional.mse_loss(net.eval()(x), y) / y.var())
    return Trained(torch.stack(weights), loss)


def run(seed: int) -> Demo:
    results = {name: train(init, dropout, seed) for name, (init, dropout) in CASES.items()}
    numbers: dict[str, float] = {}
    lines = [
        f"{UNITS} tanh units trained by SGD for {EPOCHS} epochs on y = x1 x2:",
        f"{'initialisation':<24}{'distinct units':>14}{'rank of weights':>18}{'loss / variance':>18}",
    ]
    for name, result in results.items():
        last = result.weights[-1]
        distinct, rank = distinct_units(last), int(torch.linalg.matrix_rank(last, rtol=1e-5))
        numbers |= {f"distinct units, {name}": float(distinct), f"rank, {name}": float(rank)}
        numbers[f"loss, {name}"] = result.loss
        lines.append(f"{name:<24}{distinct:>14}{rank:>18}{result.loss:>18.3f}")
    lines += [
        "Units with equal weights have equal gradients, so SGD keeps them equal, and the",
        "network is equivalent to one with a single hidden unit. Random initial weights",
        "break the symmetry. Dropout breaks it too, at the first minibatch, since it",
        "drops each unit on different samples, but it is no substitute.",
    ]
    return Demo("\n".join(lines), numbers, {"symmetry": picture(results)})


def picture(results: dict[str, Trained]) -> Figure:
    """The number of distinct units by minibatch, and for each network one weight of each unit."""
    figure = Figure(figsize=(12, 3.6), dpi=120, layout="constrained")
    left, *others = figure.subplots(1, len(results) + 1)
    shown = [*range(11), *range(20, len(results["random"].weights), 20)]  # the first steps, then every 20th
    for name, panel in zip(results, others, strict=True):
        weights, (colour, line) = results[name].weights, STYLES[name]
        left.plot(shown, [distinct_units(weights[step]) for step in shown], line, color=colour, label=name)
        panel.plot(weights[:, :, 0], color=colour, linewidth=1)
        panel.set_title(f"{name}: {distinct_units(weights[-1])} distinct", fontsize=10)
        panel.set(xlabel="minibatch")
        panel.sharey(others[0])
    others[0].set_ylabel("first weight of each hidden unit")
    left.set_xscale("symlog", linthresh=1)
    left.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])
    left.set(xlabel="minibatch", ylabel=f"distinct hidden units of {UNITS}", ylim=(0, UNITS + 3))
    left.set_title("Units that start equal stay equal", fontsize=10)
    left.legend(fontsize=8, loc="upper left")
    for panel in (left, *others):
        panel.grid(alpha=0.3)
    return figure
