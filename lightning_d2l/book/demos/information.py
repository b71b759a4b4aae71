"""Surprisal, entropy, cross-entropy and KL divergence of coins, dice and classifiers (d2l 3.4.7)."""

from __future__ import annotations

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightning_d2l.book.demos import Demo
from lightning_d2l.config.colours import BLUE, GREEN, GREY, ORANGE, RED
from lightning_d2l.modules.information import (
    cross_entropy,
    entropy,
    kl_divergence,
    prediction_information,
    surprisal,
)


def coin(p: Tensor | float) -> Tensor:
    """The distribution (..., 2) of a coin that shows heads with probability p (...,)."""
    heads = torch.as_tensor(p, dtype=torch.float64)
    return torch.stack([heads, 1 - heads], -1)


DISTRIBUTIONS = {
    "coin, fair": coin(0.5),
    "coin, heads 90 %": coin(0.9),
    "coin, heads always": coin(1.0),
    "die, fair": torch.full((6,), 1 / 6, dtype=torch.float64),
    "die, six half the time": torch.tensor([0.1] * 5 + [0.5], dtype=torch.float64),
    "eight equal sides": torch.full((8,), 1 / 8, dtype=torch.float64),
}
PREDICTIONS = {  # logits of three classes, of which the first is the true one
    "right and confident": [6.0, 0.0, 0.0],
    "undecided": [0.0, 0.0, 0.0],
    "wrong, but unsure": [0.0, 1.0, 0.0],
    "wrong and confident": [0.0, 6.0, 0.0],
    "wrong, exp overflows": [0.0, 1000.0, 0.0],
}


def run(seed: int) -> Demo:
    """The demo is deterministic; `seed` is not used."""
    bits = {name: entropy(p, "bits").item() for name, p in DISTRIBUTIONS.items()}
    fair, loaded = DISTRIBUTIONS["die, fair"], DISTRIBUTIONS["die, six half the time"]
    divergence = kl_divergence(loaded, fair, "bits").item()
    logits = torch.tensor(list(PREDICTIONS.values()), dtype=torch.float64)
    told = prediction_information(logits, torch.zeros(len(logits), dtype=torch.long))
    probability = logits.softmax(1)[:, 0]
    lines = ["Entropy, the mean surprisal -log p, in bits:"]
    lines += [f"  {name:<24}{value:8.4f}" for name, value in bits.items()]
    lines += [
        "The mean surprisal of throws of the loaded die, p, under a fair die, q, is",
        f"  H(p, q) = {cross_entropy(loaded, fair, 'bits'):.4f} = H(p) {bits['die, six half the time']:.4f} + "
        f"KL(p || q) {divergence:.4f} bits a throw;",
        f"the other way round, KL(q || p) = {kl_divergence(fair, loaded, 'bits'):.4f}: KL is not symmetric.",
        "A classifier's loss is the surprisal of the true class, in nats (of 1.44 bits):",
        f"  {'prediction':<24}{'p(true)':>10}{'loss':>10}{'entropy of prediction':>24}",
    ]
    for name, p, loss, spread in zip(PREDICTIONS, probability, told["surprisal"], told["entropy"], strict=True):
        lines.append(f"  {name:<24}{p:>10.4f}{loss:>10.4f}{spread:>24.4f}")
    lines += [
        "The entropy of a prediction measures its confidence, the loss its error.",
        "The loss of a confident mistake is about its margin, without bound, so one wrong",
        "label can outweigh many samples. Log softmax of the logits stays finite where",
        "exp overflows and p(true) rounds to 0.",
    ]
    confident = told["cross_entropy"][list(PREDICTIONS).index("wrong and confident")].item()
    numbers = {f"entropy, {name}, bits": value for name, value in bits.items()}
    numbers |= {"KL, loaded from fair die, bits": divergence, "cross-entropy, wrong and confident, nats": confident}
    return Demo("\n".join(lines), numbers, {"information": picture()})


def picture() -> Figure:
    """Surprisal; entropy of a coin; cross-entropy with a wrong distribution; loss of a confident mistake."""
    figure = Figure(figsize=(10, 7.4), dpi=120, layout="constrained")
    (upper_left, upper_right), (lower_left, lower_right) = figure.subplots(2, 2)
    p = torch.linspace(0.001, 1, 1000, dtype=torch.float64)
    upper_left.plot(p, surprisal(p, "bits"), color=BLUE)
    for name, chance in (("heads", 1 / 2), ("a six", 1 / 6), ("1 in 64", 1 / 64)):
        at = chance, -math.log2(chance)
        upper_left.plot(*at, "o", color=RED, markersize=5)
        upper_left.annotate(f"{name}: {at[1]:.2f} bits", at, (6, 4), textcoords="offset points", fontsize=9)
    upper_left.set(title="Surprisal grows as the event gets rarer", xlabel="probability of the event", ylabel="bits")
    upper_left.set(ylim=(0, 10))

    p = torch.linspace(0, 1, 501, dtype=torch.float64)
    upper_right.plot(p, entropy(coin(p), "bits"), color=BLUE)
    upper_right.axhline(1, color=GREY, linestyle=":")
    upper_right.set(
        title="Entropy of a coin: 1 bit if fair, 0 if certain", xlabel="probability of heads", ylabel="bits"
    )

    true = coin(0.8)
    least = entropy(true, "bits").item()
    believed = torch.linspace(0.01, 0.99, 491, dtype=torch.float64)
    lower_left.plot(believed, cross_entropy(true, coin(believed), "bits"), color=BLUE, label="cross-entropy H(p, q)")
    lower_left.axhline(least, color=ORANGE, linestyle="--", label=f"entropy H(p) = {least:.3f}")
    wrong = cross_entropy(true, coin(0.25), "bits").item()
    lower_left.annotate(
        "", (0.25, wrong), (0.25, least), arrowprops={"arrowstyle": "<->", "color": RED, "shrinkA": 0, "shrinkB": 0}
    )
    lower_left.text(0.27, wrong + 0.2, f"KL(p || q) = {wrong - least:.3f}", color=RED, va="center")
    lower_left.set(title="Cross-entropy of a coin, p = 0.8, with q", xlabel="expected probability of heads, q")
    lower_left.set(ylabel="bits", ylim=(0, 5))

    margin = torch.linspace(-8, 8, 321, dtype=torch.float64)
    logits = torch.stack([margin, torch.zeros_like(margin)], 1)
    told = prediction_information(logits, torch.zeros(len(margin), dtype=torch.long))
    lower_right.plot(margin, told["cross_entropy"], color=BLUE, label="cross-entropy: the loss")
    lower_right.plot(margin, told["entropy"], "--", color=GREEN, label="entropy of the prediction")
    lower_right.text(-7.8, 0.5, "sure and wrong", color=GREY, fontsize=9)
    lower_right.text(7.8, 0.5, "sure and right", color=GREY, fontsize=9, ha="right")
    lower_right.set(title="The loss of a confident mistake is its margin", ylabel="nats")
    lower_right.set(xlabel="logit of the true class minus the other logit")
    for panel in (upper_left, upper_right, lower_left, lower_right):
        panel.grid(alpha=0.3)
    lower_left.legend(fontsize=9)
    lower_right.legend(fontsize=9)
    return figure
