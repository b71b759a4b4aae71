"""The theories of regularisation against scikit-learn, scipy and plain simulation."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import ElasticNet, Lasso, Ridge

from lightning_d2l.theory.regularisation import DataSets, data_sets, dropout_ridge, elastic_net, ridge_path


def small(*, bias: bool = True, factor: float = 0.5, n: int = 20) -> DataSets:
    data = {"w": [3, 1.5, 0, 0, 2, 0, 0, 0], "b": 4.0, "noise": 3.0, "n_train": n}
    loss = {0.5: "half_mse", 1.0: "mse"}[factor]
    return data_sets({"data": data, "model": {"bias": bias}, "loss": loss}, 3)


@pytest.mark.parametrize("bias", [True, False])
def test_ridge_is_scikit_learns(bias):
    data = small(bias=bias)
    for x, y, w in zip(data.x, data.y, ridge_path(data, [7.0])[0], strict=True):
        assert w == pytest.approx(Ridge(7.0, fit_intercept=bias).fit(x, y).coef_)


def test_without_a_penalty_ridge_is_of_least_norm():
    data = small(bias=False, n=5)
    for x, y, w in zip(data.x, data.y, ridge_path(data, [0.0])[0], strict=True):
        assert w == pytest.approx(np.linalg.pinv(x) @ y)


@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_lasso_and_elastic_net_are_scikit_learns(factor):
    """Its objective has |r|^2 / 2n, ours factor |r|^2 / n."""
    data = small(factor=factor)
    l1, both = elastic_net(data, 0.8, 0.0), elastic_net(data, 0.8, 0.4)
    a1, a2 = 0.8 / (2 * factor), 0.4 / (2 * factor)
    for i, (x, y) in enumerate(zip(data.x, data.y, strict=True)):
        assert l1[i] == pytest.approx(Lasso(a1, tol=1e-12).fit(x, y).coef_, abs=1e-6)
        oracle = ElasticNet(a1 + a2, l1_ratio=a1 / (a1 + a2), tol=1e-12).fit(x, y)
        assert both[i] == pytest.approx(oracle.coef_, abs=1e-6)
    assert elastic_net(data, 0.0, 0.4) == pytest.approx(ridge_path(data, [0.4 * 20 / (2 * factor)])[0], abs=1e-6)


def test_orthonormal_inputs_are_soft_thresholded():
    x = np.linalg.qr(np.random.default_rng(0).standard_normal((16, 4)))[0] * 4  # X^T X = n I
    y = x @ np.array([3.0, -2.0, 0.5, 0.0])
    data = DataSets(x[None], y[None], np.zeros(4), 0.0, 0.0, 0.5, False)
    assert elastic_net(data, 1.0, 0.0)[0] == pytest.approx([2.0, -1.0, 0.0, 0.0])


def test_dropout_ridge_minimises_the_mean_over_masks():
    """All 2^3 masks, each with its probability, in place of the closed form."""
    rng = np.random.default_rng(1)
    x, y, p = rng.standard_normal((9, 3)) + 1, rng.standard_normal(9), 0.3
    data = DataSets(x[None], y[None], np.zeros(3), 0.0, 0.0, 1.0, True)
    masks = (np.arange(8)[:, None] >> np.arange(3)) & 1
    chances = (p ** (1 - masks) * (1 - p) ** masks).prod(1)

    def mean_loss(wb):
        # a sample's mask is its own; the mean loss is the mean over samples of the mean over masks
        outputs = (x[:, None] * masks / (1 - p)) @ wb[:3] + wb[3]
        return float((((outputs - y[:, None]) ** 2) @ chances).sum())

    oracle = minimize(mean_loss, np.zeros(4), method="BFGS", options={"gtol": 1e-9}).x
    assert dropout_ridge(data, p)[0] == pytest.approx(oracle[:3], abs=1e-5)


def test_the_expected_error_is_that_on_many_new_samples():
    data = small()
    w = ridge_path(data, [5.0])[0]
    b = data.y.mean(1) - (data.x.mean(1) * w).sum(1)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((200_000, 8))
    y = x @ data.w + data.b + data.noise * rng.standard_normal(len(x))
    measured = np.mean([((x @ wi + bi - y) ** 2).mean() / 2 for wi, bi in zip(w, b, strict=True)])
    assert data.expected(w)["loss/test"][0] == pytest.approx(measured, rel=4 * np.sqrt(2 / len(x)))
