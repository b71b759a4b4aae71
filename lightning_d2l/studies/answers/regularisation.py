"""Answers on regularised linear regression: weight decay, dropout, input noise, L1 and L2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightning_d2l.studies.answers.rule import Asked, Said, Verdict, rule, unanimous
from lightning_d2l.studies.answers.words import best_noun, change, few, noun, value
from lightning_d2l.studies.labels import words as named
from lightning_d2l.studies.points import Point
from lightning_d2l.studies.study import superlative

MARGIN = 0.1
"""Two norms that differ by at most this fraction count as equal."""
TEST, NORM, ZEROS = "loss/test", "norm/weights", "zeros/weights"


def _near(point: Point, wanted: float) -> bool:
    """Whether a norm, or something in its interval, is within `MARGIN` of the wanted one."""
    found = point.estimates[NORM]
    low, high = (found.low, found.high) if found.n > 1 else (found.value, found.value)
    return low <= (1 + MARGIN) * wanted and high >= (1 - MARGIN) * wanted


def _as_ridge(asked: Asked, what: str) -> Said | None:
    """Whether the weights have, at every x, the norm of the ridge regression that theory has for it."""
    select, said, verdicts = asked.study.select, list[str](), list[str]()
    for series, points in asked.measured(NORM):
        first, last = points[0], points[-1]
        least = asked.without(first, what)
        words = f"{asked.curve(series)}the norm of the weights goes from {few(value(first, NORM))} {least} to "
        words += f"{few(value(last, NORM))} at {asked.shown(last)}"
        theory = asked.line("ridge", NORM, series.setting)
        if both := [point for point in points if asked.x(point) in theory]:
            ends = f"{few(theory[asked.x(both[0])])} to {few(theory[asked.x(both[-1])])}"
            off = max(abs(value(p, NORM) / theory[asked.x(p)] - 1) for p in both)
            words += f"; theory's ridge regression has {ends}, at most {100 * off:.0f} % apart"
        else:
            words += "; theory has no ridge regression for these settings"
        verdicts.append(_agreement(asked, both, theory))
        said.append(words)
        if ranked := asked.best(select, [p for p in points if select in p.estimates and TEST in p.estimates]):
            most = f"the {noun(select)} is {superlative(select)}"
            is_first = ranked[0] is first
            other = ranked[1] if is_first and len(ranked) > 1 else ranked[0]
            known = TEST in first.estimates and other is not first
            effect = change(first, other, TEST, len(points) - 1).moves() if known else ""
            words = f"{most} {least}" if is_first else f"{most} at {asked.shown(other)}"
            if effect:
                words += f"; {asked.shown(other)} {effect}" if is_first else f", which {effect}"
            said.append(words)
    return asked.said(unanimous(verdicts, "no"), said)


def _agreement(asked: Asked, points: Sequence[Point], theory: Mapping[float, float]) -> Verdict:
    """Yes if every norm is near theory's, no if an interval holds nothing near it, else undecided."""
    if not all(_near(point, theory[asked.x(point)]) for point in points):
        return "no"
    close = [abs(value(point, NORM) / theory[asked.x(point)] - 1) <= MARGIN for point in points]
    return "yes" if close and all(close) else "undecided"


@rule("model.dropout", NORM)
def dropout_linear(asked: Asked) -> Said | None:
    """Whether dropout of the inputs acts as ridge regression."""
    return _as_ridge(asked, "dropout")


@rule("model.input_noise", NORM)
def input_noise(asked: Asked) -> Said | None:
    """Whether noise on the inputs acts as ridge regression."""
    return _as_ridge(asked, "noise")


@rule("optimizer.weight_decay", TEST, NORM)
def weight_decay(asked: Asked) -> Said | None:
    """Whether weight decay lowers the test error, and from which strength on the result is that of ridge regression."""
    select, said, verdicts, chosen = asked.study.select, list[str](), list[str](), list[Point]()
    for series, points in asked.measured(TEST, NORM, select):
        first, best = points[0], asked.best(select, points)[0]
        other = best if best is not first else asked.best(select, points[1:])[0]
        effect = change(first, other, TEST, len(points) - 1)
        chosen.append(best)
        helps_not = effect.same or (best is first and asked.x(first) == 0 and effect.higher)
        verdicts.append("yes" if effect.lower else "no" if helps_not else "undecided")
        words = f"{asked.curve(series)}λ = {asked.shown(best)} is best"
        if best is first:
            words += f"; λ = {asked.shown(other)} {effect.moves()}"
            words += ", so that more weight decay does not help" if helps_not else ""
        else:
            words += f" and {effect.moves()}" + (f" against λ = {asked.shown(first)}" if asked.x(first) else "")
        ridge = asked.line("ridge, solved exactly", NORM, series.setting)
        rest = asked.line("ridge + what is left", NORM, series.setting)
        compared = [point for point in points if asked.x(point) in ridge]
        like = [point for point in compared if _near(point, ridge[asked.x(point)])]
        unlike = [p for p in compared if p not in like and value(p, NORM) > 2 * ridge[asked.x(p)]]
        if like:
            words += f"; from λ = {asked.shown(like[0])} on the norm of the weights is that of ridge regression"
        if unlike:
            x = asked.x(unlike[-1])
            left = f", and {few(rest[x])} with what is left of the initialisation" if x in rest else ""
            norm = "it" if like else "the norm of the weights"
            words += f"; at λ = {asked.shown(unlike[-1])} {norm} is {few(value(unlike[-1], NORM))}"
            words += f": ridge regression has {few(ridge[x])}{left}"
        said.append(words)
    return asked.said(unanimous(verdicts), said, best=asked.best(select, chosen)[0]) if said else None


@rule("penalty.lambda", TEST, ZEROS)
def l1_l2(asked: Asked) -> Said | None:
    """The share of zero weights under each penalty, and which has the lowest error at its best strength."""
    select, said, chosen = asked.study.select, list[str](), list[Point]()
    for _, points in asked.measured(TEST, ZEROS, select):
        name, best = _penalty(asked, points[0]), asked.best(select, points)[0]
        chosen.append(best)
        some = [point for point in points if value(point, ZEROS) > 0]
        shares = [f"{100 * value(p, ZEROS):.0f} % at λ = {asked.shown(p)}" for p in (*some[:1], *some[1:][-1:])]
        words = f"{name} makes weights zero: {' and '.join(shares)}" if some else f"{name} makes no weight zero"
        said.append(f"{words}; its {best_noun(select)} is {few(value(best, select))}, at λ = {asked.shown(best)}")
    if not said:
        return None
    first, *others = asked.best(select, chosen)
    names = _penalty(asked, first), *(_penalty(asked, point) for point in others[:1])
    last = ""
    if others:
        moved = change(first, others[0], TEST, len(others)).moves()
        last = f"Each at its best λ, {names[1]} instead of {names[0]} {moved}."
    return asked.said("", said, last, first)


def _penalty(asked: Asked, point: Point) -> str:
    """The penalty of a point in words, such as L1."""
    return ", ".join(named(key, point.setting[key]) for key in asked.study.curves) or "the penalty"
