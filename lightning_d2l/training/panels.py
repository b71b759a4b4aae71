"""The paper that figures of a run are drawn on: settings of matplotlib, fonts and panels."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_d2l.training.ticks import plain

MORE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "SimHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Noto Serif CJK SC",
    "Noto Serif CJK JP",
    "Arial Unicode MS",
)
"""Fonts with the characters that matplotlib's own lacks; it takes those that are installed, for these characters."""
INSTALLED = set(font_manager.get_font_names())
STYLED = ("axes", "figure", "font", "grid", "legend", "lines", "mathtext", "text", "xtick", "ytick")
"""The parts of a matplotlibrc that are matplotlib's own here: a dark style has no place on white paper."""
PAPER: Any = {
    **{name: value for name, value in matplotlib.rcParamsDefault.items() if name.partition(".")[0] in STYLED},
    "font.family": ["DejaVu Sans", *(name for name in MORE_FONTS if name in INSTALLED)],
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
RAISED = str.maketrans("-0123456789", "\N{SUPERSCRIPT MINUS}⁰¹²³⁴⁵⁶⁷⁸⁹")
LARGEST = 1e300
"""Numbers beyond have no place on an axis of matplotlib."""


def with_panels(rows: int, columns: int, width: float, height: float, **layout: Any) -> tuple[Figure, list[Axes]]:
    """A figure of width x height inches, and its panels row by row; `layout` is passed to `Figure.subplots`."""
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **layout).flat)


def is_shown(value: float) -> bool:
    """Whether a number has a place on an axis."""
    return math.isfinite(value) and abs(value) <= LARGEST


def short(value: float, digits: int = 4) -> str:
    """A number of few digits for a title, without mathematics: 21,010 rather than 2.101e+04, or 10 with an exponent."""
    text = plain(float(f"{value:.{digits}g}"))
    base, power, exponent = text.strip("$").rstrip("}").replace(r"\times", "\N{MULTIPLICATION SIGN}").partition("^{")
    return base.replace("-", "\N{MINUS SIGN}") + exponent.translate(RAISED) if power else text


def wrapped(text: str, width: int) -> str:
    """Text in lines of at most so many characters, about equally long, so that no word stands alone."""
    lines = textwrap.wrap(text, width)
    narrow = (textwrap.wrap(text, w) for w in range(max(len(text) // max(len(lines), 1), 1), width))
    return "\n".join(next((each for each in narrow if len(each) == len(lines)), lines))
