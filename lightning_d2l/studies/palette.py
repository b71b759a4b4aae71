"""Colours, markers and dashes of the pictures of studies.

Any two colours differ for a person without green cones, neighbours also in grey print; each has a contrast of 3 to 1
with white paper (tests/studies/test_palette.py). Measured lines are solid with a marker, theory is dashed without.
"""

from __future__ import annotations

from typing import Any

COLOURS = ("#0072B2", "#CC8400", "#D0420F", "#B75F96", "#00855F", "#2B9BD6", "#000000", "#767676")
"""The hues of Okabe and Ito (2008), the pale ones darker; without yellow."""
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
INK, FAINT = "#1a1a1a", "#5c5c5c"
"""Of titles, and of notes and keys."""
GOOD, POOR = "cividis_r", "#bbbbbb"
"""The colour map of a search's trials, which is even for people without green cones, and trials of little interest."""
