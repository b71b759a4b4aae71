import itertools
import math
import statistics

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from sklearn.linear_model import Lasso, Ridge
from torch import Tensor

from lightning_d2l.book.computational_graph import EDGES, GRADIENTS, OPERATORS, VARIABLES
from lightning_d2l.book.demos import (
    backprop,
    dropout,
    dropout_ridge,
    information,
    input_noise,
    l1_l2,
    maximum_likelihood,
    run_demo,
    weight_decay_theory,
)
from lightning_d2l.book.noisy_inputs import convergence, regression
from lightning_d2l.nets import least_squares

THEORY = [
    "backprop",
    "maximum-likelihood",
    "information",
    "dropout",
    "input-noise",
    "dropout-ridge",
    "weight-decay-theory",
    "l1-l2",
]


@pytest.mark.parametrize("name", THEORY)
def test_demo_fits_the_console_and_depends_only_on_its_seed(name):
    state = torch.get_rng_state()
    demo = run_demo(name, 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert max(map(len, demo.text.splitlines())) <= 80
    assert demo.numbers
    assert all(math.isfinite(value) for value in demo.numbers.values())
    assert demo.figures
    assert run_demo(name, 3).numbers == demo.numbers


def test_backprop_by_hand_is_autograd_to_rounding():
    numbers = backprop.run(0).numbers
    assert numbers["max difference to autograd, dJ/dW1"] < 1e-12
    assert numbers["max difference to autograd, dJ/dW2"] < 1e-12
    # rounding, about 10 J eps / step, and step^2 / 6 times the third derivative, both near 1e-9 at most
    assert 0 < numbers["max difference to finite differences"] < 1e-8


def test_computational_graph_leads_from_every_variable_to_the_objective():
    nodes = set(VARIABLES) | set(OPERATORS)
    reached = {"J"}
    for _ in nodes:
        reached |= {start for start, end, _ in EDGES if end in reached}
    assert reached == nodes
    assert set(GRADIENTS) == set(VARIABLES) - {"x", "y", "J"}


def test_density_and_likelihood_are_scipys():
    y = torch.linspace(-3, 3, 7, dtype=torch.float64)
    np.testing.assert_allclose(maximum_likelihood.normal_density(y, 0.5, 2), scipy.stats.norm.pdf(y, 0.5, 2))
    found = maximum_likelihood.negative_log_likelihood(y, 0.7)
    assert found.item() == pytest.approx(-scipy.stats.norm.logpdf(y, 0, 0.7).sum())


def test_maximum_likelihood_is_least_squares_with_the_residuals_sd():
    numbers = maximum_likelihood.run(1, n=50).numbers
    assert numbers["difference to least squares"] < 1e-6
    assert numbers["sigma"] == pytest.approx(numbers["residual sd"], rel=1e-6)
    # an estimate of sigma = 0.5 from 50 - 3 degrees of freedom has relative sd sqrt(1 / 94)
    assert numbers["residual sd"] * math.sqrt(50 / 47) == pytest.approx(0.5, rel=5 * math.sqrt(1 / 94))


def test_information_of_coins_and_dice():
    numbers = information.run(0).numbers
    for name, p in information.DISTRIBUTIONS.items():
        assert numbers[f"entropy, {name}, bits"] == pytest.approx(scipy.stats.entropy(p, base=2), abs=1e-12)
    loaded = information.DISTRIBUTIONS["die, six half the time"]
    expected = scipy.stats.entropy(loaded, np.full(6, 1 / 6), base=2)
    assert numbers["KL, loaded from fair die, bits"] == pytest.approx(expected)
    expected = -scipy.special.log_softmax([0, 6, 0])[0]
    assert numbers["cross-entropy, wrong and confident, nats"] == pytest.approx(expected)


def test_dropout_has_the_mean_and_variance_of_theory():
    draws, h = 20_000, torch.arange(1, 16, dtype=torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for p in (0.2, 0.5, 0.8):
            mean, variance = dropout.moments(h, p, draws)
            relative = p / (1 - p)
            assert (mean / h - 1).abs().max() < 5 * math.sqrt(relative / draws)
            # kurtosis (1 - 3pq)/(pq) of a Bernoulli variable; the sample's own mean costs about 1 / draws
            kurtosis = (1 - 3 * p * (1 - p)) / (p * (1 - p))
            bound = 5 * math.sqrt((kurtosis - 1) / draws) + 25 / draws
            assert (variance / (relative * h**2) - 1).abs().max() < bound
    assert dropout.run(0).numbers["largest change in eval mode"] == 0


def every_pattern(n: int, d: int) -> Tensor:
    """All (2^(nd), n, d) tensors of -1 and 1."""
    return torch.tensor(list(itertools.product([-1.0, 1.0], repeat=n * d)), dtype=torch.float64).reshape(-1, n, d)


def test_least_squares_over_every_equally_likely_noise_is_exactly_ridge():
    n, d, s = 4, 2, 0.7
    x, y = regression(torch.Generator().manual_seed(0), n, d)
    signs = every_pattern(n, d)  # s times a random sign has variance s^2, and only the variance matters
    found = convergence(x, y, lambda copies: x + s * signs[:copies], n * s**2, [len(signs)])
    assert found.to_penalised[0] < 1e-10
    oracle = Ridge(n * s**2, fit_intercept=False).fit(x, y).coef_.T.reshape(d, 1)
    plain = np.linalg.lstsq(x.numpy(), y.numpy())[0]
    assert found.limit == pytest.approx(np.linalg.norm(oracle - plain))
    assert found.to_plain[0] == pytest.approx(found.limit)


def test_least_squares_over_every_dropout_mask_is_exactly_a_weighted_ridge():
    n, d = 4, 2
    x, y = regression(torch.Generator().manual_seed(1), n, d)
    kept = (every_pattern(n, d) + 1) / 2  # equally likely with q = 1/2
    found = convergence(x, y, lambda copies: x * kept[:copies] / 0.5, x.square().sum(0), [len(kept)])
    assert found.to_penalised[0] < 1e-10
    assert found.limit > 1e-3


@pytest.mark.parametrize("demo", [input_noise, dropout_ridge])
def test_noisy_copies_converge_to_the_penalised_solution(demo):
    for seed in range(3):
        numbers = demo.run(seed).numbers
        # a normal vector with mean square 1 is longer than 5 with probability below exp(-(5 - 1)^2 / 2) = 3e-4
        assert numbers["distance to ridge"] < 5 * numbers["standard error"]
        assert numbers["distance to least squares"] > 10 * numbers["standard error"]


def test_standard_error_of_noisy_copies_equals_that_of_repeated_draws():
    rng = torch.Generator().manual_seed(0)
    x, y = regression(rng, 20, 3)
    squares, errors = [], []
    for _ in range(200):
        found = convergence(x, y, lambda m: x + 0.5 * torch.randn(m, 20, 3, generator=rng, dtype=x.dtype), 5.0, [100])
        squares.append(found.to_penalised[0] ** 2)
        errors.append(found.standard_error[0] ** 2)
    # at worst one direction varies: then a mean square of 200 has relative sd sqrt(2 / 200)
    assert statistics.mean(squares) == pytest.approx(statistics.mean(errors), rel=5 * math.sqrt(2 / 200))


def test_weight_decay_theory():
    numbers = weight_decay_theory.run(0).numbers
    assert numbers["step: penalty in the loss less weight_decay"] < 1e-14
    assert numbers["step: no 1/2 less half the weight_decay"] < 1e-14
    assert numbers["decayed initialisation"] == pytest.approx(0.361, abs=5e-4)
    assert numbers["null-space norm"] == pytest.approx(numbers["null-space norm, predicted"], rel=1e-9)
    chance = 5 / math.sqrt(2 * 180)  # relative sd of the length of a normal vector in 180 dimensions
    assert numbers["null-space norm"] == pytest.approx(numbers["decayed initialisation"], rel=chance)
    assert numbers["norm after 100 epochs, lambda 0"] == pytest.approx(math.sqrt(180), rel=chance)
    assert numbers["norm after 1000 epochs"] == pytest.approx(numbers["ridge norm"], rel=0.05)


def test_ridge_norm_is_the_published_one():
    norms = [weight_decay_theory.run(seed, epochs=100).numbers["ridge norm"] for seed in range(15)]
    error = 1.2533 * statistics.stdev(norms) / math.sqrt(len(norms))  # of a median
    assert statistics.median(norms) == pytest.approx(0.0324, abs=5 * error)


def sparse_problem() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(40, 12, generator=rng, dtype=torch.float64)
    return x, x[:, :2].sum(1, keepdim=True) + torch.randn(40, 1, generator=rng, dtype=torch.float64)


def test_lasso_is_scikit_learns():
    x, y = sparse_problem()
    penalties = torch.tensor([0.01, 0.1, 0.5], dtype=torch.float64)
    found = least_squares.lasso(x, y, penalties)
    for penalty, w in zip(penalties.tolist(), found.T, strict=True):
        oracle = Lasso(penalty, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(x, y[:, 0]).coef_
        np.testing.assert_allclose(w, oracle, atol=1e-8)
        np.testing.assert_array_equal(w == 0, oracle == 0)


def test_lasso_vanishes_from_the_largest_gradient_on():
    x, y = sparse_problem()
    largest = (x.T @ y).abs().max() / len(x)
    below, above = least_squares.lasso(x, y, torch.stack([0.99 * largest, 1.01 * largest])).T
    assert (below != 0).sum() == 1
    assert not above.any()


def test_l1_has_zeros_and_l2_none():
    numbers = l1_l2.run(0).numbers
    assert numbers["largest share of zeros, L1"] == 1
    assert numbers["largest share of zeros, L2"] == 0
    assert numbers["distance to the truth, L1"] < numbers["distance to the truth, L2"]
