"""Linear least squares in closed form: the normal equation, ridge regression, minimum norm (d2l 3.1.1.3)."""

from __future__ import annotations

import torch
from torch import Tensor


def ridge_solution(x: Tensor, y: Tensor, penalty: float | Tensor = 0.0, bias: bool = False) -> tuple[Tensor, Tensor]:
    """The w (d, q) and b (q,), in float64, that minimise |X w + b - y|^2 + sum_j penalty_j |w_j|^2.

    X is (n, d) and y (n, q). `penalty`, one number for all inputs or a tensor (d,) with one for each, must not be
    negative; the bias is not penalised, and is 0 unless `bias`. Of several minimisers, as without a penalty where
    n < d, w is the one with the smallest norm: w = X^+ y with the pseudoinverse of X, whose singular values below
    max(n, d) eps times the largest count as 0.
    """
    x, y = x.double(), y.double()
    x_mean, y_mean = (x.mean(0), y.mean(0)) if bias else (x.new_zeros(x.shape[1]), y.new_zeros(y.shape[1]))
    x, y = x - x_mean, y - y_mean  # at the best bias the fit passes through the means
    if isinstance(penalty, Tensor):  # each penalty is the squared error of one more sample, with target 0
        x = torch.cat([x, penalty.to(x).sqrt().diag()])
        y = torch.cat([y, y.new_zeros(len(penalty), y.shape[1])])
        penalty = 0.0
    (n, d), eps = x.shape, torch.finfo(x.dtype).eps
    if n > d:  # turns and reflections of the samples' space change no distance, and leave d + q rows that are not 0
        r = torch.linalg.qr(torch.cat([x, y], 1), mode="r").R
        x, y = r[:, :d], r[:, d:]
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    s = torch.where(s > max(n, d) * eps * s[:1], s, 0.0)
    shrinkage = torch.where(s > 0, s / (s**2 + penalty), 0.0)
    w = vt.T @ (shrinkage[:, None] * (u.T @ y))
    return w, y_mean - x_mean @ w
