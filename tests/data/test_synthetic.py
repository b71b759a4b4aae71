from math import factorial

import numpy as np
import pytest
import torch

from lightning_d2l.data.synthetic import HighDimensionalData, PolynomialData, SyntheticRegressionData

SIZES = {"n_train": 1000, "n_val": 50, "n_test": 70, "batch_size": 10}


def test_linear_data_have_the_weights_and_the_noise_that_they_claim():
    data = SyntheticRegressionData(w=[2.0, -3.4], b=4.2, noise=0.01, seed=3, **SIZES)
    data.setup()
    x, y = (t.numpy() for t in data.splits["train"])
    design = np.c_[x, np.ones(len(x))]
    solution, residual, *_ = np.linalg.lstsq(design, y, rcond=None)
    np.testing.assert_allclose(solution[:, 0], [2, -3.4, 4.2], atol=4 * 0.01 / np.sqrt(1000))
    assert np.sqrt(residual[0] / (1000 - 3)) == pytest.approx(0.01, rel=0.1)
    assert {split: len(x) for split, (x, _) in data.splits.items()} == {"train": 1000, "val": 50, "test": 70}


@pytest.mark.parametrize("scaled", [True, False])
def test_polynomial_features_and_function(scaled):
    coefficients = [5.0, 1.2, -3.4, 5.6]
    data = PolynomialData(degree=6, coefficients=coefficients, factorial=scaled, noise=0.0, seed=0, **SIZES)
    data.setup()
    x, (features, y) = data.inputs["test"].numpy()[:, 0], data.splits["test"]
    expected = np.stack([x**i / (factorial(i) if scaled else 1) for i in range(7)], axis=1)
    np.testing.assert_allclose(features, expected, rtol=1e-12)
    power_series = [c / (factorial(i) if scaled else 1) for i, c in enumerate(coefficients)]
    np.testing.assert_allclose(y[:, 0], np.polynomial.polynomial.polyval(x, power_series), rtol=1e-9, atol=1e-9)


def test_degree_changes_the_features_alone():
    low, high = (
        PolynomialData(degree=d, coefficients=[1.0, 2.0], factorial=True, noise=0.3, seed=5, **SIZES) for d in (1, 9)
    )
    low.setup()
    high.setup()
    assert torch.equal(low.splits["train"][1], high.splits["train"][1])
    assert torch.equal(low.splits["train"][0], high.splits["train"][0][:, :2])


def test_high_dimensional_data():
    data = HighDimensionalData(d=200, w=0.01, b=0.05, noise=0.0, seed=0, **SIZES)
    data.setup()
    x, y = data.splits["train"]
    torch.testing.assert_close(y[:, 0], 0.05 + 0.01 * x.sum(1))


def test_seeds_and_splits_are_independent_draws():
    def draw(seed: int, n_train: int = 1000) -> dict:
        sizes = {**SIZES, "n_train": n_train}
        data = SyntheticRegressionData(w=[1.0], b=0.0, noise=1.0, seed=seed, **sizes)
        data.setup()
        return data.splits

    one, again, other, smaller = draw(1), draw(1), draw(2), draw(1, 10)
    assert torch.equal(one["train"][0], again["train"][0])
    assert abs(np.corrcoef(one["train"][0][:, 0], other["train"][0][:, 0])[0, 1]) < 0.15
    assert torch.equal(one["test"][0], smaller["test"][0])
    assert not set(one["train"][0].flatten().tolist()) & set(one["val"][0].flatten().tolist())


def test_identity_changes_with_every_number():
    def checksum(**changed: float) -> str:
        data = SyntheticRegressionData(**{"w": [1.0], "b": 0.0, "noise": 0.1, "seed": 0, **SIZES, **changed})
        data.setup()
        return data.identity()["checksum"]

    assert checksum() == checksum()
    assert len({checksum(), checksum(seed=1), checksum(b=1e-9), checksum(n_test=71)}) == 4
