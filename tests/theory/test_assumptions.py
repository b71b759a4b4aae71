"""Each study's theory on made-up records: drawn at the defaults, and not where a setting breaks what it assumes."""

import copy
import functools
from pathlib import Path

import pytest

from lightning_d2l.config.compose import compose_checked, plain
from lightning_d2l.theory.curves import Curve, Question
from lightning_d2l.theory.theories import THEORIES, reasons
from lightning_d2l.training.record import RunRecord

# Two or three values along x of each study, in its own order of magnitude.
AXES = {
    "activation": [0, 2],
    "bias_variance": [1, 3, 5],
    "capacity": [1, 3, 5],
    "depth_init": [1, 8],
    "double_descent": [50, 200],
    "double_descent_random_features": [50, 500],
    "dropout_linear": [0, 0.2],
    "input_noise": [0, 0.6],
    "kfold": [1, 3],
    "l1_l2": [0.1, 1],
    "learning_rate": [0.003, 0.01],
    "phm": [1, 4],
    "random_labels": [0, 1],
    "sample_size": [20, 100],
    "training_time": [1, 1500],
    "weight_decay": [0.1, 3],
    "width": [4, 16],
}
SOLVED = {"capacity": ["optimizer=exact"], "l1_l2": ["penalty={l1:1,l2:0}"]}


@functools.cache
def composed(study: str, *words: str) -> tuple[dict, dict]:
    solved = [] if any(word.startswith("optimizer=") for word in words) else SOLVED.get(study, [])
    found = compose_checked([f"study={study}", *solved, *words])
    node = found.study
    return plain(found), {name: node[name] for name in ("theory", "x", "curves", "metrics")}


def records(study: str, *words: str, tmp: Path = Path("no folder")) -> tuple[str, Question, list[RunRecord]]:
    config, node = composed(study, *words)
    runs = []
    for x in AXES[study]:
        for seed in range(2):
            run = copy.deepcopy(config) | {"seed": seed}
            if node["x"] != "epoch":
                *parents, name = node["x"].split(".")
                functools.reduce(dict.__getitem__, parents, run)[name] = x
            losses = dict.fromkeys(node["metrics"], 1.0) | {"loss/val": 1.0, "loss/test": 1.0}
            fields = {"status": "completed", "config": run, "overrides": [], "metrics": {"final": losses}}
            record = RunRecord(tmp, fields)
            record.history = [{"epoch": epoch, "acc/train": 0.5} for epoch in (1, config["trainer"]["max_epochs"])]
            runs.append(record)
    return node["theory"], Question(node["x"], tuple(node["curves"]), tuple(node["metrics"])), runs


def drawn(study: str, *words: str) -> tuple[list[Curve], list[str]]:
    name, question, runs = records(study, *words)
    return THEORIES[name](question, runs), reasons(name, question, runs)


@pytest.mark.parametrize("study", AXES)
def test_at_the_defaults_every_theory_is_drawn_and_nothing_is_lost(study):
    curves, lost = drawn(study)
    assert [curve.label for curve in curves if curve.label != "noise floor"]
    assert lost == []
    for curve in curves:
        assert len(curve.x) == len(curve.y) > 0
        if curve.low is not None:
            assert all(low <= y <= high for low, y, high in zip(curve.low, curve.y, curve.high, strict=True))


KEPT = {"noise floor", "ridge, solved exactly", "bias² + variance + noise"}
"""Curves that hold for more runs than the rest of their theory."""
LEAST_SQUARES = [
    "optimizer=sgd optimizer.lr=0.01",
    "optimizer.weight_decay=1",
    "penalty.l2=1",
    "penalty.l1=0.1",
    "model.dropout=0.2",
    "model.input_noise=0.5",
    "loss=gaussian_nll",
]
ROUNDED = ["trainer.precision=32-true"]  # what rounds the parameters of a high degree  # fmt: skip
DESCENT = [
    "scheduler=cosine", "callbacks=[early_stopping]", "callbacks=[stochastic_weight_averaging]", "trainer.max_steps=9",
    "trainer.gradient_clip_val=1", "trainer.overfit_batches=1", "optimizer.momentum=0.9", "optimizer=adam",
    "trainer.precision=bf16-true", "trainer.precision=16-mixed",
]  # fmt: skip
BROKEN = {
    "double_descent": [*LEAST_SQUARES, "data.folds=5 data.fold=0", "model.bias=true", "data.b=1"],
    "double_descent_random_features": ["optimizer=sgd", "optimizer.weight_decay=1", "penalty.l2=1"],
    "capacity": [*LEAST_SQUARES, *ROUNDED, "model=mlp data=polynomial optimizer=sgd"],
    "sample_size": [*LEAST_SQUARES, *ROUNDED],
    "bias_variance": [*LEAST_SQUARES, *ROUNDED],
    "kfold": ["data.folds=null"],
    "training_time": [*DESCENT, "penalty.l2=0.5", "penalty.l1=0.5", "optimizer.weight_decay=0.1", "model.dropout=0.1",
                      "model.input_noise=1", "data.batch_size=12", "optimizer.lr=1", "model.init={name:normal}",
                      "model.bias=true", "optimizer=exact"],
    "weight_decay": [*DESCENT, "model.init={name:normal,std:1,bias_std:1}", "model.init={name:kaiming}",
                     "model.dropout=0.1", "optimizer=adamw", "optimizer.lr=0.1", "penalty.l2=1", "optimizer=exact",
                     "data.n_train=400 data.batch_size=1 optimizer.lr=0.002"],
    "input_noise": [*DESCENT, "model.dropout=0.2", "penalty.l2=1", "optimizer.weight_decay=1", "trainer.max_epochs=10",
                    "data.n_train=10", "data.batch_size=1", "optimizer.lr=1 data.w=[1]"],
    "dropout_linear": [*DESCENT, "model.input_noise=0.2", "penalty.l2=1", "optimizer.weight_decay=1",
                       "trainer.max_epochs=10", "data.n_train=10", "data.folds=5 data.fold=0"],
    "l1_l2": ["optimizer=sgd optimizer.lr=0.01", "optimizer.weight_decay=1", "model.dropout=0.2",
              "model.input_noise=1", "data=high_dimensional data.w=0.1 data.d=60"],
    "learning_rate": [*DESCENT, "penalty.l2=1", "optimizer.weight_decay=1", "model.dropout=0.2", "model.input_noise=1",
                      "data.d=50", "data.batch_size=33", "data.folds=5 data.fold=0", "data.n_train=5",
                      "trainer.max_epochs=null"],
    "width": ["model.activation=tanh", "model.num_layers=2", "data.degree=2", "loss=gaussian_nll"],
    "depth_init": ["model.num_hiddens=32", "data.batch_size=50", "data.standardize=true", "model.init=default",
                   "model.activation=leaky_relu", "model.dropout=0.1", "data.label_noise=0.5", "data.resize=14",
                   "loss=one_hot_mse", "penalty.l2=1", "data.source=generated", "data.n_train=5",
                   "trainer.gradient_clip_val=0.1", "trainer.precision=16-true", "model.init={name:normal,std:0.5}"],
}  # fmt: skip
PARTLY = {("depth_init", "model.num_hiddens=32")}  # the depth of 1 is still drawn


@pytest.mark.parametrize(("study", "words"), [(study, words) for study, cases in BROKEN.items() for words in cases])
def test_nothing_is_drawn_where_an_assumption_is_broken_and_a_line_says_why(study, words):
    curves, lost = drawn(study, *words.split())
    at = {x for curve in curves if curve.label not in KEPT for x in curve.x}
    assert at == ({1} if (study, words) in PARTLY else set())
    assert lost
    assert all(line.startswith("Theory ") and line.endswith(".") and len(line) < 200 for line in lost)


@pytest.mark.parametrize(
    "words",
    ["optimizer=adamw", "optimizer=nadam optimizer.decoupled_weight_decay=true", "optimizer=muon", "optimizer=asgd",
     "optimizer=adafactor", "trainer.precision=bf16-true"],
)  # fmt: skip
def test_ridge_is_the_optimum_of_l2_decay_alone(words):
    assert drawn("weight_decay", *words.split())[0] == []
    assert [curve.label for curve in drawn("weight_decay", "optimizer=nadam")[0]] == ["ridge, solved exactly"] * 2


def test_bias_and_variance_are_drawn_up_to_as_many_features_as_samples():
    assert {x for curve in drawn("bias_variance", "data.n_train=5")[0] for x in curve.x} == {1, 3}


def changed(study: str, key: str, values: list) -> tuple[list[Curve], list[str]]:
    """The theory of records of which those of the second seed have another value of a key."""
    name, question, runs = records(study)
    for run, value in zip(runs, values * len(AXES[study]), strict=True):
        *parents, last = key.split(".")
        functools.reduce(dict.__getitem__, parents, run.fields["config"])[last] = value
    return THEORIES[name](question, runs), reasons(name, question, runs)


def test_runs_of_other_lengths_are_not_of_one_descent():
    curves, lost = changed("learning_rate", "trainer.max_epochs", [10, 100])
    assert (curves, lost) == (
        [],
        ["Theory learning_rate is not drawn: the runs of one curve differ in trainer.max_epochs."],
    )
    assert changed("capacity", "trainer.max_epochs", [10, 100])[1] == []  # an exact solution takes no epochs


def test_values_that_are_no_numbers_have_no_theory_and_a_reason():
    curves, lost = changed("width", "model.num_hiddens", [[4], [16]])
    assert not [curve for curve in curves if curve.label != "noise floor"]
    assert lost[-1] == "Theory width is not drawn: the values of model.num_hiddens are no numbers."


def test_a_callback_of_ones_own_may_change_a_training():
    curves, lost = changed("learning_rate", "callbacks", [{"mine": {"_target_": "Mine"}}, {}])
    assert curves == []
    assert "callbacks=mine" in lost[0]


def test_generated_garments_in_place_of_missing_images_are_not_those_of_the_theory():
    name, question, runs = records("depth_init")
    for run in runs:
        run.fields["data"] = {"name": "fashion_mnist", "source": "generated", "checksum": None}
    assert THEORIES[name](question, runs) == []
    assert "the official images" in reasons(name, question, runs)[0]


def test_the_epochs_of_a_theory_are_those_of_all_runs():
    name, question, runs = records("training_time")
    runs[0].history = runs[0].history[:1]  # as of a run that was stopped early
    (flow, *_) = [curve for curve in THEORIES[name](question, runs) if curve.label == "gradient flow"]
    assert flow.x[-1] == 1500
