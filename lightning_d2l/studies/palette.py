"""Colours, markers and dashes of the pictures of studies.

Any two colours differ for a person without green cones, neighbours also in grey print; each has a contrast of 3 to 1
with white paper (tests/studies/test_palette.py). Measured lines are solid with a marker, theory is dashed without.
"""

from __future__ import annotations

from typing import Any

from lightning_d2l.config.colours import BLUE, GREEN, ORANGE, RED

COLOURS = (BLUE, ORANGE, RED, "#BF6A9F", GREEN, "#3A99DC", "#000000", "#5A3FC0")
"""Near to the hues of Okabe and Ito (2008), but darker, without yellow, and with violet."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
DASHES: tuple[Any, ...] = (
    (0, (5, 2)),
    (0, (1.2, 1.4)),
    (0, (7, 2, 1.5, 2)),
    (0, (9, 3)),
    (0, (3, 1.5, 1, 1.5, 1, 1.5)),
    (0, (2.5, 2.5)),
)
DARK = ("#333333", "#767676", "#555555")
"""Of theory that belongs to several lines."""
SHADE = 0.6
"""Of the colour of a line, for the theory beside it."""
INK, FAINT = "#1a1a1a", "#5c5c5c"
"""Of titles, and of notes and keys."""
GOOD = "cividis_r"
"""The colour map of a search's trials, which is even for people without green cones."""


def luminance(colour: str) -> float:
    """The relative luminance of a colour such as #0072B2, from 0 to 1 (WCAG 2)."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(colour: str) -> float:
    """The contrast of a colour with white paper, from 1 to 21 (WCAG 2)."""
    return 1.05 / (luminance(colour) + 0.05)


def darker(colour: str) -> str:
    """The shade of theory beside a line of some colour, which is seen on that line too."""
    return "#" + "".join(f"{int(int(colour[i : i + 2], 16) * SHADE):02X}" for i in (1, 3, 5))
