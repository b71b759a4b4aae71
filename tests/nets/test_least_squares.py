import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge

from lightning_d2l.data.synthetic import PolynomialData
from lightning_d2l.nets.least_squares import ridge_solution, solve


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


def powers(n: int, degree: int, seed: int, *, factorial: bool) -> tuple[torch.Tensor, torch.Tensor]:
    data = PolynomialData(
        degree, [5.0, 1.2, -3.4, 5.6], factorial, noise=0.1, n_train=n, n_val=0, n_test=1, batch_size=10, seed=seed
    )
    data.setup()
    return data.splits["train"]


def in_long_arithmetic(x: torch.Tensor, y: torch.Tensor, penalty: float = 0.0) -> tuple[list[float], float]:
    """The w (d,) of least norm that minimise |X w - y|^2 + penalty |w|^2, and |X w - y|^2, of 120 digits."""
    with mpmath.workdps(120):
        a, b = mpmath.matrix(x.tolist()), mpmath.matrix(y.tolist())
        n, d = x.shape
        if n < d and not penalty:
            w = a.T * mpmath.lu_solve(a * a.T, b)
        else:
            w = mpmath.lu_solve(a.T * a + penalty * mpmath.eye(d), a.T * b)
        residual = a * w - b
        return [float(value) for value in w], float(mpmath.fsum(value**2 for value in residual))


@pytest.mark.parametrize("factorial", [True, False])
@pytest.mark.parametrize("degree", [9, 16, 19])
def test_polynomials_are_solved_as_in_long_arithmetic(degree, factorial):
    """The condition number of the columns x^i / i! is 4e16 at degree 19, that of the same columns at norm 1 is 9e7."""
    for seed in range(3):
        x, y = powers(100, degree, seed, factorial=factorial)
        found, (w, squares) = solve(x, y), in_long_arithmetic(x, y)
        assert (x @ found.w - y).square().sum().item() == pytest.approx(squares, rel=1e-9)
        np.testing.assert_allclose(found.w[:, 0], w, rtol=0, atol=1e-6 * np.linalg.norm(w))
        assert (found.rank, found.full_rank) == (degree + 1, degree + 1)
        assert 1 < found.condition < 1e9


def test_the_least_norm_is_that_of_the_weights_and_not_of_the_scaled_ones():
    x, y = powers(12, 19, 0, factorial=True)
    found, (w, _) = solve(x, y), in_long_arithmetic(x, y)
    np.testing.assert_allclose(found.w[:, 0], w, rtol=0, atol=1e-6 * np.linalg.norm(w))
    assert found.rank == found.full_rank == 12


@pytest.mark.parametrize("penalty", [1e-3, 10.0])
@pytest.mark.parametrize("n", [12, 100])
def test_ridge_on_polynomials_is_that_of_long_arithmetic(n, penalty):
    x, y = powers(n, 19, 0, factorial=True)
    w, squares = in_long_arithmetic(x, y, penalty)
    for one_or_each in (penalty, torch.full((20,), penalty, dtype=torch.float64)):
        found = solve(x, y, one_or_each)
        np.testing.assert_allclose(found.w[:, 0], w, rtol=0, atol=1e-7 * np.linalg.norm(w))
        assert (x @ found.w - y).square().sum().item() == pytest.approx(squares, rel=1e-6)


def test_columns_that_depend_on_each_other_or_never_vary_lower_the_rank():
    rng = np.random.default_rng(0)
    year = rng.integers(1990, 2025, 60).astype(float)
    x = np.stack([year, 2025 - year, np.full(60, 0.1), 0.01 * rng.normal(size=60)], 1)
    y = 3 * year + 100 * x[:, 3] + rng.normal(size=60)
    found = solve(torch.from_numpy(x), torch.from_numpy(y)[:, None], bias=True)
    assert (found.rank, found.full_rank) == (2, 4)
    oracle = LinearRegression().fit(x[:, [0, 3]], y)
    assert found.w[:, 0].tolist() == pytest.approx([oracle.coef_[0] / 2, -oracle.coef_[0] / 2, 0, oracle.coef_[1]])
    fitted = torch.from_numpy(x) @ found.w + found.b
    np.testing.assert_allclose(fitted[:, 0], oracle.predict(x[:, [0, 3]]), rtol=1e-9)
