"""Add two vectors of 10,000 numbers in a Python loop and by one tensor operation (d2l 3.1.2)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from lightning_d2l.book.demos import Demo


def add_in_a_loop(a: Tensor, b: Tensor) -> Tensor:
    """The sum (n,) of two vectors (n,), one number at a time."""
    c = torch.zeros(len(a))
    for i in range(len(a)):
        c[i] = a[i] + b[i]
    return c


def run(seed: int, n: int = 10_000) -> Demo:
    a, b = torch.randn(2, n, generator=torch.Generator().manual_seed(seed))
    loop = _seconds(lambda: add_in_a_loop(a, b), 5)
    vectorized = _seconds(lambda: a + b, 100)
    text = (
        f"Adding two vectors of {n:,} numbers:\n"
        f"  Python loop          {loop:.5f} s (median of 5)\n"
        f"  one tensor operation {vectorized:.7f} s (median of 100)\n"
        f"The loop takes {loop / vectorized:,.0f} times as long."
    )
    return Demo(text, {"loop_seconds": loop, "vectorized_seconds": vectorized, "ratio": loop / vectorized})


def _seconds(function: Callable[[], object], repetitions: int) -> float:
    """The median time of a call, after one warm-up call."""
    function()
    times = []
    for _ in range(repetitions):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
