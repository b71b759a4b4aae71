"""Regions above a panel: where the settings underfit, fit well and overfit, and the gap between two lines."""

import itertools

import pytest
from matplotlib.text import Annotation

from lightning_d2l.studies.diagnosis import Diagnosis
from lightning_d2l.studies.points import Point
from lightning_d2l.studies.regions import regions
from tests.studies.test_figure import drawn

UNDER, WELL, OVER = "underfitting", "well fitted", "overfitting"


def named(*diagnoses):
    names = [name.split("/") for name in diagnoses]
    points = [Point({"x": i}, diagnosis=Diagnosis(name, *rest)) for i, (name, *rest) in enumerate(names)]
    return [(name, [point.setting["x"] for point in found]) for name, found in regions(points)]


def test_neighbours_of_the_same_diagnosis_are_a_region_and_a_single_doubtful_one_belongs_to_its_neighbour():
    assert named(UNDER, UNDER, WELL, OVER, OVER) == [(UNDER, [0, 1]), (WELL, [2]), (OVER, [3, 4])]
    assert named(UNDER, WELL, f"{UNDER}/{WELL}", f"{OVER}/{WELL}", OVER) == [
        (UNDER, [0]),
        (WELL, [1, 2]),
        (OVER, [3, 4]),
    ]
    assert named(UNDER, WELL, UNDER, OVER) == []  # a diagnosis that comes twice marks no region
    assert named(UNDER, OVER) == []
    assert regions([Point({"x": i}) for i in range(4)]) == []


def losses(degree, seed):
    train, test = (9.0, 9.5) if degree < 2 else (0.01, 0.0101) if degree < 4 else (0.0099, 10.0 ** (degree - 4))
    return {"loss/train": train + seed / 1e6, "loss/val": test + seed / 1e6, "loss/test": test + seed / 1e6}


def test_the_words_stand_in_their_order_above_the_panel_and_the_arrow_spans_the_gap(tmp_path):
    study = {"metrics": ["loss/train", "loss/test"]}
    figure, _ = drawn(tmp_path, {"data.degree": range(10), "seed": range(4)}, losses, **study)
    panel = figure.axes[0]
    words = {text.get_text(): text.get_window_extent() for text in panel.texts if text.get_text()}
    assert [name for name in words if name in (UNDER, WELL, OVER)] == [UNDER, WELL, OVER]
    boxes = [words[name] for name in (UNDER, WELL, OVER)]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert all(box.y0 > panel.bbox.y1 for box in boxes)
    (arrow,) = (each for each in panel.texts if isinstance(each, Annotation) and each.arrow_patch)
    degree = arrow.xy[0]
    ends = losses(degree, 1.5 if degree else 0)
    assert (arrow.xy[1], arrow.xyann[1]) == (pytest.approx(ends["loss/train"]), pytest.approx(ends["loss/test"]))
    gap = words["generalisation\ngap"]
    for line in panel.lines:
        places = panel.transData.transform(line.get_xydata())
        assert not any(gap.contains(*place) for place in places)


def test_a_panel_of_few_settings_beside_others_has_no_regions(tmp_path):
    study = {"metrics": ["loss/train", "loss/test"], "curves": ["optimizer"], "panels": "curve"}
    axes = {"optimizer": ["sgd", "exact"], "data.degree": range(10), "seed": range(4)}
    few = lambda o, d, s: {} if o == "exact" and d > 1 else losses(d, s)  # noqa: E731
    figure, _ = drawn(tmp_path, axes, few, **study)
    words = [[t.get_text() for t in panel.texts if t.get_text() in (UNDER, WELL, OVER)] for panel in figure.axes[:2]]
    assert sorted(map(len, words)) == [0, 3]


def test_without_training_data_or_with_names_along_x_nothing_is_marked(tmp_path):
    few = {"metrics": ["loss/val", "loss/test"]}
    for i, (axes, study) in enumerate([({"data.degree": range(10)}, few), ({"model.activation": list("abcd")}, {})]):
        figure, _ = drawn(
            tmp_path / str(i), axes, lambda d: losses(d, 0) if isinstance(d, int) else losses(ord(d) - 97, 0), **study
        )
        assert not [text for text in figure.axes[0].texts if text.get_text() in (UNDER, WELL, OVER)]
