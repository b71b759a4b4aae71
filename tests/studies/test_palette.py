"""The colours of pictures survive colour blindness and grey print."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lightning_d2l.studies.names import readable
from lightning_d2l.studies.palette import COLOURS, DARK, DASHES, FAINT, MARKERS, contrast, darker

# Machado, Oliveira and Fernandes, IEEE TVCG 15 (2009): vision without green, or red, cones, in linear RGB.
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def linear(colour):
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIELAB of linear RGB under D65."""
    t = np.array(XYZ) @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    x, y, z = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["all cones", "no green", "no red"])
def test_any_two_colours_differ_visibly(seen):
    for one, other in itertools.combinations(COLOURS, 2):
        distance = np.linalg.norm(lab(np.array(seen) @ linear(one)) - lab(np.array(seen) @ linear(other)))
        assert distance > 12, (one, other)  # 2.3 is just noticeable


def test_neighbours_differ_in_grey_print_and_all_in_marker():
    assert len(set(MARKERS)) == len(COLOURS)
    grey = [lab(linear(colour))[0] for colour in COLOURS]
    assert all(abs(a - b) > 12 for a, b in itertools.pairwise(grey))


def test_lines_are_seen_and_text_is_read_on_white_paper():
    assert all(contrast(colour) >= 3 for colour in COLOURS)  # WCAG 2.1, 1.4.11
    assert all(contrast(readable(colour)) >= 4.5 for colour in (*COLOURS, *DARK))  # 1.4.3
    assert contrast(FAINT) >= 4.5
    assert contrast("#ffffff") == pytest.approx(1)
    assert contrast("#000000") == pytest.approx(21)


def test_theory_is_seen_on_the_line_that_it_belongs_to():
    for colour in COLOURS:
        lightness = [lab(linear(each))[0] for each in (colour, darker(colour))]
        assert lightness[0] - lightness[1] > 12 or colour == "#000000"


def test_theories_have_different_dashes():
    assert len(set(DASHES)) == len(DASHES) == 6
