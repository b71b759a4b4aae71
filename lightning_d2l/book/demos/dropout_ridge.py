"""Least squares with dropout on the inputs is a weighted ridge regression (Srivastava et al. 2014; d2l 4.6)."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_d2l.book.demos import Demo
from lightning_d2l.book.noisy_inputs import convergence, picture, regression, table


def run(seed: int, n: int = 20, d: int = 5, q: float = 0.2) -> Demo:
    """Inverted dropout with probability q of the d inputs of n samples; the penalty is q/(1-q) diag(X^T X)."""
    rng = torch.Generator().manual_seed(seed)
    x, y = regression(rng, n, d)

    def noise(copies: int) -> Tensor:
        kept = torch.rand(copies, n, d, generator=rng, dtype=x.dtype) >= q
        return x * kept / (1 - q)

    copies = [1, 2, 4, 10, 20, 40, 100, 200, 400, 1000, 2000, 4000, 10_000]
    penalty = q / (1 - q) * x.square().sum(0)
    result = convergence(x, y, noise, penalty, copies)
    text = (
        f"Least squares with {n} samples of {d} inputs, on copies of the training set with\n"
        f"dropout, q = {q}, of their inputs (the rest divided by 1 - q), compared with\n"
        "least squares on the clean inputs with penalty q/(1-q) w^T diag(X^T X) w:\n"
        f"{table(result, 'penalised')}\n"
        f"  penalty of each weight: {', '.join(f'{value:.1f}' for value in penalty.tolist())}\n"
        "Dropout keeps the mean of each input and gives it the variance q/(1-q) x^2, so\n"
        "the penalty grows with the size of the input: unlike weight decay, dropout does\n"
        "not depend on the unit of an input. The remaining distance is random, and falls\n"
        "as 1/sqrt(copies)."
    )
    return Demo(
        text, result.numbers(), {"dropout_ridge": picture(result, "the penalised solution", f"dropout (q = {q})")}
    )
