from pathlib import Path

import pytest

from lightning_d2l.config.optimizers import EXACT
from lightning_d2l.config.registry import LINEAR_REGRESSION, MLP, OWN_THEORIES
from lightning_d2l.studies.collect import collect
from lightning_d2l.studies.report import report
from lightning_d2l.studies.study import study_of
from lightning_d2l.theory.assumptions import ASSUMPTIONS
from lightning_d2l.theory.curves import Theory
from lightning_d2l.theory.theories import THEORIES, reasons, table
from tests.studies.records import write_sweep


@pytest.mark.parametrize("name", THEORIES)
def test_theories_return_nothing_for_runs_to_which_they_do_not_apply(name, tmp_path):
    """An MLP on a polynomial: only the noise floor applies."""
    keys = ("optimizer.weight_decay", "model.input_noise", "model.dropout", "penalty.lambda", "optimizer.lr")
    for key in keys:
        axes = {key: [0.1, 0.2], "model._target_": ["MLP"], "model.init": ["kaiming"]}
        folder = write_sweep(tmp_path / key, axes, lambda *_: {"loss/test": 1.0}, study={"x": key})
        sweeps = collect([folder])
        curves = THEORIES[name](study_of(sweeps), sweeps[0].runs)
        assert {curve.label for curve in curves} <= {"noise floor"}


def test_the_page_on_theory_has_the_table_of_the_code():
    assert table() in (Path(__file__).parents[2] / "docs" / "theory.md").read_text()


def test_every_assumption_is_one_of_some_theory_and_every_theory_has_one():
    theories = [THEORIES[name] for name in OWN_THEORIES]
    every = {part for theory in theories if isinstance(theory, Theory) for part in (theory, *theory.parts)}
    assert len(theories) <= len(every)
    assert {name for theory in every for name in theory.assumes} == ASSUMPTIONS.keys()
    assert all(theory.assumes for theory in every)


def test_a_report_says_why_its_theory_is_not_drawn(tmp_path):
    axes = {"data.degree": [1, 2], "model._target_": [MLP]}
    study = {"x": "data.degree", "theory": "capacity"}
    made = report([write_sweep(tmp_path / "s", axes, lambda *_: {"loss/test": 1.0}, study=study)])
    line = "Theory capacity is not drawn: it assumes a linear model, and these have model=MLP."
    assert line in made.paths["html"].read_text()


def test_runs_of_one_curve_are_of_one_problem_wherever_their_data_lie(tmp_path):
    axes = {"data.degree": [3, 4], "model": [LINEAR_REGRESSION], "optimizer._target_": [EXACT]}
    for key, values, lines in (("data.noise", [0.1, 0.2], 0), ("data.root", ["here", "there"], 3)):
        study = {"x": "data.degree", "replicates": [key], "metrics": ["loss/train", "loss/test"]}
        losses = {"loss/train": 1.0, "loss/test": 1.0}
        sweeps = collect([write_sweep(tmp_path / key, {**axes, key: values}, lambda *_, m=losses: m, study=study)])
        question, runs = study_of(sweeps), sweeps[0].runs
        assert len([c for c in THEORIES["capacity"](question, runs) if "fixed design" in c.label]) == lines
        told = reasons("capacity", question, runs)
        assert any(f"the runs of one curve differ in {key}" in line for line in told) == (not lines)
