"""The paper that figures of a run are drawn on: settings of matplotlib, colours, panels and ticks."""

from __future__ import annotations

import math
from typing import Any

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

MORE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Arial Unicode MS",
)
"""Fonts with the characters that matplotlib's own lacks; it takes those that are installed, for these characters."""
PAPER: Any = {
    "text.usetex": False,  # whatever a matplotlibrc in the current folder asks for
    "font.family": ["sans-serif", *(name for name in MORE_FONTS if name in font_manager.get_font_names())],
    "axes.formatter.useoffset": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.axisbelow": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "#CCCCCC",
    "legend.fontsize": 9,
}
"""Settings of matplotlib for every figure."""
LARGEST = 1e300
"""Numbers beyond have no place on an axis of matplotlib."""


def with_panels(rows: int, columns: int, width: float, height: float, **layout: Any) -> tuple[Figure, list[Axes]]:
    """A figure of width x height inches, and its panels row by row; `layout` is passed to `Figure.subplots`."""
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **layout).flat)


def is_shown(value: float) -> bool:
    """Whether a number has a place on an axis."""
    return math.isfinite(value) and abs(value) <= LARGEST


def plain(value: float) -> str:
    """A tick's number: 0.6, 20,000; beyond a million and below 0.0001 a power of ten."""
    if value == 0 or 1e-4 <= abs(value) < 1e6 or not math.isfinite(value):
        return f"{value:,.10g}".replace("-", "\N{MINUS SIGN}")
    mantissa, _, exponent = f"{value:.10e}".partition("e")
    factor = f"{float(mantissa):g}"
    power = f"10^{{{int(exponent)}}}"
    return f"${power}$" if factor == "1" else rf"${factor}\times{power}$"


def short(value: float, digits: int = 4) -> str:
    """A number of few digits for a title: 21,010 rather than 2.101e+04."""
    return plain(float(f"{value:.{digits}g}"))


def plain_ticks(panel: Axes) -> None:
    """Ticks with plain numbers on both axes of a panel, whose limits are set: 0.6 in place of 6 x 10^-1."""
    for axis in (panel.xaxis, panel.yaxis):
        if axis.get_scale() == "log":
            _log_ticks(axis)
        elif axis.get_scale() == "linear" and 1e4 <= max(map(abs, axis.get_view_interval())) < 1e6:
            axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def _log_ticks(axis: Axis) -> None:
    low, high = sorted(axis.get_view_interval())
    decades = math.log10(high) - math.log10(low) if low > 0 else 1.0
    spans = {3.0: (1.0,), 1.5: (1.0, 3.0), 1.0: (1.0, 2.0, 5.0), 0.5: (1.0, 2.0, 3.0, 5.0, 7.0)}
    subs = next((found for least, found in spans.items() if decades > least), tuple(map(float, range(1, 10))))
    axis.set_major_locator(LogLocator(subs=subs, numticks=8 if decades > 8 else 12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_formatter(NullFormatter())
