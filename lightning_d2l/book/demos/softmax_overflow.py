"""The naive softmax overflows in float32; the LogSumExp form does not (d2l 3.6.4 and 3.7.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightning_d2l.book.demos import Demo
from lightning_d2l.config.colours import BLUE, GREEN, GREY, ORANGE
from lightning_d2l.scratch.softmax_regression import (
    accuracy,
    cross_entropy,
    cross_entropy_with_logits,
    softmax,
    stable_softmax,
)

Loss = Callable[[Tensor, Tensor], Tensor]


def naive(logits: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy (n,) of logits (n, q) and classes y (n,) in two steps: the softmax, then its logarithm."""
    return cross_entropy(softmax(logits), y)


def loss_and_gradient(loss: Loss, logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (n,) and, by autograd, the gradients (n, q) of each with respect to its own logits (n, q)."""
    logits = logits.detach().requires_grad_()
    values = loss(logits, y)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    return values.detach(), gradient


def spread_logits(s: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (s, 0, -s) for each s (n,), and the third class as the true one: a loss of about 2 s."""
    return torch.stack([s, torch.zeros_like(s), -s], 1), torch.full((len(s),), 2)


def failures(s: Tensor) -> dict[str, float]:
    """The first of the values s (n,) at which the naive form fails on logits (s, 0, -s), for each kind of failure."""
    logits, y = spread_logits(s)
    loss, gradient = loss_and_gradient(naive, logits, y)
    _, right_gradient = loss_and_gradient(cross_entropy_with_logits, logits, y)
    failed = {
        "naive gradient wrong by 0.01 from s": ((gradient - right_gradient).abs() > 0.01).any(1),
        "naive gradient nan from s": gradient.isnan().any(1),
        "naive loss infinite from s": loss.isinf(),
        "naive softmax nan from s": softmax(logits).isnan().any(1),
    }
    return {name: float(s[where][0]) for name, where in failed.items()}


def run(seed: int) -> Demo:
    toy, y = torch.tensor([[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]]), torch.tensor([0, 2])
    toy_losses, toy_accuracy = cross_entropy(toy, y).tolist(), accuracy(toy, y)
    large, third = spread_logits(torch.tensor([1000.0]))
    random = torch.Generator().manual_seed(seed)
    logits, classes = 3 * torch.randn(100, 10, generator=random), torch.randint(10, (100,), generator=random)
    _, gradient = loss_and_gradient(cross_entropy_with_logits, logits, classes)
    by_hand = stable_softmax(logits) - torch.nn.functional.one_hot(classes, 10)
    s = torch.arange(0, 140, 0.25)
    first = failures(s)
    wrong, undefined, infinite, no_softmax = first.values()
    largest = math.log(torch.finfo(torch.float32).max)
    numbers = {
        "toy loss 1": toy_losses[0],
        "toy loss 2": toy_losses[1],
        "toy accuracy": toy_accuracy,
        "largest x with a finite exp(x)": largest,
        **first,
        "stable loss at s = 1000": cross_entropy_with_logits(large, third).item(),
        "gradient less (softmax - y), largest": float((gradient - by_hand).abs().max()),
    }
    text = "\n".join([
        "The book's toy: probabilities (.1 .3 .6) and (.3 .2 .5), classes 0 and 2:",
        f"  losses {toy_losses[0]:.4f} and {toy_losses[1]:.4f}, accuracy {toy_accuracy}",
        "Logits (1000, 0, -1000) in float32, the third class being the true one:",
        f"  exp(o) / sum exp(o)    {_row(softmax(large))}   loss {naive(large, third).item()}",
        f"  minus largest logit    {_row(stable_softmax(large))}   "
        f"loss {cross_entropy_with_logits(large, third).item()}",
        f"exp(x) is infinite above x = {largest:.2f}, and infinity / infinity is nan. So with",
        "logits (s, 0, -s) and the third class, the softmax and then its logarithm give",
        f"  from s = {wrong:5.2f}  a wrong gradient (autograd needs exp(-3s), which rounds to 0)",
        f"  from s = {undefined:5.2f}  a gradient of nan (1 / p = exp(2s) is infinite)",
        f"  from s = {infinite:5.2f}  an infinite loss (the probability p = exp(-2s) rounds to 0)",
        f"  from s = {no_softmax:5.2f}  a softmax of nan (exp(s) is infinite)",
        "LogSumExp subtracts the largest logit, so exp is at most 1, and takes the",
        "logarithm of a sum, not of a probability: log sum exp(o) - o_y. Its gradient",
        f"softmax(o) - y agrees with autograd to {numbers['gradient less (softmax - y), largest']:.0e}.",
    ])  # fmt: skip
    return Demo(text, numbers, {"overflow": picture(s)})


def _row(probabilities: Tensor) -> str:
    return "(" + ", ".join(f"{p:g}" for p in probabilities[0].tolist()) + ")"


def picture(s: Tensor) -> Figure:
    """Losses and gradients of both forms by s (n,); the ranges where the naive form fails are shaded."""
    figure = Figure(figsize=(12, 4.6), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    wrong, undefined, infinite, no_softmax = failures(s).values()
    values, gradients = loss_and_gradient(cross_entropy_with_logits, *spread_logits(s))
    naive_values, naive_gradients = loss_and_gradient(naive, *spread_logits(s))
    band: dict[str, Any] = {"linewidth": 7, "alpha": 0.3, "zorder": 1, "solid_capstyle": "butt"}
    left.plot(s, values, color=BLUE)
    left.plot(s, naive_values, color=BLUE, **band)
    left.set(ylabel="loss (nats)", title=f"Softmax, then log: an infinite loss from s = {infinite:g} on")
    colours = {"s": BLUE, "0": ORANGE, "\N{MINUS SIGN}s": GREEN}
    for j, ((logit, colour), line) in enumerate(zip(colours.items(), ("-", "--", "-."), strict=True)):
        right.plot(s, gradients[:, j], line, color=colour)
        right.plot(s, naive_gradients[:, j], color=colour, **band)
        at = (float(s[-1]) - 1, float(gradients[-1, j]) + 0.05)
        right.text(*at, f"of the logit {logit}", color=colour, ha="right", va="bottom", fontsize=10)
    right.set(ylabel="gradient of the loss", ylim=(-1.35, 2.1))
    right.set_title(f"Its gradient: wrong from s = {wrong:g} on, undefined from {undefined:g} on")
    for panel, start, middle, names in (
        (left, infinite, no_softmax, ("loss infinite", "softmax nan, too")),
        (right, wrong, undefined, ("wrong", "nan")),
    ):
        end = float(s[-1])
        panel.axvspan(start, middle, color=GREY, alpha=0.15, linewidth=0)
        panel.axvspan(middle, end, color=GREY, alpha=0.3, linewidth=0)
        for name, x in zip(names, ((start + middle) / 2, (middle + end) / 2), strict=True):
            panel.text(x, 0.03, name, transform=panel.get_xaxis_transform(), ha="center", fontsize=9, color="#333333")
        panel.set(xlabel="s, where the logits are (s, 0, \N{MINUS SIGN}s) and the third class is true", xlim=(0, end))
        panel.plot([], [], color="#333333", label="LogSumExp form")
        panel.plot([], [], color="#333333", label="softmax, then log", **band)
        panel.grid(alpha=0.3)
        panel.legend(loc="upper left")
    return figure
