import math

import numpy as np
import pytest

from lightning_d2l.theory.double_descent import minimum_norm_risk


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
