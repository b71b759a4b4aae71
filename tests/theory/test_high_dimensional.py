import math

import numpy as np
import pytest

from lightning_d2l.theory.high_dimensional import marchenko_pastur, minimum_norm_risk, shrunk_losses


@pytest.mark.parametrize(("n", "d"), [(20, 60), (60, 20)])
def test_the_risk_of_minimum_norm_least_squares_is_that_of_a_simulation(n, d):
    random, sigma, risks = np.random.default_rng(0), 0.5, []
    beta = np.full(d, 1 / math.sqrt(d))
    for _ in range(2000):
        x = random.standard_normal((n, d))
        fit = np.linalg.pinv(x) @ (x @ beta + sigma * random.standard_normal(n))
        risks.append(np.sum((fit - beta) ** 2))  # the excess risk on new N(0, 1) inputs
    error = np.std(risks) / math.sqrt(len(risks))
    assert np.mean(risks) == pytest.approx(minimum_norm_risk(n, d, sigma**2), abs=4 * error)


def test_the_marchenko_pastur_law_is_that_of_a_large_random_matrix():
    for n, d in ((2000, 500), (500, 1000)):
        x = np.random.default_rng(0).standard_normal((n, d))
        values = np.linalg.eigvalsh(x.T @ x / n)
        s, weight = marchenko_pastur(d / n)
        assert weight.sum() == pytest.approx(min(1, n / d), abs=1e-6)
        for function in (lambda v: v, lambda v: v**2, lambda v: np.where(v > 1e-9, 1 / (1 + v), 0)):
            assert weight @ function(s) == pytest.approx(function(values).mean(), rel=0.01)


def test_shrinkage_is_gradient_flow_and_ridge_of_a_simulation():
    random, n, d, sigma, t, penalty = np.random.default_rng(0), 300, 250, 0.7, 1.5, 0.4
    beta, flow, ridge = np.full(d, 1 / math.sqrt(d)), [], []
    for _ in range(30):
        x = random.standard_normal((n, d))
        y = x @ beta + sigma * random.standard_normal(n)
        s, v = np.linalg.eigh(x.T @ x / n)
        least_squares = v.T @ np.linalg.solve(x.T @ x, x.T @ y)
        for losses, g in ((flow, 1 - np.exp(-t * s)), (ridge, s / (s + penalty))):
            w = v @ (g * least_squares)
            losses.append((np.mean((x @ w - y) ** 2), np.sum((w - beta) ** 2) + sigma**2))
    for losses, shrinkage in ((flow, lambda s: 1 - np.exp(-t * s)), (ridge, lambda s: s / (s + penalty))):
        error = 4 * np.std(losses, axis=0) / math.sqrt(len(losses)) + 2 / d  # and the limit's own
        expected = shrunk_losses(shrinkage, d / n, sigma**2)
        assert np.all(np.abs(np.mean(losses, axis=0) - expected) < error)
