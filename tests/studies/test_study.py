"""A study that can't be shown is refused before its runs, by what the runs will have."""

import json

import pytest

from lightning_d2l import app
from lightning_d2l.studies.check import metric_names
from lightning_d2l.studies.collect import collect
from tests.runs import config, run_here

IMAGES = ["data.source=generated", "data.n_train=60", "data.val_size=20", "trainer.max_epochs=2", "logger=none"]
REGRESSION = ["model=linear_regression", "data.n_train=40", "data.n_test=10", "trainer.max_epochs=2", "logger=none"]
WRONG = {
    "+study.foo=1": "study.foo: unknown key (allowed in study: name, question, x, curves, metrics",
    "study.scale.z=log": "study.scale.z: unknown key (allowed in study.scale: x, y)",
    "+study.scale.z=log": "must be linear or log of x and y, as {x: linear, y: log}",
    "study.scale.x=lug": "must be linear or log of x and y",
    "study.theory=capacty": "study.theory=capacty: must be null or one of noise_floor",
    "study.x=data.degre": "study.x=data.degre: no run has such a key; did you mean data.degree?",
    "study.curves=[optimizr]": "study.curves=optimizr: no run has such a key; did you mean optimizer?",
    "study.curves=optimizer": "study.curves=optimizer: must be a list",
    "study.replicates=[sed]": "study.replicates=sed: no run has such a key; did you mean seed?",
    "study.metrics=[loss/tset]": "no run will have loss/tset; did you mean loss/test? (allowed: loss/train, loss/val",
    "study.metrics=[acc/val]": "no run will have acc/val",
    "study.metrics=[loss/bias2]": "loss/bias2 needs the runs' predictions.csv: trainer.save_predictions=true",
}


@pytest.mark.parametrize("word", WRONG)
def test_a_study_that_names_what_is_not_there_is_refused_and_nothing_is_written(word, refusal):
    assert WRONG[word] in refusal(app.main, ["study=capacity", "data.degree=1,2", "seed=0", word])


def test_a_search_is_refused_too(capsys):
    pytest.importorskip("optuna")
    assert app.main(["study=search_mlp", "study.metrics=[loss/vall]"]) == 2
    assert "no run will have loss/vall; did you mean loss/val?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        [*REGRESSION],
        [*REGRESSION, "loss=gaussian_nll", "trainer.evaluate=[train]"],
        [*REGRESSION, "penalty={l1:0.1}", "gradients=true", "trainer.evaluate=[val,test]"],
        [*REGRESSION, "penalty={l1:0.1,lambda:0}"],
        ["model=mlp", *IMAGES],
        ["model=mlp", *IMAGES, "information=true", "data.val_size=0", "trainer.evaluate=[test]"],
    ],
)
def test_what_is_said_to_be_measured_is_measured(words, tmp_path):
    assert run_here(tmp_path / "run", *words, "trainer.accelerator=cpu") == 0
    (run,) = collect([tmp_path / "run"])[0].runs
    known = [name for name in metric_names(config(*words)) if not name.startswith("exact.")]
    assert set(run.metric_names) <= set(known)
    never = {"epochs_to_fit"}  # not in two epochs
    assert {name for name in known if run.metric(name) is None} <= never
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "completed"
