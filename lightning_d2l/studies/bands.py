"""Which interval is drawn around a mean or a median."""

from __future__ import annotations

import math

from lightning_d2l.studies.statistics import Estimate

FEWEST = 4
"""Of fewer parts the runs themselves say more than an interval, which is not drawn."""


def has_band(found: Estimate) -> bool:
    """Whether the 95 % interval of an estimate is drawn."""
    return found.has_interval and found.clusters >= FEWEST


def band(found: Estimate) -> tuple[float, float]:
    """The ends of the interval that is drawn; NaN where there is none."""
    return (found.low, found.high) if has_band(found) else (math.nan, math.nan)


def quartiles(found: Estimate) -> tuple[float, float]:
    """The quartiles that are drawn around a median; NaN where there are none."""
    is_drawn = found.statistic == "median" and found.clusters >= FEWEST
    return (found.q1, found.q3) if is_drawn else (math.nan, math.nan)
