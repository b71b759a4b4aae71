"""L1 and L2 penalties on a sparse problem: only L1 makes weights exactly zero (d2l 4.5.1)."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightning_d2l.book.demos import Demo
from lightning_d2l.config.colours import BLUE, GREY, ORANGE
from lightning_d2l.nets.least_squares import lasso, ridge_solution
from lightning_d2l.training.ticks import plain_ticks


def run(seed: int, n: int = 100, d: int = 30, relevant: int = 5) -> Demo:
    rng = torch.Generator().manual_seed(seed)
    X, noise = (torch.randn(n, k, generator=rng, dtype=torch.float64) for k in (d, 1))
    true = torch.zeros(d, 1, dtype=torch.float64)
    true[:relevant, 0] = torch.linspace(1, 3, relevant) * (-1) ** torch.arange(relevant)
    y = X @ true + noise

    penalties = torch.logspace(-2, 1, 61, dtype=torch.float64)
    l1 = lasso(X, y, penalties)
    l2 = torch.cat([ridge_solution(X, y, n * penalty)[0] for penalty in penalties.tolist()], 1)
    zeros_l1, zeros_l2 = ((w == 0).double().mean(0) for w in (l1, l2))
    errors_l1, errors_l2 = ((w - true).norm(dim=0) for w in (l1, l2))

    lines = [
        f"{n} samples of {d} inputs, of which {relevant} matter. Least squares, 1/(2n) |X w - y|^2,",
        "plus lambda |w|_1 (L1) or lambda/2 |w|^2 (L2): the share of weights that are",
        "exactly 0, and the distance of all from the true ones:",
        f"{'lambda':>10}{'L1: zeros':>14}{'distance':>12}{'L2: zeros':>14}{'distance':>12}",
    ]
    for i in range(0, len(penalties), 10):
        lines.append(
            f"{penalties[i]:>10.3f}{zeros_l1[i]:>14.0%}{errors_l1[i]:>12.3f}{zeros_l2[i]:>14.0%}{errors_l2[i]:>12.3f}"
        )
    best_l1, best_l2 = int(errors_l1.argmin()), int(errors_l2.argmin())
    lines += [
        f"Closest to the truth: L1 {errors_l1[best_l1]:.3f} at lambda {penalties[best_l1]:.3f}, "
        f"L2 {errors_l2[best_l2]:.3f} at lambda {penalties[best_l2]:.3f}.",
        "The gradient of L1 is lambda in size for every weight, so a weight whose error",
        "gradient is smaller stays at 0. The gradient of L2 is proportional to the",
        "weight, so all weights shrink and none becomes 0.",
    ]
    numbers = {
        "largest share of zeros, L1": zeros_l1.max().item(),
        "largest share of zeros, L2": zeros_l2.max().item(),
        "share of zeros, L1 closest to the truth": zeros_l1[best_l1].item(),
        "distance to the truth, L1": errors_l1[best_l1].item(),
        "distance to the truth, L2": errors_l2[best_l2].item(),
    }
    figure = picture(penalties, l1, l2, true)
    return Demo("\n".join(lines), numbers, {"l1_l2": figure})


def picture(penalties: Tensor, l1: Tensor, l2: Tensor, true: Tensor) -> Figure:
    """The weights (d, k) by penalty (k,), with relevant weights in colour, and the share of zeros."""
    figure = Figure(figsize=(11.4, 3.8), dpi=120, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    relevant = true[:, 0] != 0
    for panel, w, name in ((left, l1, "L1: to zero, one after another"), (middle, l2, "L2: smaller, never zero")):
        for chosen, colour, label in ((~relevant, GREY, "true weight 0"), (relevant, BLUE, "other true weights")):
            for i, path in enumerate(w[chosen]):
                panel.semilogx(penalties, path, color=colour, linewidth=1.2, label=label if i == 0 else None)
        panel.set(title=name, xlabel="λ", ylabel="weight")
    middle.sharey(left)
    left.set_ylim(-4, 3.6)
    right.semilogx(penalties, 100 * (l1 == 0).double().mean(0), color=BLUE, label="L1")
    right.semilogx(penalties, 100 * (l2 == 0).double().mean(0), "--", color=ORANGE, label="L2")
    share = 100 * (~relevant).double().mean().item()
    right.axhline(share, color=GREY, linestyle=":", label=f"truth, {share:.0f} %")
    right.set(title="Weights that are exactly 0", xlabel="λ", ylabel="% of the weights")
    for panel in (left, middle, right):
        panel.grid(alpha=0.3)
        plain_ticks(panel)
        panel.legend(fontsize=9, loc="center right" if panel is right else "lower right")
    return figure
