"""Least squares with noise on the inputs is ridge regression (Bishop 1995; d2l 4.5, 4.6.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_d2l.book.demos import Demo
from lightning_d2l.book.noisy_inputs import convergence, picture, regression, table


def run(seed: int, n: int = 20, d: int = 5, s: float = 0.5) -> Demo:
    """Noise of standard deviation s on n samples of d inputs; the penalty is n s^2."""
    rng = torch.Generator().manual_seed(seed)
    x, y = regression(rng, n, d)

    def noise(copies: int) -> Tensor:
        return x + s * torch.randn(copies, n, d, generator=rng, dtype=x.dtype)

    copies = [1, 2, 4, 10, 20, 40, 100, 200, 400, 1000, 2000, 4000, 10_000]
    result = convergence(x, y, noise, n * s**2, copies)
    text = (
        f"Least squares with {n} samples of {d} inputs, on copies of the training set with\n"
        f"noise ~ N(0, s^2), s = {s}, on their inputs, compared with ridge regression with\n"
        f"lambda = n s^2 = {n * s**2:g} on the clean inputs:\n"
        f"{table(result, 'ridge')}\n"
        "The noise adds s^2 |w|^2 to each expected squared error, so the solution tends\n"
        f"to ridge, {result.limit:.3f} away from plain least squares. The remaining distance is\n"
        "random, and falls as 1/sqrt(copies), as the standard error does."
    )
    return Demo(text, result.numbers(), {"input_noise": picture(result, "ridge", f"added noise (s = {s})")})
