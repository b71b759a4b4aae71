"""How often the intervals of reports cover what they estimate, and how often two equal settings are called different.

python benchmarks/coverage.py                      # the tables of docs/reports.md, about 3 minutes
python benchmarks/coverage.py --repeats 500        # a quick look
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy.special import ndtri
from scipy.stats import ttest_rel

from lightning_d2l.studies.comparison import against_best
from lightning_d2l.studies.points import Point
from lightning_d2l.studies.replicates import Replicate
from lightning_d2l.studies.statistics import Estimate, estimate, estimates_of

SIZES = (3, 5, 10, 20, 50)
Sweeps = Callable[[Generator], np.ndarray]
Draw = Callable[[Generator, int], tuple[np.ndarray, list[Replicate] | None]]


@dataclass(frozen=True)
class Population:
    """A population of replicates: how n independent parts are drawn, with its mean and the median of a part."""

    name: str
    kind: str
    draw: Draw
    mean: float
    median: float

    def covered(self, found: Estimate) -> bool:
        """Whether the interval holds the statistic that it is said to be of."""
        return found.low <= (self.median if found.statistic == "median" else self.mean) <= found.high


def _plain(draw: Callable[[Generator, int], np.ndarray]) -> Draw:
    return lambda g, n: (draw(g, n), None)


def _two_levels(within: int, between: float) -> Draw:
    """n data sets of equal numbers of folds, whose share of the variance is `between`; mean 10, variance 1."""

    def draw(g: Generator, n: int) -> tuple[np.ndarray, list[Replicate]]:
        sets = np.sqrt(between) * g.normal(size=n)
        values = 10 + np.repeat(sets, within) + np.sqrt(1 - between) * g.normal(size=n * within)
        return values, [Replicate(str(i // within), "", str(i % within)) for i in range(n * within)]

    return draw


def _crossed(seeds: int, of_data: float, of_seed: float, rest: float) -> Draw:
    """n data sets, each with the same seeds: the standard deviations of data, seeds and of the rest; mean 10."""

    def draw(g: Generator, n: int) -> tuple[np.ndarray, list[Replicate]]:
        table = 10 + of_data * g.normal(size=(n, 1)) + of_seed * g.normal(size=seeds) + rest * g.normal(size=(n, seeds))
        return table.ravel(), [Replicate(str(i), str(j)) for i in range(n) for j in range(seeds)]

    return draw


def _lognormal(s: float) -> Population:
    draw = _plain(lambda g, n: g.lognormal(sigma=s, size=n))
    return Population(f"lognormal, s = {s:g}", "positive", draw, float(np.exp(s**2 / 2)), 1.0)


def _floor(g: Generator, n: int) -> np.ndarray:
    return 1 + g.lognormal(size=n) / 10


def _shifted(g: Generator, n: int) -> np.ndarray:
    return g.lognormal(size=n) - 2


def _failing(g: Generator, n: int) -> np.ndarray:
    return np.where(g.random(n) < 0.1, 2.3, 0.3) * g.lognormal(sigma=0.05, size=n)


FAILING = (0.1 * 2.3 + 0.9 * 0.3) * float(np.exp(0.05**2 / 2)), 0.3 * float(np.exp(0.05 * ndtri(0.5 / 0.9)))

POPULATIONS = [
    Population("normal, any sign", "real", _plain(lambda g, n: g.normal(size=n)), 0.0, 0.0),
    Population("normal losses, sd 10 %", "positive", _plain(lambda g, n: 1 + 0.1 * g.normal(size=n)), 1.0, 1.0),
    *map(_lognormal, (0.1, 0.25, 0.5, 1, 2)),
    Population("a floor of 1 + lognormal / 10", "positive", _plain(_floor), 1 + float(np.exp(0.5)) / 10, 1.1),
    Population("lognormal - 2, s = 1, any sign", "real", _plain(_shifted), float(np.exp(0.5)) - 2, -1.0),
    Population("Pareto, a = 1.5", "positive", _plain(lambda g, n: 1 + g.pareto(1.5, n)), 3.0, 2 ** (1 / 1.5)),
    Population("losses of 0.3, one in ten 2.3", "positive", _plain(_failing), *FAILING),
    Population("exponential", "positive", _plain(lambda g, n: g.exponential(size=n)), 1.0, float(np.log(2))),
    Population("accuracies, 83 of 100", "share", _plain(lambda g, n: g.binomial(100, 0.83, n) / 100), 0.83, 0.83),
    Population("accuracies, 99 of 100", "share", _plain(lambda g, n: g.binomial(100, 0.99, n) / 100), 0.99, 0.99),
    Population("accuracies, beta(83, 17)", "share", _plain(lambda g, n: g.beta(83, 17, n)), 0.83, 0.83),
    Population("n data sets x 5 folds, 20 % between", "positive", _two_levels(5, 0.2), 10.0, 10.0),
    Population("n data sets x 5 folds, 90 % between", "positive", _two_levels(5, 0.9), 10.0, 10.0),
    Population("n data sets x 5 seeds, mostly data", "positive", _crossed(5, 1, 0.3, 0.5), 10.0, 10.0),
    Population("n data sets x 5 seeds, equal parts", "positive", _crossed(5, 1, 1, 1), 10.0, 10.0),
    Population("n data sets x 3 seeds, equal parts", "positive", _crossed(3, 1, 1, 1), 10.0, 10.0),
]


def coverage(population: Population, n: int, repeats: int, seed: int = 0) -> tuple[float, float, float]:
    """The share of intervals that cover, of samples with an interval, and of medians."""
    g = np.random.default_rng([seed, n])
    drawn = (population.draw(g, n) for _ in range(repeats))
    found = [estimate(values.tolist(), replicates, population.kind) for values, replicates in drawn]
    having = [each for each in found if each.has_interval]
    covered = sum(map(population.covered, having)) / max(len(having), 1)
    return covered, len(having) / repeats, sum(each.statistic == "median" for each in found) / repeats


def sweep(values: np.ndarray, metric: str = "loss/test") -> list[Point]:
    """Points (k,) with values (k, n) over n shared seeds."""
    replicates = [Replicate("", str(i)) for i in range(values.shape[1])]
    points = [Point({"x": i}) for i in range(len(values))]
    estimates = estimates_of(metric, values.tolist(), [replicates] * len(values), [True] * len(values))
    for point, own, found in zip(points, values.tolist(), estimates, strict=True):
        point.values[metric], point.replicates[metric], point.estimates[metric] = own, replicates, found
    return points


def told_apart(draw: Sweeps, repeats: int, seed: int = 0) -> Iterator[list[bool]]:
    """For each simulated sweep, of settings (k, n) of log losses: which settings are found to differ from the best."""
    g = np.random.default_rng(seed)
    for _ in range(repeats):
        found = against_best("loss/test", sweep(np.exp(draw(g))))
        yield [each.verdict == "apart" for _, each in found]


def _paired(draw: Sweeps, repeats: int, seed: int) -> Iterator[np.ndarray]:
    """The p, in ascending order, of paired t-tests on the logarithms against the best setting of each sweep."""
    g = np.random.default_rng(seed)
    for _ in range(repeats):
        x = draw(g)
        best = np.exp(x).mean(1).argmin()
        yield np.sort(ttest_rel(np.delete(x, best, 0), x[best : best + 1], axis=1).pvalue)


def holm(draw: Sweeps, repeats: int, seed: int = 0, level: float = 0.05) -> Iterator[list[bool]]:
    """The same by paired t-tests with Holm's correction alone, which ignores that the best setting was selected."""
    for p in _paired(draw, repeats, seed):
        yield np.logical_and.accumulate(p * np.arange(len(p), 0, -1) <= level).tolist()


def _level(k: int, n: int, repeats: int) -> float:
    """The level at which Holm's correction errs in 5 % of the sweeps without an effect."""
    return float(np.quantile([p[0] * len(p) for p in _paired(_settings(k, n), repeats, 1)], 0.05))


def _settings(k: int, n: int, shift: np.ndarray | float = 0.0, spread: np.ndarray | float = 0.2) -> Sweeps:
    """Log losses (k, n): what the settings of a seed share, noise of their own, and a shift each."""
    return lambda g: (
        0.3 * g.normal(size=n) + np.c_[spread * np.ones(k)] * g.normal(size=(k, n)) + np.c_[shift * np.ones(k)]
    )


NOTHING = {
    "20 settings, 3 seeds": _settings(20, 3),
    "20 settings, 5 seeds": _settings(20, 5),
    "20 settings, 10 seeds": _settings(20, 10),
    "3 settings, 5 seeds": _settings(3, 5),
    "6 settings, 5 seeds": _settings(6, 5),
    "20 settings, 5 seeds, spread 1 to 100": _settings(20, 5, 0, np.geomspace(0.01, 1, 20)),
    "20 settings, 5 seeds, one of spread 20": _settings(20, 5, 0, np.r_[np.ones(19), 20] / 10),
    "20 settings, 5 seeds, tails of t with 3": lambda g: 0.3 * g.normal(size=5) + 0.2 * g.standard_t(3, (20, 5)),
}
ONE, GRADED = np.r_[-1, np.zeros(19)], np.linspace(0, 2, 20)
EFFECTS = {
    f"20 settings, {n} seeds, {words} by {effect:g}": (n, _settings(20, n, effect * shape))
    for n in (5, 10, 20)
    for effect in (0.2, 0.3, 0.5)
    for words, shape in (("one better", ONE), ("rising", GRADED))
}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for row in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(row)} |")
    print()


def _cell(found: tuple[float, float, float]) -> str:
    covered, having, medians = found
    what = f"{covered:.1%}" if having > 0.05 else "no interval"
    return what + (f" (median {medians:.0%})" if medians > 0.005 else "")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10_000, help="samples for each number (10,000)")
    repeats = parser.parse_args(argv).repeats
    rows = [[each.name, *(_cell(coverage(each, n, repeats)) for n in SIZES)] for each in POPULATIONS]
    _table(["population", *(f"n = {n}" for n in SIZES)], rows)
    sweeps = repeats // 5
    rows = [
        [name, *(f"{np.mean([any(found) for found in test(draw, sweeps)]):.1%}" for test in (told_apart, holm))]
        for name, draw in NOTHING.items()
    ]
    _table([f"sweeps without an effect ({sweeps:,})", "this report", "paired t, Holm"], rows)
    some, levels = sweeps // 4, {n: _level(20, n, sweeps) for n in (5, 10, 20)}
    rows = []
    for name, (n, draw) in EFFECTS.items():
        each = told_apart(draw, some), holm(draw, some), holm(draw, some, level=levels[n])
        rows.append([name, *(f"{np.mean([*found]):.0%}" for found in each)])
    _table([f"settings found to differ ({some:,} sweeps)", "this report", "paired t, Holm", "Holm at 5 % errors"], rows)


if __name__ == "__main__":
    main()
