"""Linear least squares in closed form: the normal equation, ridge regression, minimum norm (d2l 3.1.1.3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Solution(NamedTuple):
    """The w (d, q) and b (q,) of a least-squares problem, in float64, and how well they are determined.

    `rank` is the number of singular values that do not count as 0, `full_rank` the largest one that so many samples and
    columns can have, and `condition` the ratio of the largest singular value to the smallest that counts. They are
    those of the columns at unit norm, with the penalties; see `solve`.
    """

    w: Tensor
    b: Tensor
    rank: int
    full_rank: int
    condition: float


def ridge_solution(x: Tensor, y: Tensor, penalty: float | Tensor = 0.0, bias: bool = False) -> tuple[Tensor, Tensor]:
    """The w (d, q) and b (q,) of `solve`."""
    return solve(x, y, penalty, bias)[:2]


def solve(x: Tensor, y: Tensor, penalty: float | Tensor = 0.0, bias: bool = False) -> Solution:
    """The w (d, q) and b (q,), in float64, that minimise |X w + b - y|^2 + sum_j penalty_j |w_j|^2.

    X is (n, d) and y (n, q). `penalty`, one number for all inputs or a tensor (d,) with one for each, must not be
    negative; the bias is not penalised, and is 0 unless `bias`. Of several minimisers, as without a penalty where
    n < d, w is the one of smallest norm.

    The columns are scaled to unit norm before the singular value decomposition, so that their units do not decide
    which directions count (van der Sluis 1969): on the columns x^i / i! of a polynomial of degree 19 the condition
    number is 9e7 instead of 4e16. Singular values below max(n, d) eps times the largest count as 0. With a bias, eps is
    multiplied by the ratio of a column's norm to its norm around the mean, to which subtracting the mean magnifies
    rounding.
    """
    x, y = x.double(), y.double()
    x_mean, y_mean = x.new_zeros(x.shape[1]), y.new_zeros(y.shape[1])
    tolerance = max(x.shape) * torch.finfo(x.dtype).eps
    if bias:  # at the best bias the fit passes through the means
        before = torch.linalg.vector_norm(x, dim=0)
        x, x_mean = _centred(x)
        y, y_mean = _centred(y)
        norm = torch.linalg.vector_norm(x, dim=0)
        varies = norm > tolerance * before
        x = torch.where(varies, x, 0.0)
        tolerance *= max(1.0, torch.where(varies, before / norm, 1.0).max().item()) if len(norm) else 1.0
    penalty = torch.as_tensor(penalty, dtype=x.dtype, device=x.device)
    if penalty.ndim == 0 and penalty > 0 and len(x) < x.shape[1]:  # w is in the span of the n rows of X
        basis, r = torch.linalg.qr(x.T)
        v, _, condition = _least_norm(*_with_penalty(r.T, y, penalty.expand(len(x))), tolerance)
        w, rank = basis @ v, x.shape[1]
    else:
        rows = _with_penalty(x, y, penalty.expand(x.shape[1])) if penalty.any() else (x, y)
        w, rank, condition = _least_norm(*rows, tolerance)
    full_rank = x.shape[1] if penalty.any() else min(len(x) - bias, x.shape[1])
    return Solution(w, y_mean - x_mean @ w, rank, full_rank, condition)


def _centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (n, d) minus its means, and the means (d,); the second pass removes the rounding of the first."""
    mean = x.mean(0)
    rest = (x - mean).mean(0)
    return x - mean - rest, mean + rest


def _with_penalty(x: Tensor, y: Tensor, penalty: Tensor) -> tuple[Tensor, Tensor]:
    """The samples, and one for each penalty (d,), of which it is the squared error, with target 0."""
    return torch.cat([x, penalty.sqrt().diag()]), torch.cat([y, y.new_zeros(len(penalty), y.shape[1])])


def _least_norm(x: Tensor, y: Tensor, tolerance: float) -> tuple[Tensor, int, float]:
    """The w (d, q) of least norm among those that minimise |X w - y|^2, the rank of X, and its condition number."""
    n, d = x.shape
    scale = torch.linalg.vector_norm(x, dim=0)
    scale = torch.where(scale > 0, scale, 1.0)
    x = x / scale
    if n > d:  # an orthogonal map keeps all distances, and QR leaves d + q nonzero rows
        r = torch.linalg.qr(torch.cat([x, y], 1), mode="r").R
        x, y = r[:, :d], r[:, d:]
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    rank = int((s > tolerance * s[:1]).sum())
    if not rank:
        return x.new_zeros(d, y.shape[1]), 0, 1.0
    z = (u[:, :rank].T @ y) / s[:rank, None]
    condition = (s[0] / s[rank - 1]).item()
    if rank == d:
        return (vt.T @ z) / scale[:, None], rank, condition
    # Every minimiser solves V^T (scale w) = z. The one of least norm lies in the span of the columns of scale V.
    basis, r = torch.linalg.qr(scale[:, None] * vt[:rank].T)
    return basis @ torch.linalg.solve_triangular(r.T, z, upper=False), rank, condition


def soft_threshold(w: Tensor, by: Tensor | float) -> Tensor:
    """Each entry moved towards 0 by `by`, which broadcasts, and 0 if it would pass 0: the proximal map of |w|_1."""
    return w.sign() * (w.abs() - by).clamp(min=0)


def lasso(x: Tensor, y: Tensor, l1: Tensor, tolerance: float = 1e-12, max_steps: int = 100_000) -> Tensor:
    """The w (d, k) that minimise 1/(2n) |X w - y|^2 + lambda |w|_1 for each lambda of `l1` (k,); y is (n, 1).

    `l1` (d, k) has a lambda for each weight.

    FISTA (Beck and Teboulle 2009): a step down the gradient of the squared error, then the proximal map, with
    momentum that starts anew when it leads uphill (O'Donoghue and Candes 2015), until no weight moves by more than
    `tolerance`.
    """
    n, d = x.shape
    lr = n / torch.linalg.matrix_norm(x, 2).item() ** 2  # 1 over the largest curvature
    w = ahead = torch.zeros(d, l1.shape[-1], dtype=x.dtype)
    t = torch.ones(l1.shape[-1], dtype=x.dtype)
    for _ in range(max_steps):
        previous, w = w, soft_threshold(ahead - lr * (x.T @ (x @ ahead - y)) / n, lr * l1)
        uphill = ((ahead - w) * (w - previous)).sum(0) > 0
        t_previous, t = torch.where(uphill, 1.0, t), torch.where(uphill, 1.0, (1 + (1 + 4 * t**2).sqrt()) / 2)
        ahead = w + (t_previous - 1) / t * (w - previous)
        if (w - previous).abs().max() <= tolerance:
            break
    return w


def elastic_net(x: Tensor, y: Tensor, l1: float, penalty: float | Tensor = 0.0, bias: bool = False) -> Solution:
    """The w (d, 1) and b (1,), in float64, that minimise |X w + b - y|^2 + sum_j penalty_j w_j^2 + l1 |w|_1.

    X is (n, d), y (n, 1) and `penalty` a number or (d,); as in `solve` the bias is not penalised, and the columns are
    scaled to unit norm. `rank` and `condition` are those of the columns whose weights are not 0.
    """
    x, y = x.double(), y.double()
    x_mean, y_mean = (_centred(x)[1], _centred(y)[1]) if bias else (torch.zeros_like(x[0]), torch.zeros_like(y[0]))
    penalties = torch.as_tensor(penalty, dtype=x.dtype).expand(x.shape[1])
    rows, targets = _with_penalty(x - x_mean, y - y_mean, penalties)
    scale = torch.linalg.vector_norm(rows, dim=0)
    scale = torch.where(scale > 0, scale, 1.0)
    w = lasso(rows / scale, targets, l1 / (2 * len(rows) * scale[:, None])) / scale[:, None]
    used = w[:, 0] != 0
    _, rank, condition = _least_norm(rows[:, used], targets, max(x.shape) * torch.finfo(x.dtype).eps)
    return Solution(w, y_mean - x_mean @ w, rank, min(len(rows), int(used.sum())), condition)
