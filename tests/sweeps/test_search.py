"""A search with Optuna: what it may search, that it goes on where it was stopped, and that it says what mattered."""

import importlib.util
import json
import shutil

import pytest

from lightning_d2l import app

pytest.importorskip("optuna")

from lightning_d2l.config.check import RequestError
from lightning_d2l.studies.report import report
from lightning_d2l.sweeps import lean
from lightning_d2l.sweeps.search import space

# What is searched: the learning rate, which matters, and how often checkpoints are written, which doesn't.
WORDS = [
    "-m", "hydra/sweeper=optuna", "hydra.sweeper.num_trials=12", "hydra.sweeper.batch_size=4",
    "model=linear_regression",
    "data.n_train=40", "data.n_test=10", "logger=none", "trainer.accelerator=cpu", "trainer.max_epochs=2",
    "optimizer.lr=tag(log,interval(1e-4,0.3))", "trainer.checkpoint_every_n_seconds=interval(50,100)",
]  # fmt: skip


def search(folder, *more):
    return app.main([*WORDS, f"hydra.sweep.dir={folder}", *more])


def results(folder):
    """Overrides and validation loss of each trial."""
    jobs = json.loads((folder / "sweep.json").read_text())["jobs"]
    records = [json.loads((folder / job["folder"] / "run.json").read_text()) for job in jobs]
    return [(job["overrides"], r["metrics"]["final"]["loss/val"]) for job, r in zip(jobs, records, strict=True)]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "sweep"
    assert search(folder) == 0
    return folder


def test_later_trials_are_better_and_the_learning_rate_is_what_matters(searched):
    record = json.loads((searched / "sweep.json").read_text())
    losses = [loss for _, loss in results(searched)]
    assert len(losses) == 12
    assert record["status"] == "completed"
    importance = record["importance"]
    assert sum(importance.values()) == pytest.approx(1, abs=1e-4)
    assert importance["optimizer.lr"] > importance["trainer.checkpoint_every_n_seconds"]
    given = [dict(o.partition("=")[::2] for o in overrides) for overrides, _ in results(searched)]
    rates = [float(each["optimizer.lr"]) for each in given]
    assert all(1e-4 <= rate <= 0.3 for rate in rates)
    # Two epochs of eight steps: the larger the rate, the nearer the solution.
    assert rates[losses.index(min(losses))] > sorted(rates)[6]


def test_the_report_says_what_mattered(searched):
    report([searched])
    text = (searched / "report.md").read_text()
    assert "Importance of the settings" in text
    assert "PED-ANOVA" in text


def test_a_search_that_was_stopped_ends_with_the_same_trials(searched, tmp_path):
    folder = tmp_path / "stopped"
    shutil.copytree(searched, folder)
    record = json.loads((folder / "sweep.json").read_text())
    for job in record["jobs"][6:]:  # stopped in the middle of the second batch
        shutil.rmtree(folder / job["folder"])
    del record["importance"], record["jobs"][8:]
    (folder / "sweep.json").write_text(json.dumps(record | {"status": "running"}))
    assert app.main([*WORDS, f"sweep.resume={folder}"]) == 0
    assert results(folder) == results(searched)
    assert json.loads((folder / "sweep.json").read_text())["importance"] == json.loads(
        (searched / "sweep.json").read_text()
    )["importance"]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["hydra.sweeper.metric=loss/test"], "hydra.sweeper.metric=loss/test: must be of validation data"),
        (["hydra.sweeper.num_trials=0"], "hydra.sweeper.num_trials=0: must be a whole number from 1 up"),
        (["hydra.sweeper.metric=acc/val"], "hydra.sweeper.metric=acc/val: must be one of loss/val here"),
        (["trainer.evaluate=[train]"], "trainer.evaluate=['train']: must have val"),
        (["optimizer.lr=interval(-1,1)"], "the low ends): optimizer.lr=-1: must be a number in (0, inf)"),
        (["optimizer.lr=tag(log,interval(0,1))"], "must be from low to high, both above 0"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(tmp_path, capsys, more, said):
    assert search(tmp_path / "x", *more) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_the_study_that_searches_needs_no_sweeper_beside_it_and_the_command_line_wins(capsys):
    assert app.main(["study=search_mlp", "sweep.dry_run=true", "hydra.sweeper.num_trials=7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "7 runs, 5 at a time, by loss/val, from"
    assert lines[1:3] == ["  optimizer.lr: 0.0001 to 0.1, log scale", "  model.num_hiddens: 16 to 512, log scale"]
    assert lines[3:] == ["  model.num_layers: 1, 2, 3", "  model.dropout: 0 to 0.6"]
    assert app.main(["study=search_mlp", "sweep.dry_run=true", "hydra/sweeper=grid"]) == 2
    assert "an interval is for hydra/sweeper=optuna" in capsys.readouterr().err


def test_a_search_of_many_trials_takes_lean_records(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lean, "MOST_FULL", 5)
    assert search(tmp_path / "sweep", "hydra.sweeper.num_trials=6") == 0
    assert "6 runs with full records are about 42 files" in capsys.readouterr().out
    assert json.loads((tmp_path / "sweep" / "sweep.json").read_text())["records"] == "lean"
    assert len([*(tmp_path / "sweep").glob("*/run.json")]) == 2  # the best and the worst
    assert (tmp_path / "sweep" / "results.csv").read_text().count("completed") == 6


def test_without_optuna_the_way_to_get_it_is_named(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert app.main(["study=search_mlp"]) == 2
    assert "pip install 'lightning_d2l[optuna]'" in capsys.readouterr().err


def test_a_search_of_a_different_space_is_not_resumed(searched, capsys):
    assert app.main([*WORDS, f"sweep.resume={searched}", "optimizer.lr=interval(0.1,0.2)"]) == 2
    assert "names a different search" in capsys.readouterr().err


def test_nothing_to_search_is_refused():
    with pytest.raises(RequestError, match="nothing to search"):
        space(["optimizer.lr=0.1"])


def test_overrides_are_applied_in_the_order_of_the_command_line():
    found = space(["+m.std=interval(0.5,1)", "m={std:2}", "d=1,2", "d=3,4"])
    overrides = found.overrides({"m.std": 0.75, "d": "4"})
    assert overrides == ["+m.std=0.75", "m={std:2}", "d=4"]
    assert found.values(overrides) == {"m.std": 0.75, "d": "4"}
    with pytest.raises(RequestError, match="the only override that searches its key"):
        space(["m={a:1},{a:2}", "m={b:1},{b:2}"])


def test_axes():
    found = space(["a=tag(log,interval(0.001,1))", "b=int(interval(1,5))", "c=relu,tanh", "d=3", "d=4"])
    assert found.axes["a"].log
    assert (found.axes["b"].low, found.axes["b"].high) == (1, 5)
    assert found.axes["c"].choices == ("relu", "tanh")
    overrides = found.overrides({"a": 0.123456, "b": 2, "c": "tanh"})
    assert overrides == ["a=0.1235", "b=2", "c=tanh", "d=4"]
    assert found.values(overrides) == {"a": 0.1235, "b": 2, "c": "tanh"}
