"""The picture of a search: its trials are points."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest

from lightning_d2l.studies import comparison
from lightning_d2l.studies import points as points_module
from lightning_d2l.studies.collect import collect
from lightning_d2l.studies.figure import draw
from lightning_d2l.studies.findings import find_in
from lightning_d2l.studies.lean import Entry, write
from lightning_d2l.studies.points import points_of, run_diagnoses
from lightning_d2l.studies.study import study_of
from lightning_d2l.studies.tables import results
from lightning_d2l.studies.trials import is_search, thinned
from lightning_d2l.training.record import read_fields
from tests.studies.records import write_run, write_sweep

COUNT = 2500

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
    at = np.searchsorted(steps.get_xdata(), np.arange(len(losses)), side="right") - 1
    assert steps.get_ydata()[at].tolist() == pytest.approx(np.minimum.accumulate(losses).tolist())
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


def test_a_grid_is_no_search_nor_are_many_values_of_one_key_beside_a_single_one_of_another(tmp_path):
    for i, optimizers in enumerate((["sgd", "adam"], ["exact"])):  # as those of study=capacity, of which one was left
        axes = {"data.degree": range(8), "optimizer": optimizers, "seed": [0, 1]}
        folder = write_sweep(
            tmp_path / str(i), axes, lambda d, o, s: {"loss/val": 1 + d}, study={"curves": ["optimizer"]}
        )
        sweeps = collect([folder])
        study, runs = study_of(sweeps), sweeps[0].runs
        assert not is_search(study, points_of(study, runs), runs)


def test_of_many_trials_a_part_is_drawn_and_no_trial_is_compared_or_diagnosed_twice(tmp_path, monkeypatch):
    fields = read_fields(write_run(tmp_path / "one", {}, {"loss/train": 1.0, "loss/val": 1.0}) / "run.json")
    shutil.rmtree(tmp_path / "one")
    losses = np.random.default_rng(0).lognormal(size=COUNT)
    best, worst = int(losses.argmin()), int(losses.argmax())
    entries = []
    for i, value in enumerate(losses.tolist()):
        config = {**fields["config"], "optimizer": {"lr": 1e-3 * (1 + i), "_target_": "SGD"}, "width": i % 7}
        metrics = {"final": {"epoch": 1, "step": 1, "loss/train": value / 2, "loss/val": value}}
        entries.append(Entry(f"trial={i}", i, {**fields, "config": config, "metrics": metrics}, []))
    write(tmp_path, entries)
    jobs = [{"number": entry.number, "folder": entry.name, "overrides": []} for entry in entries]
    sweep = {"status": "completed", "command": "x", "varied": ["optimizer.lr", "width"], "jobs": jobs}
    (tmp_path / "sweep.json").write_text(json.dumps(sweep))
    calls = Counter()
    for module, name in ((points_module, "case_of"), (comparison, "_judged")):
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, f=original, n=name, **k: calls.update([n]) or f(*a, **k))
    findings = find_in(collect([tmp_path]))
    rows = [*results(findings)]
    assert calls == {"case_of": COUNT, "_judged": 1}
    assert [row["diagnosis"] for row in rows] == [str(d) for d in run_diagnoses(findings.runs, [])]
    figure, caption = draw(findings.study, findings.points, findings.runs)
    order, against, parallel = figure.axes
    drawn = {int(x): y for x, y in zip(*order.lines[0].get_data(), strict=True)}
    assert 300 < len(drawn) <= 1000
    assert {best, worst} <= {*drawn}
    assert drawn == {i: losses[i] for i in drawn}
    assert f"{COUNT:,} trials, of which {len(drawn)} are drawn" in caption
    assert [len(line.get_xdata()) for line in against.lines] == [len(drawn)] * 2
    steps = order.lines[1].get_ydata()
    assert len(steps) == len({*np.minimum.accumulate(losses)}) + 1
    assert steps[-1] == losses[best]
    assert len(parallel.collections[0].get_segments()) + 1 == 300
    shown, said = thinned(findings.study, findings.points, findings.runs)
    assert len(shown) == len(drawn)
    assert said.startswith(f"{len(drawn)} of {COUNT:,} trials are drawn")
