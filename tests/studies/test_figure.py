"""Pictures of studies: what they draw and say, and that nothing in them hides anything else."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from lightning_d2l.config import registry
from lightning_d2l.config.check import RequestError
from lightning_d2l.studies.collect import collect
from lightning_d2l.studies.figure import draw, draw_picture
from lightning_d2l.studies.frame import lines_of, width_of
from lightning_d2l.studies.labels import axis_of, distinct, words
from lightning_d2l.studies.names import spread
from lightning_d2l.studies.picture import picture_of
from lightning_d2l.studies.points import points_of
from lightning_d2l.studies.study import study_of
from lightning_d2l.theory.curves import Curve
from tests.studies.records import write_sweep


def drawn(folder, axes, measure, **study):
    sweeps = collect([write_sweep(folder, axes, measure, study=study)])
    study, runs = study_of(sweeps), sweeps[0].runs
    figure, caption = draw(study, points_of(study, runs), runs)
    figure.draw_without_rendering()
    return figure, caption


def splits(value):
    return {"loss/train": value * 0.9, "loss/val": value, "loss/test": value * 1.1}


def by_label(panel):
    return {line.get_label(): line for line in panel.lines}


def boxes_of(figure):
    """The boxes of all texts that are drawn, by their text: first those of the ticks, then the others."""
    ticks = [
        (tick, axis.get_view_interval())
        for panel in figure.axes
        for axis in (panel.xaxis, panel.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
    ]
    shown = [tick.label1 for tick, (low, high) in ticks if min(low, high) <= tick.get_loc() <= max(low, high)]
    on_ticks = {id(label) for tick, _ in ticks for label in (tick.label1, tick.label2)}
    others = [text for text in figure.findobj(Text) if id(text) not in on_ticks and text.get_visible()]
    return [[(t.get_text(), t.get_window_extent()) for t in found if t.get_text().strip()] for found in (shown, others)]


def test_train_and_test_share_a_panel_for_each_of_few_curves(tmp_path):
    axes = {"data.degree": [1, 2, 3], "optimizer": ["sgd", "exact"], "seed": range(3)}
    figure, caption = drawn(tmp_path, axes, lambda d, o, s: splits(1 / d + 0.01 * s), theory="noise_floor")
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["SGD", "solved exactly"]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    lines = by_label(figure.axes[0])
    assert set(lines["noise floor"].get_ydata()) == {0.1**2}
    assert not lines["noise floor"].get_marker().strip("None")
    assert lines["noise floor"].get_linestyle() == "--"
    assert lines["validation"].get_linestyle() == "-"
    assert list(lines["validation"].get_ydata()) == pytest.approx([1.01, 0.51, 1 / 3 + 0.01])
    few = "So few have no band: their intervals are in summary.csv."
    assert caption == f"Lines: mean over 3 seeds (n = 3). {few} Small dots: single runs. Dashed: theory."
    assert not any(path.vertices.size for each in figure.axes[0].collections for path in each.get_paths())
    dots = [line for line in figure.axes[0].lines if line.get_markersize() < 4]
    assert [len(line.get_xdata()) for line in dots] == [9, 9, 9]


def test_from_four_seeds_on_there_is_a_band_and_what_it_assumes(tmp_path):
    axes = {"data.degree": [1, 2, 3], "seed": range(4)}
    figure, caption = drawn(tmp_path, axes, lambda d, s: {"loss/val": 1 / d + 0.01 * s})
    assert caption == (
        "Lines: mean over 4 seeds (n = 4). Bands: 95 % confidence intervals, given one data set. "
        "Small dots: single runs. Intervals: Student t of logs, if symmetric."
    )
    assert any(path.vertices.size for each in figure.axes[0].collections for path in each.get_paths())


def test_question_words_key_and_caption_are_in_the_picture(tmp_path):
    axes = {"model.num_hiddens": [1, 2, 4, 8, 16], "seed": range(4)}
    figure, caption = drawn(tmp_path, axes, lambda h, s: {"loss/val": 1 / h + 0.01 * s})
    assert (
        " ".join(figure.get_suptitle().split()) == "How does the validation loss depend on the number of hidden units?"
    )
    said = [" ".join(text.split()) for text, _ in boxes_of(figure)[1]]
    note, _, methods = caption.partition(" Intervals: ")
    assert note in said
    assert methods
    (panel,) = figure.axes
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("number of hidden units", "mean squared error, validation")
    keys = [text for text in panel.texts if text.get_text() == "model.num_hiddens"]
    assert keys[0].get_fontsize() < panel.xaxis.label.get_fontsize()
    assert keys[0].get_window_extent().y1 <= panel.xaxis.label.get_window_extent().y0 + 1
    figure, _ = drawn(tmp_path / "asked", axes, lambda h, s: {"loss/val": 1.0}, question="How wide must it be?")
    assert figure.get_suptitle() == "How wide must it be?"


LONG = "an optimizer with a very long name"


@pytest.mark.parametrize(
    ("axes", "study"),
    [
        ({"data.degree": [1, 2, 3], "seed": range(4)}, {}),
        (
            {"data.degree": range(6), "data.batch_size": [1, 2, 4, 8, 16, 32], "seed": range(2)},
            {"theory": "noise_floor"},
        ),
        ({"data.degree": [1, 2, 3], "optimizer": ["sgd", "exact", LONG], "seed": range(4)}, {"theory": "noise_floor"}),
        ({"optimizer": [LONG, f"{LONG} 2", "sgd", "$x$", "_a"], "seed": range(4)}, {"question": "Which? " * 40}),
    ],
)
def test_no_text_is_cut_and_the_legend_lies_on_no_panel(tmp_path, axes, study):
    def measured(d, *rest):
        return splits(1 + 10 / (1 + (d if isinstance(d, int) else 1)) + rest[-1])

    figure, _ = drawn(tmp_path, axes, measured, **study)
    whole, (on_ticks, texts) = figure.bbox, boxes_of(figure)
    for text, box in (*on_ticks, *texts):
        assert min(box.x0, box.y0, whole.x1 - box.x1, whole.y1 - box.y1) >= -1, text
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert not any(box.overlaps(panel.get_tightbbox()) for panel in figure.axes)
        assert box.y1 <= next(each.y0 for text, each in texts if text == figure.get_suptitle())
        assert min(box.x0, whole.x1 - box.x1) >= -1
    for (one, box), (other, there) in itertools.combinations(texts, 2):
        assert not box.overlaps(there), (one, other)


def test_lines_of_text_break_at_blanks_or_between_chinese_characters():
    assert lines_of("one two three", 72, 5.0).split("\n") == ["one two", "three"]
    assert lines_of("次数如何影响误差。", 72, 4.0).split("\n") == ["次数如何", "影响误", "差。"]
    alone = "one two three four five six"
    assert lines_of(alone, 72, 0.97 * width_of(alone, 72)).split("\n") == [
        "one two three",
        "four five six",
    ]  # not "six" alone
    assert lines_of("95 % of 95 % of all", 72, 3.0).split("\n")[0] == "95\N{NO-BREAK SPACE}%"
    assert lines_of("x" * 30, 72, 5.0, most=9).replace("\n", "") == "x" * 30
    assert lines_of("a b c d", 72, 1.0, most=2).endswith("...")
    assert lines_of("one two three four five", 72, 0.8 * width_of("one two three four five", 72), most=2)[-3:] != "..."


def test_a_line_of_text_is_as_wide_as_it_is_drawn():
    text = "How does the validation loss depend on m, W and l? 95 %"
    figure = Figure(dpi=100)
    extent = figure.text(0, 0, text, fontsize=13, family="DejaVu Sans").get_window_extent()
    assert width_of(text, 13) == pytest.approx(extent.width / 100, rel=0.03)


def test_panels_wrap_at_three_in_a_row(tmp_path):
    metrics = [f"{base}/{split}" for base in ("loss", "acc") for split in ("train", "val", "test")]
    axes = {"data.degree": range(6), "data.batch_size": [1, 2, 4, 8]}
    figure, _ = drawn(tmp_path, axes, lambda d, b: dict.fromkeys(metrics, 1 / (d + b)))
    assert len(figure.axes) == 6
    tops = sorted({round(panel.get_position().y1, 2) for panel in figure.axes})
    assert len(tops) == 2
    assert figure.get_size_inches()[0] < 13
    assert [bool(panel.get_xlabel()) for panel in figure.axes] == [False] * 3 + [True] * 3


def test_a_panel_has_its_own_range_where_another_would_hide_it(tmp_path):
    axes = {"data.degree": [1, 2, 3, 4], "optimizer": ["sgd", "exact"]}

    def measured(factor):
        return lambda d, o: {"loss/train": 1 / d, "loss/test": (factor if o == "exact" else 2) ** d / d}

    figure, _ = drawn(tmp_path / "apart", axes, measured(1000), scale={"y": "log"})
    sgd, exact = (panel.get_ylim() for panel in figure.axes)
    assert sgd[1] < 10
    assert exact[1] > 1e11
    figure, _ = drawn(tmp_path / "alike", axes, measured(4), scale={"y": "log"})
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_one_outlier_rules_neither_the_line_nor_the_axis(tmp_path):
    axes = {"data.degree": [1, 2, 3, 4], "seed": range(6)}

    def measured(d, s):
        return {"loss/val": 1e6 if (d, s) == (2, 3) else 1 / d + 0.02 * s}

    figure, caption = drawn(tmp_path, axes, measured)
    (panel,) = figure.axes
    assert max(panel.lines[0].get_ydata()) < 2
    assert panel.get_ylim()[1] < 5
    triangles = [line for line in panel.lines if line.get_marker() == "^"]
    assert [list(line.get_xdata()) for line in triangles] == [[2]]
    assert "Triangles at the edge: runs beyond the axis." in caption


@pytest.mark.parametrize("seeds", [3, 6])
def test_one_outlier_of_all_splits_rules_no_axis(tmp_path, seeds):
    axes = {"data.degree": range(1, 8), "seed": range(seeds)}
    figure, caption = drawn(tmp_path, axes, lambda d, s: splits(1e9 if (d, s) == (3, 2) else 1 / d + 0.01 * s))
    (panel,) = figure.axes
    top = panel.get_ylim()[1]
    assert top < 3
    assert all(path.vertices[:, 1].max() < top for each in panel.collections for path in each.get_paths())
    assert ("Arrows up: intervals that end beyond the axis." in caption) == (seeds == 6)


def test_panels_of_a_metric_have_one_scale(tmp_path):
    axes = {"data.degree": range(1, 6), "optimizer.lr": [0.01, 0.1], "seed": range(4)}
    figure, _ = drawn(tmp_path, axes, lambda d, lr, s: splits((d if lr == 0.1 else 10.0**-d) + 0.01 * s * 10.0**-d))
    assert [panel.get_yscale() for panel in figure.axes] == ["log", "log"]


def test_long_names_keep_what_tells_them_apart(tmp_path):
    names = [f"a_very_long_name_of_a_custom_model_number_{i}_with_a_suffix" for i in range(4)]
    assert distinct([*names, "short"])[1:] == [*(f"...er_{i}_with_a_suffix" for i in (1, 2, 3)), "short"]
    axes = {"data.degree": [1, 2, 3], "model": names, "seed": range(2)}
    figure, _ = drawn(tmp_path, axes, lambda d, m, s: {"loss/test": 1 / d + names.index(m)}, x="data.degree")
    (panel,) = figure.axes
    assert len({text.get_text() for text in panel.texts if "suffix" in text.get_text()}) == 4


def test_bands_on_a_logarithmic_axis_are_multiplicative_and_end_inside(tmp_path):
    axes = {"data.degree": [1, 2, 3, 4], "seed": range(8)}
    factor = np.random.default_rng(0).lognormal(0, 0.05, 8)
    figure, _ = drawn(tmp_path, axes, lambda d, s: {"loss/val": 100.0**-d * factor[s]}, scale={"y": "log"})
    (panel,) = figure.axes
    vertices = panel.collections[0].get_paths()[0].vertices
    low, high = panel.get_ylim()
    assert low < vertices[:, 1].min()
    assert vertices[:, 1].max() < high
    for d, mean in zip(panel.lines[0].get_xdata(), panel.lines[0].get_ydata(), strict=True):
        ends = sorted({y for x, y in vertices if x == d})
        assert ends[-1] / mean == pytest.approx(mean / ends[0])


def test_a_large_number_that_hardly_changes_does_not_fill_the_axis(tmp_path):
    axes = {"data.degree": [1, 2, 3], "seed": range(2)}
    figure, _ = drawn(tmp_path / "norm", axes, lambda d, s: {"norm/weights": 14.2 + 0.25 * d}, metrics=["norm/weights"])
    low, high = figure.axes[0].get_ylim()
    assert high - low > 3 * 0.5
    figure, _ = drawn(tmp_path / "loss", axes, lambda d, s: {"norm/weights": 0.2 * d**2}, metrics=["norm/weights"])
    assert figure.axes[0].get_ylim()[0] == 0


def test_where_the_mean_says_little_medians_are_drawn_at_all_points_with_their_quartiles(tmp_path):
    losses = {1: [1.0, 1.01, 1.02, 1.01, 1.0], 2: [0.1, 0.2, 0.3, 9.0, 0.4], 3: [2.0, 2.1, 2.0, 2.2, 2.1]}
    axes = {"data.degree": losses, "seed": range(5)}
    figure, caption = drawn(tmp_path, axes, lambda d, s: {"loss/val": losses[d][s]})
    panel = figure.axes[0]
    assert list(panel.lines[0].get_ydata()) == [1.01, 0.3, 2.1]
    assert caption.startswith("Lines: median over 5 seeds (n = 5). Bands: 95 % confidence intervals")
    assert "Thick bars: quartiles." in caption
    band, bars = panel.collections
    assert [path.vertices.tolist() for path in bars.get_paths()][1] == [[2, 0.2], [2, 0.4]]
    assert not {0.2, 0.4} & {y for path in band.get_paths() for _, y in path.vertices}


def test_an_estimate_that_is_not_positive_is_no_cliff_on_a_logarithmic_axis(tmp_path):
    axes = {"data.degree": [1, 2, 3, 4], "seed": range(4)}
    values = {1: 1.0, 2: -0.001, 3: 0.01, 4: 0.1}

    def measured(d, s):
        return {"loss/val": values[d] + (0.01 * (s - 1.5) if d == 2 else 0.001 * s)}

    figure, caption = drawn(tmp_path, axes, measured, scale={"y": "log"}, metrics=["loss/val"])
    (panel,) = figure.axes
    assert [not value > 0 for value in panel.lines[0].get_ydata()] == [False, True, False, False]
    bands = [path.vertices for path in panel.collections[0].get_paths() if path.vertices.size]
    assert not any((band[:, 0] == 2).any() for band in bands)
    assert "Arrows down: intervals that reach 0 or below." in caption


def test_folds_of_one_data_set_have_no_interval_and_a_figure(tmp_path):
    _, caption = drawn(tmp_path, {"data.degree": [1, 2], "data.fold": range(5)}, lambda d, f: splits(d + 0.01 * f))
    assert caption == "Lines: mean over 5 folds (n = 5). Small dots: single runs."


def test_every_metric_has_a_panel_for_more_curves_and_the_best_of_too_many(tmp_path):
    axes = {"optimizer.lr": [0.001, 0.01, 0.1], "data.batch_size": [1, 2, 4, 8]}
    figure, _ = drawn(tmp_path / "four", axes, lambda lr, b: splits(lr + b), x="optimizer.lr")
    assert [panel.get_ylabel().replace("\n", " ") for panel in figure.axes] == [
        f"mean squared error, {split}" for split in ("training", "validation", "test")
    ]
    assert {panel.get_xscale() for panel in figure.axes} == {"log"}
    axes = {"optimizer.lr": [0.001, 0.01, 0.1], "data.batch_size": range(1, 10)}
    figure, caption = drawn(tmp_path / "nine", axes, lambda lr, b: splits(lr + (b - 5) ** 2), x="optimizer.lr")
    (panel,) = figure.axes
    assert list(by_label(panel)["validation"].get_ydata()) == pytest.approx([0.001, 0.01, 0.1])
    assert caption.startswith("At each learning rate the batch size with the lowest validation loss. One run")


def test_a_key_of_the_curves_may_have_a_panel_for_each_value(tmp_path):
    axes = {"data.degree": [1, 2, 3], "model.activation": ["relu", "tanh"], "model.init": ["kaiming", "normal"]}
    study = {"x": "data.degree", "panels": "model.activation", "metrics": ["loss/train", "loss/val"]}
    figure, _ = drawn(tmp_path / "there", axes, lambda d, a, i: splits(1 / d), **study)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["ReLU", "tanh"] * 2
    assert [*by_label(figure.axes[0])][:2] == ["Kaiming", "normal"]
    with pytest.raises(RequestError, match=r"study\.panels=data\.degree: must be null or one of metric, curve, model"):
        drawn(tmp_path / "wrong", axes, lambda d, a, i: splits(1 / d), **study | {"panels": "data.degree"})


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


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("loss/val", "mean squared error, validation"),
        ("loss/bias2", "mean squared error, bias²"),
        ("gap/val", "validation loss minus the training loss"),
        ("best.top5/test", "top-5 accuracy, test"),
        ("norm/weights", "norm of the weights"),
        ("first.gradient/first", "norm of the first layer's gradient, epoch 1"),
        ("my_score/val", "my score, validation"),
        ("my_score/of_a_part", "my score, of_a_part"),
        ("误差/val", "误差, validation"),
    ],
)
def test_an_axis_says_what_a_metric_measures_in_words(metric, said):
    assert axis_of(metric, {"data": {"_target_": "lightning_d2l.data.synthetic.PolynomialData"}}) == said


def test_lines_are_named_at_their_ends_or_where_these_are_close_in_a_legend(tmp_path):
    axes = {"data.degree": [1, 2, 3], "penalty": ["{l1:1}", "{l2:1}"], "seed": range(2)}
    figure, _ = drawn(tmp_path / "apart", axes, lambda d, p, s: {"loss/test": 1 / d + 3 * (p == "{l1:1}")})
    assert not figure.legends
    (panel,) = figure.axes
    heights = {text.get_text(): text.get_window_extent().y0 for text in panel.texts}
    assert heights["L1"] > heights["L2"]
    assert all(text.get_window_extent().x0 >= panel.bbox.x1 for text in panel.texts if text.get_text() in ("L1", "L2"))
    many = {"data.degree": [1, 2, 3], "data.batch_size": [1, 2, 4, 8], "seed": range(2)}
    figure, _ = drawn(tmp_path / "close", many, lambda d, b, s: {"loss/test": 1 / d + 0.001 * b}, x="data.degree")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"batch size {b}" for b in (1, 2, 4, 8)]
    assert spread([0.5, 0.5, 0.9], 0.1) == pytest.approx([0.45, 0.55, 0.9])


def test_a_theory_is_named_once_and_each_of_its_curves_has_its_own_dash(tmp_path, monkeypatch):
    def expected(question, runs):
        for b in (1, 4):
            where = {"data.batch_size": b}
            yield Curve("expected", [0.01, 1], [b, b + 0.5], "loss/train", where)
            yield Curve("limit", [0.3 * b, 0.3 * b], [1e-9, 1e9], "loss/train", where)

    monkeypatch.setitem(registry.THEORIES, "expected_here", lambda *asked: list(expected(*asked)))
    axes = {"optimizer.lr": [0.01, 0.1, 1], "data.batch_size": [1, 4], "seed": range(2)}
    sweeps = collect(
        [write_sweep(tmp_path, axes, lambda lr, b, s: {"loss/train": lr + b}, study={"theory": "expected_here"})]
    )
    study, runs = study_of(sweeps), sweeps[0].runs
    picture = picture_of(study, points_of(study, runs), runs)
    assert len({each.dash for each in picture.panels[0].theory}) == 4
    figure = draw_picture(picture)
    (panel,), (legend,) = figure.axes, figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["expected"]
    marks = {text.get_text(): to_hex(text.get_color()) for text in panel.texts if "limit" in text.get_text()}
    assert [*marks] == ["limit, batch size 1", "limit, batch size 4"]
    assert len(set(marks.values())) == 2


def test_names_on_the_x_axis_are_not_joined_by_lines(tmp_path):
    axes = {"optimizer": ["sgd", "adam"], "seed": range(3)}
    figure, caption = drawn(tmp_path, axes, lambda o, s: splits(len(o) + s))
    (panel,) = figure.axes
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["SGD", "Adam"]
    assert all(line.get_linestyle() == "None" for line in panel.lines)
    assert caption.startswith("Large markers")


def test_where_most_runs_diverged_there_is_a_cross_and_no_mean(tmp_path):
    axes = {"optimizer.lr": [1, 2, 3], "seed": range(3)}
    figure, caption = drawn(tmp_path, axes, lambda lr, s: None if lr == 3 else splits(lr + s))
    lines = by_label(figure.axes[0])
    assert list(lines["diverged"].get_xdata()) == [3]
    assert list(lines["validation"].get_xdata()) == [1, 2]
    assert "Crosses: diverged." in caption
