"""The analytic solution through the product against scikit-learn."""

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge

from lightning_d2l.config.check import RequestError
from lightning_d2l.training.build import build_data
from lightning_d2l.training.files import LAST
from tests.runs import config, run_here

BASE = ["logger=none", "trainer.accelerator=cpu", "trainer.precision=64-true"]


def solved(tmp_path, *overrides):
    """Weights and bias of a run with optimizer=exact, its record, and its training data."""
    overrides = (*overrides, "optimizer=exact", *BASE)
    assert run_here(tmp_path, *overrides) == 0
    state = torch.load(tmp_path / LAST, weights_only=True)["state_dict"]
    x, y = (t.numpy() for t in build_data(config(*overrides)).splits["train"])
    values = [value.numpy() for value in state.values()]
    return values, json.loads((tmp_path / "run.json").read_text()), x, y[:, 0]


@pytest.mark.parametrize("settings", [["model=linear_regression"], ["model=polynomial_regression", "data.degree=5"]])
def test_least_squares(tmp_path, settings):
    (weight, *bias), record, x, y = solved(tmp_path, *settings)
    oracle = LinearRegression(fit_intercept=bool(bias)).fit(x, y)
    np.testing.assert_allclose(weight[0], oracle.coef_, atol=1e-8)
    if bias:
        np.testing.assert_allclose(bias[0], oracle.intercept_, atol=1e-8)
    assert record["metrics"]["final"]["loss/train"] == pytest.approx(np.mean((oracle.predict(x) - y) ** 2), rel=1e-8)
    assert record["distance_to_exact"]["final"] == pytest.approx(0, abs=1e-8)


def test_minimum_norm_with_more_weights_than_samples(tmp_path):
    model = ["model=high_dimensional_regression", "optimizer.weight_decay=0"]
    (weight, bias), _, x, y = solved(tmp_path, *model)
    oracle = LinearRegression().fit(x, y)
    np.testing.assert_allclose(weight[0], oracle.coef_, atol=1e-8)
    np.testing.assert_allclose(bias[0], oracle.intercept_, atol=1e-8)


@pytest.mark.parametrize(("loss", "factor"), [("mse", 1.0), ("half_mse", 0.5)])
@pytest.mark.parametrize("place", ["optimizer.weight_decay", "penalty.l2"])
def test_ridge(tmp_path, loss, factor, place):
    model = ["model=high_dimensional_regression", f"loss={loss}", "optimizer.weight_decay=0", f"{place}=3"]
    (weight, bias), _, x, y = solved(tmp_path, *model)
    oracle = Ridge(alpha=3 * len(x) / (2 * factor), tol=1e-14).fit(x, y)
    np.testing.assert_allclose(weight[0], oracle.coef_, atol=1e-8)
    np.testing.assert_allclose(bias[0], oracle.intercept_, atol=1e-8)


def test_input_noise_is_ridge_with_n_times_its_variance(tmp_path):
    (weight, _), _, x, y = solved(tmp_path, "model=linear_regression", "data.n_train=50", "model.input_noise=0.5")
    np.testing.assert_allclose(weight[0], Ridge(alpha=50 * 0.5**2, tol=1e-14).fit(x, y).coef_, atol=1e-8)


def test_dropout_is_ridge_on_inputs_scaled_to_length_one(tmp_path):
    (weight, _), _, x, y = solved(tmp_path, "model=linear_regression", "data.n_train=50", "model.dropout=0.2")
    length = np.sqrt((x**2).sum(0))
    scaled = Ridge(alpha=0.2 / 0.8, tol=1e-14).fit(x / length, y).coef_ / length
    np.testing.assert_allclose(weight[0], scaled, atol=1e-8)


def test_descent_says_how_far_it_got(tmp_path):
    overrides = ["model=linear_regression", "trainer.max_epochs=60", "data.noise=1.0", "optimizer.lr=0.001", *BASE]
    assert run_here(tmp_path, *overrides) == 0
    record = json.loads((tmp_path / "run.json").read_text())
    x, y = (t.numpy() for t in build_data(config(*overrides)).splits["train"])
    oracle = LinearRegression().fit(x, y[:, 0])
    state = [v.numpy() for v in torch.load(tmp_path / LAST, weights_only=True)["state_dict"].values()]
    difference = np.append(state[0][0] - oracle.coef_, state[1] - oracle.intercept_)
    distance = record["distance_to_exact"]
    assert distance["final"] == pytest.approx(np.linalg.norm(difference), rel=1e-6)
    assert distance["at_start"] == pytest.approx(np.linalg.norm([2, -3.4, 4.2]), rel=0.05)
    assert distance["final"] < 0.05
    exact, final = record["metrics"]["exact"], record["metrics"]["final"]
    assert exact["loss/train"] == pytest.approx(np.mean((oracle.predict(x) - y[:, 0]) ** 2))
    assert exact["loss/train"] < final["loss/train"]


def test_lasso(tmp_path):
    model = ["model=high_dimensional_regression", "optimizer.weight_decay=0", "penalty.l1=0.02"]
    (weight, bias), record, x, y = solved(tmp_path, *model)
    oracle = Lasso(alpha=0.02, tol=1e-14, max_iter=1_000_000).fit(x, y)  # 1/(2n) |.|^2 is the loss with its 1/2
    np.testing.assert_allclose(weight[0], oracle.coef_, atol=1e-8)
    np.testing.assert_allclose(bias[0], oracle.intercept_, atol=1e-8)
    assert record["metrics"]["final"]["zeros/weights"] == np.mean(oracle.coef_ == 0)


def test_elastic_net(tmp_path):
    model = ["model=high_dimensional_regression", "optimizer.weight_decay=0", "penalty.l1=0.02", "penalty.l2=0.1"]
    (weight, _), _, x, y = solved(tmp_path, *model)
    oracle = ElasticNet(alpha=0.12, l1_ratio=0.02 / 0.12, tol=1e-14, max_iter=1_000_000).fit(x, y)
    np.testing.assert_allclose(weight[0], oracle.coef_, atol=1e-8)


def test_random_features_classify_by_least_squares(tmp_path):
    model = ["model=random_features", "model.num_features=50", "loss=one_hot_mse", "trainer.evaluate=[train]"]
    data = ["data.source=generated", "data.n_train=200", "data.val_size=0"]
    overrides = [*model, *data, "optimizer=exact", *BASE]
    assert run_here(tmp_path, *overrides) == 0
    state = torch.load(tmp_path / LAST, weights_only=True)["state_dict"]
    x, y = build_data(config(*overrides)).splits["train"]
    features = np.maximum(x.flatten(1).numpy() / 255 @ state["net.V"].numpy().T, 0)
    oracle = LinearRegression(fit_intercept=False).fit(features, np.eye(10)[y])
    np.testing.assert_allclose(state["net.linear.weight"], oracle.coef_, atol=1e-6)


DEGREE_19 = ["model=polynomial_regression", "optimizer=exact", "data.degree=19", "logger=none"]


def test_degree_19_is_solved_in_float64_by_default(tmp_path):
    """The columns of Chebyshev polynomials span what the powers do, and have a condition number of some thousands."""
    assert run_here(tmp_path, *DEGREE_19) == 0
    record = json.loads((tmp_path / "run.json").read_text())
    x, y = (t.numpy() for t in build_data(config(*DEGREE_19)).splits["train"])
    columns = np.polynomial.chebyshev.chebvander(x[:, 1] / np.abs(x[:, 1]).max(), 19)
    residual = y - columns @ np.linalg.lstsq(columns, y)[0]
    for which in ("final", "exact"):
        assert record["metrics"][which]["loss/train"] == pytest.approx((residual**2).mean(), rel=1e-8)
    assert record["solution"]["rank"] == record["solution"]["full_rank"] == 20


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data.n_train=20", "data.seed=1"], "exact: rank 19 of 20 columns, within rounding"),
        (["data.seed=1", "trainer.precision=32-true"], "times its loss/train; try trainer.precision=64-true"),
    ],
)
def test_what_rounding_takes_from_a_solution_is_told(words, line, tmp_path, capsys):
    assert run_here(tmp_path, *DEGREE_19, *words, part_of_sweep=False) == 0
    captured = capsys.readouterr()
    assert line in " ".join((captured.out + captured.err).split())


def test_predictions_of_the_test_samples_are_written(tmp_path):
    overrides = [
        "model=linear_regression",
        "optimizer=exact",
        "trainer.save_predictions=true",
        "data.test_seed=5",
        *BASE,
    ]
    assert run_here(tmp_path, *overrides) == 0
    table = np.genfromtxt(tmp_path / "predictions.csv", delimiter=",", names=True)
    data = build_data(config(*overrides, "data.seed=3"))  # another training set, and the same test set
    x, y = (t.numpy() for t in data.splits["test"])
    np.testing.assert_allclose(table["y"], y[:, 0])
    np.testing.assert_allclose(table["true"], x @ [2, -3.4] + 4.2)
    final = json.loads((tmp_path / "run.json").read_text())["metrics"]["final"]
    assert np.mean((table["output_0"] - table["y"]) ** 2) == pytest.approx(final["loss/test"])


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("model=mlp optimizer=exact", "must be for a model that is linear in its parameters, not for MLP"),
        ("model=random_features optimizer=exact", "loss=null: must be one_hot_mse for optimizer=exact"),
        ("model=linear_regression optimizer=exact loss=gaussian_nll", "loss=gaussian_nll: must be mse, half_mse"),
        ("model=linear_regression data.folds=5", "data.fold=null: must be 0 to 4 where data.folds=5"),
        ("model=linear_regression data.fold=1", "data.fold=1: must come with data.folds"),
        ("model=linear_regression information=true", "information=true: must be false for this data"),
    ],
)
def test_requests_without_an_exact_solution(words, answer):
    with pytest.raises(RequestError) as error:
        config(*words.split())
    assert answer in str(error.value)
