"""Comparisons against scipy, closed forms, and simulated sweeps."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.coverage import sweep, told_apart
from lightning_d2l.studies.comparison import _inverse_trigamma, _largest_of_range, _p_of_range, against_best, compare
from lightning_d2l.studies.findings import find
from lightning_d2l.studies.points import Point
from lightning_d2l.studies.replicates import Replicate
from lightning_d2l.studies.statistics import estimate
from tests.studies.records import write_sweep


def point(values, metric="loss/test"):
    """A setting with values by replicate: a data set, or (data set, seed) or (data set, seed, fold)."""
    keys = [Replicate(*map(str, key)) if isinstance(key, tuple) else Replicate(str(key)) for key in values]
    found = estimate(list(values.values()), keys, "positive", "mean")
    return Point({"x": 0}, [], {metric: list(values.values())}, {metric: keys}, {metric: found})


def test_losses_are_compared_by_the_ratio_over_shared_data_sets_as_by_scipys_paired_test():
    g = np.random.default_rng(0)
    a = g.lognormal(sigma=1, size=10)
    b = a * g.lognormal(0.05, 0.04, 10)
    found = compare(point(dict(enumerate(a))), point(dict(enumerate(b))), "loss/test")
    test = stats.ttest_rel(np.log(b), np.log(a))
    interval = np.exp(test.confidence_interval(0.95))
    assert (found.p, found.low, found.high) == pytest.approx((test.pvalue, *interval))
    assert found.effect == pytest.approx(stats.gmean(b / a))
    assert (found.wins, found.pairs, found.verdict) == ((b > a).sum(), 10, "apart")
    assert str(found).startswith(
        f"better in {found.wins} of 10 data sets, loss/test {found.effect:.4g} times (95 % 1.0"
    )
    assert compare(point(dict(enumerate(a))), point(dict(enumerate(b))), "loss/test", 7).p == pytest.approx(7 * found.p)
    back = compare(point(dict(enumerate(b))), point(dict(enumerate(a))), "loss/test")
    assert (back.effect, back.low) == pytest.approx((1 / found.effect, 1 / found.high))
    assert stats.ttest_ind(np.log(a), np.log(b)).pvalue > 0.5  # which pairing is for


def test_accuracies_are_compared_by_their_difference_and_higher_is_better():
    a, b = [0.9, 0.91, 0.92], [0.85, 0.87, 0.86]
    found = compare(*(point(dict(enumerate(v)), "acc/test") for v in (a, b)), "acc/test")
    assert (found.is_ratio, found.effect, found.wins) == (False, pytest.approx(-0.05), 3)
    assert found.p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    few = compare(*(point(dict(enumerate(v)), "acc/test") for v in ([0.9, 0.5], [0.1, 0.4])), "acc/test")
    assert (few.low, few.high) == (-1, 1)  # Student's t has -4.3 to 3.4


def test_folds_are_averaged_within_data_sets_and_missing_pairs_are_left_out():
    g = np.random.default_rng(1)
    a, b = g.uniform(1, 1.1, (6, 5)), g.uniform(1, 1.1, (6, 5))
    at = {(i, "", j): (a[i, j], b[i, j]) for i in range(6) for j in range(5)}
    lost = [(2, "", 1), (5, "", 0)]
    first = point({key: pair[0] for key, pair in at.items() if key != lost[0]})
    second = point({key: pair[1] for key, pair in at.items() if key != lost[1]})
    found = compare(first, second, "loss/test")
    logs = [
        np.mean([np.log(y / x) for (d, _, f), (x, y) in at.items() if d == i and (d, "", f) not in lost])
        for i in range(6)
    ]
    assert (found.pairs, found.p) == (6, pytest.approx(stats.ttest_1samp(logs, 0).pvalue))
    assert str(found).endswith("; without a partner: 2")


def test_without_shared_replicates_it_is_welchs_test():
    a, b = [1.0, 1.1, 1.3, 1.2], [2.0, 2.4, 2.1]
    found = compare(point(dict(enumerate(a))), point({f"other {i}": v for i, v in enumerate(b)}), "loss/test")
    test = stats.ttest_ind(np.log(b), np.log(a), equal_var=False)
    assert (found.p, found.low, found.high) == pytest.approx((test.pvalue, *np.exp(test.confidence_interval(0.95))))
    assert (found.pairs, found.verdict) == (0, "apart")
    assert str(found).startswith("nothing is shared")


def test_verdicts_and_how_many_more_pairs_would_decide():
    g = np.random.default_rng(2)
    noise = stats.zscore(g.normal(size=10), ddof=1)

    def against(effect, deviation):
        logs = effect + deviation * noise
        return compare(point(dict.fromkeys(range(10), 1.0)), point(dict(enumerate(np.exp(logs)))), "loss/test")

    assert [against(e, 0.01).verdict for e in (0.3, 0.005)] == ["apart", "equivalent"]
    found = against(0.3, 0.5)
    assert found.verdict == "undecided"
    n = 10 + found.more
    power = 1 - stats.nct.cdf(stats.t.ppf(0.975, n - 1), n - 1, 0.3 / 0.5 * math.sqrt(n))
    assert power == pytest.approx(0.8, abs=0.05)
    assert against(1e-9, 5.0).more is None  # a difference that no sweep would show


@pytest.mark.parametrize(
    ("a", "b", "verdict", "effect"),
    [
        ([1.0], [2.0], "undecided", 2.0),  # one pair
        ([0.5, 0.7], [0.5, 0.7], "equivalent", 1.0),
        ([0.0, 0.7, 0.2], [0.1, 0.8, 0.3], "apart", 0.1),  # no ratio to 0
        ([1e-200, 2e-200], [1e200, 1.9e200], "apart", math.inf),
        ([1e300, 1e300, 2e300], [2e300, 1e300, 1e300], "undecided", 1.0),
    ],
)
def test_hard_pairs(a, b, verdict, effect):
    found = compare(point(dict(enumerate(a))), point(dict(enumerate(b))), "loss/test")
    assert (found.verdict, found.effect) == (verdict, pytest.approx(effect))
    assert str(found)


def test_the_range_of_equal_settings_is_tukeys():
    for k in (2, 3, 20, 300):
        for z in (1.5, 3.0, 5.0):
            assert _p_of_range(z, k) == pytest.approx(stats.studentized_range.sf(z * math.sqrt(2), k, 1e6), rel=1e-4)
        assert stats.studentized_range.sf(_largest_of_range(k) * math.sqrt(2), k, 1e6) == pytest.approx(0.05, rel=1e-4)
    assert [float(_inverse_trigamma(y)) for y in (math.pi**2 / 6, math.pi**2 / 2)] == pytest.approx([1, 0.5])


def noise(k, n, spread):
    return lambda g: g.normal(size=n) + spread * g.normal(size=(k, n))


@pytest.mark.parametrize(
    "draw",
    [
        noise(20, 5, 0.1),
        noise(3, 5, 0.1),
        noise(20, 5, np.geomspace(0.01, 1, 20)[:, None]),  # settings of different spread
    ],
)
def test_where_no_setting_has_an_effect_at_most_five_sweeps_of_a_hundred_tell_any_apart(draw):
    repeats = 200
    wrong = sum(map(any, told_apart(draw, repeats)))
    assert wrong <= stats.binom.ppf(1 - 1e-5, repeats, 0.05)


def test_it_tells_at_least_as_much_as_paired_tests_with_holms_correction():
    shift, repeats = np.r_[-0.5, np.zeros(19)][:, None], 100
    ours = list(told_apart(lambda g: shift + noise(20, 5, 0.2)(g), repeats, seed=1))
    g, holm = np.random.default_rng(1), []
    for _ in range(repeats):
        x = shift + noise(20, 5, 0.2)(g)
        p = np.sort(stats.ttest_rel(x[1:], x[:1], axis=1).pvalue)
        holm.append(np.logical_and.accumulate(p * np.arange(19, 0, -1) <= 0.05).sum())
    assert np.sum(ours) >= np.sum(holm) - 0.05 * 19 * repeats
    assert np.sum(ours) > 0.5 * 19 * repeats


def test_crossed_data_sets_and_seeds_and_settings_of_one_run_are_compared():
    g = np.random.default_rng(3)
    keys = [(i, j) for i in range(4) for j in range(3)]
    points = [point({key: 1 + x + 0.01 * g.normal() for key in keys}) for x in (0, 0.5)] + [point({(0, 0): 3.0})]
    (_, near), (_, far) = against_best("loss/test", points)
    assert (near.verdict, near.pairs, far.verdict, far.pairs) == ("apart", 4, "undecided", 1)


def test_the_same_run_in_two_spellings_counts_once(tmp_path):
    losses = {0: 1.0, 1: 1.1}
    axes = {"data.noise": [1, 1.0], "seed": losses}
    folder = write_sweep(tmp_path, axes, lambda noise, seed: {"loss/val": losses[seed]})
    findings = find([folder])
    (found,) = findings.points
    assert (found.estimates["loss/val"].n, len(found.runs)) == (2, 2)
    assert findings.warnings[0].startswith("2 runs repeat others")


def test_a_data_seed_that_follows_the_seed_makes_data_sets(tmp_path):
    folder = write_sweep(tmp_path, {"data.degree": [1, 2], "seed": range(4)}, lambda d, s: {"loss/val": d + 0.01 * s})
    for path in folder.glob("*/run.json"):
        seed = path.parent.name.rpartition("=")[2]
        path.write_text(path.read_text().replace('"seed": 0}', f'"seed": {seed}}}'))
    points = find([folder]).points
    assert [p.estimates["loss/val"].design for p in points] == ["4 data sets", "4 data sets"]
    assert compare(*points, "loss/val").text.startswith("better in 4 of 4 data sets")


def test_an_interval_says_what_its_runs_share(tmp_path):
    axes = {"data.test_seed": [7], "data.seed": range(3)}
    found = find([write_sweep(tmp_path / "a", axes, lambda *_: {"loss/test": 1.0, "loss/val": 1.0})]).points[0]
    assert found.estimates["loss/test"].given == "the test samples and one seed"
    assert found.estimates["loss/val"].given == "one seed"
    axes = {"data._target_": ["lightning_d2l.data.table.TableData"], "data.seed": range(3)}
    splits = find([write_sweep(tmp_path / "c", axes, lambda _, seed: {"loss/val": 1.0 + seed})]).points[0]
    assert splits.estimates["loss/val"].given == "one file and one seed"
    alone = find([write_sweep(tmp_path / "b", {"seed": range(3)}, lambda s: {"loss/test": 1.0 + s})]).points[0]
    assert "given one data set" in str(alone.estimates["loss/test"])
    assert sweep(np.ones((2, 3)))[0].estimates["loss/test"].clusters == 3
