"""The table at the end of a sweep: which settings it shows, and its numbers against the estimates."""

import json
import math
import re
import unicodedata

import numpy as np
import pytest

from lightning_d2l import app
from lightning_d2l.studies.findings import find
from lightning_d2l.studies.statistics import Estimate, estimate
from lightning_d2l.studies.tables import rounded, text
from tests.studies.records import write_sweep


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def curve(degree: int, optimizer: str, seed: int) -> dict[str, float]:
    loss = 0.01 + (degree - 3) ** 2 + (optimizer == "sgd") + 0.001 * seed
    return {"loss/train": loss / 2, "loss/val": loss, "loss/test": loss}


AXES = {"data.degree": range(20), "optimizer": ["sgd", "exact"], "seed": range(5)}


def test_the_best_settings_their_neighbours_and_the_ends_of_each_curve(tmp_path):
    found = text(find([write_sweep(tmp_path, AXES, curve)]), whole="summary.csv").splitlines()
    assert found[0].split() == ["optimizer", "degree", "loss/val", "loss/train", "diagnosis"]
    assert re.split(r" {2,}", found[1].strip()) == ["mean [95 % interval]", "mean"]
    lines, legend = [line.split() for line in found[2:14]], "   ".join(found[14:])
    degrees = {name: [int(row[row.index(name) + 1]) for row in lines if name in row] for name in ("sgd", "exact")}
    assert {2, 3, 4, 19} <= {*degrees["exact"]} & {*degrees["sgd"]}
    assert 0 in degrees["exact"]
    assert all(each == sorted(each) for each in degrees.values())
    (best,) = [row for row in lines if row[0] == "*"]
    assert best[1:3] == ["exact", "3"]
    shown = [float(part.strip("[],")) for part in best[3:6]]
    expected = estimate([curve(3, "exact", seed)["loss/val"] for seed in range(5)], kind="positive")
    assert shown == pytest.approx([expected.value, expected.low, expected.high], abs=5e-5)
    assert legend == "* the best setting   ~ uncertain   5 runs each   12 of 40 settings; summary.csv has them all"


@pytest.mark.parametrize(("width", "metrics"), [(60, 1), (80, 2), (200, 3)])
def test_it_fits_the_terminal_also_with_chinese_words(width, metrics, tmp_path):
    axes = {"model.activation": ["线性整流函数", "双曲正切函数", "relu"], "data.degree": range(6), "seed": range(3)}
    losses = lambda a, d, s: {"loss/train": d + 1 + s, "loss/val": d + 2.0 + s, "loss/test": d + s + 3.0}  # noqa: E731
    lines = text(find([write_sweep(tmp_path, axes, losses)]), width).splitlines()
    assert max(map(columns, lines)) <= width
    assert sum(name in lines[0] for name in ("loss/train", "loss/val", "loss/test")) == metrics
    found = [re.match(r"\W* *(\w+) +(?=\d)", line) for line in lines[2:14]]
    assert len({columns(each[0]) for each in found}) == 1  # the degrees stand below each other
    assert {each[1] for each in found} == {*axes["model.activation"]}


def test_of_a_search_the_best_come_first(tmp_path):
    trials = dict(zip(np.geomspace(1e-4, 1, 30), np.random.default_rng(0).permutation(30) + 1.0, strict=True))
    widths = dict(zip(trials, range(1, 31), strict=True))
    write_sweep(tmp_path, {"optimizer.lr": trials}, lambda lr: {"loss/val": trials[lr]})
    for path in tmp_path.glob("*/run.json"):
        record = json.loads(path.read_text())
        record["config"]["model"] = {"num_hiddens": widths[record["config"]["optimizer"]["lr"]]}
        path.write_text(json.dumps(record))
    record = json.loads((tmp_path / "sweep.json").read_text()) | {"varied": ["optimizer.lr", "model.num_hiddens"]}
    (tmp_path / "sweep.json").write_text(json.dumps(record))
    head, *lines, legend = text(find([tmp_path])).splitlines()
    assert head.split()[:3] == ["model.num_hiddens", "optimizer.lr", "loss/val"]
    assert [float(line.removeprefix("*").split()[2]) for line in lines] == [*range(1, 13)]
    assert "1 run each   12 of 30 settings" in legend


def test_where_the_mean_says_little_the_median_stands_with_its_interval(tmp_path):
    losses = [0.1, 0.2, 0.3, 9.0, 0.4]
    write_sweep(tmp_path, {"seed": range(5)}, lambda s: {"loss/val": losses[s]})
    low, high = (getattr(estimate(losses, kind="positive", statistic="median"), name) for name in ("low", "high"))
    head, line, diagnosis = text(find([tmp_path])).splitlines()
    assert head.split("  ")[-1] == "mean [95 % interval]"
    assert line == f"loss/val, median  0.30 [{low:.2f}, {high:.2f}]"
    assert diagnosis.split() == ["diagnosis", "underfitting", "(or", "overfitting)"]


def test_of_settings_with_equal_values_none_is_marked_as_the_best(tmp_path):
    tied = find([write_sweep(tmp_path, {"data.degree": [1, 2], "seed": range(3)}, lambda d, s: {"loss/val": s + 1.0})])
    assert "*" not in text(tied)
    assert tied.answer.best is not None  # to draw


def test_runs_that_repeat_each_other_are_called_equal(tmp_path):
    losses = lambda d, s: {"loss/train": d + 1.0, "loss/val": d + 2.0}  # noqa: E731
    assert text(find([write_sweep(tmp_path, {"data.degree": [1, 2], "seed": range(5)}, losses)])).endswith(
        "5 equal runs each"
    )


def test_settings_that_diverged_are_counted_and_have_no_numbers(tmp_path):
    axes = {"optimizer.lr": [0.1, 1.0, 3.0], "seed": range(4)}
    losses = lambda lr, s: None if lr == 3 or (lr == 1 and s == 0) else {"loss/val": lr + 0.01 * s}  # noqa: E731
    head, _, *lines, _ = text(find([write_sweep(tmp_path, axes, losses)])).splitlines()
    assert head.split()[-2:] == ["runs", "diagnosis"]
    at = head.index("runs")
    assert [line[at : at + 6].strip() for line in lines] == ["4", "3 of 4", "0 of 4"]
    assert lines[-1].split() == ["3", "0", "of", "4", "diverged"]


@pytest.mark.parametrize(
    ("found", "written"),
    [
        ((0.01012, 0.00962, 0.01061), ("0.01012", "[0.00962, 0.01061]")),
        ((0.0101, 0.0051, 0.0202), ("0.0101", "[0.0051, 0.0202]")),
        ((1241.7, 1110.2, 1389.4), ("1242", "[1110, 1389]")),
        ((0.02, 1e-5, 40.0), ("0.020", "[1.0e-05, 40.00]")),
        ((0.053, 1e-8, 89770.258), ("0.053", "[1.0e-08, 89770]")),
        ((2.5e-9, 1.5e-9, 4.1e-9), ("2.5e-09", "[1.5e-09, 4.1e-09]")),
        ((0.5, 0.5, 0.5), ("0.5", "")),
        ((5.0, math.nan, math.nan), ("5", "")),
    ],
)
def test_numbers_have_the_digits_that_their_interval_tells(found, written):
    value, low, high = found
    assert rounded(Estimate(value, 0.1, low, high, "t", 3)) == written


def test_of_the_epochs_of_a_run_each_has_a_row(tmp_path):
    write_sweep(tmp_path, {"seed": [0]}, lambda s: {"loss/val": 4.0, "epoch": 9}, study={"x": "epoch"})
    (tmp_path / "seed=0" / "metrics.csv").write_text("epoch,step,loss/val\n1,1,5\n9,9,4\n")
    head, first, best, _ = text(find([tmp_path])).splitlines()
    assert (head.split()[0], first.split()[:2], best.split()[:3]) == ("epoch", ["1", "5"], ["*", "9", "4"])


def test_folds_of_a_sweep_are_averaged_to_the_cross_validation_error(tmp_path, capsys):
    words = ["-m", "experiment=kfold", "data.fold=range(5)", "trainer.max_epochs=20", "logger=none"]
    assert app.main([*words, f"hydra.sweep.dir={tmp_path}"]) == 0
    records = [json.loads(path.read_text()) for path in tmp_path.glob("*/run.json")]
    errors = [record["metrics"]["final"]["loss/val"] for record in records]
    assert len(errors) == 5
    end = capsys.readouterr().out.split("sweep folder")[1]
    assert "all runs (n = 5)" in end
    (line,) = [line for line in end.splitlines() if line.startswith("loss/val ")]
    assert float(line.split()[1]) == pytest.approx(np.mean(errors), rel=1e-2)
