"""The table at the end of a sweep, against numpy."""

import json

import numpy as np

from lightning_d2l import app
from lightning_d2l.config.text import number
from lightning_d2l.sweeps.summary import summary


def write(folder, status, overrides, loss):
    folder.mkdir()
    metrics = {"final": {"epoch": 1, "loss/val": loss}}
    record = {"config": {}, "status": status, "overrides": overrides, "metrics": metrics}
    (folder / "run.json").write_text(json.dumps(record))


def test_mean_and_spread_over_seeds_for_each_setting(tmp_path):
    losses = {1: [0.5, 0.7, 1.2], 2: [0.1, 0.3, 0.2]}
    for degree, values in losses.items():
        for seed, loss in enumerate(values):
            write(
                tmp_path / f"{degree}-{seed}",
                "completed",
                ["logger=none", f"data.degree={degree}", f"seed={seed}"],
                loss,
            )
    write(tmp_path / "2-9", "diverged", ["data.degree=2", "seed=9"], float("nan"))
    (tmp_path / "not_a_run").mkdir()
    text = summary(tmp_path, ["data.degree", "seed"])
    assert "data.degree=1 (n = 3)" in text
    assert "data.degree=2 (n = 3, 1 diverged)" in text
    for values in losses.values():
        assert f"{number(np.mean(values))} ± {number(np.std(values, ddof=1))}" in text


def test_folds_of_a_sweep_are_averaged_to_the_cross_validation_error(tmp_path, capsys):
    words = ["-m", "experiment=kfold", "data.fold=range(5)", "trainer.max_epochs=20", "logger=none"]
    assert app.main([*words, f"hydra.sweep.dir={tmp_path}"]) == 0
    records = [json.loads(path.read_text()) for path in tmp_path.glob("*/run.json")]
    errors = [record["metrics"]["final"]["loss/val"] for record in records]
    assert len(errors) == 5
    end = capsys.readouterr().out.split("sweep folder")[1]
    assert "all runs (n = 5)" in end
    assert f"{number(np.mean(errors))} ± {number(np.std(errors, ddof=1))}" in end
