"""Linear least squares in closed form: the normal equation, ridge regression, minimum norm (d2l 3.1.1.3)."""

from __future__ import annotations

import torch
from torch import Tensor


def ridge_solution(x: Tensor, y: Tensor, penalty: float | Tensor = 0.0, bias: bool = False) -> tuple[Tensor, Tensor]:
    """The w (d, q) and b (q,), in float64, that minimise |X w + b - y|^2 + sum_j penalty_j |w_j|^2.

    X is (n, d) and y (n, q). `penalty`, one number for all inputs or a tensor (d,) with one for each, must not be
    negative; the bias is not penalised, and is 0 unless `bias`. Of several minimisers, as without a penalty where
    n < d, w is the one of smallest norm: w = X^+ y with the pseudoinverse of X, whose singular values below
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
    if n > d:  # an orthogonal map keeps all distances, and QR leaves d + q nonzero rows
        r = torch.linalg.qr(torch.cat([x, y], 1), mode="r").R
        x, y = r[:, :d], r[:, d:]
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    s = torch.where(s > max(n, d) * eps * s[:1], s, 0.0)
    shrinkage = torch.where(s > 0, s / (s**2 + penalty), 0.0)
    w = vt.T @ (shrinkage[:, None] * (u.T @ y))
    return w, y_mean - x_mean @ w


def soft_threshold(w: Tensor, by: Tensor | float) -> Tensor:
    """Each entry moved towards 0 by `by`, which broadcasts, and 0 if it would pass 0: the proximal map of |w|_1."""
    return w.sign() * (w.abs() - by).clamp(min=0)


def lasso(x: Tensor, y: Tensor, l1: Tensor, tolerance: float = 1e-12, max_steps: int = 100_000) -> Tensor:
    """The w (d, k) that minimise 1/(2n) |X w - y|^2 + lambda |w|_1 for each lambda of `l1` (k,); y is (n, 1).

    FISTA (Beck and Teboulle 2009): a step down the gradient of the squared error, then the proximal map, with
    momentum that starts anew when it leads uphill (O'Donoghue and Candes 2015), until no weight moves by more than
    `tolerance`.
    """
    n, d = x.shape
    lr = n / torch.linalg.matrix_norm(x, 2).item() ** 2  # 1 over the largest curvature
    w = ahead = torch.zeros(d, len(l1), dtype=x.dtype)
    t = torch.ones(len(l1), dtype=x.dtype)
    for _ in range(max_steps):
        previous, w = w, soft_threshold(ahead - lr * (x.T @ (x @ ahead - y)) / n, lr * l1)
        uphill = ((ahead - w) * (w - previous)).sum(0) > 0
        t_previous, t = torch.where(uphill, 1.0, t), torch.where(uphill, 1.0, (1 + (1 + 4 * t**2).sqrt()) / 2)
        ahead = w + (t_previous - 1) / t * (w - previous)
        if (w - previous).abs().max() <= tolerance:
            break
    return w


def elastic_net_solution(x: Tensor, y: Tensor, l1: float, penalty: Tensor, bias: bool = False) -> tuple[Tensor, Tensor]:
    """The w (d, 1) and b (1,), in float64, that minimise |X w + b - y|^2 + sum_j penalty_j w_j^2 + l1 |w|_1.

    X is (n, d), y (n, 1) and `penalty` (d,); as in `ridge_solution` the bias is not penalised.
    """
    x, y = x.double(), y.double()
    x_mean, y_mean = (x.mean(0), y.mean(0)) if bias else (torch.zeros_like(x[0]), torch.zeros_like(y[0]))
    rows = torch.cat([x - x_mean, penalty.double().sqrt().diag()])
    targets = torch.cat([y - y_mean, y.new_zeros(len(penalty), 1)])
    w = lasso(rows, targets, torch.tensor([l1 / (2 * len(rows))], dtype=x.dtype))
    return w, y_mean - x_mean @ w
