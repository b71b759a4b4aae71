"""The frame of a picture: its question above the panels, one legend for all of them, and what the bands are below."""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend_handler import HandlerTuple

from lightning_d2l.config.escape import label, terminal
from lightning_d2l.studies.palette import FAINT, INK

PANEL = {1: (6.4, 4.0), 2: (4.7, 3.5), 3: (3.8, 3.1)}
"""Width and height of a panel in inches, by the number of panels in a row."""
AROUND = 1.1, 0.75  # inches of a panel's width and height outside its axes: ticks and words
EDGE = 0.12  # inches of white around the figure
BELOW_TITLE = 0.1  # where no legend is
TITLE, ENTRY, NOTE = 13.0, 9.0, 8.5  # points
SPACING = 1.3  # of lines of text
MOST_LINES = 4  # of a title or a note
SHORT = 0.4  # of the width: a shorter last line is filled from the others


def blank(rows: int, columns: int) -> tuple[Figure, tuple[float, float]]:
    """A figure for panels, and the width and height of the axes of a panel in inches, nearly."""
    width, height = PANEL[min(columns, max(PANEL))]
    figure = Figure(figsize=(width * columns, height * rows), dpi=120, facecolor="white")
    return figure, (width - AROUND[0], height - AROUND[1])


def grid(rows: int, columns: int, count: int) -> tuple[Figure, list[Axes], tuple[float, float]]:
    """A figure with `count` panels row by row, and the width and height of the axes of one in inches, nearly."""
    figure, size = blank(rows, columns)
    places = figure.add_gridspec(rows, columns)
    return figure, [figure.add_subplot(places[i // columns, i % columns]) for i in range(count)], size


def width_of(text: str, size: float) -> float:
    """The width of a line of text in inches, nearly: from the widths of letters in DejaVu Sans."""
    return sum(map(_width, text)) * size / 72


@functools.cache
def _font() -> FT2Font:
    font = FT2Font(findfont("DejaVu Sans"))
    font.set_size(100, 72)
    return font


@functools.cache
def _width(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    if _font().get_char_index(ord(letter)):
        return float(_font().load_char(ord(letter)).linearHoriAdvance) / 65536 / 100
    return 0.95


def lines_of(text: str, size: float, width: float, most: int = MOST_LINES) -> str:
    """Text broken into lines of at most a width in inches; `most` of them, the last of which may end with dots.

    Where the last line would be short, the lines get narrower, so that no word stands alone.
    """
    broken = _broken(text, size, width, most)
    lines = broken.split("\n")
    if len(lines) == 1 or width_of(lines[-1], size) >= SHORT * width or lines[-1].endswith(" ..."):
        return broken
    for part in np.linspace(1 / len(lines), 1, 20):
        narrower = _broken(text, size, float(part) * width, most)
        if narrower.count("\n") == broken.count("\n") and not narrower.endswith(" ..."):
            return narrower
    return broken


def _broken(text: str, size: float, width: float, most: int) -> str:
    lines = [""]
    for word in re.split(r"[ \t\n]+", text.strip().replace(" %", "\N{NO-BREAK SPACE}%")):
        blank_before = " " if lines[-1] else ""
        for piece in _pieces(word, size, width):
            if lines[-1] and width_of(lines[-1] + blank_before + piece, size) > width:
                lines.append(piece)
            else:
                lines[-1] += blank_before + piece
            blank_before = ""
    if len(lines) > most:
        kept = lines[most - 1]
        while kept and width_of(f"{kept} ...", size) > width:
            kept = kept[:-1]
        lines[most - 1 :] = [f"{kept} ..."]
    return "\n".join(lines)


def _pieces(word: str, size: float, width: float) -> list[str]:
    """A word in pieces that a line may end with: cut where it is longer than a line, or before a Chinese character."""
    pieces = [""]
    for letter in word:
        breaks = unicodedata.east_asian_width(letter) == "W" and unicodedata.category(letter) == "Lo"
        if pieces[-1] and (breaks or width_of(pieces[-1] + letter, size) > width):
            pieces.append("")
        pieces[-1] += letter
    return pieces


def finish(figure: Figure, title: str, note: str, entries: Sequence[tuple[Artist | tuple[Artist, ...], str]]) -> None:
    """Add the title, the legend of `entries`, handles with their names, and the note; the figure grows by them."""
    width, panels = figure.get_size_inches()
    inside = width - 2 * EDGE
    title, note = (
        lines_of(terminal(text), letters, inside).replace("$", r"\$")
        for text, letters in ((title, TITLE), (note, NOTE))
    )
    length = _handle_length(entries)
    columns = _columns([(length + 2.4) * ENTRY / 72 + width_of(name, ENTRY) for _, name in entries], inside)
    rows = math.ceil(len(entries) / columns)
    above = EDGE + _height(title, TITLE) + (0.08 + rows * ENTRY * 1.6 / 72 if rows else BELOW_TITLE)
    below = EDGE + 0.05 + _height(note, NOTE)
    height = above + panels + below
    figure.set_size_inches(width, height)
    figure.suptitle(
        title, x=EDGE / width, y=1 - EDGE / height, ha="left", va="top", fontsize=TITLE, color=INK, linespacing=SPACING
    )
    figure.text(EDGE / width, EDGE / height, note, va="bottom", fontsize=NOTE, color=FAINT, linespacing=SPACING)
    if entries:
        handles: Any = [handle for handle, _ in entries]  # HandlerTuple takes tuples of artists
        figure.legend(
            handles,
            [label(name) for _, name in entries],
            loc="upper left",
            bbox_to_anchor=(EDGE / width, 1 - (EDGE + 0.04 + _height(title, TITLE)) / height),
            ncols=columns,
            frameon=False,
            fontsize=ENTRY,
            borderpad=0,
            borderaxespad=0,
            labelspacing=0.45,
            columnspacing=1.6,
            handlelength=length,
            handler_map={tuple: HandlerTuple(ndivide=None, pad=0.5)},
        )
    layout = ConstrainedLayoutEngine(
        rect=(0.0, below / height, 1.0, panels / height), w_pad=0.06, h_pad=0.06, wspace=0.03, hspace=0.03
    )
    figure.set_layout_engine(layout)


def _height(text: str, size: float) -> float:
    return (text.count("\n") + 1) * size * SPACING / 72 if text else 0.0


def _handle_length(entries: Sequence[tuple[Artist | tuple[Artist, ...], str]]) -> float:
    """The length of the samples of a legend in letters: longer where some stand side by side."""
    return max((1.9 * len(handle) for handle, _ in entries if isinstance(handle, tuple)), default=2.6)


def _columns(widths: Sequence[float], inside: float) -> int:
    """The most columns into which entries of these widths fit, filled one after another, as matplotlib does."""
    for columns in range(len(widths), 1, -1):
        if sum(float(each.max()) for each in np.array_split(np.asarray(widths), columns)) <= inside:
            return columns
    return 1
