"""The demos of numerical stability: matrix products, the softmax's overflow, variance by depth, symmetry."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import nn

from lightning_d2l.book.demos import matrix_product, softmax_overflow, symmetry, variance_by_depth
from lightning_d2l.book.demos.matrix_product import expected_largest_entry, lyapunov, products
from lightning_d2l.book.demos.softmax_overflow import loss_and_gradient, naive, spread_logits
from lightning_d2l.book.demos.symmetry import distinct_units
from lightning_d2l.book.demos.variance_by_depth import measure, theory, weight_and_bias_variance
from lightning_d2l.data.streams import generator
from lightning_d2l.nets.mlp import MLP
from lightning_d2l.scratch.softmax_regression import cross_entropy_with_logits


@pytest.mark.parametrize("n", [1, 2, 4, 9, 256])
def test_lyapunov_is_the_mean_logarithm_of_a_chi_variable(n):
    assert lyapunov(n) == pytest.approx(scipy.stats.chi(n).expect(np.log), rel=1e-6)
    assert lyapunov(n, 1 / n) == pytest.approx(lyapunov(n) - math.log(n) / 2)


@pytest.mark.parametrize(("n", "matrices", "draws"), [(2, 60, 4000), (4, 101, 2000), (16, 5, 500)])
def test_each_matrix_lengthens_a_vector_by_the_lyapunov_exponent(n, matrices, draws):
    _, product, _ = products(n, matrices, draws, seed=1)
    lengths = product[:, :, 0].norm(dim=1).log()
    # the logarithms of independent chi variables add up, exactly at any length
    standard_error = math.sqrt(matrices * scipy.special.polygamma(1, n / 2) / 4 / draws)
    assert lengths.mean().item() == pytest.approx(matrices * lyapunov(n), abs=4 * standard_error)
    assert lengths.std().item() == pytest.approx(standard_error * math.sqrt(draws), rel=0.15)


@pytest.mark.parametrize("n", [2, 4])
def test_largest_entry_has_the_predicted_mean(n):
    _, product, grown = products(n, 101, 4000, seed=2)
    assert torch.equal(grown[-1], product.abs().amax((1, 2)).log10())
    largest = grown[-1] * math.log(10)
    standard_error = largest.std().item() / math.sqrt(len(largest))
    assert standard_error < 0.12
    assert largest.mean().item() == pytest.approx(expected_largest_entry(n, 101), abs=4 * standard_error)


def test_product_is_that_of_numpy():
    first, product, _ = products(3, 2, 5, seed=0)
    factors = torch.randn(2, 5, 3, 3, dtype=torch.float64, generator=generator("demo", 0))
    np.testing.assert_array_equal(first, factors[0])
    np.testing.assert_allclose(product, np.matmul(*factors.numpy()), rtol=1e-12)


def test_matrix_product_is_in_the_books_range():
    numbers = matrix_product.run(seed=0).numbers
    assert numbers["log10 largest entry, median"] == pytest.approx(24.8, abs=0.2)
    assert numbers["log10 largest entry, 5th percentile"] == pytest.approx(21.9, abs=0.3)
    assert numbers["log10 largest entry, 95th percentile"] == pytest.approx(27.5, abs=0.3)
    assert numbers["Lyapunov estimate"] == pytest.approx(24.2, abs=0.05)
    assert numbers["log10 growth a matrix"] == pytest.approx(
        lyapunov(4) / math.log(10), abs=4 * numbers["log10 growth a matrix, standard error"]
    )


def test_toy_of_the_book():
    numbers = softmax_overflow.run(seed=0).numbers
    assert numbers["toy loss 1"] == pytest.approx(2.3026, abs=5e-5)
    assert numbers["toy loss 2"] == pytest.approx(0.6931, abs=5e-5)
    assert numbers["toy accuracy"] == 0.5


def test_naive_form_fails_where_float32_ends():
    s = torch.arange(0, 140, 0.25)
    failures = softmax_overflow.failures(s)
    largest, smallest = math.log(3.4028235e38), math.log(1.401298e-45 / 2)  # below half the smallest number exp is 0
    assert failures["naive softmax nan from s"] == pytest.approx(largest, abs=0.25)
    assert failures["naive gradient nan from s"] == pytest.approx(largest / 2, abs=0.25)
    assert failures["naive loss infinite from s"] == pytest.approx(-smallest / 2, abs=0.25)
    assert failures["naive gradient wrong by 0.01 from s"] == pytest.approx(-smallest / 3, abs=2)
    assert list(failures.values()) == sorted(failures.values())


def test_both_forms_agree_before_the_overflow_and_the_stable_one_equals_torch_beyond():
    logits, y = spread_logits(torch.linspace(0, 20, 41))
    for found, expected in zip(
        loss_and_gradient(naive, logits, y), loss_and_gradient(cross_entropy_with_logits, logits, y), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    logits, y = spread_logits(torch.tensor([90.0, 1000.0, 1e6]))
    loss, gradient = loss_and_gradient(cross_entropy_with_logits, logits, y)
    torch.testing.assert_close(loss, nn.functional.cross_entropy(logits, y, reduction="none"))
    torch.testing.assert_close(gradient, torch.tensor([1.0, 0.0, -1.0]).expand(3, 3))


@pytest.mark.parametrize("activation", variance_by_depth.SHOWN)
@pytest.mark.parametrize("init", variance_by_depth.STYLES)
def test_variances_of_the_initial_weights(init, activation):
    torch.manual_seed(0)
    layer = MLP(300, 300, 300, activation, init=init)[1]
    weight, bias = weight_and_bias_variance(init, activation, 300)
    assert layer.weight.var().item() == pytest.approx(weight, rel=0.03)
    assert layer.bias.square().mean().item() == pytest.approx(bias, rel=0.3)


@pytest.mark.parametrize(("activation", "share"), [("identity", 1.0), ("relu", 0.5), ("leaky_relu", 0.50005)])
def test_theory_multiplies_by_the_width_times_the_variance_of_a_weight(activation, share):
    for init, weight in (("normal", 1e-4), ("xavier_normal", 1 / 200)):
        signals, gradients = theory(init, activation, 200, 6)
        factor = share * 200 * weight
        torch.testing.assert_close(signals, 200 * weight * factor ** torch.arange(6, dtype=torch.float64))
        torch.testing.assert_close(gradients, factor ** torch.arange(6, 0, -1, dtype=torch.float64))


def test_theory_is_the_gaussian_integral():
    for activation, function in (("sigmoid", scipy.special.expit), ("tanh", np.tanh)):
        signals, gradients = theory("xavier_normal", activation, 50, 3)
        for before, after in zip(signals[:-1].tolist(), signals[1:].tolist(), strict=True):
            normal = scipy.stats.norm(scale=math.sqrt(before))
            assert after == pytest.approx(normal.expect(lambda z, f=function: f(z) ** 2), rel=1e-6)
        f = {"sigmoid": lambda z: scipy.special.expit(z) * scipy.special.expit(-z), "tanh": lambda z: np.cosh(z) ** -2}
        normal = scipy.stats.norm(scale=math.sqrt(signals[-1]))
        last = normal.expect(lambda z, f=f[activation]: f(z) ** 2)
        assert gradients[-1].item() == pytest.approx(last, rel=1e-6)


@pytest.mark.parametrize("activation", variance_by_depth.SHOWN)
@pytest.mark.parametrize("init", variance_by_depth.STYLES)
def test_measured_variances_are_those_of_theory(init, activation):
    width, depth, seeds = 256, 6, 24
    expected = theory(init, activation, width, depth)
    runs = [measure(init, activation, width, depth, 64, seed) for seed in range(seeds)]
    for values, predicted in zip(zip(*runs, strict=True), expected, strict=True):
        ratio = torch.stack(values) / predicted
        standard_error = ratio.std(0) / math.sqrt(seeds)
        assert standard_error.max() < 0.05
        # theory itself is exact up to terms of the order of depth / width
        assert ((ratio.mean(0) - 1).abs() <= 4 * standard_error + depth / width).all()


def test_distinct_units():
    rows = torch.tensor([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0 + 1e-8], [2.0, 1.0], [1.0, 2.1]])
    assert distinct_units(rows) == 3
    assert distinct_units(rows[:3]) == 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_constant_units_stay_equal_and_random_units_differ(seed):
    numbers = symmetry.run(seed).numbers
    assert (numbers["distinct units, constant"], numbers["rank, constant"]) == (1, 1)
    for name in ("constant with dropout", "random"):
        assert (numbers[f"distinct units, {name}"], numbers[f"rank, {name}"]) == (symmetry.UNITS, 2)
    assert numbers["loss, random"] < 0.1
    assert numbers["loss, constant"] > 0.5


def test_equal_units_are_trained_but_stay_equal():
    weights = symmetry.train(*symmetry.CASES["constant"], seed=0).weights
    assert (weights[-1] - weights[0]).abs().max() > 0.01
    assert all(distinct_units(weight) == 1 for weight in weights)
