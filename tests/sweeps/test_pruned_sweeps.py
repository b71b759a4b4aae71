"""Sweeps that stop hopeless settings early: what their runs leave, by every launcher, after a kill, and on request."""

import csv
import json

import pytest

from lightning_d2l import app
from lightning_d2l.studies.report import report
from lightning_d2l.sweeps.group import Group
from lightning_d2l.sweeps.pruning import Rungs
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.signals import Stopped
from tests.runs import POLYNOMIAL

WORDS = [
    "-m", *POLYNOMIAL, "data.n_train=20", "data.n_val=20", "data.n_test=20", "trainer.max_epochs=24",
    "trainer.precision=64-true", "trainer.log_every_n_epochs=1", "optimizer.lr=0.001,0.003,0.01,0.03,0.1,0.3",
    "seed=0,1,2",
]  # fmt: skip
HALVING = [*WORDS, "sweep.prune=halving", "sweep.prune.min_epochs=2"]  # rungs 2, 6, 18; 6 settings, then 2


def sweep(folder, *words):
    return app.main([*words, f"hydra.sweep.dir={folder}"])


def records(folder):
    jobs = json.loads((folder / "sweep.json").read_text())["jobs"]
    return {job["folder"]: RunRecord.read(folder / job["folder"]) for job in jobs}


def ends(folder):
    return {name: (r.state, int(r.fields["metrics"]["final"]["epoch"])) for name, r in records(folder).items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    assert sweep(folder, *WORDS) == 0
    return folder


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pruned") / "sweep"
    assert sweep(folder, *HALVING) == 0
    return folder


def test_settings_stop_as_a_whole_by_the_values_of_the_whole_sweep(whole, pruned):
    by_setting = {}
    for name, record in records(whole).items():
        by_setting.setdefault(name.partition(",")[0], []).append(record.history[1]["loss/val"])
    best = sorted(by_setting, key=lambda setting: sorted(by_setting[setting])[1])[:2]  # by the median of three
    found = ends(pruned)
    for name, end in found.items():
        assert end == (("completed", 24) if name.partition(",")[0] in best else ("pruned", 2))
    for name, record in records(pruned).items():
        for row, expected in zip(record.history, records(whole)[name].history, strict=False):
            assert row == pytest.approx(expected, rel=1e-9)
        if record.state == "pruned":
            assert record.fields["pruned"] == {"epoch": 2, "rung": 1}
            assert "loss/test" not in record.fields["metrics"]["final"]
            assert (record.folder / "checkpoints" / "last.ckpt").exists()


def test_the_launchers_decide_the_same(pruned, tmp_path):
    assert sweep(tmp_path / "in turn", *HALVING, "hydra/launcher=sequential") == 0
    assert ends(tmp_path / "in turn") == ends(pruned)
    assert sweep(tmp_path / "lean", *HALVING, "sweep.records=lean") == 0
    rows = list(csv.DictReader((tmp_path / "lean" / "results.csv").open()))
    assert {row["run"]: row["status"] for row in rows} == {name: state for name, (state, _) in ends(pruned).items()}


def test_groups_of_different_structures_wait_for_each_other(tmp_path):
    words = ["-m", "model=mlp", "data=polynomial", "data.n_train=20", "data.n_val=20", "data.n_test=20", "logger=none",
             "optimizer=adam", "trainer.accelerator=cpu", "trainer.max_epochs=9", "trainer.precision=64-true",
             "sweep.prune=halving", "sweep.prune.min_epochs=3", "model.num_hiddens=1,2,4", "seed=0,1"]  # fmt: skip
    assert sweep(tmp_path / "waits", *words) == 0
    found = ends(tmp_path / "waits")
    assert sorted(found.values()) == [("completed", 9)] * 2 + [("pruned", 3)] * 4
    assert len({name.partition(",")[0] for name, (state, _) in found.items() if state == "completed"}) == 1


@pytest.mark.parametrize("launcher", ["vectorized", "sequential"])
def test_a_sweep_that_is_interrupted_ends_as_undisturbed(launcher, pruned, tmp_path, monkeypatch):
    calls = []
    judge = Rungs.judge

    def interrupted(self, *args):
        calls.append(args)
        found = judge(self, *args)
        if len(calls) == 1:  # when it has been decided, and nothing else was written
            raise Stopped(15)
        return found

    monkeypatch.setattr(Rungs, "judge", interrupted)
    folder = tmp_path / "sweep"
    assert sweep(folder, *HALVING, f"hydra/launcher={launcher}") == 128 + 15
    assert app.main([f"sweep.resume={folder}"]) == 0
    assert ends(folder) == ends(pruned)


def test_a_sweep_that_is_interrupted_while_members_leave_ends_as_undisturbed(pruned, tmp_path, monkeypatch):
    leaving = Group._leaving

    def interrupted(self, epoch):
        found = leaving(self, epoch)
        if found:
            monkeypatch.setattr(Group, "_leaving", leaving)
            raise Stopped(15)
        return found

    monkeypatch.setattr(Group, "_leaving", interrupted)
    folder = tmp_path / "sweep"
    assert sweep(folder, *HALVING) == 128 + 15
    assert app.main([f"sweep.resume={folder}"]) == 0
    assert ends(folder) == ends(pruned)


def test_the_report_shows_the_rungs_and_leaves_pruned_runs_out_of_means(pruned):
    made = report([pruned])
    assert {len(point.values.get("loss/val", [])) for point in made.findings.points} == {0, 3}
    rows = list(csv.DictReader((pruned / "results.csv").open()))
    assert [row["pruned"] for row in rows].count("2") == 12
    text = (pruned / "report.md").read_text()
    assert "Rungs" in text
    assert "| 1 | 2 | 18 | 12 | 6 |" in text
    assert made.as_json()["pruned"]["runs"] == 12


WRONG = {
    "sweep.prune=best": "sweep.prune.rule=best: must be one of halving, median or null",
    "sweep.prune.factor=1": "sweep.prune.factor=1: must be a whole number from 2 up",
    "sweep.prune.metric=loss/test": "sweep.prune.metric=loss/test: must be a metric of validation data",
    "sweep.prune.metric=acc/val": "sweep.prune.metric=acc/val: must be one of loss/val here",
    "sweep.prune.min_epochs=24": "sweep.prune.min_epochs=24: must be below trainer.max_epochs=24",
    "trainer.log_every_n_epochs=24": "trainer.log_every_n_epochs=24: must be smaller, such as 2",
    "trainer.evaluate=[train]": "trainer.evaluate=['train']: must have val",
    "trainer.max_epochs=8,24": "trainer.max_epochs=8, 24: must be one value with sweep.prune",
    "trainer.max_epochs=null": "trainer.max_epochs: must be a number with sweep.prune",
    "optimizer.lr=0.1": "sweep.prune: needs settings to compare, and here seed varies alone",
    "hydra/launcher=basic": "sweep.prune: must come with one of our launchers",
    "loss=mse,half_mse": "sweep.prune.metric=loss/val: must be another metric where loss varies",
}


@pytest.mark.parametrize("word", WRONG)
def test_what_can_not_be_compared_is_refused_before_anything_is_written(word, tmp_path, capsys):
    assert sweep(tmp_path / "x", *HALVING, word) == 2
    assert WRONG[word] in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_exact_solutions_and_single_runs_are_refused(tmp_path, capsys):
    exact = [word for word in HALVING if not word.startswith("optimizer.lr")]
    assert sweep(tmp_path / "x", *exact, "data.degree=1,2,3", "optimizer=exact") == 2
    assert "sweep.prune: must be null for optimizer=exact" in capsys.readouterr().err
    assert app.main([*POLYNOMIAL, "sweep.prune=halving", f"hydra.run.dir={tmp_path / 'x'}"]) == 2
    assert "sweep.prune: must come with several runs" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_search_stops_trials_inside_the_ensemble_and_tells_optuna(tmp_path, monkeypatch):
    optuna = pytest.importorskip("optuna")
    from lightning_d2l.sweeps.search import Search

    studies = []
    study = Search.study
    monkeypatch.setattr(Search, "study", lambda self: studies.append(study(self)) or studies[-1])
    words = [word for word in HALVING if not word.startswith(("optimizer.lr", "seed="))]
    more = ["hydra/sweeper=optuna", "hydra.sweeper.num_trials=12", "hydra.sweeper.batch_size=6"]
    assert sweep(tmp_path / "x", *words, *more, "optimizer.lr=tag(log,interval(1e-4,0.3))") == 0
    found = ends(tmp_path / "x")
    states = optuna.trial.TrialState
    trials = studies[-1].get_trials()
    for trial, (state, epoch) in zip(trials, found.values(), strict=True):
        assert trial.state == (states.COMPLETE if state == "completed" else states.PRUNED)
        assert list(trial.intermediate_values) == ([] if state == "completed" else [epoch])
    assert {epoch for state, epoch in found.values() if state == "pruned"} <= {2, 6, 18}
    assert 0 < sum(state == "completed" for state, _ in found.values()) < 6
