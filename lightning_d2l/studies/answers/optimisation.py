"""Answers on optimisation: learning rate, schedule, training time."""

from __future__ import annotations

from lightning_d2l.config.text import show
from lightning_d2l.studies.answers.rule import MOST_CURVES, Asked, Said, Verdict, rule, unanimous
from lightning_d2l.studies.answers.words import change, few, noun, value
from lightning_d2l.studies.labels import settings, short
from lightning_d2l.studies.points import Point, Series
from lightning_d2l.studies.study import superlative

BLOWN_UP = 1e3
"""A loss that is so many times the lowest of its curve's smaller learning rates is no longer stable."""
TRAIN, TEST = "loss/train", "loss/test"


@rule("optimizer.lr", TRAIN)
def learning_rate(asked: Asked) -> Said | None:
    """For each curve the largest stable learning rate among those tried, the next larger one, and theory's limit."""
    said, limits = list[str](), list[float]()
    for series in asked.series[:MOST_CURVES]:
        stable, lost = _stable(series)
        words = f"with {settings(series.setting)}, training" if series.setting else "training"
        if stable and lost:
            words += f" is stable up to {asked.shown(stable[-1])} and {_lost(asked, lost)}"
        elif stable:
            words += f" is stable up to {asked.shown(stable[-1])}, the largest rate tried"
        elif lost:
            words += f" {_lost(asked, lost)}, the smallest rate tried"
        else:
            continue
        if limit := asked.line("stability limit", TRAIN, series.setting):
            limits += ((found := next(iter(limit))),)
            between = (asked.x(stable[-1]) if stable else 0) <= found <= (asked.x(lost) if lost else float("inf"))
            words += f"; theory's limit is {few(found)}{'' if between else ', which these runs do not confirm'}"
        said.append(words)
    theory = "For full batches theory's limit is 2 / λ_max of the Hessian; the noise of smaller batches lowers it."
    return asked.said("", said, theory if limits else "")


def _lost(asked: Asked, point: Point) -> str:
    """`diverges at 0.3`, in how many runs if not in all, or that the loss explodes."""
    lost, n = point.count("diverged"), len(point.runs)
    if not lost:
        return f"explodes at {asked.shown(point)}, where the {noun(TRAIN)} is {few(value(point, TRAIN))}"
    return f"diverges at {asked.shown(point)}" + (f" in {lost} of {n} runs" if lost < n else "")


def _stable(series: Series) -> tuple[list[Point], Point | None]:
    """The points below the first one that is not stable, and this one.

    A learning rate is not stable if a run with it diverged, or if its loss is far above that of a smaller one. Points
    without a loss, whose runs failed, say nothing.
    """
    stable: list[Point] = []
    for point in series.points:
        lowest = min((value(p, TRAIN) for p in stable), default=float("inf"))
        if point.count("diverged") or (TRAIN in point.estimates and value(point, TRAIN) > BLOWN_UP * abs(lowest)):
            return stable, point
        stable += [point] if TRAIN in point.estimates else []
    return stable, None


@rule(
    "optimizer.lr",
    TEST,
    curves=["scheduler"],
    needs="scheduler=none and another one, each at two learning rates that did not diverge",
)
def schedule(asked: Asked) -> Said | None:
    """Whether a schedule at its best rate has a lower error than the constant rate at its best, and at large rates."""
    select = asked.study.select
    found = {id(series): (series, points) for series, points in asked.measured(TEST, select)}
    constant = next((key for key, (series, _) in found.items() if show(series.setting["scheduler"]) in CONSTANT), None)
    if constant is None or len(found) < 2:
        return None
    _, usual = found.pop(constant)
    own, others = asked.best(select, usual)[0], [*found.values()]
    tried = sum(len(points) for _, points in others)
    changes = [(s, change(own, asked.best(select, points)[0], TEST, tried)) for s, points in others]
    verdict: Verdict = "undecided"
    if any(effect.better for _, effect in changes):
        verdict = "yes"
    elif all(effect.worse or effect.same for _, effect in changes):
        verdict = "no"
    series, effect = min(changes, key=lambda pair: value(pair[1].after, TEST))
    words = f"each at its best rate, {_name(series)} at {asked.shown(effect.after)} {effect.moves()}"
    said, parts = [f"{words} against the constant {asked.shown(own)}"], []
    for series, points in others:
        shared = [(a, b) for a in usual for b in points if asked.x(a) == asked.x(b)]
        if shared:
            parts.append(
                (asked.shown(shared[-1][0]), f"{_name(series)} {change(*shared[-1], TEST, len(others)).moves()}")
            )
    for rate in dict.fromkeys(rate for rate, _ in parts):
        said.append(f"at {rate}, the largest rate, {'; '.join(words for at, words in parts if at == rate)}")
    return asked.said(verdict, said, best=asked.best(select, [own, *(c.after for _, c in changes)])[0])


CONSTANT = ("none", "null")


def _name(series: Series) -> str:
    return f"scheduler={short(series.setting['scheduler'])}"


@rule("epoch")
def training_time(asked: Asked) -> Said | None:
    """The epoch with the lowest held-out loss, and what training on to the last one costs."""
    select, said, verdicts, chosen = asked.study.select, list[str](), list[str](), list[Point]()
    for series, each in asked.measured(select):
        # A callback may have stopped some runs: means over the others are of other data sets.
        points = [point for point in each if len(point.runs) == max(len(p.runs) for p in each)]
        reached = "the last" if len(points) == len(each) else "the last that all runs reached"
        stop, last = asked.best(select, points)[0], points[-1]
        chosen.append(stop)
        words = f"{asked.curve(series)}the {noun(select)} is {superlative(select)} at epoch {asked.shown(stop)}"
        if stop is last:
            verdicts.append("undecided")
            said.append(f"{words}, {reached}: training on may lower it further")
            continue
        cost = change(stop, last, select, len(points) - 1)
        verdicts.append("yes" if cost.worse else "no" if cost.same else "undecided")
        words += f", {few(value(stop, select))}; training on to epoch {asked.shown(last)} {cost.moves()}"
        if TRAIN in stop.estimates and TRAIN in last.estimates:
            words += f", while the training loss goes from {few(value(stop, TRAIN))} to {few(value(last, TRAIN))}"
        said.append(words)
    best_stop, last_epoch = asked.vertical("best stop in theory"), max(map(asked.x, asked.points))
    theory = ""
    if best_stop is not None:
        theory = f"Theory of gradient flow stops at epoch {best_stop:.0f}."
        theory = theory if best_stop < last_epoch else "So does the loss of gradient flow in theory."
    return asked.said(unanimous(verdicts), said, theory, asked.best(select, chosen)[0]) if said else None
