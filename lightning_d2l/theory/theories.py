"""The theories that a study may name: `study.theory` is one of the names of this table."""

from __future__ import annotations

from lightning_d2l.theory import curves, learning_rate, least_squares, networks, regularisation
from lightning_d2l.theory.curves import Theory

THEORIES: dict[str, Theory] = {
    **curves.THEORIES,
    **least_squares.THEORIES,
    **learning_rate.THEORIES,
    **networks.THEORIES,
    **regularisation.THEORIES,
}
