"""Weight decay: one step, the null space of the data, and the ridge solution (d2l 4.5)."""

from __future__ import annotations

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightning_d2l.book.demos import Demo
from lightning_d2l.config.colours import BLUE, GREEN, GREY, ORANGE, RED
from lightning_d2l.nets.least_squares import ridge_solution
from lightning_d2l.training.ticks import plain_ticks

N, D, BATCH, LR, DECAY, EPOCHS = 20, 200, 5, 0.003, 3.0, 100  # the book's experiment
STEPS = EPOCHS * N // BATCH


def sgd_step(w: Tensor, X: Tensor, y: Tensor, lr: float, half: bool, penalty: float, weight_decay: float) -> Tensor:
    """The weights (d, 1) after one step of torch.optim.SGD on the mean squared error, times 1/2 if `half`.

    `penalty` adds lambda/2 |w|^2 to the loss; `weight_decay` is the optimizer's setting.
    """
    w = w.clone().requires_grad_()
    optimizer = torch.optim.SGD([w], lr=lr, weight_decay=weight_decay)
    loss = (0.5 if half else 1.0) * (X @ w - y).square().mean() + penalty / 2 * w.square().sum()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return w.detach()


def descend(w: Tensor, X: Tensor, y: Tensor, decay: float, epochs: int, rng: torch.Generator) -> list[Tensor]:
    """The weights (d, 1) initially and after each epoch of the book's training, with the 1/2 and a bias from 0."""
    b, path = torch.zeros(1, dtype=w.dtype), [w]
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(X), generator=rng), BATCH):
            residual = X[rows] @ w + b - y[rows]
            w = w - LR * (X[rows].T @ residual / len(rows) + decay * w)
            b = b - LR * residual.mean()
        path.append(w)
    return path


def run(seed: int, epochs: int = 1000) -> Demo:
    rng = torch.Generator().manual_seed(seed)
    X, w0, noise = (torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in ((N, D), (D, 1), (N, 1)))
    y = X @ torch.full_like(w0, 0.01) + 0.05 + 0.01 * noise

    plain = {"w": w0, "X": X[:BATCH], "y": y[:BATCH]}
    in_loss = sgd_step(**plain, lr=LR, half=True, penalty=DECAY, weight_decay=0)
    in_optimizer = sgd_step(**plain, lr=LR, half=True, penalty=0, weight_decay=DECAY)
    without_half = sgd_step(**plain, lr=LR, half=False, penalty=0, weight_decay=DECAY)
    half_the_decay = sgd_step(**plain, lr=2 * LR, half=True, penalty=0, weight_decay=DECAY / 2)
    same = (in_loss - in_optimizer).abs().max().item()
    same_without_half = (without_half - half_the_decay).abs().max().item()

    null = torch.eye(D, dtype=torch.float64) - torch.linalg.pinv(X) @ X  # projects on the null space of X
    path = torch.cat(descend(w0, X, y, DECAY, epochs, rng), 1)
    undecayed = torch.cat(descend(w0, X, y, 0.0, epochs, rng), 1)
    null_norm = (null @ path).norm(dim=0)
    predicted = (null @ w0).norm().item() * (1 - LR * DECAY) ** STEPS
    expected = math.sqrt(D - N) * (1 - LR * DECAY) ** STEPS
    ridge, _ = ridge_solution(X, y, N * DECAY, bias=True)
    numbers = {
        "step: penalty in the loss less weight_decay": same,
        "step: no 1/2 less half the weight_decay": same_without_half,
        "decayed initialisation": expected,
        f"norm after {EPOCHS} epochs": path[:, EPOCHS].norm().item(),
        f"norm after {epochs} epochs": path[:, -1].norm().item(),
        "null-space norm": null_norm[EPOCHS].item(),
        "null-space norm, predicted": predicted,
        "ridge norm": ridge.norm().item(),
        f"norm after {EPOCHS} epochs, lambda 0": undecayed[:, EPOCHS].norm().item(),
    }
    lines = [
        "One step of SGD, largest difference between the resulting weights:",
        f"  {'lambda/2 |w|^2 in the loss, and weight_decay = lambda':<62}{same:>10.1e}",
        "  (y_hat - y)^2 with weight_decay 3, and",
        f"  {'1/2 (y_hat - y)^2 with weight_decay 3/2 and twice the lr':<62}{same_without_half:>10.1e}",
        f"The book's experiment: {N} samples, {D} inputs, lr {LR}, {STEPS} steps. Norm of w:",
    ]
    norms = {
        "at the start": w0.norm(),
        f"after {EPOCHS} epochs, lambda 0": undecayed[:, EPOCHS].norm(),
        f"after {EPOCHS} epochs, lambda {DECAY:g}": path[:, EPOCHS].norm(),
        "  its part in the null space of X": null_norm[EPOCHS],
        f"  predicted: that part of the start times (1 - lr lambda)^{STEPS}": predicted,
        f"  predicted without it: sqrt({D} - {N}) (1 - lr lambda)^{STEPS}": expected,
        f"after {epochs} epochs, lambda {DECAY:g}": path[:, -1].norm(),
        f"ridge regression, the optimum with lambda {DECAY:g}": ridge.norm(),
    }
    lines += [f"  {label:<62}{value:>10.4f}" for label, value in norms.items()]
    ratio = path[:, EPOCHS].norm() / ridge.norm()
    lines += [
        "A gradient is a linear combination of samples, so it has no component in the",
        f"null space of X ({D - N} dimensions). There the weights change only by decay, by",
        "a factor of 1 - lr lambda per step. The norm that the book prints is the rest of",
        f"the initial weights, {ratio:.0f} times the norm of the ridge solution.",
    ]
    return Demo("\n".join(lines), numbers, {"weight_decay": picture(path, undecayed, null, ridge.norm().item())})


def picture(path: Tensor, undecayed: Tensor, null: Tensor, ridge: float) -> Figure:
    """The norm of the weights (d, epochs + 1) by epoch, in total, in the null space and in its complement."""
    figure = Figure(figsize=(11, 4.2), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for panel, weights, name in (
        (left, undecayed, "No weight decay: the part in the null space stays"),
        (right, path, f"Weight decay, λ = {DECAY:g}: it decays, to the ridge solution"),
    ):
        part = null @ weights
        panel.semilogy(weights.norm(dim=0), color=BLUE, linewidth=4, alpha=0.4, label="norm of w")
        panel.semilogy(part.norm(dim=0), color=ORANGE, label="part in the null space of X")
        panel.semilogy((weights - part).norm(dim=0), color=GREEN, label="part in the span of the samples")
        panel.axvline(EPOCHS, color=GREY, linestyle=":", label=f"epoch {EPOCHS}, where the book stops")
        panel.set(title=name, xlabel="epoch", ylim=(0.01, 30))
        panel.grid(alpha=0.3)
    steps = torch.arange(path.shape[1]) * (N // BATCH)
    expected = math.sqrt(D - N) * (1 - LR * DECAY) ** steps.double()
    label = rf"$\sqrt{{{D - N}}}\,(1-\mathrm{{lr}}\,\lambda)^{{\mathrm{{steps}}}}$"
    right.semilogy(expected, "--", color=RED, label=label)
    right.axhline(ridge, color="black", linestyle="--", linewidth=1, label=f"ridge solution, {ridge:.4f}")
    left.set_ylabel("norm")
    for panel in (left, right):
        plain_ticks(panel)
    left.legend(fontsize=8, loc="lower right")
    right.legend(fontsize=8)
    return figure
