"""Least squares on many noisy copies of the inputs, which converges to least squares with a penalty.

Let each copy X~ of the inputs X (n, d) have mean X and independent entries. In expectation the squared error is

    E |X~ w - y|^2 = |X w - y|^2 + sum_j (sum_i Var X~_ij) w_j^2,

which is ridge regression with a separate penalty for each input. For normal noise of variance s^2 the penalty is n s^2
for all inputs (Bishop 1995); for inverted dropout with probability q, q/(1-q) (X^T X)_jj (Srivastava et al. 2014).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightning_d2l.config.colours import BLUE, GREY, ORANGE, RED
from lightning_d2l.nets.least_squares import ridge_solution
from lightning_d2l.training.ticks import plain_ticks

Noise = Callable[[int], Tensor]
"""A function from a number of copies m to the noisy inputs (m, n, d)."""


@dataclass
class Convergence:
    """Distances |w_m - w| between least squares on m noisy copies and solutions on the clean inputs, for each m.

    `copies` are the numbers m. `standard_error` is the expected root mean square distance from the penalised solution,
    and `limit` the distance between the penalised and the plain solution.
    """

    copies: list[int]
    to_penalised: list[float]
    to_plain: list[float]
    standard_error: list[float]
    limit: float

    def numbers(self) -> dict[str, float]:
        """The distances at the largest number of copies."""
        return {
            "distance to ridge": self.to_penalised[-1],
            "distance to least squares": self.to_plain[-1],
            "standard error": self.standard_error[-1],
        }


def convergence(x: Tensor, y: Tensor, noise: Noise, penalty: float | Tensor, copies: list[int]) -> Convergence:
    """Solve least squares on the first m of max(copies) noisy copies of x (n, d), all with the targets y (n, 1).

    The standard error is that of an M-estimator (Huber 1967). The gradient of a copy at the penalised solution w is
    g = X~^T (X~ w - y), with mean 0, and w_m - w is approximately A^-1 times the mean of m such gradients, with
    A = X^T X + diag(penalty). So its mean square is trace(A^-1 Cov(g) A^-1) / m.
    """
    noisy = noise(max(copies))
    plain, _ = ridge_solution(x, y)
    penalised, _ = ridge_solution(x, y, penalty)
    gradients = (noisy.mT @ (noisy @ penalised - y)).squeeze(2)
    A = x.T @ x + torch.as_tensor(penalty, dtype=x.dtype).expand(x.shape[1]).diag()
    spread = torch.linalg.solve(A, gradients.T).var(1).sum().item()
    found = [ridge_solution(noisy[:m].flatten(0, 1), y.repeat(m, 1))[0] for m in copies]
    return Convergence(
        copies,
        [(w - penalised).norm().item() for w in found],
        [(w - plain).norm().item() for w in found],
        [(spread / m) ** 0.5 for m in copies],
        (penalised - plain).norm().item(),
    )


def regression(rng: torch.Generator, n: int, d: int, sd: float = 0.5) -> tuple[Tensor, Tensor]:
    """Inputs (n, d) with scales from 1/2 to 2, and targets (n, 1) with noise of standard deviation sd."""
    x = torch.randn(n, d, generator=rng, dtype=torch.float64) * torch.logspace(-1, 1, d, base=2, dtype=torch.float64)
    w = torch.randn(d, 1, generator=rng, dtype=torch.float64)
    return x, x @ w + sd * torch.randn(n, 1, generator=rng, dtype=torch.float64)


def table(result: Convergence, penalised: str) -> str:
    """One line for each power of ten of the number of copies, at most 80 columns wide."""
    lines = [f"{'copies':>8}{f'distance to {penalised}':>28}{'standard error':>18}{'to least squares':>20}"]
    for m, near, error, far in zip(
        result.copies, result.to_penalised, result.standard_error, result.to_plain, strict=True
    ):
        if str(m).strip("0") == "1":
            lines.append(f"{m:>8,}{near:>28.6f}{error:>18.6f}{far:>20.6f}")
    return "\n".join(lines)


def picture(result: Convergence, penalised: str, noise: str) -> Figure:
    """Both distances and the standard error by the number of noisy copies."""
    figure = Figure(figsize=(7, 4.6), dpi=120, layout="constrained")
    panel = figure.subplots()
    panel.loglog(result.copies, result.to_plain, "s-", color=ORANGE, markersize=4, label="to least squares")
    panel.axhline(result.limit, color=GREY, linestyle=":", label=f"between least squares and {penalised}")
    panel.loglog(result.copies, result.to_penalised, "o-", color=BLUE, markersize=4, label=f"to {penalised}")
    label = r"expected from chance, $\propto 1/\sqrt{\mathrm{copies}}$"
    panel.loglog(result.copies, result.standard_error, "--", color=RED, label=label)
    panel.set_title(f"Least squares on inputs with {noise} tends to {penalised}", fontsize=10)
    panel.set(xlabel="noisy copies of the training set", ylabel="distance of the weights")
    panel.grid(alpha=0.3)
    panel.legend(fontsize=9)
    plain_ticks(panel)
    return figure
