"""Data and networks that would exhaust the memory are refused by their key."""

import pytest

from lightning_d2l.config.check import RequestError, check
from tests.runs import config

HIGH, IMAGES = "model=high_dimensional_regression", "model=mlp"
WRONG = {
    ("model=polynomial_regression", "data.n_train=1000000000000"): "data.n_train=1000000000000: must be at most",
    ("model=polynomial_regression", "data.n_val=1000000000000"): "data.n_val=1000000000000: must be at most",
    ("model=polynomial_regression", "data.n_test=10000000000"): "data.n_test=10000000000: must be at most",
    ("model=polynomial_regression", "data.degree=1000000000"): "data.degree=1000000000: must be a whole number from 0",
    ("model=polynomial_regression", "data.degree=100", "data.n_train=100000000"): "data.n_train=100000000: must be",
    ("model=polynomial_regression", f"data.coefficients={[1.0] * 102}"): "data.coefficients: has 102 values",
    ("model=linear_regression", "data.n_train=1000000000"): "data.n_train=1000000000: must be at most 268,433,456 with",
    (HIGH, "data.d=1000000000000"): "data.d=1000000000000: must be at most",
    (HIGH, "data.d=100000", "data.n_train=100000"): "data.n_train=100000: must be at most",
    (IMAGES, "data.resize=512"): "data.resize=512: must be at most 247 for 70,000 images",
    (IMAGES, "model.num_hiddens=1000000000"): "model.num_hiddens=1000000000: must be of at most 268,435,456 weights",
    (IMAGES, "model.num_hiddens=[100000,100000]"): "model.num_hiddens=[100000, 100000]: must be",
    (IMAGES, "model.num_hiddens=256", "model.num_layers=1000000000"): "model.num_layers=1000000000: must be at most",
    (IMAGES, "model.num_hiddens=10000", "model.num_layers=100"): "model.num_hiddens=10000: must be",
    ("model=random_features", "model.num_features=1000000000"): "model.num_features=1000000000: must be",
    ("model=tied_mlp", "model.num_hiddens=100000"): "model.num_hiddens=100000: must be",
    ("model=fixed_hidden_mlp", "model.num_hiddens=100000"): "model.num_hiddens=100000: must be",
}


@pytest.mark.parametrize("overrides", WRONG, ids=lambda overrides: overrides[-1][:40])
def test_what_does_not_fit_into_memory(overrides):
    with pytest.raises(RequestError) as refused:
        check(config(*overrides))
    assert str(refused.value).startswith(WRONG[overrides])


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=polynomial_regression", "data.n_train=1000000", "data.degree=100"),
        ("model=polynomial_regression", f"data.coefficients={[1.0] * 101}"),
        (HIGH, "data.d=1000000"),
        (IMAGES, "data.resize=224"),
        (IMAGES, "data.resize=512", "data.n_train=100", "data.val_size=100"),
        (IMAGES, "model.num_hiddens=100000"),
        (IMAGES, "model.num_hiddens=10", "model.num_layers=1000"),
        ("model=random_features", "model.num_features=100000"),
    ],
)
def test_what_fits_is_allowed(overrides):
    check(config(*overrides))


def test_the_largest_polynomial_is_drawn():
    from lightning_d2l.data.synthetic import PolynomialData

    settings = {"noise": 0.1, "n_train": 5, "n_val": 5, "n_test": 5, "batch_size": 5, "factorial": True}
    data = PolynomialData(degree=100, coefficients=[1.0] * 101, **settings)
    data.setup()
    assert data.splits["train"][0].isfinite().all()
    assert data.splits["train"][1].isfinite().all()
