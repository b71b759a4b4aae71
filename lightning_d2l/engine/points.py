"""The logging points of a run: the epochs after which metrics are measured."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import overload


class Points(Sequence[int]):
    """The first epoch, every n-th and the last, counted from 1: as a sorted list, but computed when asked for.

    So a run of any length starts at once, and looking up an epoch takes the same time in each.
    """

    def __init__(self, max_epochs: int, every: int) -> None:
        self.max_epochs, self.every = max_epochs, every
        first, last = every > 1, max_epochs > 1 and max_epochs % every > 0
        self._parts = [range(1, 1 + first), range(every, max_epochs + 1, every), range(max_epochs, max_epochs + last)]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __contains__(self, epoch: object) -> bool:
        return any(epoch in part for part in self._parts)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index += len(self) if index < 0 else 0
        for part in self._parts:
            if 0 <= index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError("no such logging point")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(int.__eq__, self, other))

    def __repr__(self) -> str:
        return f"Points(max_epochs={self.max_epochs}, every={self.every})"

    __hash__ = None  # type: ignore[assignment]


def next_point(points: Sequence[int], epoch: int) -> int:
    """The first of the sorted `points` after an epoch."""
    return points[bisect_right(points, epoch)]
