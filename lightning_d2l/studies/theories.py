"""The theories that a study may name: `study.theory` is one of the names of this table."""

from __future__ import annotations

from lightning_d2l.studies import theory
from lightning_d2l.studies.theory import Theory

THEORIES: dict[str, Theory] = {**theory.THEORIES}
