"""Fitted functions side by side: which settings are shown, and the parts of their error along x."""

import numpy as np
import pytest
from matplotlib.text import Text

from lightning_d2l.studies.beside import beside
from lightning_d2l.studies.collect import collect
from lightning_d2l.studies.findings import find
from lightning_d2l.studies.interactive_fits import Fit, Fitted
from lightning_d2l.studies.points import points_of
from lightning_d2l.studies.report import write
from lightning_d2l.studies.sides import MANY, draw
from lightning_d2l.studies.study import study_of
from tests.studies.records import write_sweep

NOISE = 0.1**2


def studied(folder, axes, losses, **study):
    """A study in which the training loss and the others are `losses(...)`."""

    def measure(*values):
        found = losses(*values)
        return found and dict(zip(("loss/train", "loss/val", "loss/test"), (found[0], found[1], found[1]), strict=True))

    sweeps = collect([write_sweep(folder, axes, measure, study=study)])
    found = study_of(sweeps)
    return found, points_of(found, sweeps[0].runs)


def shown(study, points, having=None):
    having = [p for p in points if not p.diverged] if having is None else having
    rows = beside(study, points, {id(point) for point in having})
    return [[point.setting[study.x] for point in row.points] for row in rows]


def fits_of(points, outputs, grid, truth=()):
    """The same functions (runs, n) for each point, over two samples."""
    return Fitted(
        grid, truth, [Fit(point, ["a"], outputs[:1], [0.0, 1.0], [0.0, 1.0], True, outputs[1:]) for point in points]
    )


def by_degree(degree, seed):
    """Underfitting up to degree 2, the noise at 3, and overfitting from 4 on."""
    small = seed / 1e4
    return (8.0 - degree, 9.0 - degree) if degree < 3 else (NOISE - small, NOISE + small + 0.5 * (degree - 3))


def test_the_best_setting_stands_between_one_that_underfits_and_one_that_overfits(tmp_path):
    study, points = studied(tmp_path / "a", {"data.degree": range(7), "seed": range(4)}, by_degree)
    assert shown(study, points) == [[1, 3, 6]]
    assert shown(study, points, points[:4]) == [[0, 1, 3]]  # the best is the last
    assert shown(study, points, points[3:]) == [[3, 4, 6]]
    assert shown(study, points, points[2:4]) == [[2, 3]]
    assert shown(study, points, []) == []
    lost, points = studied(
        tmp_path / "b", {"optimizer.lr": [0.1, 0.2, 0.4, 0.8, 9.0]}, lambda lr: None if lr > 1 else (lr, lr)
    )
    assert shown(lost, points) == [[0.1, 0.2, 0.8]]  # a run that diverged has no weights


def test_curves_have_a_row_each_and_of_names_the_best_and_the_worst_are_shown(tmp_path):
    axes = {"data.degree": range(7), "optimizer": ["sgd", "exact", "adam", "adamw"], "seed": [0, 1]}
    study, points = studied(
        tmp_path / "a", axes, lambda d, o, s: by_degree(d, s) if o != "adam" else (9.0 + d, 9.0 + d), x="data.degree"
    )
    assert shown(study, points) == [[1, 3, 6]] * 3
    assert "adam" not in {row.setting["optimizer"] for row in beside(study, points, set(map(id, points)))}
    names = {"model.activation": ["relu", "tanh", "sigmoid", "identity", "gelu"], "seed": [0, 1]}
    study, points = studied(tmp_path / "b", names, lambda a, s: (len(a), len(a)))
    assert [len(row) for row in shown(study, points)] == [3]
    assert {"relu", "identity"} < {*shown(study, points)[0]} or {"tanh", "identity"} < {*shown(study, points)[0]}


def test_below_many_fits_are_the_parts_of_their_error_at_each_x(tmp_path):
    study, points = studied(tmp_path, {"data.degree": [1, 2], "seed": range(4)}, lambda d, s: (d + s / 9, d + s / 9))
    random, grid = np.random.default_rng(0), np.linspace(-1, 1, 21)
    truth = np.sin(3 * grid)
    outputs = truth + 2 + random.normal(size=(MANY, 21)) * (1 + grid**2)
    figure, caption = draw(study, points, fits_of(points, outputs.tolist(), grid.tolist(), truth.tolist()))
    upper, lower = figure.axes[:2]
    bias, variance, whole, noise = (line.get_ydata() for line in lower.lines)
    np.testing.assert_allclose(variance, outputs.var(axis=0, ddof=1))
    np.testing.assert_allclose(bias + variance, np.mean((outputs - truth) ** 2, axis=0))
    np.testing.assert_allclose(whole, bias + variance + NOISE)
    assert set(noise) == {NOISE}
    assert any(
        np.allclose(line.get_ydata(), outputs.mean(axis=0)) for line in upper.lines if len(line.get_xdata()) == 21
    )
    assert caption.startswith(f"Thin: {MANY} fits, each to its own data. Thick: their mean.")


@pytest.mark.parametrize(("several", "truth"), [(1, True), (2, False), (MANY, True)])
def test_nothing_in_the_figure_hides_anything_else_and_wild_fits_leave_the_axis_alone(tmp_path, several, truth):
    axes = {"data.degree": range(7), "optimizer": ["sgd", "exact"], "seed": range(4)}
    study, points = studied(tmp_path, axes, lambda d, o, s: by_degree(d, s), x="data.degree")
    grid = np.linspace(-3, 3, 51)
    outputs = [[1e12 * x if r % 2 else float("nan") if x > 2 else x for x in grid] for r in range(several)]
    figure, _ = draw(study, points, fits_of(points, outputs, grid.tolist(), grid.tolist() if truth else ()))
    figure.draw_without_rendering()
    ends = (-3, 3) if truth else (0, 1)
    for panel in figure.axes:
        if panel.get_yscale() == "linear":
            low, high = panel.get_ylim()
            assert (low < ends[0], high > ends[1]) == (True, True)
            assert high - low < 1.5 * (ends[1] - ends[0])
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    axes_of = [axis for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)]
    ticks = {id(each) for axis in axes_of for tick in axis.get_major_ticks() for each in (tick.label1, tick.label2)}
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if id(text) not in ticks]
    for i, (name, box) in enumerate(boxes):
        assert min(box.x0, box.y0, figure.bbox.x1 - box.x1, figure.bbox.y1 - box.y1) >= 0, name
        for other, second in boxes[:i]:
            assert not box.overlaps(second), (name, other)


def test_a_report_has_the_figure_and_without_fits_an_earlier_one_is_removed(tmp_path):
    write_sweep(tmp_path, {"data.degree": range(7)}, lambda d: {"loss/val": by_degree(d, 0)[1]})
    findings = find([tmp_path])
    made = write(findings, tmp_path, interactive=False, fitted=lambda found: fits_of(found.points, [[0, 1]], [0, 1]))
    assert made.paths["fits"].read_bytes().startswith(b"\x89PNG")
    assert 'src="data:image/png;base64,' in made.paths["html"].read_text()
    assert "(fits.png)" in made.paths["markdown"].read_text()
    events = b"".join(path.read_bytes() for path in made.paths["tensorboard"].iterdir() if path.is_file())
    assert all(made.paths[name].read_bytes() in events for name in ("png", "fits"))
    broken = write(findings, tmp_path, interactive=False, fitted=lambda found: fits_of(found.points, [[0]], [0, 1]))
    assert "fits" not in broken.paths
    assert not (tmp_path / "fits.png").exists()
    assert findings.failures[0].startswith("There is no figure of the fitted functions: ValueError")


def test_folds_of_few_data_sets_are_no_sample_of_many(tmp_path):
    axes = {"data.degree": [1, 3, 6], "data.seed": range(6), "data.fold": range(5)}
    study, points = studied(tmp_path, axes, lambda d, s, f: by_degree(d, s))
    outputs = [[0.0, 1.0 + r / 99] for r in range(MANY)]
    figure, caption = draw(study, points, fits_of(points, outputs, [0.0, 1.0], [0.0, 1.0]))
    assert len(figure.axes) == 3  # none with bias and variance
    assert caption.startswith("Thick: the fit to the training data that are shown. Thin: 29 more fits")
