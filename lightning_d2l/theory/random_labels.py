"""Random labels: a network fits them all and learns nothing (Zhang et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_d2l.theory.curves import Curve, Question, measured_curves
from lightning_d2l.theory.problem import NUM_CLASSES
from lightning_d2l.training.record import RunRecord


def random_labels(question: Question, runs: Sequence[RunRecord]) -> list[Curve]:
    """Training accuracy 1 of a network that fits every label, and the test accuracy of guessing.

    x must be data.label_noise.
    """
    curves = []
    for each in measured_curves(question, runs, "data.label_noise"):
        if each.x:
            curves.append(each.curve("every label fitted", each.x, [1.0] * len(each.x), "acc/train"))
            curves.append(each.curve("chance", each.x, [1 / NUM_CLASSES] * len(each.x), "acc/test"))
    return curves
