"""The table at the end of a sweep, against numpy."""

import json

import numpy as np

from lightning_d2l import app
from lightning_d2l.config.text import number
from lightning_d2l.studies.findings import find
from lightning_d2l.studies.tables import text
from tests.studies.records import write_sweep


def test_mean_and_spread_over_seeds_for_each_setting_in_the_order_of_the_jobs(tmp_path):
    losses = {9: [0.77, 0.79, 0.76, 0.8], 10: [0.21, 0.2, 0.22, None], 2: [1.0, 1.0, 1.0, 1.0]}
    axes = {"data.degree": losses, "seed": range(4)}
    metrics = lambda d, seed: None if losses[d][seed] is None else {"loss/val": losses[d][seed]}  # noqa: E731
    lines = text(find([write_sweep(tmp_path, axes, metrics)])).splitlines()
    assert lines[::2] == ["data.degree=9 (n = 4)", "data.degree=10 (n = 3, 1 diverged)", "data.degree=2 (n = 4)"]
    for line, values in zip(lines[1::2], losses.values(), strict=True):
        finite = [value for value in values if value is not None]
        assert line.split("loss/val")[1].strip() == f"{number(np.mean(finite))} ± {number(np.std(finite, ddof=1))}"


def test_where_the_mean_says_little_the_median_stands_with_its_quartiles(tmp_path):
    losses = [0.1, 0.2, 0.3, 9.0, 0.4]
    found = text(find([write_sweep(tmp_path, {"seed": range(5)}, lambda s: {"loss/val": losses[s]})]))
    assert found.splitlines() == ["all runs (n = 5)", "  loss/val              0.3 (median; quartiles 0.2 to 0.4)"]


def test_of_the_epochs_of_a_run_the_last_counts(tmp_path):
    write_sweep(tmp_path, {"seed": [0]}, lambda s: {"loss/val": 4.0, "epoch": 9}, study={"x": "epoch"})
    (tmp_path / "seed=0" / "metrics.csv").write_text("epoch,step,loss/val\n1,1,5\n9,9,4\n")
    assert text(find([tmp_path])).split() == ["all", "runs", "(n", "=", "1)", "loss/val", "4"]


def test_folds_of_a_sweep_are_averaged_to_the_cross_validation_error(tmp_path, capsys):
    words = ["-m", "experiment=kfold", "data.fold=range(5)", "trainer.max_epochs=20", "logger=none"]
    assert app.main([*words, f"hydra.sweep.dir={tmp_path}"]) == 0
    records = [json.loads(path.read_text()) for path in tmp_path.glob("*/run.json")]
    errors = [record["metrics"]["final"]["loss/val"] for record in records]
    assert len(errors) == 5
    end = capsys.readouterr().out.split("sweep folder")[1]
    assert "all runs (n = 5)" in end
    assert f"{number(np.mean(errors))} ± {number(np.std(errors, ddof=1))}" in end
