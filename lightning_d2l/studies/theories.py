"""The theories that a study may name: `study.theory` is one of the names of this table."""

from __future__ import annotations

from lightning_d2l.studies import (
    theory,
    theory_learning_rate,
    theory_least_squares,
    theory_networks,
    theory_regularisation,
)
from lightning_d2l.studies.theory import Theory

THEORIES: dict[str, Theory] = {
    **theory.THEORIES,
    **theory_least_squares.THEORIES,
    **theory_learning_rate.THEORIES,
    **theory_networks.THEORIES,
    **theory_regularisation.THEORIES,
}
