"""Answers on least squares: double descent, sample size, degree, cross-validation, bias and variance."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median

from lightning_d2l.config.text import show
from lightning_d2l.studies.answers.rule import Asked, Said, Verdict, rule, unanimous
from lightning_d2l.studies.answers.words import Change, a_list, at_most, best_noun, change, compressed, few, value
from lightning_d2l.studies.comparison import against_best
from lightning_d2l.studies.diagnosis import TOLERANCE
from lightning_d2l.studies.points import Point
from lightning_d2l.theory.cross_validation import choices

TEST, BIAS, VARIANCE = "loss/test", "loss/bias2", "loss/variance"
REACHES = {True: "reaches", False: "is still above", None: "may reach"}


@rule("data.n_train", TEST)
def double_descent(asked: Asked) -> Said | None:
    """Whether more samples always lower the test error: no where it rises between two numbers of samples."""
    said, verdicts, peaks = list[str](), list[str](), dict[str, None]()
    for series, points in asked.measured(TEST):
        whole, rise = change(points[0], points[-1], TEST), _largest_rise(points)
        if rise is None or rise.same:
            verdicts.append("yes" if whole.lower else "no" if whole.same else "undecided")
            ends = f"going from {asked.shown(points[0])} to {asked.shown(points[-1])} samples {whole.moves()}"
            said.append(f"{asked.curve(series)}{ends}{', without a rise between' if whole.lower else ''}")
            continue
        verdicts.append("no" if rise.higher else "undecided")
        peaks[asked.shown(max(points, key=lambda p: value(p, TEST)))] = None
        ends = f"going from {asked.shown(rise.before)} to {asked.shown(rise.after)} samples {rise.moves()}"
        later = points[points.index(rise.after) :]
        lower = [value(p, TEST) < value(rise.before, TEST) for p in later]
        again = next((asked.shown(p) for i, p in enumerate(later) if all(lower[i:])), None)
        said.append(f"{asked.curve(series)}{ends}" + (f"; from {again} samples on it is lower again" if again else ""))
    theory, peak = "", asked.vertical("n = d")
    if peak is not None and peaks:
        theory = f"Least squares theory puts the peak at n = d = {show(peak)}; measured at {a_list(peaks)}."
    return asked.said(unanimous(verdicts, "no"), said, theory)


def _largest_rise(points: Sequence[Point]) -> Change | None:
    """The largest rise of the test error from a point to a later one, tested as one of all; None if it only falls."""
    pairs = list(itertools.combinations(points, 2))
    low, high = max(pairs, key=lambda pair: value(pair[1], TEST) / max(value(pair[0], TEST), 1e-300))
    return change(low, high, TEST, len(pairs)) if value(high, TEST) > value(low, TEST) else None


@rule("data.n_train", TEST)
def sample_size(asked: Asked) -> Said | None:
    """For each curve how far more samples lower the test error, and whether it reaches the noise."""
    said, floor = list[str](), asked.level("noise floor", TEST)
    for series, points in asked.measured(TEST):
        first, last = points[0], points[-1]
        words = f"{asked.curve(series)}going from {asked.shown(first)} to {asked.shown(last)} samples "
        words += f"{change(first, last, TEST).moves()}, to {few(value(last, TEST))}"
        if limit := asked.line("the best polynomial of the degree", TEST, series.setting):
            words += f"; in theory it can't fall below {few(next(iter(limit.values())))}"
        elif floor is not None:
            words += f"; it {REACHES[at_most(last, TEST, (1 + TOLERANCE) * floor)]} the noise of {few(floor)}"
        said.append(words)
    return asked.said("", said)


@rule("data.degree", TEST)
def capacity(asked: Asked) -> Said | None:
    """For each curve the best x, what it differs from significantly, and what the largest x costs."""
    select, said, chosen = asked.study.select, list[str](), list[Point]()
    for series, points in asked.measured(TEST, select):
        best, *_ = ranked = asked.best(select, points)
        rivals = [asked.x(p) for p, c in against_best(select, ranked) if c.verdict != "apart"]
        chosen.append(best)
        words = f"{asked.curve(series)}{asked.at(best)} has the {best_noun(select)}, {few(value(best, select))}"
        if rivals and best.estimates[select].n > 1:
            words += f", not significantly different from {compressed(rivals, map(asked.x, points))}"
        if best is not points[-1]:
            words += f"; going on to {asked.shown(points[-1])} {change(best, points[-1], TEST).moves()}"
        said.append(words)
    floor = asked.level("noise floor")
    theory = "" if floor is None else f"The noise floor is {few(floor)}."
    return asked.said("", said, theory, asked.best(select, chosen)[0]) if said else None


@rule("data.degree", BIAS, VARIANCE)
def bias_variance(asked: Asked) -> Said | None:
    """At which degrees the squared bias is the larger part of the test error, and at which the variance."""
    said, seen = list[str](), dict[float, float]()
    for series, points in asked.measured(BIAS, VARIANCE):
        seen |= {asked.x(point): value(point, BIAS) for point in points}
        larger: dict[str, list[Point]] = {"bias²": [], "the variance": [], "neither for certain": []}
        for point in points:
            bias, variance = point.estimates[BIAS], point.estimates[VARIANCE]
            name = "bias²" if bias.value > variance.value else "the variance"
            larger["neither for certain" if bias.overlaps(variance) else name].append(point)
        parts = [
            f"{name} at {asked.study.x} {compressed(map(asked.x, found), map(asked.x, points))}"
            f"{'' if name.startswith('neither') else _share(found)}"
            for name, found in larger.items()
            if found
        ]
        said.append(f"{asked.curve(series)}the larger part is {'; '.join(parts)}")
    theory = ""
    if bias_of_best := asked.line("bias² of the best polynomial", BIAS):
        k, b = max(bias_of_best.items())
        measured = f" (measured: {few(seen[k])})" if k in seen else ""
        enough = min((x for x in seen if x > k), default=None)
        none = "" if enough is None else f", that of {show(enough)} none"
        theory = f"The best polynomial of degree {show(k)} leaves a bias² of {few(b)}{measured}{none}."
    return asked.said("", said, theory)


def _share(points: Sequence[Point]) -> str:
    """The share of the larger part in bias² + variance, from the first to the last point."""
    pairs = [[max(value(point, name), 0.0) for name in (BIAS, VARIANCE)] for point in (points[0], points[-1])]
    shares = dict.fromkeys(f"{100 * max(pair) / (sum(pair) or 1):.0f} %" for pair in pairs)
    return f" ({' to '.join(shares)} of the two)"


@rule("data.degree", "loss/val", TEST)
def kfold(asked: Asked) -> Said | None:
    """In how many data sets the choice of cross-validation is the best on fresh data, and what other choices cost."""
    from scipy.stats import binomtest

    runs = [run for point in asked.points for run in point.sampled]
    found, losses = choices(asked.study, runs), dict[str, dict[float, list[float]]]()
    for run in runs:
        if (loss := run.metric(TEST)) is not None:
            of_set = losses.setdefault(str(run.setting("data.seed")), {})
            of_set.setdefault(run.setting(asked.study.x), []).append(loss)
    if not found:
        return None
    pairs = [(fmean(losses[name][chosen]), fmean(losses[name][best])) for name, (chosen, best) in found.items()]
    costs = [chosen / best if best else math.inf for chosen, best in pairs if chosen > best]
    n, hits = len(pairs), len(pairs) - len(costs)
    test = binomtest(hits, n)
    verdict: Verdict = "undecided" if test.pvalue > 0.05 else "yes" if hits > n / 2 else "no"
    low, high = (100 * end for end in test.proportion_ci(method="wilson"))
    sets = f"{n} data sets (95 % {low:.0f} to {high:.0f} %)" if n > 1 else "1 data set"
    words = f"in {hits} of {sets} the chosen {asked.study.x} has the lowest loss on fresh data"
    words += f"; in the others its loss is {few(median(costs))} times the lowest in the median" if costs else ""
    counts = Counter(pair[0] for pair in found.values())
    times = max(counts.values())
    often = a_list(show(chosen) for chosen in sorted(counts) if counts[chosen] == times)
    each = "in each" if times == n else f"most often, in {times} of {n}"
    said = [
        words,
        f"it chooses {often} {each}{' each' if times < n and list(counts.values()).count(times) > 1 else ''}",
    ]
    true = {len(run.config["data"].get("coefficients") or ()) - 1 for run in runs}
    said[-1] += f"; the data have degree {true.pop()}" if len(true) == 1 and min(true) >= 0 else ""
    tried = len({show(point.setting[asked.study.x]) for point in asked.points})
    return asked.said(verdict, said, f"A guess finds the best in 1 of {tried}.")
