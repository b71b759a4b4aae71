"""The demos of loading data, of activation functions, and of depth without them."""

import itertools

import numpy as np
import pytest
import scipy.special
import torch
from torch import nn

from lightning_d2l.book.demos import activations, affine_collapse, fashion_mnist_loading
from lightning_d2l.book.demos.activations import inputs, value_and_gradient
from lightning_d2l.book.demos.affine_collapse import best_affine_fit, collapse
from lightning_d2l.book.demos.fashion_mnist_loading import seconds_a_pass
from lightning_d2l.data.batches import Batches
from lightning_d2l.nets.mlp import ACTIVATIONS, MLP


def test_a_pass_serves_every_image_once_in_another_order_each_time():
    served = []

    class Watched(Batches):
        def __iter__(self):
            for x, y in super().__iter__():
                served.append(y)
                yield x, y

    x, y = torch.randint(256, (1000, 1, 28, 28), dtype=torch.uint8), torch.arange(1000)
    seconds = seconds_a_pass(Watched(x, y, 256, torch.float32, shuffle_seed=0), 2)
    assert len(seconds) == 2
    assert all(value > 0 for value in seconds)
    assert [len(part) for part in served] == 3 * [256, 256, 256, 232]
    passes = torch.cat(served).reshape(3, 1000)
    assert torch.equal(passes.sort().values, y.expand(3, 1000))
    assert not torch.equal(passes[1], passes[2])


def test_text_names_the_source_of_the_data(official_root, monkeypatch):
    monkeypatch.setenv("LIGHTNING_D2L_DATA", official_root)
    demo = fashion_mnist_loading.run(seed=0, passes=1)
    assert demo.numbers["official"] == 1.0
    assert "official" in demo.text
    assert "GENERATED" not in demo.text


def test_generated_garments_are_announced(monkeypatch):
    from lightning_d2l.data import fashion_mnist

    def noise(split: str):
        n = {"train": 1000, "test": 100}[split]
        return np.random.default_rng(0).integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.uint8) % 10

    monkeypatch.setattr(fashion_mnist, "generated_garments", noise)
    demo = fashion_mnist_loading.run(seed=0, source="generated", passes=1)
    assert demo.numbers["official"] == 0.0
    assert "GENERATED GARMENTS, NOT FASHION-MNIST" in demo.text
    assert "GENERATED GARMENTS" in demo.figures["images"].get_suptitle()


CLOSED_FORMS = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    "prelu": (lambda x: np.where(x > 0, x, 0.25 * x), lambda x: np.where(x > 0, 1, 0.25)),
    "sigmoid": (scipy.special.expit, lambda x: scipy.special.expit(x) * (1 - scipy.special.expit(x))),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
}


@pytest.mark.parametrize("name", activations.SHOWN)
def test_values_and_gradients_have_their_closed_forms(name):
    x = inputs()
    value, gradient = value_and_gradient(ACTIVATIONS[name]().double(), x)
    for found, closed_form in zip((value, gradient), CLOSED_FORMS[name], strict=True):
        np.testing.assert_allclose(found.detach(), closed_form(x.numpy()), rtol=1e-9, atol=1e-15)


def test_inputs_equal_the_books():
    np.testing.assert_allclose(inputs(), np.arange(-8, 8, 0.1), atol=1e-12)
    assert 0 in inputs()


def test_largest_gradients():
    numbers = activations.run(seed=0).numbers
    assert numbers["max sigmoid'"] == pytest.approx(0.25)
    assert numbers["max tanh'"] == pytest.approx(1)
    assert numbers["max relu'"] == numbers["max prelu'"] == 1


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", [[7, 3], [20, 32, 16, 32, 8, 5], [2, 50, 1, 50, 4]])
def test_linear_layers_collapse_into_one(widths, bias):
    torch.manual_seed(0)
    layers = [nn.Linear(n_in, n_out, bias).double() for n_in, n_out in itertools.pairwise(widths)]
    weight, b = collapse(layers)
    assert (weight.shape, b.shape) == ((widths[-1], widths[0]), (widths[-1],))
    x = torch.randn(100, widths[0], dtype=torch.float64)
    output = nn.Sequential(*layers)(x)
    assert ((output - (x @ weight.T + b)).abs().max() / output.abs().max()).item() < 1e-12


def test_best_affine_fit_is_that_of_scikit_learn():
    from sklearn.linear_model import LinearRegression

    torch.manual_seed(0)
    x = torch.randn(50, 3, dtype=torch.float64)
    with torch.no_grad():
        y = MLP(3, 2, [20, 20], "relu").double()(x)
    reference = LinearRegression().fit(x, y).predict(x)
    np.testing.assert_allclose(best_affine_fit(x, y), reference, rtol=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_relu_prevents_the_collapse(seed):
    numbers = affine_collapse.run(seed).numbers
    assert numbers["difference without activation"] < 1e-12
    assert 0.01 < numbers["difference with relu"] <= 1
