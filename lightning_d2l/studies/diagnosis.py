"""The diagnosis of a point: not learnt, underfitting, well fitted, overfitting or diverged, with its uncertainty.

A loss lies between two ends. The *trivial* predictor knows the targets of the training data and no inputs: it says
their frequencies, or their mean. The *reference* is what a good model reaches: the noise of generated data (an exact
floor), or what `study.reference` names. docs/reports.md states the rule, and the tests run its table of cases.

    held-out = reference + (train - reference) + (held-out - train)

The rule is about the loss; the mean squared error for a Gaussian likelihood, 1 - accuracy where no loss is known.
Intervals over runs are those of statistics.py. On a single data set the sampling error of the finite splits is added:
a mean of m squared residuals has the relative standard deviation sqrt(2/m), an error rate p of m samples
sqrt((1 - p) / (p m)), and so has cross-entropy, less that of guessing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightning_d2l.config.text import number
from lightning_d2l.studies.quantity import NORMAL_95, Ends, Quantity, ends_of, quantities
from lightning_d2l.studies.repeats import independent
from lightning_d2l.studies.replicates import Replicate
from lightning_d2l.studies.statistics import Estimate
from lightning_d2l.training.record import RunRecord

NAMES = NOT_LEARNT, UNDERFITTING, WELL_FITTED, BEST_HERE, LEARNT, OVERFITTING, DIVERGED = (
    "not learnt", "underfitting", "well fitted", "best here", "learnt", "overfitting", "diverged",
)  # fmt: skip
TOLERANCE = 0.25
"""The held-out loss of a well fitted model is at most this fraction above the reference."""
MARGIN = 0.01
"""A fraction of the trivial loss below which neither a gain nor a gap counts."""
ACCURACY_MARGIN = 0.1
"""The same for the accuracy, as a fraction of the way from the trivial accuracy to 1."""
NOISE_FREE = 1e-3
"""Without noise, the held-out loss of a well fitted model is at most this fraction of the trivial loss."""
SHORTEST = {"noise": "the noise", "bayes": "the noise"}


@dataclass(frozen=True)
class Diagnosis:
    """One of the names; `or_else` is a second one that is possible within the uncertainty.

    `share` is how far the held-out loss is from the trivial predictor's to the reference's, at most 1. `gap` is the
    held-out minus the training loss, `acc_gap` the training minus the held-out accuracy, each paired over runs with
    its interval. `trivial` and `reference` are on the `split` that is held out.
    """

    name: str
    or_else: str | None = None
    share: float | None = None
    gap: Estimate | None = None
    acc_gap: Estimate | None = None
    trivial: float | None = None
    reference: tuple[str, float] | None = None
    note: str = ""
    quantity: str = "loss"
    split: str = "val"
    train: str = "train"  # the name of the training loss

    @property
    def mark(self) -> str:
        """~ if it is uncertain."""
        return "~" if self.or_else else ""

    @property
    def short(self) -> str:
        return self.mark + self.name

    def __str__(self) -> str:
        return f"{self.name} (or {self.or_else})" if self.or_else else self.name

    @property
    def described(self) -> str:
        """`underfitting, 56 % of the way` from the trivial predictor to the reference, where the latter is known."""
        far = self.share is None or self.share > 0.995 or self.name == WELL_FITTED
        return str(self) if far or self.share is None else f"{self}, {max(self.share, 0):.0%} of the way"

    @property
    def how_far(self) -> str:
        """`97 % of the way from trivial to the noise (0.01)`, or an empty text."""
        if self.share is None or self.trivial is None or self.reference is None:
            return ""
        name, value = self.reference
        to = f"{SHORTEST.get(name, name)}{'' if name == number(value) else f' ({number(value)})'}"
        if self.share <= 0:
            return f"no better than trivial; {to} is possible"
        return f"{100 * self.share:.3g} % of the way from trivial to {to}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for run.json and a report's JSON."""
        gaps = {name: gap.as_dict() for name in ("gap", "acc_gap") if (gap := getattr(self, name)) is not None}
        found = {"name": self.name, "or_else": self.or_else, "share": self.share, "trivial": self.trivial, **gaps}
        if self.reference:
            found["reference"] = {"name": self.reference[0], "value": self.reference[1]}
        return found | {"note": self.note} if self.note else found


@dataclass(frozen=True)
class Case:
    """What the rule looks at: the quantities of the runs of a point, and whether the model is as good as it can be.

    `loss` and `error` are of the completed runs, `diverged` is the fraction of runs that diverged. `solved` says that
    the training loss is the model's lowest: it was solved for, or equals the solution, or the model is a constant.
    """

    loss: Quantity | None = None
    error: Quantity | None = None
    ends: Ends = field(default_factory=Ends)
    diverged: float = 0.0
    solved: bool = False

    @property
    def main(self) -> Quantity | None:
        return self.loss or self.error


def case_of(
    runs: Sequence[RunRecord],
    rows: Sequence[Mapping[str, float]],
    replicates: Sequence[Replicate] | None = None,
    idle: Sequence[str] = (),
) -> Case:
    """The case of runs of one setting; `rows` are the metrics of the completed ones, in their order.

    Of runs that differ in no more than what is `idle`, see `idle_of`, one counts.
    """
    completed = [run for run in runs if run.completed]
    if replicates and idle:
        places, replicates = independent(replicates, idle)
        completed, rows = [completed[i] for i in places], [rows[i] for i in places]
    diverged = sum(run.status == "diverged" for run in runs) / max(len(runs), 1)
    loss, error = quantities(completed, rows, replicates)
    main = loss or error
    ends = ends_of(main, completed) if main else Ends()
    solved = bool(completed) and all(map(_is_solved, completed, rows))
    return Case(loss, error, ends, diverged, solved)


def _is_solved(run: RunRecord, row: Mapping[str, float]) -> bool:
    """Whether no training can lower the training loss of a run with these metrics by more than 5 %."""
    optimizer = str((run.config.get("optimizer") or {}).get("_target_"))
    if optimizer.endswith(".Exact") or run.fields.get("num_parameters") == 1:
        return True
    train, exact = row.get("loss/train"), run.metric("exact.loss/train")
    return train is not None and exact is not None and train <= 1.05 * exact


def lowest_of(cases: Sequence[Case]) -> float | None:
    """The lowest held-out loss of any case at any epoch, which stands in where no reference is known."""
    return min((case.main.lowest for case in cases if case.main), default=None)


def diagnose(case: Case, lowest: float | None = None, *, alone: bool = True) -> Diagnosis | None:
    """The diagnosis of a case; None if nothing held out was measured.

    `lowest` is the `lowest_of` the report's cases, whose settings differ unless this one is `alone`.
    """
    if case.diverged >= 0.5:
        return Diagnosis(DIVERGED)
    main, ends = case.main, case.ends
    if main is None:
        return None
    value = main.held.value
    note = ""
    if (
        ends.reference
        and not ends.exact
        and (main.held.high < ends.reference[1] or value * (1 + TOLERANCE) < ends.reference[1])
    ):
        name, beaten = ends.reference
        said = name if name == number(beaten) else f"{name}, {number(beaten)}"
        note, ends = f"the model beats its reference ({said}): choose a stronger one", replace(ends, reference=None)
    reference, trivial = ends.reference, ends.trivial
    found = Diagnosis(
        LEARNT,
        share=_share(value, trivial, reference),
        gap=main.gap,
        acc_gap=case.error.gap if case.error else None,
        trivial=trivial,
        reference=reference,
        note=note,
        quantity=main.name,
        split=main.split,
        train=main.train_name,
    )
    gain, doubt = _gain(case, ends)
    if gain is not None and gain < MARGIN and not case.solved:
        return replace(found, name=NOT_LEARNT, or_else=UNDERFITTING if gain + doubt >= MARGIN else None)
    name, or_else = _fit(case, ends, reference[1] if reference else lowest, alone=alone)
    if gain is not None and gain - doubt < MARGIN and not case.solved:
        or_else = or_else or NOT_LEARNT
    return replace(found, name=name, or_else=or_else)


def _share(value: float, trivial: float | None, reference: tuple[str, float] | None) -> float | None:
    if trivial is None or reference is None or trivial <= reference[1]:
        return None
    return min((trivial - value) / (trivial - reference[1]), 1.0)


def _gain(case: Case, ends: Ends) -> tuple[float | None, float]:
    """How much better than trivial the model is, as a fraction of the trivial loss, and half its 95 % interval.

    The better one of the training and the held-out data counts, and no less than the margin if the accuracy is well
    above the trivial one's. The loss of a model that explains a fraction g of the variance differs from the trivial one
    by g, with the standard deviation 2 sqrt(g / m) over m samples; for cross-entropy with the trivial loss L it is
    sqrt(2 g / (L m)), since a log-likelihood ratio of mean d has the variance 2 d.
    """
    main, trivial, error = case.main, ends.trivial, case.error
    rates = [each.value for each in (error.held, error.train) if each] if error else []
    above = 1 - min(rates) / ends.trivial_error if rates and ends.trivial_error else None
    if main is None or main.is_rate or not trivial or trivial <= 0:
        return (None if above is None else above * MARGIN / ACCURACY_MARGIN), 0.0
    gains = [1 - main.held.value / trivial]
    if main.train and ends.trivial_train:
        gains.append(1 - main.train.value / ends.trivial_train)
    if above is not None and above >= ACCURACY_MARGIN:
        gains.append(2 * MARGIN)
    gain = max(gains)
    samples = main.samples.get(main.split)
    if not samples or gain not in gains[:1]:
        return gain, 0.0
    return gain, NORMAL_95 * math.sqrt((2 / trivial if main.deviation else 4) * abs(gain) / samples)


def _fit(case: Case, ends: Ends, floor: float | None, *, alone: bool) -> tuple[str, str | None]:
    """The name of a model that is better than trivial, and a second one."""
    main = case.main
    assert main is not None
    certain = ends.reference is not None and ends.exact
    each = [quantity for quantity in (case.loss, case.error) if quantity]
    if not certain and any(q.gap_is_above(2, _least(q, main, ends)) for q in each):
        return OVERFITTING, None
    name, or_else = _by_reference(case, ends, floor, alone=alone)
    if name in (LEARNT, BEST_HERE) and any(q.gap_is_above(1 + TOLERANCE, _least(q, main, ends)) for q in each):
        or_else = OVERFITTING
    return name, or_else


def _by_reference(case: Case, ends: Ends, floor: float | None, *, alone: bool) -> tuple[str, str | None]:
    """The name that the parts of the held-out loss above the floor decide, and a second one."""
    main = case.main
    assert main is not None
    fit = WELL_FITTED if ends.reference else LEARNT if alone else BEST_HERE
    border = None if floor is None else _border(floor, ends.trivial)
    if floor is None or border is None:
        return (UNDERFITTING if case.solved and ends.trivial and main.held.value >= ends.trivial else fit), None
    held, train = main.held, main.train
    over = train is not None and train.value < (held.value + floor) / 2
    if held.value <= border:
        uncertain = held.high > border and not (ends.reference is None and held.value <= floor)
        return fit, (OVERFITTING if over else UNDERFITTING) if uncertain else None
    if train is None or (main.running and not over):  # the running mean is above the loss of the last weights
        return (UNDERFITTING, fit if held.low <= border else OVERFITTING)
    told = over and main.gap_is_told
    if held.low <= border:
        near = over and not told and border**2 >= held.low * held.value  # nearer to the loss than to the lower end
        return (fit, OVERFITTING) if near else (OVERFITTING if over else UNDERFITTING, fit)
    if over and not told:
        return UNDERFITTING, OVERFITTING
    near = main.gap_is_told and main.middle_is_near(floor)
    misfit, other = (OVERFITTING, UNDERFITTING) if over else (UNDERFITTING, OVERFITTING)
    return misfit, other if near else None


def _border(floor: float, trivial: float | None) -> float | None:
    """The largest loss that fits well: a quarter above the floor, and at least half of the way to it from trivial."""
    if floor <= 0:
        return NOISE_FREE * trivial if trivial else None
    half = (floor + trivial) / 2 if trivial is not None and trivial > floor else math.inf
    return min((1 + TOLERANCE) * floor, half)


def _least(quantity: Quantity, main: Quantity, ends: Ends) -> float:
    """The least gap that counts."""
    trivial = ends.trivial if quantity is main else ends.trivial_error
    return MARGIN * (trivial or 0.0)
