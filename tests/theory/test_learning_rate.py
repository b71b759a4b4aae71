"""The stability and the expected loss of SGD against simulations."""

import numpy as np
import pytest

from lightning_d2l.theory.learning_rate import Descent


def descent(batch_size: int, n: int = 100, d: int = 5) -> Descent:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((n, d))
    return Descent(x, x.sum(1) + 0.5 * rng.standard_normal(n), 0.5, batch_size)


def test_the_limit_of_full_batches_is_two_over_the_largest_eigenvalue():
    full = descent(100)
    assert full.limit() == pytest.approx(2 / np.linalg.eigvalsh(full.hessian).max())


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_limit_of_small_batches_on_normal_inputs(batch_size):
    """E[H_B^2] = (1 + (d + 1) / B) I for many normal inputs, so the limit is 2 / (1 + (d + 1) / B)."""
    many = descent(batch_size, n=20_000)
    assert many.limit() == pytest.approx(2 / (1 + 6 / batch_size), rel=0.05)
    assert descent(batch_size).limit() < descent(100).limit()


@pytest.mark.parametrize(("batch_size", "lr"), [(100, 0.5), (10, 0.3)])
def test_the_expected_loss_is_the_mean_over_simulated_descents(batch_size, lr):
    theory, rng = descent(batch_size), np.random.default_rng(4)
    x, y, losses = theory.x, theory.y, []
    for _ in range(400):
        w = np.zeros(5)
        for _ in range(30):
            rows = rng.choice(len(x), batch_size, replace=False)
            w -= lr * x[rows].T @ (x[rows] @ w - y[rows]) / batch_size
        losses.append(((x @ w - y) ** 2).mean() / 2)
    error = np.std(losses) / np.sqrt(len(losses))
    assert theory.expected_loss(lr, 30) == pytest.approx(np.mean(losses), abs=4 * error + 1e-9)
