"""The ticks of an axis: round numbers, written without powers of ten where plain digits will do."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import Formatter, Locator, LogLocator, MaxNLocator, NullFormatter, NullLocator, ScalarFormatter

STEPS = [1, 2, 2.5, 5, 10]
MOST = 7  # powers of ten with a tick
FACTORS = {1.0: (1, 1.5, 2, 3, 5, 7), 2.0: (1, 2, 5), 3.2: (1, 3)}  # of powers of ten, below so many decades
SHORT = 0.35  # decades, below which ticks are those of a linear axis
PLAIN = 1e-4, 1e6  # between these, numbers are written in digits
LARGE = 1e4, 1e9  # whole numbers on a linear axis between these have commas


class LogTicks(Locator):
    """Powers of ten on a long axis, 1, 2, 5 and more times them on a shorter one, and round numbers on a short one."""

    def __call__(self) -> Sequence[float]:
        return self.tick_values(*self.axis.get_view_interval()) if self.axis else []

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        low, high = sorted((max(vmin, 1e-300), max(vmax, 1e-300)))
        decades = math.log10(high) - math.log10(low)
        if decades < SHORT:
            values = [float(value) for value in MaxNLocator(5, steps=STEPS).tick_values(low, high)]
        else:
            step = max(1, math.ceil(decades / MOST))
            powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            factors = next((each for most, each in FACTORS.items() if decades < most), (1,))
            values = [f * 10.0**p for p in powers if p % step == 0 for f in factors]
        near = 1 + 1e-9
        return [v for v in values if low / near <= v <= high * near and v > 0]


def plain(value: float) -> str:
    """A number in digits, 0.6 or 20,000, or, if it is too small or large for that, as a power of ten."""
    if _has_digits(value):
        return _signed(f"{value:,.10g}" if abs(value) >= LARGE[0] else f"{value:.10g}")
    return _power(value)


def _has_digits(value: float) -> bool:
    return value == 0 or PLAIN[0] <= abs(value) < PLAIN[1] or not math.isfinite(value)


def _signed(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def _power(value: float) -> str:
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.9e}".partition("e")
    factor, power = f"{float(mantissa):.3g}", f"10^{{{int(exponent)}}}"
    return f"${power}$" if factor == "1" else rf"${factor}\times{power}$"


class LogNumbers(Formatter):
    """All ticks in digits, 0.6, or, if one is too small or large for that, all as powers of ten."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self.format_ticks([x])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        return [(plain if all(map(_has_digits, values)) else _power)(value) for value in values]


class Numbers(ScalarFormatter):
    """Numbers on a linear axis, without an offset; large whole numbers have commas."""

    def __init__(self) -> None:
        super().__init__(useOffset=False, useMathText=True)
        self.set_powerlimits((-4, 9))

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        formatted = [
            text.removeprefix("$\\mathdefault{").removesuffix("}$") for text in super().format_ticks(list(values))
        ]
        largest = max(map(abs, values), default=0.0)
        if LARGE[0] <= largest < LARGE[1] and all(value == round(value) for value in values):
            return [_signed(f"{value:,.0f}") for value in values]
        return formatted


def set_ticks(axis: Axis, scale: str, *, whole: bool = False) -> None:
    """Ticks and their numbers for a "linear" or "log" axis; on a linear one at `whole` numbers only."""
    if scale == "log":
        axis.set_major_locator(LogTicks())
        axis.set_major_formatter(LogNumbers())
        low, high = axis.get_view_interval()
        long = low > 0 and math.log10(high) - math.log10(low) > MOST
        axis.set_minor_locator(LogLocator(subs=[1] if long else [2, 3, 4, 5, 6, 7, 8, 9], numticks=99))
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(6, steps=STEPS, integer=whole, min_n_ticks=1 if whole else 2))
        axis.set_major_formatter(Numbers())
        axis.set_minor_locator(NullLocator())


def plain_ticks(panel: Axes) -> None:
    """Plain numbers on both axes of a panel, whose limits are set; names and chosen ticks stay."""
    for axis in (panel.xaxis, panel.yaxis):
        if axis.get_scale() == "log":
            set_ticks(axis, "log")
        elif isinstance(axis.get_major_formatter(), ScalarFormatter):
            axis.set_major_formatter(Numbers())
