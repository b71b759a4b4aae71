"""Logging points are those of the plain list, and any number of them costs nothing."""

import time

from hypothesis import given
from hypothesis import strategies as st

from lightning_d2l.engine.points import Points, next_point


@given(st.integers(1, 60), st.integers(1, 70))
def test_points_are_the_sorted_list_of_the_first_every_nth_and_the_last(max_epochs: int, every: int) -> None:
    expected = sorted({1, *range(every, max_epochs + 1, every), max_epochs})
    points = Points(max_epochs, every)
    assert list(points) == expected
    assert points == expected
    assert (len(points), points[-1], points[:]) == (len(expected), max_epochs, expected)
    assert [epoch for epoch in range(-1, max_epochs + 3) if epoch in points] == expected
    for epoch in range(max_epochs):
        assert next_point(points, epoch) == next_point(expected, epoch) == min(p for p in expected if p > epoch)


def test_a_long_run_takes_no_time_to_look_up_its_points() -> None:
    began = time.monotonic()
    points = Points(99_999_999_999, 1)
    for epoch in range(1, 20_000):
        assert epoch in points
        assert next_point(points, epoch) == epoch + 1
    assert time.monotonic() - began < 2
