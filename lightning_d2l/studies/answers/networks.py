"""Answers on networks: width, depth, initialisation, activations, and hypercomplex layers."""

from __future__ import annotations

from lightning_d2l.config.text import show
from lightning_d2l.studies.answers.rule import Asked, Said, Verdict, rule
from lightning_d2l.studies.answers.words import Change, a_list, at_most, change, few, noun, value
from lightning_d2l.studies.diagnosis import TOLERANCE
from lightning_d2l.studies.points import Point
from lightning_d2l.theory.problem import NUM_CLASSES, is_fashion_mnist

POINT = 0.01
"""An accuracy that is lower by at most one percentage point is as good."""
GRADIENT, ACCURACY, FIT, SIZE = "first.gradient/first", "acc/val", "acc/train", "num_parameters"


@rule("model.num_hiddens", "loss/val", needs="data whose noise is known, and two widths that did not diverge")
def width(asked: Asked) -> Said | None:
    """The smallest width whose held-out loss is within a quarter of the noise, and the widths that can't be enough."""
    select, said, enough = asked.study.select, list[str](), list[Point]()
    floor = asked.level("noise floor", select)
    if floor is None:
        return None
    limit = (1 + TOLERANCE) * floor
    for series, points in asked.measured(select):
        first, best = points[0], asked.best(select, points)[0]
        fit = next((point for point in points if value(point, select) <= limit), None)
        other = best if best is not first else points[-1]
        words = f"{asked.curve(series)}going from {asked.shown(first)} to {asked.shown(other)} hidden units "
        words += f"{change(first, other, select, len(points) - 1).moves()}, to {few(value(other, select))}"
        if fit is None:
            words += f"; none of these widths reaches the noise of {few(floor)}"
        else:
            enough.append(fit)
            sure = at_most(fit, select, limit)
            words += f"; {asked.shown(fit)} {'are' if sure else 'may be'} enough for {few(value(fit, select))}, near "
            words += f"the noise of {few(floor)}"
            words += "" if sure else f", with an interval up to {few(fit.estimates[select].high)}"
        said.append(words)
    bound, theory = asked.line("best h + 1 straight pieces", select), ""
    if few_units := max((h for h, loss in bound.items() if loss > limit), default=None):
        theory = f"In theory {show(few_units)} can't be enough: h ReLU units draw at most h + 1 straight pieces."
    return asked.said("", said, theory, enough[0] if enough else None)


@rule("model.num_hiddens", ACCURACY)
def width_fashion_mnist(asked: Asked) -> Said | None:
    """The smallest width that is at most a point of accuracy below the best one."""
    said, chosen = list[str](), list[Point]()
    for series, points in asked.measured(ACCURACY):
        best = asked.best(ACCURACY, points)[0]
        least = next(point for point in points if value(point, ACCURACY) >= value(best, ACCURACY) - POINT)
        chosen.append(least)
        widest = least is best is points[-1]
        wider = [change(least, point, ACCURACY) for point in points if asked.x(point) > asked.x(least)]
        sure = all(gain.comparison.high <= POINT for gain in wider)
        if widest:
            words = (
                f"{asked.curve(series)}none of these widths is surely enough: the largest, {asked.shown(best)} hidden "
            )
            words += f"units, has the highest {noun(ACCURACY)}, {few(value(best, ACCURACY))}"
        else:
            words = f"{asked.curve(series)}{asked.shown(least)} hidden units {'are' if sure else 'may be'} enough: "
            words += f"{noun(ACCURACY)} {few(value(least, ACCURACY))}"
        if least is not best:
            words += f", and {few(value(best, ACCURACY))} at best with {asked.shown(best)}"
            words += "" if sure else f", higher {change(least, best, ACCURACY).size}"
        if less := [point for point in points if asked.x(point) < asked.x(least)]:
            words += f"; {asked.shown(less[-1])} reach {few(value(less[-1], ACCURACY))}"
            words += ", so that more may be better still" if widest else ""
        if best is not points[-1]:
            words += f"; going on to {asked.shown(points[-1])} {change(best, points[-1], ACCURACY).moves()}"
        said.append(words)
    return asked.said("", said, best=asked.best(ACCURACY, chosen)[0]) if said else None


@rule("model.n", ACCURACY, SIZE)
def phm(asked: Asked) -> Said | None:
    """The parameters and the accuracy of each n, against the smallest n."""
    said, theory, counted = list[str](), asked.line("dq/n + n³", SIZE), list[bool]()
    for series, (first, *others) in asked.measured(ACCURACY, SIZE):
        counted += [value(point, SIZE) == theory.get(asked.x(point)) for point in (first, *others)]
        parts = [f"{asked.curve(series)}n = {asked.shown(first)} reaches an accuracy of {few(value(first, ACCURACY))}"]
        for point in others:
            share = 100 * value(point, SIZE) / value(first, SIZE)
            loss = change(first, point, ACCURACY, len(others)).moves()
            parts.append(f"n = {asked.shown(point)} has {share:.0f} % of the parameters and {loss}")
        said.append("; ".join(parts))
    agrees = "The numbers of parameters are those of theory, dq/n + n³ weights per hidden layer."
    return asked.said("", said, agrees if counted and all(counted) else "")


@rule("model.num_layers", FIT, curves=["model.activation"])
def activation(asked: Asked) -> Said | None:
    """Whether layers add to the training accuracy with an activation function, and only with one."""
    gains, said, helps = dict[str, list[Change]](), list[str](), list[Change]()
    for series, (base, *deeper) in asked.measured(FIT):
        best = asked.best(FIT, deeper)[0]
        gain = change(base, best, FIT, len(deeper))
        kind = "linear" if show(series.setting["model.activation"]) == "identity" else "bent"
        gains.setdefault(kind, []).append(gain)
        said.append(f"{asked.curve(series)}going from {asked.shown(base)} to {_layers(asked, best)} {gain.moves()}")
        helps += (
            [change(base, best, ACCURACY, len(deeper))] if ACCURACY in base.estimates.keys() & best.estimates else []
        )
    verdict: Verdict = ""
    if len(gains) == 2:
        verdict = "yes" if any(gain.better for gain in gains["bent"]) else "undecided"
        useless = all(gain.worse or gain.same for gain in gains["bent"])
        verdict = "no" if useless or any(gain.better for gain in gains["linear"]) else verdict
    level = asked.level("linear model", FIT)
    theory = (
        [] if level is None else [f"Layers without an activation are one linear layer, {few(level)}, at any depth."]
    )
    if helps:
        best_gain = max(helps, key=lambda gain: gain.comparison.effect)
        theory.append(f"At best, depth {best_gain.moves()}.")
    return asked.said(verdict, said, " ".join(theory))


def _layers(asked: Asked, point: Point) -> str:
    return f"{asked.shown(point)} {'layer' if asked.x(point) == 1 else 'layers'}"


@rule("model.num_layers", GRADIENT, FIT, curves=["model.init"])
def depth_init(asked: Asked) -> Said | None:
    """Which initialisations train the deepest network, and the first layer's initial gradient in each."""
    found: dict[bool | None, list[str]] = {True: [], None: [], False: []}
    best = list[Point]()
    deepest = max(asked.points, key=asked.x)
    for series in asked.series:
        deep = series.points[-1]
        if deep.diverged or asked.x(deep) < asked.x(deepest) or not {GRADIENT, FIT} <= deep.estimates.keys():
            continue
        name = " with ".join(
            show(series.setting[key]) for key in sorted(series.setting, key=lambda k: k != "model.init")
        )
        words = f"{name} (accuracy {few(value(deep, FIT))}, gradient {few(value(deep, GRADIENT))})"
        found[learnt := _learnt(deep)].append(words)
        best += [deep] if learnt else []
    trains, perhaps, fails = found.values()
    if not trains and not perhaps and not fails:
        return None
    depth, none = f"{asked.shown(deepest)} layers", "none surely trains" if perhaps else "none trains"
    said = [f"at {depth} these train: {a_list(trains)}" if trains else f"at {depth} {none}"]
    said += [f"the runs do not tell whether these do: {a_list(perhaps)}"] if perhaps else []
    said += [f"these stay near guessing: {a_list(fails)}"] if fails else []
    last = f"The gradient is that of the first layer at the start.{_against_theory(asked)}"
    return asked.said("", said, last, asked.best(FIT, best)[0] if best else None)


def _against_theory(asked: Asked) -> str:
    """The measured gradients over those of theory, at the deepest network that theory covers; empty without one."""
    ratios: dict[float, list[float]] = {}
    for series, points in asked.measured(GRADIENT):
        theory = asked.line("theory of wide layers", GRADIENT, series.setting)
        for point in points:
            if theory.get(asked.x(point)):
                ratios.setdefault(asked.x(point), []).append(value(point, GRADIENT) / theory[asked.x(point)])
    if not ratios:
        return ""
    depth, found = max(ratios.items())
    least, most = (f"{ratio:.2g}" for ratio in (min(found), max(found)))
    times = least if least == most else f"{least} to {most}"
    return f" At {show(depth)} layers it is {times} times that of theory for wide layers."


def _learnt(point: Point) -> bool | None:
    """Whether a training accuracy is above twice that of guessing; None if the runs do not tell."""
    chance = 1 / NUM_CLASSES if is_fashion_mnist(point.runs[0].config) else 0.5
    below = at_most(point, FIT, min(2 * chance, 0.75))
    return None if below is None else not below
