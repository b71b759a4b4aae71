"""Intervals against scipy, closed forms, and simulation."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logit

from benchmarks.coverage import POPULATIONS, Population, coverage
from lightning_d2l.studies.replicates import Replicate
from lightning_d2l.studies.statistics import COCHRAN, SHOWN, estimate, estimates_of, kind_of

VALUES = st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=30)
NAMED = {each.name: each for each in POPULATIONS}


def folds(sets, within):
    return [Replicate(str(i), "", str(j)) for i in range(sets) for j in range(within)]


@given(VALUES)
def test_the_interval_of_a_mean_of_any_sign_is_students_for_every_n(values):
    found = estimate(values, kind="real", statistic="mean")
    said = "Student t" if len(values) >= SHOWN else "Student t, if symmetric"
    assert found.method == (said if found.std else "all equal")
    assert (found.n, found.clusters) == (len(values), len(values))
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert found.std == pytest.approx(np.std(values, ddof=1), abs=1e-9)
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95) if found.std > 1e-6 else (found.mean, found.mean)
    np.testing.assert_allclose((found.low, found.high), interval, rtol=1e-9, atol=1e-3 * (found.std < 1e-6) + 1e-9)


@pytest.mark.parametrize("n", [2, 3, 10, 200])
def test_means_of_losses_and_shares_have_students_interval_on_the_scale_of_the_log_and_the_logit(n):
    x = np.random.default_rng(n).uniform(0.5, 0.6, n)
    t, error = stats.t.ppf(0.975, n - 1), stats.sem(x)
    for kind, forth, back, slope in (
        ("positive", np.log, np.exp, x.mean()),
        ("share", logit, expit, x.mean() * (1 - x.mean())),
    ):
        found = estimate(x, kind=kind, statistic="mean")
        expected = back(forth(x.mean()) + np.array([-1, 1]) * t * error / slope)
        np.testing.assert_allclose((found.low, found.high), expected, rtol=1e-12)


@pytest.mark.parametrize("n", [6, 7, 11, 20, 50, 201])
def test_the_interval_of_a_median_lies_between_the_two_of_order_statistics_around_95_percent(n):
    x = np.sort(np.random.default_rng(n).standard_cauchy(n))
    found = estimate(x, statistic="median")
    assert (found.median, found.method) == (np.median(x), "order statistics")
    safe = stats.quantile_test(x, p=0.5).confidence_interval(0.95)  # of order statistics, at least 95 %
    at = np.searchsorted(x, safe.low)
    assert x[at] <= found.low <= x[at + 1]
    assert (estimate(-x, statistic="median").low, found.high) == (
        pytest.approx(-found.high),
        -estimate(-x, statistic="median").low,
    )


def bounds(share, repeats):
    """Where a frequency lies with a probability of 1 - 1e-5 if it is `share`."""
    return stats.binom.ppf([5e-6, 1 - 5e-6], repeats, share) / repeats


HIDDEN = (
    "a floor of 1 + lognormal / 10",
    "lognormal - 2, s = 1, any sign",
    "losses of 0.3, one in ten 2.3",
)
"""Populations whose skewness few values hide, so that no interval of their mean covers."""
COARSE = "accuracies, 99 of 100"  # of which three are often equal


@pytest.mark.parametrize("n", [3, 10])
@pytest.mark.parametrize("name", sorted(NAMED.keys() - {*HIDDEN, COARSE}))
def test_the_interval_covers_the_statistic_that_it_is_said_to_be_of(name, n):
    repeats = 1000
    covered, having, _ = coverage(NAMED[name], n, repeats, seed=1)
    assert having == 1
    assert bounds(0.93, repeats)[0] <= covered <= bounds(0.975, repeats)[1]


def test_pooling_the_folds_of_data_sets_would_not_cover():
    population = NAMED["n data sets x 5 folds, 90 % between"]
    pooled = Population("", "real", lambda g, n: (population.draw(g, n)[0], None), 10, 10)
    assert coverage(pooled, 10, 500)[0] < 0.75
    assert coverage(population, 10, 500)[0] > 0.9


def test_folds_are_averaged_within_data_sets_and_both_numbers_are_given():
    values = np.random.default_rng(0).uniform(1, 1.1, (10, 5))
    found, of_means = estimate(values.ravel(), folds(10, 5), "positive"), estimate(values.mean(1), kind="positive")
    assert (found.n, found.clusters, found.design) == (50, 10, "10 data sets x 5 folds")
    assert (found.low, found.mean, found.high) == pytest.approx((of_means.low, of_means.mean, of_means.high))
    assert str(found).endswith("10 data sets x 5 folds)")
    assert found.std == pytest.approx(values.std(ddof=1))
    missing = [i for i in range(50) if i not in (0, 7, 8)]  # folds that diverged
    some = estimate(values.ravel()[missing], [folds(10, 5)[i] for i in missing], "positive")
    assert some.mean == pytest.approx(
        np.mean([np.mean(values[i, [j for j in range(5) if 5 * i + j in missing]]) for i in range(10)])
    )
    alone = estimate(values[0], folds(1, 5), "positive")
    assert (alone.clusters, alone.has_interval, alone.method, alone.n) == (1, False, "none", 5)


def test_of_crossed_data_sets_and_seeds_both_parts_of_the_variance_count():
    table = (
        5 + np.random.default_rng(3).normal(size=(6, 1)) + np.random.default_rng(4).normal(size=4) + np.zeros((6, 4))
    )
    each = [Replicate(str(i), str(j)) for i in range(6) for j in range(4)]
    found = estimate(table.ravel(), each, "real")
    a, b = table.mean(1).var(ddof=1) / 6, table.mean(0).var(ddof=1) / 4  # without a rest these are the components
    satterthwaite = (a + b) ** 2 / (a**2 / 5 + b**2 / 3)
    half = stats.t.ppf(0.975, (satterthwaite + 3) / 2) * math.sqrt(a + b)
    assert (found.design, found.clusters) == ("6 data sets x 4 seeds", 6)
    assert found.high - found.mean == pytest.approx(half)
    kept = [i for i in range(24) if i not in (3, 17)]  # an additive table tells its missing cells
    some = estimate(table.ravel()[kept], [each[i] for i in kept], "real")
    assert (some.mean, some.high) == pytest.approx((found.mean, found.high), rel=2e-2)
    two = estimate(table[:, :2].ravel(), [r for r in each if r.seed in "01"], "real")
    assert (two.given, two.high) == ("the 2 seeds", pytest.approx(estimate(table[:, :2].mean(1)).high))


def test_seeds_within_data_sets_and_seeds_alone():
    nested = estimate([1.0, 1.2, 3.0, 3.1], [Replicate(d, s) for d, s in ("aw", "ax", "by", "bz")], "real")
    assert (nested.clusters, nested.design, nested.mean) == (2, "2 data sets x 2 seeds", pytest.approx(2.075))
    assert estimate([1.0, 1.2, 3.0], [Replicate("", s) for s in "abc"]).design == "3 seeds"


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=12), st.sampled_from(["positive", "share", "real"]))
def test_no_interval_leaves_the_possible_values_and_each_holds_its_value(values, kind):
    values = [min(value, 1.0) for value in values] if kind == "share" else values
    found = estimate(values, kind=kind)
    if found.has_interval:
        assert found.low <= found.value * (1 + 1e-9)
        assert found.value <= found.high * (1 + 1e-9)
        assert kind == "real" or found.low >= 0
        assert kind != "share" or found.high <= 1


def test_the_median_is_meant_where_the_rule_says_so():
    def at(spread, n):
        return estimate(np.exp(spread * stats.norm.ppf((np.arange(n) + 0.5) / n)), kind="positive").statistic

    for n in (6, 10, 20):  # the lognormal whose skewness meets Cochran's rule lies between these
        limit = next(s for s in np.arange(0.01, 1, 0.001) if COCHRAN * stats.lognorm.stats(s, moments="s") ** 2 > n)
        assert [at(0.9 * limit, n), at(1.4 * limit, n)] == ["mean", "median"]
    assert estimate([1.0] * 99 + [6.0], kind="positive").statistic == "median"
    assert estimate([*np.linspace(-1, 1, 30), 90.0]).statistic == "median"
    assert estimate([0.0, 0.2, 1.0, 0.9], kind="share").statistic == "mean"
    failed = [0.84, 0.85, 0.86, 0.85, 0.84, 0.86, 0.83, 0.1]
    assert [estimate(failed, kind=kind).statistic for kind in ("share", "positive", "real")] == ["median"] * 3
    floor = 1 + 0.1 * np.exp(stats.norm.ppf((np.arange(50) + 0.5) / 50))  # whose logarithms have a small spread
    assert estimate(floor, kind="positive").statistic == "median"
    assert estimate(1 + 0.03 * stats.norm.ppf((np.arange(50) + 0.5) / 50), kind="positive").statistic == "mean"


def test_skewness_that_one_of_many_settings_shows_by_chance_makes_no_medians():
    g, repeats, k, n = np.random.default_rng(0), 200, 20, 10
    replicates = [[Replicate("", str(i)) for i in range(n)]] * k
    drawn = (g.normal(size=(k, n)).tolist() for _ in range(repeats))
    medians = [estimates_of("gap/val", each, replicates, [True] * k)[0].statistic == "median" for each in drawn]
    assert np.mean(medians) < 0.2


def test_what_too_few_values_cannot_show_is_said_and_is_not_needed_from_thirty_on():
    for name in HIDDEN:
        assert coverage(NAMED[name], 5, 500)[0] < 0.9
        assert coverage(NAMED[name], SHOWN, 1000, seed=2)[0] >= bounds(0.93, 1000)[0]
    for n in (2, 5, SHOWN - 1, SHOWN):
        skewed = np.random.default_rng(1).normal(size=n)
        assert ("if symmetric" in str(estimate(skewed, statistic="mean"))) == (n < SHOWN)


def test_a_metric_has_one_statistic_at_all_settings():
    calm, wild = [1.0, 1.01, 1.02], [1.0, 9.0, 80.0]
    each = [[Replicate("", s) for s in "abc"]] * 2
    assert [e.statistic for e in estimates_of("loss/test", [calm, wild], each, [True, True])] == ["median"] * 2
    assert [e.statistic for e in estimates_of("loss/test", [calm, wild], each, [True, False])] == ["mean"] * 2
    negative = estimates_of("loss/test", [calm, [-1.0, 0.0, 2.0]], each, [True, True])  # a log-likelihood
    assert negative[0].method == "Student t, if symmetric"


def test_one_value_has_no_interval_and_equal_values_one_of_no_length():
    found = estimate([3.0])
    assert (found.mean, found.value, found.method, found.n, str(found)) == (3.0, 3.0, "none", 1, "3 (one run)")
    assert math.isnan(found.std)
    assert math.isnan(found.low)
    for kind in ("real", "positive", "share"):
        for n in (2, 3, 30):
            equal = estimate([0.1] * n, kind=kind)
            assert (equal.low, equal.mean, equal.high, equal.std) == (pytest.approx(0.1, abs=1e-15),) * 3 + (0.0,)
    assert estimate([0.0, 0.0, 0.0], kind="positive").high == 0


def test_zeros_among_losses_and_infinities():
    for n in range(2, 8):
        found = estimate([0.0, *range(1, n)], kind="positive")
        assert (found.statistic, found.has_interval) == ("median", n >= 5)
    found = estimate([1.0, 2.0, math.inf], kind="positive")
    assert (found.mean, found.median, found.has_interval) == (math.inf, 2.0, False)


@pytest.mark.parametrize("kind", ["real", "positive"])
@pytest.mark.parametrize("n", [2, 5, 30])
@pytest.mark.parametrize("exponent", [-1000, -500, 500, 1000])
def test_no_square_or_sum_of_large_or_tiny_values_overflows(n, exponent, kind):
    values = np.random.default_rng(0).uniform(1, 2, n)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, plain = estimate(np.ldexp(values, exponent), kind=kind), estimate(values, kind=kind)
    assert found.statistic == plain.statistic
    for name in ("mean", "std", "low", "high", "median", "q1"):
        assert math.ldexp(getattr(found, name), -exponent) == pytest.approx(getattr(plain, name), rel=1e-12)


def test_what_is_beyond_the_largest_float_is_infinite():
    found = estimate([1.7e308, 1.7e308, 1.6e308])
    assert found.mean == pytest.approx(1.7e308 * (5.0 / 5.1), rel=1e-9)
    assert found.high == math.inf
    assert math.isfinite(found.low)
    both = estimate([1.7e308, -1.7e308])
    assert (both.mean, both.std, both.low, both.high) == (0.0, math.inf, -math.inf, math.inf)


def test_kinds_follow_from_names():
    names = ("loss/test", "best.loss/val", "acc/train", "zeros/weights", "gap/val", "loss/bias2", "norm/weights")
    assert [kind_of(name) for name in names] == ["positive", "positive", "share", "share", "real", "real", "positive"]
