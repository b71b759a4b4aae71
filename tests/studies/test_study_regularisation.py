"""The lessons of the studies of regularisation and of the learning rate."""

import math

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge

from lightning_d2l.training.build import build_data
from tests.studies.lessons import mean, means, run_study, runs, theory

pytestmark = pytest.mark.apart


def test_weight_decay_shrinks_the_initialisation_long_before_it_is_ridge(tmp_path):
    words = ("optimizer.weight_decay=0,3", "trainer.max_epochs=100", "seed=0,1,2")
    found = run_study(tmp_path, "weight_decay", *words)
    measured, expected = means(found, "norm/weights"), theory(found, "norm/weights")
    for decay in (0, 3):
        norm = math.sqrt(180) * (1 - 0.003 * decay) ** 400
        # The norm of 180 normal numbers has a standard deviation of 1/sqrt(360) of it: 4 of those of a mean of 3.
        assert measured[decay, 100] == pytest.approx(norm, rel=0.13)
        # the book's runs: 13.40 and 0.366; the bias, which does not decay, keeps weights from shrinking all the way
        left = expected["ridge + what is left of the initialisation", 100][decay]
        assert left == pytest.approx({0: norm, 3: 0.366}[decay], rel=0.01)
    ridge = expected["ridge, solved exactly",]
    assert measured[3, 100] > 8 * ridge[3]
    exact = run_study(tmp_path / "exact", "weight_decay", *words, "optimizer=exact")
    assert means(exact, "norm/weights")[3, 100] == pytest.approx(ridge[3], rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "axis", "strongest"), [("input_noise", "model.input_noise", 0.6), ("dropout_linear", "model.dropout", 0.4)]
)
def test_noise_and_dropout_of_the_inputs_end_at_their_ridge_regression(name, axis, strongest, tmp_path):
    found = run_study(tmp_path, name, f"{axis}=0,{strongest}", "seed=0,1,2")
    for run in found.runs:
        # what the noise of the last steps adds, about lr d V / n for residuals of variance V, is 2 % of V
        assert run.metric("loss/test") == pytest.approx(run.metric("exact.loss/test"), rel=0.05)
    (expected,), measured = theory(found, "loss/test").values(), means(found, "loss/test")
    for losses in (measured, expected):
        assert losses[strongest] < losses[0]


def test_only_l1_makes_weights_zero_and_all_is_scikit_learns(tmp_path):
    penalties = "penalty={l1:1},{l2:1},{l1:1,l2:1},{l1:0,l2:0}"
    found = run_study(tmp_path, "l1_l2", "penalty.lambda=0.3", penalties, "seed=0,1,2")
    oracles = {(0, 0): LinearRegression(), (1, 0): Lasso(0.3, tol=1e-12)}
    oracles |= {(0, 1): Ridge(9.0), (1, 1): ElasticNet(0.6, l1_ratio=0.5, tol=1e-12)}
    for members in runs(found).values():
        l1, l2 = (members[0].setting(f"penalty.{norm}") for norm in ("l1", "l2"))
        for run in members:
            data = build_data(run.config)
            (x, y), (x_test, y_test) = (tuple(t.numpy() for t in data.splits[split]) for split in ("train", "test"))
            oracle = oracles[l1, l2].fit(x, y[:, 0])
            loss = ((oracle.predict(x_test) - y_test[:, 0]) ** 2).mean() / 2
            assert run.metric("loss/test") == pytest.approx(loss, rel=1e-6)
            if l1 or l2:
                assert run.metric("zeros/weights") == np.mean(oracle.coef_ == 0)
        if l1:
            assert mean(members, "zeros/weights") > 0
    label = "expected over data sets"
    expected = {penalty: losses[0.3] for (_, penalty), losses in theory(found, "loss/test").items()}
    assert max(expected["{l1:1}"], expected["{l2:1}"]) < expected["{l1:0,l2:0}"]
    for (name, penalty), shares in theory(found, "zeros/weights").items():
        assert name == label
        assert (shares[0.3] > 0) == ("l1:1" in penalty)


@pytest.mark.slow
def test_smaller_batches_bear_smaller_learning_rates(tmp_path):
    """Each of three learning rates lies between the limits of two batch sizes, which divide them into stable or not."""
    found = run_study(tmp_path, "learning_rate", "optimizer.lr=0.1,0.3,1,3", "seed=0")
    lines = theory(found, "")
    limits = {batch: next(iter(lines["stability limit", batch])) for batch in (1, 4, 100)}
    assert limits[1] < limits[4] < limits[100]
    for (lr, batch), (run,) in runs(found).items():
        assert run.status == ("completed" if lr < limits[batch] else "diverged")


@pytest.mark.slow
def test_random_labels_are_learned_by_heart_and_worth_nothing(tmp_path):
    words = ("data.source=generated", "data.n_train=100", "data.val_size=100", "model.num_hiddens=128")
    found = run_study(tmp_path, "random_labels", *words, "data.label_noise=0,1", "trainer.max_epochs=80", "seed=0,1")
    train, test, epochs = (means(found, metric) for metric in ("acc/train", "acc/test", "epochs_to_fit"))
    assert train == {0: 1, 1: 1}
    assert test[0] > 0.6
    assert test[1] < 0.2
    assert epochs[1] > epochs[0]


@pytest.mark.slow
def test_dropout_closes_the_gap_and_more_data_do_too(tmp_path):
    words = ("data.source=generated", "data.val_size=500", "model.dropout=0,0.8", "data.n_train=100,1000")
    found = run_study(tmp_path, "dropout", *words, "trainer.max_epochs=10", "seed=0,1", "model.num_hiddens=128")
    gaps = means(found, "gap/val")
    assert gaps[0.8, 100] < gaps[0, 100]
    assert gaps[0, 1000] < gaps[0, 100]
