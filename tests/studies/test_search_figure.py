"""The picture of a search: its trials are points."""

import numpy as np
import pytest

from lightning_d2l.studies.collect import collect
from lightning_d2l.studies.figure import draw
from lightning_d2l.studies.points import points_of
from lightning_d2l.studies.study import study_of
from lightning_d2l.studies.trials import is_search
from tests.studies.records import write_run, write_sweep

LRS = np.random.default_rng(0).permutation(np.geomspace(1e-4, 1e-1, 12)).tolist()
WIDTHS = [16, 500, 33, 64, 120, 256, 18, 40, 90, 300, 77, 150]
ACTIVATIONS = ["relu", "tanh", "sigmoid"] * 4


def loss(lr, width):
    return abs(np.log10(lr / 3e-3)) + 10 / width


def searched(folder, keys, name="trial={}"):
    values = {"optimizer.lr": LRS, "model.num_hiddens": WIDTHS, "model.activation": ACTIVATIONS}
    for i in range(len(LRS)):
        setting = {key: values[key][i] for key in keys}
        found = loss(LRS[i], WIDTHS[i])
        write_run(folder / name.format(i), setting, {"loss/train": found / 2, "loss/val": found})
    sweeps = collect([folder])
    study, runs = study_of(sweeps), sweeps[0].runs
    points = points_of(study, runs)
    figure, caption = draw(study, points, runs)
    figure.draw_without_rendering()
    assert is_search(study, points, runs)
    return figure, caption


@pytest.mark.parametrize("name", ["trial={}", "{}"])
def test_no_line_joins_trials_and_the_best_so_far_is_a_step_line(tmp_path, name):
    figure, caption = searched(tmp_path, ["optimizer.lr", "model.num_hiddens", "model.activation"], name)
    order, against, parallel = figure.axes
    joined = [line for panel in (order, against) for line in panel.lines if line.get_linestyle() != "None"]
    (steps,) = joined
    assert steps.get_drawstyle() == "steps-post"
    losses = [loss(lr, width) for lr, width in zip(LRS, WIDTHS, strict=True)]
    assert list(steps.get_ydata()) == pytest.approx(np.minimum.accumulate(losses).tolist())
    assert sorted(against.lines[0].get_xdata()) == pytest.approx(sorted(LRS))
    assert against.get_xscale() == "log"
    assert caption.startswith("12 trials, a point each; steps: the lowest validation loss so far.")
    best = parallel.lines[0].get_ydata()
    assert len(best) == 4
    assert best[-1] == 0
    assert best[0] == pytest.approx(np.log(LRS[int(np.argmin(losses))] / min(LRS)) / np.log(max(LRS) / min(LRS)))
    said = {text.get_text() for text in parallel.texts}
    assert {"ReLU", "tanh", "sigmoid", "learning rate", "optimizer.lr", "loss/val"} <= said


def test_one_key_has_no_parallel_coordinates(tmp_path):
    figure, _ = searched(tmp_path, ["optimizer.lr"])
    assert len(figure.axes) == 2


def test_a_grid_is_no_search(tmp_path):
    axes = {"optimizer.lr": LRS, "data.batch_size": [1, 2], "seed": range(2)}
    sweeps = collect([write_sweep(tmp_path, axes, lambda lr, b, s: {"loss/val": lr})])
    study, runs = study_of(sweeps), sweeps[0].runs
    assert not is_search(study, points_of(study, runs), runs)
