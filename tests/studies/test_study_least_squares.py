"""The studies of least squares: their lessons appear in small sweeps, and their theory equals simulations."""

import math
from pathlib import Path

import numpy as np
import pytest

from lightning_d2l import app
from lightning_d2l.studies.findings import Findings, find
from lightning_d2l.theory.cross_validation import choices
from lightning_d2l.theory.curves import Curve
from lightning_d2l.theory.decomposition import decompose
from lightning_d2l.theory.double_descent import minimum_norm_risk
from lightning_d2l.theory.early_stopping import marchenko_pastur, shrunk_losses
from lightning_d2l.theory.polynomials import best_polynomial_error
from lightning_d2l.theory.theories import THEORIES
from lightning_d2l.training.record import RunRecord

COEFFICIENTS = [5.0, 1.2, -3.4, 5.6]  # of the default polynomial, x^i / i!


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Runs a study with overrides, and returns what its report finds."""

    def run_study(name: str, *overrides: str) -> Findings:
        monkeypatch.setattr("sys.argv", ["train.py"])
        folder = tmp_path / name
        assert app.main([f"study={name}", *overrides, f"hydra.sweep.dir={folder}"]) == 0
        return find([folder])

    return run_study


def theory(found: Findings, label: str, metric: str = "") -> Curve:
    curves = THEORIES[str(found.study.theory)](found.study, found.runs)
    return next(curve for curve in curves if label in curve.label and metric in (curve.metric, ""))


def means(found: Findings, metric: str, **where: object) -> dict[float, float]:
    chosen = [p for p in found.points if all(p.setting[key] == value for key, value in where.items())]
    return {p.setting[found.study.x]: p.estimates[metric].mean for p in chosen}


# capacity


def test_the_exact_solution_is_best_at_the_true_degree_and_fits_ever_closer(study):
    found = study("capacity", "data.degree=1,2,3,4,6,9", "optimizer=exact")
    test, train = means(found, "loss/test"), means(found, "loss/train")
    assert min(test, key=test.__getitem__) == 3
    assert means(found, "loss/val")[3] == min(means(found, "loss/val").values())
    assert sorted(train.values(), reverse=True) == list(train.values())
    assert test[9] > 10 * test[3]
    # sigma^2 (1 - p/n) holds for every design, so for the mean of 5 chi-squared variables with 96 degrees of freedom
    expected = theory(found, "σ²(1 - p/n)", "loss/train")
    assert train[3] == pytest.approx(expected.y[0], rel=4 * math.sqrt(2 / 96 / 5))


# double descent


@pytest.mark.parametrize(("n", "d"), [(20, 60), (60, 20)])
def test_the_risk_of_minimum_norm_least_squares_is_that_of_a_simulation(n, d):
    random, sigma, risks = np.random.default_rng(0), 0.5, []
    beta = np.full(d, 1 / math.sqrt(d))
    for _ in range(2000):
        x = random.standard_normal((n, d))
        fit = np.linalg.pinv(x) @ (x @ beta + sigma * random.standard_normal(n))
        risks.append(np.sum((fit - beta) ** 2))  # the excess risk on new N(0, 1) inputs
    error = np.std(risks) / math.sqrt(len(risks))
    assert np.mean(risks) == pytest.approx(minimum_norm_risk(n, d, sigma**2), abs=4 * error)


def test_double_descent_peaks_where_samples_equal_features_and_follows_the_formula_elsewhere(study):
    found = study("double_descent", "data.n_train=25,50,100,200,300", "data.noise=0.5", "seed=range(10)")
    test = means(found, "loss/test")
    assert max(test, key=test.__getitem__) == 100
    assert test[200] < test[50] < test[100]
    formula = theory(found, "expected", "loss/test")
    expected = dict(zip(formula.x, formula.y, strict=True))
    for n in (25, 50, 200, 300):
        assert test[n] == pytest.approx(expected[n], rel=0.1)
    assert theory(found, "n = d").x == [100, 100]


def test_random_features_peak_at_as_many_features_as_training_images(study):
    settings = ["data.source=generated", "data.n_train=60", "model.num_features=15,60,600", "seed=0,1"]
    found = study("double_descent_random_features", *settings)
    test, accuracy = means(found, "loss/test"), means(found, "acc/test")
    assert max(test, key=test.__getitem__) == 60
    assert min(accuracy, key=accuracy.__getitem__) == 60
    assert max(accuracy, key=accuracy.__getitem__) == 600
    assert theory(found, "features = training images", "loss/test").x == [60, 60]


# bias and variance


def test_bias_variance_and_noise_add_up_to_the_test_error(study):
    found = study("bias_variance", "data.degree=1,3,5", "seed=range(12)")
    for point in found.points:
        parts = [point.estimates[f"loss/{part}"].mean for part in ("bias2", "variance", "noise")]
        assert sum(parts) == pytest.approx(point.estimates["loss/test"].mean, rel=0.05)
    bias, variance = means(found, "loss/bias2"), means(found, "loss/variance")
    assert bias[1] > variance[1]
    assert abs(bias[3]) < variance[3] < variance[5]
    total = means(found, "loss/test")
    assert min(total, key=total.__getitem__) == 3
    fixed = theory(found, "fixed design", "loss/variance")
    assert fixed.x == [3, 5]
    assert fixed.y == pytest.approx([0.04, 0.06])  # sigma^2 p/n with p = 4 and 6, n = 100; new inputs cost more:
    assert variance[3] > fixed.y[0]


def write_fits(folder: Path, fits: np.ndarray, true: np.ndarray, y: np.ndarray) -> list[RunRecord]:
    runs = []
    for number, fit in enumerate(fits):
        (folder / str(number)).mkdir()
        rows = "".join(f"{a},{b},{c}\n" for a, b, c in zip(y.tolist(), true.tolist(), fit.tolist(), strict=True))
        (folder / str(number) / "predictions.csv").write_text("y,true,output_0\n" + rows)
        runs.append(RunRecord(folder / str(number), {"status": "completed", "config": {}}))
    return runs


def test_the_parts_are_the_moments_of_the_fits(tmp_path):
    random = np.random.default_rng(0)
    true, y, fits = random.standard_normal(7), random.standard_normal(7), random.standard_normal((5, 7))
    found = {part: np.mean(values) for part, values in decompose(write_fits(tmp_path, fits, true, y)).items()}
    variance = fits.var(axis=0, ddof=1).mean()
    assert found["loss/variance"] == pytest.approx(variance)
    assert found["loss/bias2"] == pytest.approx(np.mean((fits.mean(0) - true) ** 2) - variance / 5)
    assert found["loss/noise"] == pytest.approx(np.mean((y - true) ** 2))
    assert found["loss/total"] == pytest.approx(np.mean((fits - true) ** 2) + np.mean((y - true) ** 2))


def test_nothing_is_decomposed_over_different_test_samples(tmp_path):
    runs = write_fits(tmp_path, np.zeros((2, 3)), np.zeros(3), np.zeros(3))
    (runs[1].folder / "predictions.csv").write_text("y,true,output_0\n1.0,1.0,0.0\n" * 3)
    assert decompose(runs) == {}


def test_without_predictions_the_study_says_what_is_missing(capsys):
    assert app.main(["study=bias_variance", "data.degree=1", "trainer.save_predictions=false"]) == 2
    assert "trainer.save_predictions=true" in capsys.readouterr().err


@pytest.mark.parametrize("factorial", [True, False])
def test_the_best_polynomial_is_that_of_a_regression_on_many_points(factorial):
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)  # exact for N(0, 1) up to degree 39
    scale = [math.factorial(i) if factorial else 1 for i in range(4)]
    true = sum(c * nodes**i / scale[i] for i, c in enumerate(COEFFICIENTS))
    root = np.sqrt(weights / weights.sum())
    for degree in range(5):
        powers = np.stack([nodes**i for i in range(degree + 1)], axis=1)
        fit = powers @ np.linalg.lstsq(powers * root[:, None], true * root, rcond=None)[0]
        error = np.sum(root**2 * (true - fit) ** 2)
        assert best_polynomial_error(COEFFICIENTS, factorial, degree) == pytest.approx(error, abs=1e-10)


# sample size


def test_samples_help_a_rich_model_and_not_one_that_is_too_simple(study):
    found = study("sample_size", "data.n_train=15,50,1000", "data.degree=1,5", "seed=range(5)", "data.n_test=20000")
    gap = {k: {n: means(found, "loss/test", **{"data.degree": k})[n] for n in (15, 1000)} for k in (1, 5)}
    floor, best_line = 1.0, theory(found, "best polynomial", "loss/test").y[0]
    assert best_line == pytest.approx(1 + best_polynomial_error(COEFFICIENTS, True, 1))
    assert gap[5][15] > 5 * floor
    assert gap[5][1000] == pytest.approx(floor, rel=0.1)
    assert gap[1][1000] == pytest.approx(best_line, rel=0.15)
    train = means(found, "loss/train", **{"data.degree": 5})
    assert train[15] < train[50] < train[1000]


# K-fold


def test_cross_validation_finds_the_true_degree(study):
    found = study("kfold", "data.degree=2,3,6", "seed=range(4)")
    chosen = choices(found.study, found.runs)
    assert len(chosen) == 4
    assert [by_folds for by_folds, _ in chosen.values()].count(3) >= 3
    assert theory(found, "chosen by cross-validation").x == [3, 3]


# training time


def test_the_marchenko_pastur_law_is_that_of_a_large_random_matrix():
    for n, d in ((2000, 500), (500, 1000)):
        x = np.random.default_rng(0).standard_normal((n, d))
        values = np.linalg.eigvalsh(x.T @ x / n)
        s, weight = marchenko_pastur(d / n)
        assert weight.sum() == pytest.approx(min(1, n / d), abs=1e-6)
        for function in (lambda v: v, lambda v: v**2, lambda v: np.where(v > 1e-9, 1 / (1 + v), 0)):
            assert weight @ function(s) == pytest.approx(function(values).mean(), rel=0.01)


def test_shrinkage_is_gradient_flow_and_ridge_of_a_simulation():
    random, n, d, sigma, t, penalty = np.random.default_rng(0), 300, 250, 0.7, 1.5, 0.4
    beta, flow, ridge = np.full(d, 1 / math.sqrt(d)), [], []
    for _ in range(30):
        x = random.standard_normal((n, d))
        y = x @ beta + sigma * random.standard_normal(n)
        s, v = np.linalg.eigh(x.T @ x / n)
        least_squares = v.T @ np.linalg.solve(x.T @ x, x.T @ y)
        for losses, g in ((flow, 1 - np.exp(-t * s)), (ridge, s / (s + penalty))):
            w = v @ (g * least_squares)
            losses.append((np.mean((x @ w - y) ** 2), np.sum((w - beta) ** 2) + sigma**2))
    for losses, shrinkage in ((flow, lambda s: 1 - np.exp(-t * s)), (ridge, lambda s: s / (s + penalty))):
        error = 4 * np.std(losses, axis=0) / math.sqrt(len(losses)) + 2 / d  # and the limit's own
        expected = shrunk_losses(shrinkage, d / n, sigma**2)
        assert np.all(np.abs(np.mean(losses, axis=0) - expected) < error)


def test_stopping_in_time_beats_training_to_the_end_and_is_as_good_as_ridge(study):
    found = study("training_time", "seed=range(4)", "trainer.log_every_n_epochs=500", "optimizer.lr=0.03")
    val, train = means(found, "loss/val"), means(found, "loss/train")
    assert min(val.values()) < 0.8 * val[1500]
    assert sorted(train.values(), reverse=True) == list(train.values())
    flow, ridge = theory(found, "gradient flow", "loss/val"), theory(found, "ridge")
    assert np.interp(500, flow.x, flow.y) == pytest.approx(val[500], rel=0.1)
    # Ali, Kolter and Tibshirani 2019, theorem 1: the excess risk is at most 1.69 times that of ridge
    excess = (np.array(flow.y) - 0.25) / (np.array(ridge.y) - 0.25)
    assert excess.max() < 1.69
    assert min(flow.y) == pytest.approx(min(ridge.y), rel=0.02)
