import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge

from lightning_d2l.nets.least_squares import ridge_solution


def problem(n: int, d: int, q: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=rng, dtype=torch.float64) + 1
    return x, torch.randn(n, q, generator=rng, dtype=torch.float64) + 3


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("n", "d"), [(40, 6), (6, 40), (7, 7)])
def test_equals_scikit_learn(n, d, bias):
    x, y = problem(n, d, 3)
    for penalty, oracle in ((0.0, LinearRegression(fit_intercept=bias)), (0.7, Ridge(0.7, fit_intercept=bias))):
        oracle.fit(x.numpy(), y.numpy())
        w, b = ridge_solution(x, y, penalty, bias)
        np.testing.assert_allclose(w, oracle.coef_.T, atol=1e-8)
        np.testing.assert_allclose(b, np.broadcast_to(oracle.intercept_, 3), atol=1e-8)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("n", "d"), [(40, 6), (4, 6)])
def test_a_penalty_for_each_input_makes_the_gradient_vanish(n, d, bias):
    x, y = problem(n, d, 2)
    penalty = torch.tensor([0.0, 0.1, 1.0, 0.0, 10.0, 100.0])
    w, b = ridge_solution(x, y, penalty, bias)
    residual = x @ w + b - y
    torch.testing.assert_close(x.T @ residual + penalty[:, None] * w, torch.zeros_like(w), atol=1e-9, rtol=0)
    if bias:
        torch.testing.assert_close(residual.mean(0), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)
    else:
        assert not b.any()


def test_equal_penalties_are_one_penalty():
    x, y = problem(20, 5, 2)
    for one, each in zip(
        ridge_solution(x, y, 0.3, True), ridge_solution(x, y, torch.full((5,), 0.3), True), strict=True
    ):
        torch.testing.assert_close(one, each, atol=1e-7, rtol=0)  # 0.3 in float32 is off by 1e-8


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 8), d=st.integers(1, 12), rank=st.integers(1, 8), seed=st.integers(0, 10**6))
def test_minimum_norm_is_numpys_pseudoinverse_at_any_rank(n, d, rank, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d))
    y = rng.normal(size=(n, 1))
    singular = np.linalg.svd(x, compute_uv=False)[: min(n, d, rank)]
    w, _ = ridge_solution(torch.from_numpy(x), torch.from_numpy(y))
    # the relative error of a least-squares solution grows with the squared condition number
    atol = 100 * np.finfo(float).eps * (singular[0] / singular[-1]) ** 2 * max(1, np.abs(y).max() / singular[-1])
    np.testing.assert_allclose(w, np.linalg.pinv(x) @ y, rtol=0, atol=atol)


def test_weights_and_bias_of_an_exact_plane_are_recovered_from_float32():
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    w, b = ridge_solution(x, x @ torch.tensor([[2.0], [-3.4]]) + 4.2, bias=True)
    assert w.dtype == b.dtype == torch.float64
    assert w.flatten().tolist() == pytest.approx([2, -3.4], abs=1e-6)
    assert b.tolist() == pytest.approx([4.2], abs=1e-6)
