"""What a diagnosis looks at: a loss or an error rate of the runs of a setting, and the ends that it lies between."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightning_d2l.config.loggers import BASELINES
from lightning_d2l.config.text import show
from lightning_d2l.studies.replicates import Replicate
from lightning_d2l.studies.statistics import Estimate, estimate
from lightning_d2l.theory.problem import NUM_CLASSES, is_fashion_mnist, noise_variance, split_size
from lightning_d2l.training.record import RunRecord

NORMAL_95 = 1.959964
"""The 97.5 % quantile of the normal distribution."""
SMALLEST = 1e-300
"""A loss of 0 is taken as this on the log scale."""


@dataclass(frozen=True)
class Ends:
    """What a loss lies between, on the held-out data: the trivial predictor's, and the reference's with its name.

    `exact` says that no model can come below the reference.
    """

    trivial: float | None = None
    trivial_train: float | None = None
    trivial_error: float | None = None
    reference: tuple[str, float] | None = None
    exact: bool = False


@dataclass(frozen=True)
class Quantity:
    """A loss, or the error rate 1 - accuracy, of several runs, paired: lower is better.

    `held_out` and `trains` hold a value a run, the latter none if there is no training loss; where it is the running
    mean of the last epoch, `running`, it is above that of the last weights. `lowest` is the lowest held-out mean at any
    epoch. `samples` are the sizes of the splits. `one_data_set` says that all runs share one. `deviation` is the
    standard deviation of the loss of a sample of a split, relative to the mean, where the accuracy tells it.
    """

    name: str
    split: str
    held_out: list[float]
    trains: list[float] = field(default_factory=list)
    running: bool = False
    lowest: float = math.inf
    samples: Mapping[str, int] = field(default_factory=dict)
    replicates: list[Replicate] | None = None
    one_data_set: bool = True
    deviation: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_rate(self) -> bool:
        return self.name == "error"

    @property
    def train_name(self) -> str:
        return "train_running" if self.running else "train"

    @functools.cached_property
    def held(self) -> Estimate:
        return self._with_sampling(self.held_out, (self.split,))

    @functools.cached_property
    def train(self) -> Estimate | None:
        return self._with_sampling(self.trains, ("train",)) if self.trains else None

    @functools.cached_property
    def gap(self) -> Estimate | None:
        """The held-out minus the training value, paired."""
        if not self.trains:
            return None
        found = self._estimate([h - t for h, t in zip(self.held_out, self.trains, strict=True)], "real")
        absolute = math.hypot(
            self._relative_error(self.split) * self.held.value, self._relative_error("train") * _value(self.train)
        )
        half = math.hypot(found.half_width, absolute)
        return replace(found, low=found.value - half, high=found.value + half) if absolute else found

    @functools.cached_property
    def gap_is_told(self) -> bool:
        """Whether the interval of the gap is above 0, or over several runs that of the ratio above 1."""
        if self.gap is None:
            return False
        if self.gap.has_interval and self.gap.low > 0:
            return True
        if len(self.held_out) < 2:
            return False
        pairs = zip(self.held_out, self.trains, strict=True)
        ratios = [math.log(self._positive(h)) - math.log(self._positive(t)) for h, t in pairs]
        logs = estimate(ratios, self.replicates, "real", "mean")
        sampling = math.hypot(self._relative_error(self.split), self._relative_error("train"))
        return logs.value > math.hypot(logs.half_width, sampling)

    def gap_is_above(self, ratio: float, least: float) -> bool:
        """Whether the gap is told from 0, above `least`, and the held-out value above `ratio` times the training one.

        Above twice of it, the gap is the larger part of the held-out value, whatever the reference is.
        """
        if self.train is None or self.held.value - self.train.value <= least:
            return False
        return self.held.value > ratio * self.train.value and self.gap_is_told

    def middle_is_near(self, floor: float) -> bool:
        """Whether it is uncertain which part is larger: train - floor, or held-out - train."""
        pairs = zip(self.held_out, self.trains, strict=True)
        found = self._with_sampling([self._positive(t) / (h + floor) for h, t in pairs], ("train", self.split))
        return found.low <= 0.5 <= found.high

    def _estimate(self, values: Sequence[float], kind: str) -> Estimate:
        if len(values) > 1:
            return estimate(values, self.replicates, kind)
        return Estimate(values[0], math.nan, math.nan, math.nan, "none", 1, 1)

    def _positive(self, value: float) -> float:
        return max(value, 0.5 / self.samples.get("train", 1000) if self.is_rate else SMALLEST)

    def _relative_error(self, split: str) -> float:
        """Half the 95 % interval of a mean over the samples of a split, relative to it; 0 over several data sets."""
        samples = self.samples.get(split) if self.one_data_set else None
        if not samples:
            return 0.0
        if not self.is_rate:
            return NORMAL_95 * self.deviation.get(split, math.sqrt(2)) / math.sqrt(samples)
        values = self.trains if split == "train" else self.held_out
        rate = min(max(sum(values) / len(values), 1 / samples), 1 - 1 / samples)
        return NORMAL_95 * math.sqrt((1 - rate) / (rate * samples))

    def _with_sampling(self, values: Sequence[float], splits: Sequence[str]) -> Estimate:
        """The estimate of positive values, its interval widened on the log scale by the sampling of splits."""
        found = self._estimate(values, "positive" if min(values) > 0 else "real")
        value, low, high = found.value, found.low, found.high
        if not found.has_interval:
            low, high = min(values), max(values)
        sampling = math.hypot(*map(self._relative_error, splits))
        if value > 0 and sampling:
            below = math.hypot(math.log(value / max(low, SMALLEST)), sampling)
            above = math.hypot(math.log(max(high, value) / value), sampling)
            low, high = value * math.exp(-below), value * math.exp(min(above, 700.0))
        if len(values) == 1:  # `replace` takes ten times as long
            return Estimate(value, math.nan, low, high, "none", 1, 1)
        return replace(found, low=low, high=high)


def _value(found: Estimate | None) -> float:
    return found.value if found else 0.0


def quantities(
    runs: Sequence[RunRecord], rows: Sequence[Mapping[str, float]], replicates: Sequence[Replicate] | None = None
) -> tuple[Quantity | None, Quantity | None]:
    """The loss and the error rate of completed runs with the metrics `rows`; None where a run lacks them.

    The loss is the mean squared error for a Gaussian likelihood, and None if it may be negative.
    """
    likelihood = any(run.config.get("loss") == "gaussian_nll" for run in runs)
    loss = _quantity("mse" if likelihood else "loss", runs, rows, replicates)
    if loss and min([*loss.held_out, *loss.trains]) < 0:
        loss = None
    return loss, _quantity("error", runs, rows, replicates)


def _quantity(
    name: str, runs: Sequence[RunRecord], rows: Sequence[Mapping[str, float]], replicates: Sequence[Replicate] | None
) -> Quantity | None:
    metric = "acc" if name == "error" else name
    split = next((split for split in ("val", "test") if any(f"{metric}/{split}" in row for row in rows)), None)
    if split is None:
        return None
    held = f"{metric}/{split}"
    there = [i for i, row in enumerate(rows) if held in row]
    runs, rows = [runs[i] for i in there], [rows[i] for i in there]
    replicates = [replicates[i] for i in there] if replicates else None
    train = next((k for k in (f"{metric}/train", f"{metric}/train_running") if all(k in row for row in rows)), None)

    def lower(value: float) -> float:
        return 1 - value if name == "error" else value

    held_out = [lower(row[held]) for row in rows]
    best = [lower(value) for run in runs if (value := run.metric(f"best.{held}")) is not None]
    lowest = min(sum(each) / len(each) for each in (best, held_out) if each)
    return Quantity(
        name,
        split,
        held_out,
        [lower(row[train]) for row in rows] if train else [],
        bool(train) and str(train).endswith("_running"),
        lowest,
        _samples(runs, split),
        replicates,
        _data_sets(runs, split) < 2,
        _deviations(runs, rows, split, str(train or "")) if name == "loss" else {},
    )


def _deviations(
    runs: Sequence[RunRecord], rows: Sequence[Mapping[str, float]], held_out: str, train: str
) -> dict[str, float]:
    """The relative standard deviation of the loss of a sample of each split, for classes.

    Of cross-entropy it is close to that of the error rate e, sqrt((1 - e) / e), without that of guessing, of whose loss
    all samples have the same.
    """
    found: dict[str, float] = {}
    for split, name in ((held_out, f"acc/{held_out}"), ("train", train.replace("loss/", "acc/"))):
        guessed = [_recorded(run, "trivial").get(f"acc/{split}") for run in runs]
        if not all(name in row for row in rows) or None in guessed:
            continue
        samples = _samples(runs, held_out).get(split, 1000)
        rates = [sum(row[name] for row in rows) / len(rows), sum(map(float, guessed)) / len(runs)]  # type: ignore[arg-type]
        odds = [min(rate, 1 - 1 / samples) / max(1 - rate, 1 / samples) for rate in rates]
        found[split] = math.sqrt(max(odds[0] - odds[1], 0.0))
    return found


def _samples(runs: Sequence[RunRecord], held_out: str) -> dict[str, int]:
    """The least number of samples of the training and the held-out split, where it is known."""
    found: dict[str, int] = {}
    for split in ("train", held_out):
        sizes = [_size(run, split) for run in runs]
        if sizes and all(sizes):
            found[split] = min(size for size in sizes if size)
    return found


def _size(run: RunRecord, split: str) -> int | None:
    counted = ((run.fields.get("baselines") or {}).get("samples") or {}).get(split)
    if counted is not None and 1 <= counted < math.inf:
        return int(counted)
    return split_size(run.config.get("data") or {}, split)


def _data_sets(runs: Sequence[RunRecord], split: str) -> int:
    """How many data sets the runs have; those of fixed test samples are one for the test split."""
    nodes = [run.config.get("data") or {} for run in runs]
    fixed = any(is_fashion_mnist(run.config) for run in runs) or any(
        node.get("test_seed") is not None for node in nodes
    )
    if split == "test" and fixed:
        return 1
    return len({show(node.get("seed")) for node in nodes})


def ends_of(quantity: Quantity, runs: Sequence[RunRecord]) -> Ends:
    """What a quantity of runs lies between, from their records: means over the runs, where all have them."""
    metric = "acc" if quantity.is_rate else quantity.name

    def mean(baseline: str, name: str) -> float | None:
        found = [_recorded(run, baseline).get(name) for run in runs]
        if not found or None in found:
            return None
        value = sum(float(each) for each in found if each is not None) / len(found)
        if not math.isfinite(value):
            return None
        return 1 - value if name.startswith("acc/") else value

    trivial, error = mean("trivial", f"{metric}/{quantity.split}"), mean("trivial", f"acc/{quantity.split}")
    names = {str(_recorded(run, "reference").get("name")) for run in runs}
    value = mean("reference", f"{metric}/{quantity.split}")
    reference = (names.pop(), value) if len(names) == 1 and value is not None else None
    if reference is None or reference[0] in BASELINES:  # which noise that is known is better than
        config = {"mse": {"loss": "mse"}}.get(quantity.name, {})
        known = [_noise(run, config) for run in runs] if not quantity.is_rate else []
        noise = [each for each in known if each is not None]
        reference = ("noise", sum(noise) / len(noise)) if noise and len(noise) == len(known) else reference
    exact = reference is not None and reference[0] in ("noise", "bayes")
    return Ends(trivial, mean("trivial", f"{metric}/train"), error, reference, exact)


def _noise(run: RunRecord, config: Mapping[str, Any]) -> float | None:
    """The known noise in the loss of a run; None of a module with a loss of its own, whose trivial loss is unknown."""
    trivial = any(name.startswith("loss/") for name in _recorded(run, "trivial"))
    own = run.config.get("loss") is None and "baselines" in run.fields and not trivial
    return None if own else noise_variance({**run.config, **config})


def _recorded(run: RunRecord, baseline: str) -> Mapping[str, Any]:
    """A baseline of a run's record; of a record without any, the trivial one of ten equally frequent classes."""
    if (recorded := run.fields.get("baselines")) is not None:
        return dict(recorded.get(baseline) or {})
    if baseline != "trivial" or not is_fashion_mnist(run.config):
        return {}
    loss = str(run.config.get("loss") or "cross_entropy")
    losses = {"one_hot_mse": (1 - 1 / NUM_CLASSES) / NUM_CLASSES}
    losses |= dict.fromkeys(("cross_entropy", "cross_entropy_scratch"), math.log(NUM_CLASSES))
    found = {f"acc/{split}": 1 / NUM_CLASSES for split in ("train", "val", "test")}
    return found | ({f"loss/{split}": losses[loss] for split in ("train", "val", "test")} if loss in losses else {})
