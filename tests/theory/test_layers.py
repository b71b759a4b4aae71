import pytest

from lightning_d2l.nets.phm import PHMMLP
from lightning_d2l.theory.layers import hypercomplex_parameters


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16])
def test_hypercomplex_parameters_are_those_of_the_network(n):
    for widths in ([256], [64, 32]):
        count = sum(p.numel() for p in PHMMLP(784, 10, widths, n).parameters())
        assert hypercomplex_parameters(784, widths, 10, n) == count


def test_the_books_parameters_of_a_hypercomplex_layer():
    # Without the 256 biases and the 2,570 parameters of the output layer.
    counts = [hypercomplex_parameters(784, [256], 10, n) - 256 - 2570 for n in (1, 2, 4, 8, 16)]
    assert counts == [200_704, 100_360, 50_240, 25_600, 16_640]
