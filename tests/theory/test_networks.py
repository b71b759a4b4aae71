import itertools

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from lightning_d2l.nets.phm import PHMMLP
from lightning_d2l.theory.networks import hypercomplex_parameters, straight_pieces

CUBIC = (5.0, 1.2, -3.4, 5.6)
NODES, WEIGHTS = np.polynomial.legendre.leggauss(60)


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16])
def test_hypercomplex_parameters_are_those_of_the_network(n):
    for widths in ([256], [64, 32]):
        count = sum(p.numel() for p in PHMMLP(784, 10, widths, n).parameters())
        assert hypercomplex_parameters(784, widths, 10, n) == count


def test_the_books_parameters_of_a_hypercomplex_layer():
    # Without the 256 biases and the 2,570 parameters of the output layer.
    counts = [hypercomplex_parameters(784, [256], 10, n) - 256 - 2570 for n in (1, 2, 4, 8, 16)]
    assert counts == [200_704, 100_360, 50_240, 25_600, 16_640]


def test_one_and_many_straight_pieces():
    errors = straight_pieces(CUBIC, True)
    # y = ... - 1.7 x^2 + 0.933 x^3: what is left beside the line are the Hermite polynomials of degree 2 and 3.
    assert errors[0] == pytest.approx(2 * (3.4 / 2) ** 2 + 6 * (5.6 / 6) ** 2, rel=1e-9)
    # de Boor (1973): (integral of (f''^2 p)^(1/5))^5 / 720 / pieces^4, approached from below.
    x = np.linspace(-9, 9, 10_001)
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    constant = (((5.6 * x - 3.4) ** 2 * density) ** 0.2).sum() * (x[1] - x[0])
    ratios = [errors[k - 1] / (constant**5 / 720 / k**4) for k in (4, 8, 16, 32, 64)]
    assert all(a < b < 1 for a, b in itertools.pairwise(ratios))
    assert ratios[-1] > 0.9


@pytest.mark.parametrize("pieces", [2, 5, 9])
def test_the_borders_of_straight_pieces_are_those_of_an_optimizer(pieces):
    """scipy moves the borders freely, and each piece is integrated by itself, up to |x| = 12."""

    def error(borders):
        ends, total = np.concatenate([[-12.0], np.sort(borders), [12.0]]), 0.0
        for low, high in itertools.pairwise(ends):
            x = low + (high - low) * (1 + NODES) / 2
            root = np.sqrt((high - low) / 2 * WEIGHTS * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))
            lines = np.stack([root, root * x], 1)
            y = root * (5 + 1.2 * x - 1.7 * x**2 + 5.6 / 6 * x**3)
            total += np.sum((y - lines @ np.linalg.lstsq(lines, y)[0]) ** 2)
        return total

    start = norm.ppf(np.arange(1, pieces) / pieces) * np.sqrt(5)  # where the best borders of many pieces are
    free = minimize(error, start, method="Nelder-Mead", options={"maxiter": 4000, "fatol": 1e-9, "xatol": 1e-5}).fun
    assert straight_pieces(CUBIC, True)[pieces - 1] == pytest.approx(free, rel=2e-3)


def test_no_network_does_better_than_straight_pieces():
    """Least squares on the ReLU features of many random hidden layers, on the grid of the theory itself."""
    errors = straight_pieces(CUBIC, True)
    random = np.random.default_rng(0)
    x = np.linspace(-5, 5, 1001)
    weights = np.exp(-(x**2) / 2) / np.exp(-(x**2) / 2).sum()
    y = 5 + 1.2 * x - 1.7 * x**2 + 5.6 / 6 * x**3
    for h in (1, 2, 4, 8):
        found = []
        for _ in range(200):
            hidden = np.maximum(0, random.choice([-1, 1], h) * x[:, None] + random.normal(0, 1.5, h))
            features = np.sqrt(weights)[:, None] * np.column_stack([np.ones_like(x), hidden])
            residual = np.sqrt(weights) * y - features @ np.linalg.lstsq(features, np.sqrt(weights) * y, rcond=None)[0]
            found.append(residual @ residual)
        assert errors[h] < min(found)
