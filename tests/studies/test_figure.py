import pytest
from matplotlib.colors import to_rgb

from lightning_d2l.studies.collect import collect
from lightning_d2l.studies.figure import COLOURS, LINES, MARKERS, draw
from lightning_d2l.studies.labels import words
from lightning_d2l.studies.points import points_of
from lightning_d2l.studies.study import study_of
from tests.studies.records import write_sweep


def drawn(folder, axes, metrics, **study):
    sweeps = collect([write_sweep(folder, axes, metrics, study=study)])
    study, runs = study_of(sweeps), sweeps[0].runs
    return draw(study, points_of(study, runs), runs)


def splits(value):
    return {"loss/train": value * 0.9, "loss/val": value, "loss/test": value * 1.1}


def test_train_and_test_share_a_panel_for_each_of_few_curves(tmp_path):
    axes = {"data.degree": [1, 2, 3], "optimizer": ["sgd", "exact"], "seed": range(3)}
    figure, caption = drawn(tmp_path, axes, lambda d, o, s: splits(1 / d + 0.01 * s), theory="noise_floor")
    assert [panel.get_title() for panel in figure.axes] == ["sgd", "exact"]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["noise floor"].get_linestyle() == "--"
    assert set(lines["noise floor"].get_ydata()) == {0.1**2}
    assert list(lines["validation"].get_ydata()) == pytest.approx([1.01, 0.51, 1 / 3 + 0.01])
    few = "So few have no band: their intervals are in summary.csv."
    assert caption == f"Lines: mean over 3 seeds (n = 3). {few} Small dots: single runs. Dashed: theory."
    assert not any(path.vertices.size for each in figure.axes[0].collections for path in each.get_paths())
    dots = [line for line in figure.axes[0].lines if line.get_markersize() < 3]
    assert [len(line.get_xdata()) for line in dots] == [9, 9, 9]


def test_from_four_seeds_on_there_is_a_band_and_what_it_assumes(tmp_path):
    axes = {"data.degree": [1, 2, 3], "seed": range(4)}
    figure, caption = drawn(tmp_path, axes, lambda d, s: {"loss/val": 1 / d + 0.01 * s})
    assert caption == (
        "Lines: mean over 4 seeds (n = 4). Bands: its 95 % interval (Student t of logs, if symmetric; "
        "given one data set). Small dots: single runs."
    )
    assert any(path.vertices.size for each in figure.axes[0].collections for path in each.get_paths())


def test_where_the_mean_says_little_medians_are_drawn_at_all_points_with_their_quartiles(tmp_path):
    losses = {1: [1.0, 1.01, 1.02, 1.01, 1.0], 2: [0.1, 0.2, 0.3, 9.0, 0.4], 3: [2.0, 2.1, 2.0, 2.2, 2.1]}
    axes = {"data.degree": losses, "seed": range(5)}
    figure, caption = drawn(tmp_path, axes, lambda d, s: {"loss/val": losses[d][s]})
    panel = figure.axes[0]
    assert list(panel.lines[0].get_ydata()) == [1.01, 0.3, 2.1]
    assert caption.startswith("Lines: median over 5 seeds (n = 5). Bands: its 95 % interval")
    assert "Pale bands: quartiles." in caption
    _, quartiles = (band.get_paths()[0].vertices for band in panel.collections)
    assert {0.2, 0.4} <= {y for x, y in quartiles if x == 2}


def test_an_estimate_that_is_not_positive_is_no_cliff_on_a_logarithmic_axis(tmp_path):
    axes = {"data.degree": [1, 2, 3, 4], "seed": range(4)}
    values = {1: 1.0, 2: -0.001, 3: 0.01, 4: 0.1}
    figure, _ = drawn(tmp_path, axes, lambda d, s: {"loss/val": values[d] * (1 + 0.01 * s)}, scale={"y": "log"})
    y = figure.axes[0].lines[0].get_ydata()
    assert [not value > 0 for value in y] == [False, True, False, False]


def test_folds_of_one_data_set_have_no_interval_and_a_figure(tmp_path):
    _, caption = drawn(tmp_path, {"data.degree": [1, 2], "data.fold": range(5)}, lambda d, f: splits(d + 0.01 * f))
    assert caption == "Lines: mean over 5 folds (n = 5). Small dots: single runs."


def test_every_metric_has_a_panel_for_more_curves_and_the_best_of_too_many(tmp_path):
    axes = {"optimizer.lr": [0.001, 0.01, 0.1], "data.batch_size": [1, 2, 4, 8]}
    figure, _ = drawn(tmp_path / "four", axes, lambda lr, b: splits(lr + b), x="optimizer.lr")
    assert [panel.get_ylabel() for panel in figure.axes] == [
        f"mean squared error, {split}" for split in ("training", "validation", "test")
    ]
    assert {panel.get_xscale() for panel in figure.axes} == {"log"}
    axes = {"optimizer.lr": [0.001, 0.01, 0.1], "data.batch_size": range(1, 10)}
    figure, caption = drawn(tmp_path / "nine", axes, lambda lr, b: splits(lr + (b - 5) ** 2), x="optimizer.lr")
    (panel,) = figure.axes
    lines = {line.get_label(): line for line in panel.lines}
    assert list(lines["validation"].get_ydata()) == pytest.approx([0.001, 0.01, 0.1])
    assert "the setting of data.batch_size with the lowest loss/val" in caption


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("penalty", "{l1:1}", "L1"),
        ("penalty", "{l1:1, l2: 0.5}", "L1 + 0.5 L2"),
        ("penalty", "{l1:0,l2:0}", "no penalty"),
        ("penalty", "{l1:1,lambda:2}", "l1 = 1, lambda = 2"),
        ("model.init", "{name:normal,std:0.1}", "name = normal, std = 0.1"),
        ("model.num_hiddens", [64, 32], "[64,32]"),
        ("optimizer", "sgd", "sgd"),
    ],
)
def test_groups_of_settings_are_said_in_words(key, value, said):
    assert words(key, value) == said


def test_the_legend_and_the_axis_have_the_words(tmp_path):
    axes = {"data.degree": [1, 2, 3], "penalty": ["{l1:1}", "{l2:1}"]}
    figure, _ = drawn(tmp_path / "legend", axes, lambda d, p: {"loss/test": 1 / d})
    assert [line.get_label() for line in figure.axes[0].lines] == ["L1", "L2"]
    figure, _ = drawn(tmp_path / "axis", {"penalty": ["{l1:1}", "{l2:1}"]}, lambda p: {"loss/test": 1.0})
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["L1", "L2"]


def test_names_on_the_x_axis_are_not_joined_by_lines(tmp_path):
    axes = {"optimizer": ["sgd", "adam"], "seed": range(3)}
    figure, caption = drawn(tmp_path, axes, lambda o, s: splits(len(o) + s))
    (panel,) = figure.axes
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["sgd", "adam"]
    assert all(line.get_linestyle() == "None" for line in panel.lines)
    assert caption.startswith("Large markers")


def test_where_most_runs_diverged_there_is_a_cross_and_no_mean(tmp_path):
    axes = {"optimizer.lr": [1, 2, 3], "seed": range(3)}
    figure, caption = drawn(tmp_path, axes, lambda lr, s: None if lr == 3 else splits(lr + s))
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines["diverged"].get_xdata()) == [3]
    assert list(lines["validation"].get_xdata()) == [1, 2]
    assert "Crosses: diverged." in caption


def test_curves_differ_in_marker_and_neighbours_in_line_and_lightness():
    assert len(set(MARKERS)) == len(COLOURS)
    assert "--" not in LINES  # the theory's
    grey = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in map(to_rgb, COLOURS)]
    for number in range(len(COLOURS) - 1):
        assert abs(grey[number] - grey[number + 1]) > 0.05
        assert LINES[number % len(LINES)] != LINES[(number + 1) % len(LINES)]
