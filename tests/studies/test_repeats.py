"""Runs whose seed changes nothing are one sample of the data, in estimates, comparisons, answers and diagnoses."""

import json

import numpy as np
import pytest
from scipy import stats

from lightning_d2l import app
from lightning_d2l.studies.comparison import against_best, compare
from lightning_d2l.studies.effects import effects
from lightning_d2l.studies.findings import Findings, find
from lightning_d2l.studies.repeats import idle_of, step_of
from lightning_d2l.studies.replicates import Replicate
from tests.studies.records import write_sweep
from tests.studies.test_answers import STUDIES
from tests.studies.test_comparison import point

NOTHING = "seed changes nothing: runs that differ in it alone are equal, and count as one."
DRAW = " To sample the data, vary data.seed."


def sweep(folder, axes, loss) -> Findings:
    """A sweep whose validation loss is `loss` of the axes' values, and its training loss half of that."""
    return find([write_sweep(folder, axes, lambda *v: {"loss/train": loss(*v) / 2, "loss/val": loss(*v)})])


def test_seeds_that_change_nothing_are_one_sample_of_the_data(tmp_path):
    losses = {1: 8.0, 3: 0.01, 4: 0.011}
    found = sweep(tmp_path, {"data.degree": losses, "seed": range(5)}, lambda degree, seed: losses[degree])
    estimate = found.points[0].estimates["loss/val"]
    assert (estimate.n, estimate.clusters, estimate.has_interval) == (1, 1, False)
    assert str(estimate) == "8 (5 equal runs)"
    assert {c.verdict for _, c in against_best("loss/val", found.points)} == {"undecided"}
    assert found.answer.text == (
        "data.degree=3 has the lowest loss/val, 0.01 (5 equal runs). "
        "The runner-up, data.degree=4, has 0.011 (5 equal runs); other data may give another order."
    )
    assert found.answer.warnings == [NOTHING + DRAW]
    assert found.answer.next == {"data.seed": "range(5)", "seed": "0"}
    assert effects(found.study, found.points) is None  # a setting each, and no chance beside


@pytest.mark.parametrize("sets", [2, 4])
def test_over_several_data_sets_these_are_counted(sets, tmp_path):
    def loss(degree, data, seed):
        return (10 - 3 * degree) * (1 + 0.1 * data)

    axes = {"data.degree": [1, 3], "data.seed": range(sets), "seed": range(5)}
    found = sweep(tmp_path, axes, loss)
    estimate = found.points[0].estimates["loss/val"]
    values = [loss(1, data, 0) for data in range(sets)]
    assert (estimate.n, estimate.design) == (sets, f"{sets} data sets")
    assert (estimate.mean, estimate.std) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert compare(*found.points[::-1], "loss/val").pairs == sets
    assert found.answer.warnings == [NOTHING]  # data.seed is varied already


def test_settings_are_compared_over_the_seeds_that_change_one_of_them(tmp_path):
    sgd = {seed: 0.02 * (1 + 0.1 * seed) for seed in range(5)}
    axes = {"optimizer.lr": [0.1, 0.2], "seed": range(5)}
    found = sweep(tmp_path, axes, lambda lr, seed: sgd[seed] if lr == 0.1 else 0.01)
    loud, exact = found.points
    assert [p.estimates["loss/val"].n for p in found.points] == [5, 1]
    compared = compare(exact, loud, "loss/val")
    test = stats.ttest_1samp([np.log(v / 0.01) for v in sgd.values()], 0)
    assert (compared.pairs, compared.p) == (5, pytest.approx(test.pvalue))
    assert f"At 1 of 2 settings {NOTHING}{DRAW}" in found.answer.warnings


def test_data_seeds_that_change_nothing_and_both_together(tmp_path):
    axes = {"optimizer.lr": [0.1, 0.2], "data.seed": range(3)}
    fixed = sweep(tmp_path / "fixed", axes, lambda lr, _: lr)
    assert [p.estimates["loss/val"].n for p in fixed.points] == [1, 1]
    assert fixed.answer.warnings == [NOTHING.replace("seed", "data.seed", 1)]
    assert not fixed.answer.next
    both = write_sweep(tmp_path / "both", {"optimizer.lr": [0.1], "seed": range(3)}, lambda lr, _: {"loss/val": lr})
    for path in both.glob("*/run.json"):  # data.seed=${seed}
        record = json.loads(path.read_text())
        record["config"]["data"]["seed"] = record["seed"]
        path.write_text(json.dumps(record))
    assert find([both]).points[0].idle == ("seed", "data")


def test_accuracies_and_counts_that_agree_may_do_so_by_chance():
    seeds = [Replicate("", str(seed)) for seed in range(3)]
    assert idle_of(seeds, [{"acc/val": 1.0, "num_parameters": 5}] * 3) == ()
    assert idle_of(seeds, [{"acc/val": 1.0, "loss/val": 0.0}] * 3) == ()
    assert idle_of(seeds, [{"acc/val": 1.0, "loss/val": 0.3, "seconds": s} for s in (1.0, 2.0, 3.0)]) == ("seed",)
    assert idle_of(seeds, [{"loss/val": 0.3, "loss/test": t} for t in (1.0, 1.0, 1.0001)]) == ()
    assert idle_of(seeds, [{"loss/val": 0.3 * (1 + e)} for e in (0.0, 1e-7, -1e-7)]) == ("seed",)
    assert idle_of(seeds[:1], [{"loss/val": 0.3}]) == ()


def folded(folder, loss) -> Findings:
    """The study of cross-validation on one data set, with six seeds."""
    node = {**STUDIES["kfold"], "theory": None}
    axes = {"data.degree": [1, 2, 3], "data.fold": range(5), "seed": range(6)}

    def of(degree, fold, seed):
        held = loss(degree, seed) * (1 + 0.1 * fold)
        return {"loss/train": held / 2, "loss/val": held, "loss/test": loss(degree, seed)}

    return find([write_sweep(folder, axes, of, study=node)])


def test_seeds_on_one_data_set_are_no_data_sets_of_cross_validation(tmp_path):
    for name, spread in (("exact", 0.0), ("sgd", 0.3)):
        found = folded(tmp_path / name, lambda degree, seed, s=spread: (4 - degree) * (1 + s * seed))
        assert found.answer.verdict == "undecided"
        assert found.answer.text.startswith("Undecided: in 1 of 1 data set the chosen data.degree has the lowest loss")
    assert found.points[0].estimates["loss/val"].design == "6 seeds x 5 folds"
    exact = find([tmp_path / "exact"]).points[0].estimates["loss/val"]
    assert (exact.clusters, exact.has_interval, exact.n) == (1, False, 5)


def test_accuracies_that_differ_by_the_same_rounded_number_do_not_tell_settings_apart():
    def of(*values):
        return point(dict(enumerate(values)), "acc/test")

    few = compare(of(0.83, 0.85), of(0.82, 0.84), "acc/test")
    assert few.verdict == "undecided"
    assert few.p == pytest.approx(2 * stats.t.sf(0.01 / (0.01 / np.sqrt(6 * 2)), 1))
    many = compare(of(*np.arange(0.8, 0.9, 0.01)), of(*np.arange(0.7, 0.8, 0.01)), "acc/test")
    assert (many.verdict, many.effect) == ("apart", pytest.approx(-0.1))
    shares = [[0.83, 0.85], [0.25, 0.5], [1.0], [0.8342, 0.1], [0.57721566, 0.71828183, 0.41421356]]
    assert list(map(step_of, shares)) == pytest.approx([0.01, 0.25, 1.0, 0.0002, 0.0])


@pytest.mark.parametrize("samples", [20, 100])
def test_rounded_accuracies_without_an_effect_are_rarely_told_apart(samples):
    """Networks that are right on the same share of the population, each tested on the same few samples."""
    generator, repeats, wrong = np.random.default_rng(0), 1000, 0
    for _ in range(repeats):
        values = generator.binomial(samples, 0.9, size=(2, 3)) / samples
        wrong += compare(*(point(dict(enumerate(v)), "acc/test") for v in values), "acc/test").verdict == "apart"
    assert wrong <= stats.binom.ppf(1 - 1e-4, repeats, 0.05)


@pytest.mark.parametrize(
    "words",
    [
        ["model=polynomial_regression", "optimizer=exact", "data.degree=1,3"],
        ["model=linear_regression", "model.init=zeros", "data.batch_size=20", "optimizer.lr=0.01,0.1"],
    ],
)
def test_runs_that_are_solved_for_or_trained_from_zero_on_full_batches_are_found(words, tmp_path, capsys):
    small = ["data.n_train=20", "trainer.max_epochs=3", "logger=none", "seed=range(3)", f"hydra.sweep.dir={tmp_path}"]
    assert app.main(["-m", *words, *small]) == 0
    assert "seed changes nothing" in " ".join(capsys.readouterr().out.split())
    found = find([tmp_path])
    assert [p.idle for p in found.points] == [("seed",), ("seed",)]
    assert "significantly" not in found.answer.text
    assert found.next.endswith("data.seed=range(5) seed=0") or "data.seed=range(5)" in found.next
