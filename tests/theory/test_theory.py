import numpy as np
import pytest

from lightning_d2l.studies.collect import collect
from lightning_d2l.studies.study import study_of
from lightning_d2l.theory.polynomials import capacity
from lightning_d2l.theory.problem import initial_std
from lightning_d2l.theory.theories import THEORIES
from tests.studies.records import write_sweep


def test_capacity_is_what_least_squares_on_a_fixed_design_shows(tmp_path):
    n, noise, true = 40, 0.5, [5.0, 1.2, -3.4, 5.6]
    axes = {"data.degree": [1, 3, 5, 9], "data.n_train": [n], "data.noise": [noise], "data.coefficients": [true]}
    metrics = {"loss/train": 1.0, "loss/test": 1.0}
    sweeps = collect([write_sweep(tmp_path / "s", axes, lambda *_: metrics, study={"x": "data.degree"})])
    curves = {curve.metric: curve for curve in capacity(study_of(sweeps), sweeps[0].runs) if "design" in curve.label}
    generator = np.random.default_rng(0)
    x = generator.normal(size=n)
    features = np.vander(x, 10, increasing=True)
    clean = features[:, :4] @ true
    for position, degree in enumerate([3, 5, 9]):
        q, _ = np.linalg.qr(features[:, : degree + 1])
        y, fresh = (clean + noise * generator.normal(size=(20_000, n)) for _ in range(2))
        fitted = y @ q @ q.T
        for metric, labels in (("loss/train", y), ("loss/test", fresh)):
            assert curves[metric].x[position] == degree
            np.testing.assert_allclose(curves[metric].y[position], ((labels - fitted) ** 2).mean(), rtol=0.01)


@pytest.mark.parametrize(
    ("model", "std"),
    [
        ({"std": 0.1}, 0.1),
        ({"init": "zeros"}, 0),
        ({"init": "normal"}, 0.01),
        ({"init": {"name": "normal", "std": 1.0}}, 1),
        ({"init": {"name": "xavier_normal", "std": 1.0}}, None),
    ],
)
def test_initial_weights(model, std):
    assert initial_std({"model": model}) == std


@pytest.mark.parametrize("name", THEORIES)
def test_no_theory_speaks_of_runs_that_it_is_not_about(name, tmp_path):
    """An MLP on a polynomial: all but the noise floor and what is exact of any design is of something else."""
    keys = ("optimizer.weight_decay", "model.input_noise", "model.dropout", "penalty.lambda", "optimizer.lr")
    for key in keys:
        axes = {key: [0.1, 0.2], "model._target_": ["MLP"], "model.init": ["kaiming"]}
        folder = write_sweep(tmp_path / key, axes, lambda *_: {"loss/test": 1.0}, study={"x": key})
        sweeps = collect([folder])
        curves = THEORIES[name](study_of(sweeps), sweeps[0].runs)
        assert {curve.label for curve in curves} <= {"noise floor"}
