"""Losses and penalties against torch, scikit-learn and closed forms."""

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from torch.distributions import Normal
from torch.nn import functional

from lightning_d2l.modules.losses import LOSSES, GaussianNLL
from lightning_d2l.training.build import build_data
from lightning_d2l.training.files import LAST
from tests.runs import config, run_here


def test_regression_losses():
    output, y = torch.randn(2, 30, 1, dtype=torch.float64)
    mse = functional.mse_loss(output, y)
    for name, expected in {"mse": mse, "half_mse": mse / 2, "squared_scratch": mse / 2}.items():
        torch.testing.assert_close(LOSSES[name]()(output, y), expected)


def test_classification_losses():
    output, y = 30 * torch.randn(50, 4, dtype=torch.float64), torch.randint(4, (50,))
    for name in ("cross_entropy", "cross_entropy_scratch"):
        torch.testing.assert_close(LOSSES[name]()(output, y), functional.cross_entropy(output, y))


def test_gaussian_likelihood_is_that_of_torch_distributions():
    loss = GaussianNLL()
    with torch.no_grad():
        loss.log_sigma.fill_(-0.7)
    output, y = torch.randn(2, 30, 1)
    torch.testing.assert_close(loss(output, y), -Normal(output, loss.sigma).log_prob(y).mean())


def test_maximum_likelihood_is_least_squares_and_the_residuals_spread(tmp_path):
    overrides = [
        "model=linear_regression", "loss=gaussian_nll", "data.noise=0.5", "data.n_train=200", "data.batch_size=200",
        "optimizer.lr=0.1", "trainer.max_epochs=400", "trainer.log_every_n_epochs=400", "trainer.precision=64-true",
        "logger=none",
    ]  # fmt: skip
    assert run_here(tmp_path, *overrides) == 0
    x, y = (t.numpy() for t in build_data(config(*overrides)).splits["train"])
    oracle = LinearRegression().fit(x, y[:, 0])
    final = json.loads((tmp_path / "run.json").read_text())["metrics"]["final"]
    residual = np.sqrt(np.mean((oracle.predict(x) - y[:, 0]) ** 2))
    assert final["sigma/noise"] == pytest.approx(residual, rel=1e-6)
    assert final["mse/train"] == pytest.approx(residual**2, rel=1e-6)
    assert final["loss/train"] == pytest.approx(0.5 * np.log(2 * np.pi * np.e * residual**2), rel=1e-6)
    weights = torch.load(tmp_path / LAST, weights_only=True)["state_dict"]
    np.testing.assert_allclose(weights["net.0.weight"][0], oracle.coef_, atol=1e-6)


def weights(folder, *overrides):
    model = [
        "model=high_dimensional_regression",
        "optimizer.weight_decay=0",
        "trainer.precision=64-true",
        "logger=none",
    ]
    assert run_here(folder, *model, *overrides) == 0
    record = json.loads((folder / "run.json").read_text())["metrics"]["final"]
    return torch.load(folder / LAST, weights_only=True)["state_dict"]["net.0.weight"], record


def test_l2_penalty_equals_weight_decay(tmp_path):
    penalty, with_penalty = weights(tmp_path / "penalty", "penalty.l2=3")
    decay, with_decay = weights(tmp_path / "decay", "optimizer.weight_decay=3")
    torch.testing.assert_close(penalty, decay, rtol=1e-12, atol=0)
    del with_penalty["zeros/weights"]
    assert with_penalty == pytest.approx(with_decay, rel=1e-12)  # so the penalty is in no reported loss
    assert with_decay["norm/weights"] == pytest.approx(float(decay.norm()))


def test_decay_without_the_half_is_half_of_it_with_the_half(tmp_path):
    whole, _ = weights(tmp_path / "whole", "loss=mse", "penalty.l2=3", "optimizer.lr=0.0015")
    half, _ = weights(tmp_path / "half", "loss=half_mse", "penalty.l2=1.5", "optimizer.lr=0.003")
    torch.testing.assert_close(whole, half, rtol=1e-10, atol=0)


def test_l1_leaves_more_weights_near_zero_than_l2_of_the_same_norm(tmp_path):
    settings = ["trainer.max_epochs=2000", "trainer.log_every_n_epochs=2000", "optimizer.lr=0.001"]
    l1, _ = weights(tmp_path / "l1", *settings, "penalty.l1=0.03")
    l2, _ = weights(tmp_path / "l2", *settings, "penalty.l2=2")
    small = [(w.abs() < 0.02 * w.abs().max()).double().mean().item() for w in (l1, l2)]
    assert small[0] > 2 * small[1]


def test_information_metrics_are_logged_beside_the_loss(tmp_path):
    settings = [
        "model=softmax_regression",
        "data.source=generated",
        "data.n_train=200",
        "data.val_size=50",
        "logger=none",
    ]
    assert run_here(tmp_path, *settings, "trainer.max_epochs=1", "information=true") == 0
    final = json.loads((tmp_path / "run.json").read_text())["metrics"]["final"]
    for split in ("train", "val", "test"):
        assert final[f"cross_entropy/{split}"] == pytest.approx(final[f"loss/{split}"])
        assert final[f"surprisal_bits/{split}"] == pytest.approx(final[f"loss/{split}"] / np.log(2))
        assert 0 < final[f"entropy/{split}"] < np.log(10)
