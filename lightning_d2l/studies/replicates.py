"""The structure of replicates: data sets contain initialisations, and these contain folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_d2l.config.text import show
from lightning_d2l.training.record import RunRecord

DATA_SEED, SEED, FOLD = "data.seed", "seed", "data.fold"
REPLICATES = (SEED, DATA_SEED, FOLD)
"""Runs that differ in these keys alone repeat one setting."""


@dataclass(frozen=True)
class Replicate:
    """Which repetition of a setting a run is: its data set, its initialisation and its fold; empty where not varied."""

    data: str = ""
    seed: str = ""
    fold: str = ""


def replicates_of(runs: Sequence[RunRecord], keys: Sequence[str] = REPLICATES) -> list[Replicate]:
    """The replicate that each run is, from its resolved configuration.

    `keys` are those of replicates. Those of the data tell data sets apart, all others but the fold initialisations.
    """
    keys = list(dict.fromkeys([*REPLICATES, *keys]))
    texts = {key: [show(run.get(key)) for run in runs] for key in keys}
    varied = {key: values for key, values in texts.items() if len(set(values)) > 1}
    folds = varied.pop(FOLD, [""] * len(runs))
    data = [values for key, values in varied.items() if key.startswith("data.")]
    others = [values for key, values in varied.items() if not key.startswith("data.")]
    return [
        Replicate(", ".join(v[i] for v in data), ", ".join(v[i] for v in others), folds[i]) for i in range(len(runs))
    ]
