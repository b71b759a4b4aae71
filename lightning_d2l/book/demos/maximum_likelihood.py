"""Maximum likelihood under normal noise is least squares (d2l 3.1.3)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightning_d2l.book.demos import Demo
from lightning_d2l.config.colours import BLUE, GREEN, GREY, ORANGE, RED
from lightning_d2l.nets.least_squares import ridge_solution

W, B, SIGMA = torch.tensor([2.0, -3.4], dtype=torch.float64), 4.2, 0.5


def normal_density(y: Tensor, mean: float, sd: float) -> Tensor:
    """The density of N(mean, sd^2) at y, in y's shape; sd is the standard deviation, sd^2 the variance."""
    return torch.exp(-((y - mean) ** 2) / (2 * sd**2)) / (sd * math.sqrt(2 * math.pi))


def negative_log_likelihood(residual: Tensor, sigma: Tensor | float) -> Tensor:
    """-log P(y | X) = sum_i [1/2 log(2 pi sigma^2) + (y_i - y_hat_i)^2 / (2 sigma^2)] of residuals (n,), a scalar."""
    sigma = torch.as_tensor(sigma, dtype=residual.dtype)
    return (0.5 * torch.log(2 * math.pi * sigma**2) + residual**2 / (2 * sigma**2)).sum()


def minimise(function: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """The minimiser (k,) of a smooth function of a vector, by L-BFGS from `start`, in float64."""
    point = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [point], max_iter=500, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        value = function(point)
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return point.detach()


def run(seed: int, n: int = 200) -> Demo:
    rng = torch.Generator().manual_seed(seed)
    X = torch.randn(n, 2, generator=rng, dtype=torch.float64)
    y = X @ W + B + SIGMA * torch.randn(n, generator=rng, dtype=torch.float64)

    w, b = ridge_solution(X, y[:, None], bias=True)
    least_squares = torch.cat([w[:, 0], b])
    residual_sd = (y - X @ w[:, 0] - b).square().mean().sqrt().item()  # divides by n, as the likelihood does

    def mean_nll(parameters: Tensor, sigma: Tensor | float) -> Tensor:
        return negative_log_likelihood(y - X @ parameters[:2] - parameters[2], sigma) / n

    def minimum_at(sigma: float) -> Tensor:
        return minimise(lambda v: mean_nll(v, sigma), torch.zeros(3, dtype=torch.float64))

    fixed = {sigma: minimum_at(sigma) for sigma in (0.1, 1.0, 10.0)}
    all_three = minimise(lambda v: mean_nll(v[:3], v[3].exp()), torch.zeros(4, dtype=torch.float64))
    sigma = all_three[3].exp().item()
    differences = {name: (v - least_squares).abs().max().item() for name, v in fixed.items()}
    difference = max(*differences.values(), (all_three[:3] - least_squares).abs().max().item())

    w1, w2, intercept = least_squares.tolist()
    text = (
        f"y = X w + b + noise, noise ~ N(0, sigma^2) with sigma = {SIGMA}, {n} samples.\n"
        "Least squares, and the negative log-likelihood minimised numerically (L-BFGS):\n"
        f"  least squares          w = ({w1:.6f}, {w2:.6f})  b = {intercept:.6f}\n"
        + "".join(
            f"  sigma held at {name:<8} w = ({v[0]:.6f}, {v[1]:.6f})  b = {v[2]:.6f}\n" for name, v in fixed.items()
        )
        + f"  sigma free             w = ({all_three[0]:.6f}, {all_three[1]:.6f})  b = {all_three[2]:.6f}\n"
        f"  sigma found {sigma:.6f}, root mean square residual {residual_sd:.6f}\n"
        "sigma scales the squared errors and adds a constant, so it does not move the\n"
        "best w and b: maximum likelihood under normal noise is least squares. The best\n"
        "sigma is the standard deviation of the residuals; its square is the variance."
    )
    numbers = {"difference to least squares": difference, "sigma": sigma, "residual sd": residual_sd}
    return Demo(text, numbers, {"likelihood": picture(X, y, least_squares, residual_sd)})


def picture(X: Tensor, y: Tensor, best: Tensor, residual_sd: float) -> Figure:
    """Normal densities; the NLL by one weight for several sigma; the NLL by sigma at the least-squares fit."""
    figure = Figure(figsize=(12, 3.9), dpi=120, layout="constrained")
    densities, weight, spread = figure.subplots(1, 3)
    grid = torch.linspace(-7, 9, 401, dtype=torch.float64)
    for mean, sd, colour in ((0, 1, BLUE), (0, 2, ORANGE), (3, 1, GREEN)):
        label = rf"mean {mean}, $\sigma$ = {sd}, variance {sd**2}"
        densities.plot(grid, normal_density(grid, mean, sd), color=colour, label=label)
    densities.set(title="Normal densities", xlabel="y", ylabel="density", ylim=(0, 0.56))

    n = len(y)
    residual = y - X @ best[:2] - best[2]
    shifts = torch.linspace(-1.5, 1.5, 201, dtype=torch.float64)
    for sigma, colour in ((0.5, BLUE), (1.0, ORANGE), (2.0, GREEN)):
        curve = [negative_log_likelihood(residual - t * X[:, 0], sigma).item() / n for t in shifts]
        weight.plot(best[0] + shifts, curve, color=colour, label=rf"$\sigma$ = {sigma:g}")
    weight.axvline(best[0].item(), color=GREY, linestyle="--", label="least squares")
    weight.set(title=r"The best weight is the same for every $\sigma$", xlabel="$w_1$, all else at least squares")
    weight.set(ylabel="negative log-likelihood / n", ylim=(0.4, 7))  # the legend lies above the curves

    sigmas = torch.linspace(0.28, 2, 301, dtype=torch.float64)
    curve = [negative_log_likelihood(residual, s).item() / n for s in sigmas]
    lowest = negative_log_likelihood(residual, residual_sd).item() / n
    spread.plot(sigmas, curve, color=BLUE, label="at the least-squares fit")
    spread.axvline(residual_sd, color=GREY, linestyle="--", label=f"their standard deviation {residual_sd:.3f}")
    spread.plot(residual_sd, lowest, "o", color=RED, label=f"minimum {lowest:.3f}")
    spread.set(
        title=r"The best $\sigma$ is that of the residuals",
        xlabel=r"$\sigma$",
        ylabel="negative log-likelihood / n",
    )
    for panel in (densities, weight, spread):
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8, loc="upper center" if panel is weight else "best")
    return figure
