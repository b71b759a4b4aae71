"""What is known of a number that an experiment measures: what was published, what theory says, what was computed."""

from __future__ import annotations

import math
from dataclasses import dataclass

WIDTH = 2 * 1.6449  # standard deviations between the 5th and the 95th percentile of normal numbers


@dataclass(frozen=True)
class Quantity:
    """A number that an experiment measures, with what was published and computed about it.

    `key` is the source of the number. For a run: a metric such as "loss/train" ("loss/train@1" at epoch 1), a weight
    such as "w[3]", or "|w error|" and "|b error|", the distance of the first weight and of the bias from the true one.
    For a demo: one of its `numbers`. `theory` is the expected value, and `accuracy` the relative error of the formula
    (absolute where `theory` is 0).

    `margin` says how far the medians may lie apart and be called equal: as a factor for `log` quantities, which are
    positive and compared by their logarithms, else as a difference; `widths` is the factor for the widths from the 5th
    to the 95th percentile. `simulated` is the standard deviation of single runs, of the logarithm for `log` ones, in
    400 runs of the right setting, where no band was published.

    `computed` and `computed_band` are no publication: a number of our own simulation, or a range that is asked for.
    """

    name: str
    key: str
    published: float | None
    band: tuple[float, float] | None = None
    runs: int = 1
    theory: float | None = None
    accuracy: float = 1e-5
    margin: float | None = None
    log: bool = False
    simulated: float | None = None
    widths: float = 2.0
    computed: float | None = None
    computed_band: tuple[float, float] | None = None

    @property
    def source(self) -> str:
        """What ours is compared with: "published", "theory" or "computed"."""
        if self.published is not None:
            return "published"
        return "computed" if self.theory is None else "theory"

    @property
    def spread(self) -> float | None:
        """The standard deviation of single published runs, of their logarithm for `log` ones; None if not known."""
        if self.band is None:
            return self.simulated
        low, high = map(math.log, self.band) if self.log else self.band
        return (high - low) / WIDTH

    @property
    def tolerance(self) -> float:
        """The margin, of logarithms for `log` ones: without one a standard deviation of single runs, or 5 %."""
        if self.margin is not None:
            return math.log(self.margin) if self.log else self.margin
        return 0.05 * abs(self.published or 0.0) if self.spread is None else self.spread


@dataclass(frozen=True)
class Experiment:
    """An experiment of conf/experiment with `overrides`, or a demo, and its published numbers."""

    id: str
    quantities: tuple[Quantity, ...]
    overrides: tuple[str, ...] = ()
    seeds: int = 5  # number of seeds; 200 or 400 where they train together in seconds
    demo: str = ""
    official_data: bool = False  # whether a demo needs Fashion-MNIST; for an experiment, see its configuration
