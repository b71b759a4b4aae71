"""The answer to the question of a study: by the rule of the study, or else as for any sweep.

For a sweep without a rule of its own: the best setting, whether it differs significantly from the others, and which
key matters most.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lightning_d2l.config.text import cut, number, show
from lightning_d2l.studies.answers.further import further, repeated
from lightning_d2l.studies.answers.rule import Said
from lightning_d2l.studies.answers.table import ANSWERS
from lightning_d2l.studies.answers.words import a_list, chance
from lightning_d2l.studies.comparison import Comparison, against_best
from lightning_d2l.studies.diagnosis import NAMES, NOT_LEARNT
from lightning_d2l.studies.effects import effects
from lightning_d2l.studies.labels import listing, settings, short, split
from lightning_d2l.studies.points import Point, best_first, comparable, series_of
from lightning_d2l.studies.replicates import FOLD
from lightning_d2l.studies.study import Study, superlative
from lightning_d2l.theory.curves import numeric
from lightning_d2l.training.record import RunRecord

SMALL = 0.01  # a share of the variance that is not worth a word
OF_UNTRAINED = ("depth_init", "learning_rate", "random_labels")
"""Studies with an answer also where nothing has learnt."""


@dataclass(frozen=True)
class Answer:
    """The answer in sentences, its verdict, the best setting and the runner-up, a diagnosis for each curve, warnings.

    `verdict` is "yes", "no" or "undecided", or "" where the question is not one for yes or no. `next` are overrides for
    the sweep that would tell more, by key: empty if none suggests itself.
    """

    text: str
    best: Point | None
    runner_up: Point | None
    diagnosis: list[str]
    warnings: list[str]
    verdict: str = ""
    next: Mapping[str, str] = field(default_factory=dict)


def answer(
    study: Study,
    points: Sequence[Point],
    importance: Mapping[str, float] | None = None,
    runs: Sequence[RunRecord] = (),
) -> Answer:
    """The answer of a study from its points.

    A setting most of whose runs diverged is never the best. If the data differ, those of most runs count. `importance`
    is what the search that proposed the runs found, a share for each key. `runs` are all runs, also those without a
    point, as a diverged one has none if x is the epoch.
    """
    ranked = best_first(study.select, [point for point in comparable(points) if not point.diverged])
    diagnoses = list(_diagnoses(study, points))
    if not ranked:
        tried = [run for point in points for run in point.runs] or runs
        lower = {"optimizer.lr": show(rates[0] / 10)} if (rates := _diverged_rates(tried)) else {}
        return Answer(_nothing(study, tried), None, None, diagnoses, [], next=lower)
    repeats = any(point.estimates[study.select].n > 1 for point in ranked)
    others = against_best(study.select, ranked if repeats else ranked[:2])  # of single runs nothing can be told apart
    equal = len(points) > 1 and all(_same(name, ranked) for name in dict.fromkeys([*study.metrics, study.select]))
    equal = equal and len(ranked) > 1 and (len(ranked) == len(points) or study.x != "optimizer.lr")
    guesses = _nothing_learnt(study, ranked)
    said, note = (None, "") if equal or (guesses and study.name not in OF_UNTRAINED) else _by_rule(study, points)
    ruled = said is not None or equal
    if said is None:
        text = guesses or _general(study, points, ranked, others, importance or {})
        said = Said("", " ".join([text, *([note] if note else [])]))
    best = said.best or ranked[0]
    warnings = [*(() if ruled else _ends(study, best, points)), *_warnings(study, best, points)]
    runner_up = next((point for point in ranked if point is not best), None)
    ahead = repeated(best) if importance else further(study, points, best, others, said.verdict)
    return Answer(said.text, best, runner_up, diagnoses, warnings, said.verdict, ahead)


def _by_rule(study: Study, points: Sequence[Point]) -> tuple[Said | None, str]:
    """What the study's own rule says, or None and, where the runs do not fit the rule, the reason."""
    rule = ANSWERS.get(study.name)
    if rule is None:
        return None, ""
    usual = "This is the answer for any sweep"
    if lack := rule.lacks(study, comparable(points)):
        return None, f"{usual}: that of study={study.name} needs {lack}."
    try:
        said = rule(study, points)
    except Exception as error:  # records may be of any origin, and the rest of a report is worth more than its answer
        reason = next(iter(str(error).strip().splitlines()), "")
        return None, cut(f"{usual}: that of study={study.name} failed ({type(error).__name__}: {reason}).", 300)
    return said, "" if said else f"{usual}: that of study={study.name} needs {rule.needs}."


def _nothing(study: Study, runs: Sequence[RunRecord]) -> str:
    """Why there is no best setting."""
    states = {state: sum(run.state == state for run in runs) for state in dict.fromkeys(run.state for run in runs)}
    if states.get("diverged") == len(runs) > 0:
        every = {1: "The only run", 2: "Both runs"}.get(len(runs), f"All {len(runs)} runs") + " diverged"
        smaller = ": try a smaller optimizer.lr" if _diverged_rates(runs) else ""
        return f"{every}, so no setting is best{smaller}."
    if states.get("completed"):
        return f"No setting has {study.select} of runs that did not diverge."
    counts = listing(f"{n} {state}" for state, n in states.items()) if states else "0 found"
    return f"No run has completed ({counts}), so there is no {study.select} yet."


def _nothing_learnt(study: Study, ranked: Sequence[Point]) -> str:
    """That no setting is better than guessing, where none is; else empty."""
    best, found = ranked[0], ranked[0].diagnosis
    if len(ranked) < 2 or not all(d and d.name == NOT_LEARNT and not d.or_else for d in (p.diagnosis for p in ranked)):
        return ""
    none = "Neither setting" if len(ranked) == 2 else f"None of the {len(ranked)} settings"
    text = f"{none} has learnt: the {superlative(study.select)} {study.select}, "
    text += f"{best.estimates[study.select]}, is that of {settings(best.setting)}"
    trivial = found.trivial if found and study.select.partition("/")[0] == found.quantity else None
    return f"{text}, and the trivial predictor has {number(trivial)}." if trivial is not None else f"{text}."


def _diverged_rates(runs: Sequence[RunRecord]) -> list[float]:
    """The learning rates of the diverged runs, in ascending order."""
    rates = [run.get("optimizer.lr") for run in runs if run.state == "diverged"]
    return sorted(rate for rate in rates if numeric([rate]) and rate > 0)


def _general(
    study: Study,
    points: Sequence[Point],
    ranked: Sequence[Point],
    others: Sequence[tuple[Point, Comparison]],
    importance: Mapping[str, float],
) -> str:
    """The best setting, whether it differs significantly from the others, and which key matters most."""
    best = ranked[0]
    names = [name for name in (study.select, study.select.replace("/val", "/test")) if name in best.estimates]
    values = {name: str(best.estimates[name]) for name in dict.fromkeys(names)}
    if not others:
        only = "Only one setting was run" if len(points) == 1 else f"Only {settings(best.setting)} has {study.select}"
        return f"{only}: {'; '.join(f'{name} = {value}' for name, value in values.items())}."
    if _same(study.select, ranked):
        which = " that did not diverge" if any(point.diverged for point in points) else ""
        every = "both" if len(ranked) == 2 else f"all {len(ranked)}"
        return f"No effect: {every} settings{which} have the same {study.select}, {values[study.select]}."
    (name, value), *test = values.items()
    text = f"{settings(best.setting)} has the {superlative(name)} {name}, {value}"
    text += "".join(f"; its {name} is {value}" for name, value in test)
    if not study.select.endswith("/val"):
        text += f" (chosen on {split(study.select) or 'these'} data, since the runs have no validation metrics)"
    apart = any(comparison.verdict == "apart" for _, comparison in others)
    return " ".join([f"{text}.", _compared(study, others), *_importance(study, points, importance, apart=apart)])


def _same(metric: str, points: Sequence[Point]) -> bool:
    """Whether all points have equal values of a metric."""
    return all(point.values.get(metric) == points[0].values.get(metric) for point in points)


def _compared(study: Study, others: Sequence[tuple[Point, Comparison]]) -> str:
    """How the best setting compares with the runner-up and with the others."""
    (second, first), n = others[0], len(others)
    name = settings(second.setting)
    if all(point.estimates[study.select].n < 2 for point, _ in others):
        other = chance(point for point, _ in others)
        return f"The runner-up, {name}, has {second.estimates[study.select]}; other {other} may give another order."
    close = [point for point, c in others if c.verdict != "apart"]
    if not close:
        every = "both" if n == 2 else f"all {n}"
        others_are = f"{every} others; the runner-up is {name}" if n > 1 else name
        return f"It differs significantly from {others_are}: {first}."
    if len(close) == n:
        others_are = f"{'either' if n == 2 else 'any'} of the {n} others; the runner-up is {name}" if n > 1 else name
        return f"It does not differ significantly from {others_are}: {first}."
    apart = f"It differs significantly from {n - len(close)} of the {n} others"
    if close == [second]:
        return f"{apart}, not from the runner-up, {name}: {first}."
    return f"{apart}, not from {_some(study, close)}. The runner-up is {name}: {first}."


def _some(study: Study, close: Sequence[Point]) -> str:
    """Settings in words, by x alone where nothing else varies."""
    if study.keys == (study.x,):
        return f"{study.x}={a_list(short(point.setting[study.x]) for point in close)}"
    return a_list(settings(point.setting) for point in close) if len(close) < 4 else f"{len(close)} others"


def _importance(
    study: Study, points: Sequence[Point], importance: Mapping[str, float], *, apart: bool
) -> Iterator[str]:
    """Which key matters most: by the search that made the runs, else by an analysis of variance.

    That no key matters is said unless settings are told `apart`, by seeds that they share.
    """
    if importance:
        (key, share), *rest = sorted(importance.items(), key=lambda item: -item[1])
        yield f"{key} matters most, with {100 * share:.0f} % of what makes trials good{_shares(rest)}."
        return
    found = effects(study, points)
    if found is None or len(study.keys) < 2:
        return
    (key, share), *rest = found.shares.items()
    if share < SMALL and apart:
        return
    if share < SMALL:
        yield f"No setting explains more of the variance of {found.metric} than chance does."
        return
    what = f"the logarithm of {found.metric}" if found.is_log else found.metric
    yield f"{key} matters most: it explains {100 * share:.0f} % of the variance of {what}{_shares(rest)}."


def _shares(shares: Sequence[tuple[str, float]]) -> str:
    """The shares of the other keys in brackets; empty if none is worth a word."""
    found = [f"{name} {100 * share:.0f} %" for name, share in shares if share >= SMALL]
    return f" ({', '.join(found)})" if found else ""


def _diagnoses(study: Study, points: Sequence[Point]) -> Iterator[str]:
    """A line for each curve: at which x it underfits, fits well, overfits or diverges; ~ marks uncertain ones."""
    for series in series_of(study, points):
        parts = []
        for name in NAMES:
            found = [(point, d) for point in series.points if (d := point.diagnosis) and d.name == name]
            if found and study.x:
                parts.append(f"{name} at {study.x} {', '.join(places(study.x, series.points, name))}")
            elif found:
                parts.append(found[0][1].short)
        if parts:
            yield (f"{settings(series.setting)}: " if series.setting else "") + "; ".join(parts)


def places(x: str, points: Sequence[Point], name: str) -> list[str]:
    """Where along a curve a diagnosis is made, with ~ where it is uncertain: ["0 to 2", "~4"]."""
    found: list[str] = []
    for made, group in itertools.groupby(points, lambda point: point.diagnosis and point.diagnosis.short):
        at = [made.removesuffix(name) + short(point.setting[x]) for point in group if made and made.lstrip("~") == name]
        found += [f"{at[0]} to {at[-1]}"] if len(at) > 2 else at
    return found


def _ends(study: Study, best: Point, points: Sequence[Point]) -> Iterator[str]:
    """A warning for each key whose best value is the first or the last one."""
    for key in study.keys:
        values, value = [point.setting[key] for point in points], best.setting[key]
        if not numeric(values) or len(set(values)) < 3 or key == "num_parameters":
            continue
        if value == max(values):
            yield f"The best {key}, {short(value)}, is the largest tried: the optimum may lie beyond it."
        elif value == min(values) and value != 0:  # 0 is a natural limit
            yield f"The best {key}, {short(value)}, is the smallest tried: the optimum may lie below it."


def _warnings(study: Study, best: Point, points: Sequence[Point]) -> Iterator[str]:
    if lost := [f"{n} {status}" for status in ("diverged", "failed") if (n := best.count(status))]:
        yield f"Of the {len(best.runs)} runs of the best setting, {listing(lost)}; its estimate is over the others."
    data = [run.config.get("data") or {} for point in points for run in point.runs]
    seeds = {show(node.get("seed")) for node in data}
    yield from _repeats(study, points)
    several = any(found.has_interval for point in points for found in point.estimates.values() if not point.idle)
    if len(seeds) == 1 and all("noise" in node for node in data) and several:
        yield (
            f"All runs share one generated data set (data.seed={seeds.pop()}): the intervals include the spread "
            "from initialisation and shuffling, not from the data."
        )
    counts = {len(point.values[study.select]) for point in points if study.select in point.values}
    if len(counts) > 1:
        yield f"The points have different numbers of runs, from {min(counts)} to {max(counts)}."


def _repeats(study: Study, points: Sequence[Point]) -> Iterator[str]:
    """That runs are equal whatever a key of the replicates is, and what to vary instead."""
    for name in ("seed", "data"):
        idle, several = [point for point in points if name in point.idle], [p for p in points if len(p.rows) > 1]
        if not idle or (study.x == "epoch" and len(idle) < len(several)):
            continue
        runs = [run for point in idle for run in point.runs]
        keys = [key for key in study.replicates if key.startswith("data.") == (name == "data") and key != FOLD]
        varied = listing(key for key in keys if len({show(run.get(key)) for run in runs}) > 1)
        where = "" if len(idle) == len(several) else f"At {len(idle)} of {len(points)} settings "
        text = f"{where}{varied} changes nothing: runs that differ in it alone are equal, and count as one."
        drawn = name == "seed" and not any("data" in point.idle for point in idle)
        drawn = drawn and len({show((run.config.get("data") or {}).get("seed", "")) for run in runs} - {""}) == 1
        yield text + (" To sample the data, vary data.seed." if drawn else "")
