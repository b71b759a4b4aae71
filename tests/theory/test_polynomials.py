import math

import numpy as np
import pytest

from lightning_d2l.config.optimizers import EXACT
from lightning_d2l.config.registry import LINEAR_REGRESSION
from lightning_d2l.studies.collect import collect
from lightning_d2l.studies.study import study_of
from lightning_d2l.theory.polynomials import best_polynomial_error, capacity
from tests.studies.records import write_sweep

COEFFICIENTS = [5.0, 1.2, -3.4, 5.6]  # of the default polynomial, x^i / i!


def test_capacity_is_what_least_squares_on_a_fixed_design_shows(tmp_path):
    n, noise, true = 40, 0.5, [5.0, 1.2, -3.4, 5.6]
    axes = {"data.degree": [1, 3, 5, 9], "data.n_train": [n], "data.noise": [noise], "data.coefficients": [true]}
    axes |= {"model": [LINEAR_REGRESSION], "optimizer._target_": [EXACT]}
    metrics = {"loss/train": 1.0, "loss/test": 1.0}
    sweeps = collect([write_sweep(tmp_path / "s", axes, lambda *_: metrics, study={"x": "data.degree"})])
    curves = {curve.metric: curve for curve in capacity(study_of(sweeps), sweeps[0].runs) if "design" in curve.label}
    generator = np.random.default_rng(0)
    x = generator.normal(size=n)
    features = np.vander(x, 10, increasing=True)
    clean = features[:, :4] @ true
    for position, degree in enumerate([3, 5, 9]):
        q, _ = np.linalg.qr(features[:, : degree + 1])
        y, fresh = (clean + noise * generator.normal(size=(20_000, n)) for _ in range(2))
        fitted = y @ q @ q.T
        for metric, labels in (("loss/train", y), ("loss/test", fresh)):
            assert curves[metric].x[position] == degree
            np.testing.assert_allclose(curves[metric].y[position], ((labels - fitted) ** 2).mean(), rtol=0.01)


@pytest.mark.parametrize("factorial", [True, False])
def test_the_best_polynomial_is_that_of_a_regression_on_many_points(factorial):
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)  # exact for N(0, 1) up to degree 39
    scale = [math.factorial(i) if factorial else 1 for i in range(4)]
    true = sum(c * nodes**i / scale[i] for i, c in enumerate(COEFFICIENTS))
    root = np.sqrt(weights / weights.sum())
    for degree in range(5):
        powers = np.stack([nodes**i for i in range(degree + 1)], axis=1)
        fit = powers @ np.linalg.lstsq(powers * root[:, None], true * root, rcond=None)[0]
        error = np.sum(root**2 * (true - fit) ** 2)
        assert best_polynomial_error(COEFFICIENTS, factorial, degree) == pytest.approx(error, abs=1e-10)
