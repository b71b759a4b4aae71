"""Answers on fitting the training data: dropout, random labels, random features."""

from __future__ import annotations

from lightning_d2l.config.text import show
from lightning_d2l.studies.answers.rule import Asked, Said, rule, unanimous
from lightning_d2l.studies.answers.words import change, few, noun, value
from lightning_d2l.studies.points import Point

FITTED = 0.99
"""From this training accuracy on a network has fitted its labels."""
GAP, ACCURACY, TRAIN, TEST, EPOCHS, LOSS = "gap/val", "acc/val", "acc/train", "acc/test", "epochs_to_fit", "loss/test"


@rule("model.dropout", GAP, ACCURACY)
def dropout(asked: Asked) -> Said | None:
    """For each curve the gap with and without dropout, and the accuracy at the best dropout against none."""
    said, verdicts, chosen = list[str](), list[str](), list[Point]()
    for series, (none, *others) in asked.measured(GAP, ACCURACY):
        closest = min(others, key=lambda p: value(p, GAP))
        gap, top = change(none, closest, GAP, len(others)), asked.best(ACCURACY, [none, *others])[0]
        verdicts.append("yes" if gap.lower else "no" if gap.higher or gap.same else "undecided")
        chosen.append(top)
        least = asked.without(none, "")
        words = f"{asked.curve(series)}the gap goes from {few(value(none, GAP))} {least} to {few(value(closest, GAP))} "
        doubt = f"which {gap.doubt}" if gap.doubt else gap.interval
        words += f"with dropout {asked.shown(closest)} ({'hardly a change' if gap.same else doubt})"
        if top is none:
            high = "as high" if any(value(p, ACCURACY) == value(none, ACCURACY) for p in others) else "highest"
            words += f", and the {noun(ACCURACY)} is {high} {least}, {few(value(none, ACCURACY))}"
        else:
            helps = change(none, top, ACCURACY, len(others)).moves()
            words += f"; dropout {asked.shown(top)} is best and {helps}"
        said.append(words)
    return asked.said(unanimous(verdicts, "no"), said, best=asked.best(ACCURACY, chosen)[0]) if said else None


@rule("data.label_noise", TRAIN, TEST)
def random_labels(asked: Asked) -> Said | None:
    """Whether the training accuracy tells true from random labels, which the test accuracy does."""
    said, verdicts = list[str](), list[str]()
    for series, points in asked.measured(TRAIN, TEST):
        clean, noisy = points[0], points[-1]
        seen, fitted = change(clean, noisy, TRAIN), min(value(p, TRAIN) for p in (clean, noisy)) >= FITTED
        verdicts.append("no" if fitted or seen.same else "yes" if seen.lower else "undecided")
        words = f"{asked.curve(series)}the {noun(TRAIN)} is {few(value(clean, TRAIN))} at label noise "
        words += f"{asked.shown(clean)} and {few(value(noisy, TRAIN))} at {asked.shown(noisy)}; "
        words += f"the {noun(TEST)} goes from {change(clean, noisy, TEST).values}"
        chance = asked.line("chance", TEST, series.setting)
        said.append(words + (f", where guessing has {few(next(iter(chance.values())))}" if chance else ""))
        if EPOCHS in clean.estimates and EPOCHS in noisy.estimates:
            epochs = change(clean, noisy, EPOCHS)
            said.append(f"fitting the labels takes {epochs.values} epochs ({epochs.doubt or epochs.interval})")
        elif not fitted:
            said.append("the labels are not fitted in these epochs")
    return asked.said(unanimous(verdicts, "no"), said)


@rule("model.num_features", LOSS, needs="at least three values of model.num_features that did not diverge")
def random_features(asked: Asked) -> Said | None:
    """Whether the test error falls again beyond a peak at as many features as training images."""
    said, verdicts, threshold = list[str](), list[str](), asked.vertical("features = training images")
    for series, points in asked.measured(LOSS):
        if len(points) < 3:
            continue
        # A peak where theory has it is one comparison, and not the choice of the largest.
        peak = next((p for p in points[1:-1] if asked.x(p) == threshold), None)
        tried = 1 if peak else len(points) - 2
        peak = peak or max(points[1:-1], key=lambda p: value(p, LOSS))
        at = points.index(peak)
        before, after = (min(some, key=lambda p: value(p, LOSS)) for some in (points[:at], points[at + 1 :]))
        rise = change(before, peak, LOSS, tried * at)
        fall = change(peak, after, LOSS, tried * (len(points) - at - 1))
        ends = change(before, after, LOSS)
        there = rise.higher and fall.lower
        verdicts.append("yes" if there else "no" if fall.higher or fall.same or rise.same else "undecided")
        words = (
            f"{asked.curve(series)}going from {asked.shown(before)} to {asked.shown(peak)} features {rise.moves()}, "
        )
        words += f"going on to {asked.shown(after)} {fall.moves()}"
        said += [words, f"in all, {asked.shown(after)} instead of {asked.shown(before)} features {ends.moves()}"]
    theory = "" if threshold is None else f"In theory the peak is at {show(threshold)}, the number of training images."
    return asked.said(unanimous(verdicts, "no"), said, theory)
