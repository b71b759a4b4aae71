import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lightning_d2l.studies.statistics import BOOTSTRAP_FROM, estimate

VALUES = st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=BOOTSTRAP_FROM - 1)


@given(VALUES)
def test_with_few_values_it_is_students_interval(values):
    found = estimate(values)
    assert (found.method, found.n) == ("Student t", len(values))
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert found.std == pytest.approx(np.std(values, ddof=1), abs=1e-9)
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95) if found.std > 1e-6 else (found.mean, found.mean)
    np.testing.assert_allclose((found.low, found.high), interval, rtol=1e-9, atol=1e-3 * (found.std < 1e-6) + 1e-9)


def test_one_value_has_no_interval():
    found = estimate([3.0])
    assert (found.mean, found.method, found.n) == (3.0, "none", 1)
    assert math.isnan(found.std)
    assert math.isnan(found.low)


@pytest.mark.parametrize(
    ("n", "draw", "repeats", "tolerance"),
    [
        (5, lambda g, n: g.normal(size=n), 4000, 0.015),
        (20, lambda g, n: g.normal(size=n), 400, 0.06),
        (40, lambda g, n: g.exponential(size=n), 400, 0.06),
    ],
)
def test_the_interval_holds_the_true_mean_in_95_percent_of_samples(n, draw, repeats, tolerance):
    generator = np.random.default_rng(n)
    mean = draw(generator, 1_000_000).mean()
    found = [estimate(draw(generator, n)) for _ in range(repeats)]
    assert sum(e.low <= mean <= e.high for e in found) / repeats == pytest.approx(0.95, abs=tolerance)


def test_from_twenty_values_on_it_is_a_bootstrap_that_moves_with_the_values_and_repeats_itself():
    values = np.random.default_rng(0).lognormal(size=BOOTSTRAP_FROM)
    found, moved = estimate(values), estimate(3 * values + 2)
    assert found.method == "bootstrap (BCa)"
    assert found == estimate(values)
    assert (moved.low, moved.high) == pytest.approx((3 * found.low + 2, 3 * found.high + 2))
    assert found.high - found.mean > found.mean - found.low  # skewed as the values are
    assert estimate([2.0] * 30).low == 2.0


@pytest.mark.parametrize("n", [2, 5, 30])
@pytest.mark.parametrize("exponent", [-1000, -500, 500, 1000])
def test_no_square_or_sum_of_large_or_tiny_values_overflows(n, exponent):
    values = np.random.default_rng(0).uniform(1, 2, n)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, plain = estimate(np.ldexp(values, exponent)), estimate(values)
    for name in ("mean", "std", "low", "high"):
        assert math.ldexp(getattr(found, name), -exponent) == pytest.approx(getattr(plain, name), rel=1e-12)


def test_what_is_beyond_the_largest_float_is_infinite():
    found = estimate([1.7e308, 1.7e308, 1.6e308])
    assert found.mean == pytest.approx(1.7e308 * (5.0 / 5.1), rel=1e-9)
    assert found.high == math.inf
    assert math.isfinite(found.low)
    both = estimate([1.7e308, -1.7e308])
    assert (both.mean, both.std, both.low, both.high) == (0.0, math.inf, -math.inf, math.inf)
