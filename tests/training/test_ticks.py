"""The ticks of an axis."""

import pytest

from lightning_d2l.training.ticks import LogNumbers, LogTicks


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.6, 2.2, ["0.7", "1", "1.5", "2"]),  # not 6 x 10^-1
        (1, 40, ["1", "2", "5", "10", "20"]),
        (1e-4, 0.1, ["0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.1"]),
        (10, 200_000, ["10", "100", "1000", "10,000", "100,000"]),
        (14, 15, ["14", "14.2", "14.4", "14.6", "14.8", "15"]),
        (1e-2, 1e11, [f"$10^{{{power}}}$" for power in range(-2, 11, 2)]),
        (1e-300, 1e300, [f"$10^{{{power}}}$" for power in range(-258, 259, 86)]),
    ],
)
def test_numbers_on_a_logarithmic_axis_are_round_and_have_digits_where_they_will_do(low, high, texts):
    assert LogNumbers().format_ticks(LogTicks().tick_values(low, high)) == texts
