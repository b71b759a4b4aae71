"""The lessons of the studies of least squares."""

import math

import numpy as np
import pytest

from lightning_d2l import app
from lightning_d2l.theory.cross_validation import choices
from lightning_d2l.theory.polynomials import best_polynomial_error
from tests.studies.lessons import means, run_study, theory

COEFFICIENTS = [5.0, 1.2, -3.4, 5.6]  # of the default polynomial, x^i / i!


def test_the_exact_solution_is_best_at_the_true_degree_and_fits_ever_closer(tmp_path):
    found = run_study(tmp_path, "capacity", "data.degree=1,2,3,4,6,9", "optimizer=exact")
    test, train, val = (
        {degree: value for (degree, _), value in means(found, f"loss/{split}").items()}
        for split in ("test", "train", "val")
    )
    assert min(test, key=test.__getitem__) == min(val, key=val.__getitem__) == 3
    assert sorted(train.values(), reverse=True) == list(train.values())
    assert test[9] > 10 * test[3]
    # sigma^2 (1 - p/n) holds for every design, so for the mean of 5 chi-squared variables with 96 degrees of freedom
    expected = theory(found, "loss/train")["σ²(1 - p/n), fixed design", "exact"]
    assert train[3] == pytest.approx(expected[3], rel=4 * math.sqrt(2 / 96 / 5))


def test_double_descent_peaks_where_samples_equal_features_and_follows_the_formula_elsewhere(tmp_path):
    words = ("data.n_train=25,50,100,200,300", "data.noise=0.5", "seed=range(10)")
    found = run_study(tmp_path, "double_descent", *words)
    test = {n: value for (n, _), value in means(found, "loss/test").items()}
    assert max(test, key=test.__getitem__) == 100
    assert test[200] < test[50] < test[100]
    curves = theory(found, "loss/test")
    for n in (25, 50, 200, 300):
        assert test[n] == pytest.approx(curves["expected over data sets", 0.5][n], rel=0.1)
    assert list(curves["n = d",]) == [100]


def test_random_features_peak_at_as_many_features_as_training_images(tmp_path):
    words = ("data.source=generated", "data.n_train=60", "model.num_features=15,60,600", "seed=0,1")
    found = run_study(tmp_path, "double_descent_random_features", *words)
    test, accuracy = means(found, "loss/test"), means(found, "acc/test")
    assert max(test, key=test.__getitem__) == 60
    assert min(accuracy, key=accuracy.__getitem__) == 60
    assert max(accuracy, key=accuracy.__getitem__) == 600
    assert list(theory(found, "loss/test")["features = training images",]) == [60]


def test_bias_variance_and_noise_add_up_to_the_test_error(tmp_path):
    found = run_study(tmp_path, "bias_variance", "data.degree=1,3,5", "seed=range(12)")
    bias, variance, noise, test = (means(found, f"loss/{part}") for part in ("bias2", "variance", "noise", "test"))
    for degree in (1, 3, 5):
        assert bias[degree] + variance[degree] + noise[degree] == pytest.approx(test[degree], rel=0.05)
    assert bias[1] > variance[1]
    assert abs(bias[3]) < variance[3] < variance[5]
    assert min(test, key=test.__getitem__) == 3
    fixed = theory(found, "loss/variance")["σ² p/n, fixed design",]
    assert fixed == pytest.approx({3: 0.04, 5: 0.06})  # sigma^2 p/n with n = 100; new inputs cost more:
    assert variance[3] > fixed[3]


def test_without_predictions_the_study_says_what_is_missing(capsys):
    assert app.main(["study=bias_variance", "data.degree=1", "trainer.save_predictions=false"]) == 2
    assert "trainer.save_predictions=true" in capsys.readouterr().err


def test_samples_help_a_rich_model_and_not_one_that_is_too_simple(tmp_path):
    words = ("data.n_train=15,50,1000", "data.degree=1,5", "seed=range(5)", "data.n_test=20000")
    found = run_study(tmp_path, "sample_size", *words)
    test, train, floor = means(found, "loss/test"), means(found, "loss/train"), 1.0
    best_line = theory(found, "loss/test")["the best polynomial of the degree", 1][1000]
    assert best_line == pytest.approx(floor + best_polynomial_error(COEFFICIENTS, True, 1))
    assert test[15, 5] > 5 * floor
    assert test[1000, 5] == pytest.approx(floor, rel=0.1)
    assert test[1000, 1] == pytest.approx(best_line, rel=0.15)
    assert train[15, 5] < train[50, 5] < train[1000, 5]


def test_cross_validation_finds_the_true_degree(tmp_path):
    found = run_study(tmp_path, "kfold", "data.degree=2,3,6", "seed=range(4)")
    chosen = choices(found.study, found.runs)
    assert len(chosen) == 4
    assert [by_folds for by_folds, _ in chosen.values()].count(3) >= 3
    assert any("chosen by cross-validation" in label and [*line] == [3] for (label,), line in theory(found, "").items())


def test_stopping_in_time_beats_training_to_the_end_and_is_as_good_as_ridge(tmp_path):
    words = ("seed=range(4)", "trainer.log_every_n_epochs=500", "optimizer.lr=0.03")
    found = run_study(tmp_path, "training_time", *words)
    val, train = means(found, "loss/val"), means(found, "loss/train")
    assert min(val.values()) < 0.8 * val[1500]
    assert sorted(train.values(), reverse=True) == list(train.values())
    curves = theory(found, "loss/val")
    flow, ridge = curves["gradient flow",], curves["ridge, λ = 1/(2 lr epoch)",]
    assert np.interp(500, list(flow), list(flow.values())) == pytest.approx(val[500], rel=0.1)
    # Ali, Kolter and Tibshirani 2019, theorem 1: the excess risk is at most 1.69 times that of ridge
    excess = [(flow[epoch] - 0.25) / (ridge[epoch] - 0.25) for epoch in flow]
    assert max(excess) < 1.69
    assert min(flow.values()) == pytest.approx(min(ridge.values()), rel=0.02)
