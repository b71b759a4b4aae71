"""The lessons of the studies of regularisation and of the learning rate, in small."""

import math
from collections import defaultdict

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge

from lightning_d2l import app
from lightning_d2l.studies.collect import collect
from lightning_d2l.studies.findings import find
from lightning_d2l.theory.theories import THEORIES
from lightning_d2l.training.build import build_data


def study(folder, *words):
    """The runs of a study by the values of its keys."""
    assert app.main([*words, "trainer.accelerator=cpu", f"hydra.sweep.dir={folder}"]) == 0
    findings, found = find([folder]), defaultdict(list)
    for run in collect([folder])[0].runs:
        found[tuple(run.setting(key) for key in findings.study.keys)].append(run)
    return found


def theory(folder, metric):
    """The values of the study's theories for a metric, by label, setting of the curve and x."""
    findings = find([folder])
    curves = THEORIES[findings.study.theory](findings.study, findings.runs)
    return {
        (curve.label, *curve.where.values(), x): y
        for curve in curves
        for x, y in zip(curve.x, curve.y, strict=True)
        if curve.metric == metric
    }


def mean(runs, metric):
    return float(np.mean([run.metric(metric) for run in runs]))


def test_weight_decay_shrinks_the_initialisation_long_before_it_is_ridge(tmp_path):
    words = ("optimizer.weight_decay=0,3", "trainer.max_epochs=100", "seed=0,1,2")
    found = study(tmp_path, "study=weight_decay", *words)
    expected = theory(tmp_path, "norm/weights")
    for decay in (0, 3):
        norm = math.sqrt(180) * (1 - 0.003 * decay) ** 400
        # The norm of 180 normal numbers has a standard deviation of 1/sqrt(360) of it: 4 of those of a mean of 3.
        assert mean(found[decay, 100], "norm/weights") == pytest.approx(norm, rel=0.13)
        left = "ridge + what is left of the initialisation"
        assert expected[left, 100, decay] == pytest.approx(norm, rel=0.01)
    assert mean(found[3, 100], "norm/weights") > 8 * expected["ridge, solved exactly", 3]
    ridge = study(tmp_path / "exact", "study=weight_decay", *words, "optimizer=exact")
    assert mean(ridge[3, 100], "norm/weights") == pytest.approx(expected["ridge, solved exactly", 3], rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "axis", "strongest"), [("input_noise", "model.input_noise", 0.6), ("dropout_linear", "model.dropout", 0.4)]
)
def test_noise_and_dropout_of_the_inputs_end_at_their_ridge_regression(name, axis, strongest, tmp_path):
    found = study(tmp_path, f"study={name}", f"{axis}=0,{strongest}", "seed=0,1,2")
    expected = theory(tmp_path, "loss/test")
    for strength in (0, strongest):
        for run in found[strength,]:
            # what the noise of the last steps adds, about lr d V / n for residuals of variance V, is 2 % of V
            assert run.metric("loss/test") == pytest.approx(run.metric("exact.loss/test"), rel=0.05)
    measured = [mean(found[strength,], "loss/test") for strength in (0, strongest)]
    assert measured[1] < measured[0]
    values = [y for (_, x), y in sorted(expected.items(), key=lambda item: item[0][1])]
    assert values[1] < values[0]


def test_only_l1_makes_weights_zero_and_all_is_scikit_learns(tmp_path):
    penalties = "penalty={l1:1},{l2:1},{l1:1,l2:1},{l1:0,l2:0}"
    found = study(tmp_path, "study=l1_l2", "penalty.lambda=0.3", penalties, "seed=0,1,2")
    oracles = {(0, 0): LinearRegression(), (1, 0): Lasso(0.3, tol=1e-12)}
    oracles |= {(0, 1): Ridge(9.0), (1, 1): ElasticNet(0.6, l1_ratio=0.5, tol=1e-12)}
    for runs in found.values():
        l1, l2 = (runs[0].setting(f"penalty.{norm}") for norm in ("l1", "l2"))
        for run in runs:
            data = build_data(run.config)
            (x, y), (x_test, y_test) = (tuple(t.numpy() for t in data.splits[split]) for split in ("train", "test"))
            oracle = oracles[l1, l2].fit(x, y[:, 0])
            loss = ((oracle.predict(x_test) - y_test[:, 0]) ** 2).mean() / 2
            assert run.metric("loss/test") == pytest.approx(loss, rel=1e-6)
            if l1 or l2:
                assert run.metric("zeros/weights") == np.mean(oracle.coef_ == 0)
        if l1:
            assert mean(runs, "zeros/weights") > 0
    expected = theory(tmp_path, "loss/test")
    plain = ("expected over data sets", "{l1:0,l2:0}", 0.3)
    assert all(expected[key] < expected[plain] for key in expected if key[1] in ("{l1:1}", "{l2:1}"))
    shares = theory(tmp_path, "zeros/weights")
    assert {key[1]: share > 0 for key, share in shares.items()} == {p: "l1:1" in p for _, p, _ in shares}


@pytest.mark.slow
def test_smaller_batches_bear_smaller_learning_rates(tmp_path):
    """Each of three learning rates lies between the limits of two batch sizes, which divide them into stable or not."""
    found = study(tmp_path, "study=learning_rate", "optimizer.lr=0.1,0.3,1,3", "seed=0")
    limits = {batch: x for label, batch, x in theory(tmp_path, "") if label == "stability limit"}
    assert limits[1] < limits[4] < limits[100]
    for (lr, batch), runs in found.items():
        assert runs[0].status == ("completed" if lr < limits[batch] else "diverged")


@pytest.mark.slow
def test_random_labels_are_learned_by_heart_and_worth_nothing(tmp_path):
    words = ("data.source=generated", "data.n_train=100", "data.val_size=100", "model.num_hiddens=128")
    found = study(tmp_path, "study=random_labels", *words, "data.label_noise=0,1", "trainer.max_epochs=80", "seed=0,1")
    right, random = found[0,], found[1,]
    assert mean(right, "acc/train") == mean(random, "acc/train") == 1
    assert mean(random, "acc/test") < 0.2
    assert mean(right, "acc/test") > 0.6
    assert mean(random, "epochs_to_fit") > mean(right, "epochs_to_fit")


@pytest.mark.slow
def test_dropout_closes_the_gap_and_more_data_do_too(tmp_path):
    words = ("data.source=generated", "data.val_size=500", "model.dropout=0,0.8", "data.n_train=100,1000")
    found = study(tmp_path, "study=dropout", *words, "trainer.max_epochs=10", "seed=0,1", "model.num_hiddens=128")
    gaps = {key: mean(runs, "gap/val") for key, runs in found.items()}
    assert gaps[0.8, 100] < gaps[0, 100]
    assert gaps[0, 1000] < gaps[0, 100]
