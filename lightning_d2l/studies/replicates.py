"""The structure of replicates: data sets contain initialisations, and these contain folds.

The mean over replicates varies as its independent parts do. These are the data sets where several are drawn, else the
initialisations; the folds of a data set share their samples and are averaged. Where each of several data sets meets the
same several seeds, both are drawn, and the variance of the mean has a part of each.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_d2l.config.text import show
from lightning_d2l.training.record import RunRecord

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

DATA_SEED, SEED, FOLD = "data.seed", "seed", "data.fold"
REPLICATES = (SEED, DATA_SEED, FOLD)
"""Runs that differ in these keys alone repeat one setting."""
FEWEST_CROSSED = 3
"""Of fewer data sets, or seeds, no variance between them is estimated where both are crossed."""
OWN_TEST = ("FashionMNISTData", "TorchvisionData")
"""Data with test samples of their own."""
FEW_IMAGES = 6000
"""Training samples that are a tenth of their images at most, so that those of several seeds hardly overlap."""
OF_ONE_FILE = ("TableData", "FrameData", "ImageFolderData")
"""Data whose seed draws splits of the same samples, which overlap."""
PARTS_OF_TEST = ("bias2", "variance", "noise", "total")
FILLED = 20  # rounds in which the missing cells of a table are computed


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
    texts = {key: [show(run.get(key)) for run in runs] for key in keys}
    varied = {key: values for key, values in texts.items() if len(set(values)) > 1}
    folds = varied.pop(FOLD, [""] * len(runs))
    data = _joined([values for key, values in varied.items() if key.startswith("data.")], len(runs))
    others = _joined([values for key, values in varied.items() if not key.startswith("data.")], len(runs))
    known: dict[tuple[str, str, str], Replicate] = {}  # equal ones are one object, which is compared faster
    return [known.setdefault(each, Replicate(*each)) for each in zip(data, others, folds, strict=True)]


def _joined(columns: Sequence[Sequence[str]], n: int) -> Sequence[str]:
    """The n rows of columns of texts, each row as one text."""
    return columns[0] if len(columns) == 1 else [", ".join(column[i] for column in columns) for i in range(n)]


@dataclass(frozen=True)
class Spread:
    """The mean of values, its standard error with degrees of freedom, and the means of the independent parts (c,)."""

    mean: float
    error: float
    freedom: float
    parts: Array


@dataclass(frozen=True)
class Layout:
    """How n values repeat one setting: the independent part, from 0 to `clusters` - 1, of each.

    `design` says it in words, "10 data sets x 5 folds", and `given` what is held fixed although it is varied.
    `crossed` has the data set and the seed of each value, where both are drawn.
    """

    part: Indices
    clusters: int
    unit: str
    design: str
    given: str = ""
    crossed: tuple[Indices, Indices] | None = None

    def means(self, values: Array) -> Array:
        """The mean of each part (c,), of values (n,)."""
        if self.clusters == len(values):
            return values
        return np.bincount(self.part, values) / np.bincount(self.part)

    def spread(self, values: Array) -> Spread:
        """The mean of the parts' means, and its standard error; NaN with one part."""
        if self.crossed:
            return _crossed(values, *self.crossed)
        parts = self.means(values)
        count = self.clusters
        error = float(parts.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
        return Spread(float(parts.mean()), 0.0 if np.ptp(parts) == 0 < count - 1 else error, count - 1, parts)


def _crossed(values: Array, rows: Indices, columns: Indices) -> Spread:
    """The spread of a table of data sets by seeds, both drawn at random.

    With the mean squares A of rows, B of columns and E of the rest, the variance of the mean is (A + B - E) / (I J),
    and not below that of either factor alone. Satterthwaite's degrees of freedom are too many where few seeds happen
    to agree: halved above those of the smaller factor, the intervals of 3 to 50 data sets x 3 to 10 seeds cover in
    93.7 % and more. Missing cells are filled as if rows and columns added up (Yates 1933).
    """
    count, other = int(rows.max()) + 1, int(columns.max()) + 1
    cell = rows * other + columns
    runs = np.bincount(cell, minlength=count * other)
    table = (np.bincount(cell, values, count * other) / np.maximum(runs, 1)).reshape(count, other)
    missing = (runs == 0).reshape(count, other)
    table[missing] = values.mean()
    for _ in range(FILLED if missing.any() else 0):
        table[missing] = (table.mean(1, keepdims=True) + table.mean(0) - table.mean())[missing]
    mean, row, column = float(table.mean()), table.mean(1), table.mean(0)
    freedoms = np.array([count - 1, other - 1, max((count - 1) * (other - 1) - int(missing.sum()), 1)], float)
    rest = float(((table - row[:, None] - column + mean) ** 2).sum()) / freedoms[2]
    squares = np.array([other * row.var(ddof=1), count * column.var(ddof=1), rest])
    total, larger = squares[0] + squares[1] - rest, int(squares[1] > squares[0])
    if total > squares[larger] > 0:
        least = float(freedoms[:2].min())
        freedom = float(total**2 / (squares**2 / freedoms).sum())
        freedom = min(freedom, (freedom + least) / 2)
    else:
        total, freedom = squares[larger], float(freedoms[larger])
    error = 0.0 if np.ptp(values) == 0 else math.sqrt(max(total, 0.0) / (count * other))
    return Spread(mean, error, freedom, row)


@functools.lru_cache(maxsize=4096)
def layout_of(replicates: tuple[Replicate, ...]) -> Layout:
    """How values with these replicates repeat their setting."""
    n = len(replicates)
    data, seeds = _indices([r.data for r in replicates]), _indices([r.seed for r in replicates])
    folds = len({r.fold for r in replicates})
    sets, initial = int(data.max()) + 1, int(seeds.max()) + 1
    cells = len(set(zip(data.tolist(), seeds.tolist(), strict=True)))
    across = [f"{folds} folds"] if folds > 1 else []
    if max(sets, initial) == 1:
        if folds > 1:
            return Layout(np.zeros(n, np.intp), 1, "data set", _product(across))
        return Layout(np.arange(n), n, "run", f"{n} runs" if n > 1 else "one run")
    is_crossed = cells > max(sets, initial) and 2 * cells >= sets * initial
    if is_crossed and min(sets, initial) < FEWEST_CROSSED:
        fixed = f"the {min(sets, initial)} {'data sets' if sets < initial else 'seeds'}"
        part, count, unit = (data, sets, "data set") if sets >= initial else (seeds, initial, "seed")
        return Layout(part, count, unit, _product([f"{sets} data sets", f"{initial} seeds", *across]), fixed)
    if is_crossed:
        design = _product([f"{sets} data sets", f"{initial} seeds", *across])
        return Layout(data, sets, "data set", design, "", (data, seeds))
    if sets > 1:
        nested = cells / sets
        within = [f"{nested:.3g} seeds"] if nested > 1 else []
        return Layout(data, sets, "data set", _product([f"{sets} data sets", *within, *across]))
    return Layout(seeds, initial, "seed", _product([f"{initial} seeds", *across]))


def welch(a: Spread, b: Spread) -> Spread:
    """The spread of the difference of two independent means b - a (Welch 1947)."""
    squares = [a.error**2, b.error**2]
    total = sum(squares)
    rest = sum(s**2 / f for s, f in zip(squares, (a.freedom, b.freedom), strict=True) if f)
    freedom = total**2 / rest if rest > 0 else max(a.freedom + b.freedom, 1)
    return Spread(b.mean - a.mean, math.sqrt(total), freedom, np.array([]))


def given(metric: str, runs: Sequence[RunRecord], replicates: Sequence[Replicate]) -> str:
    """What all replicates of a setting share, so that an interval says nothing of its variation; else empty."""
    data, part = runs[0].config.get("data") or {}, metric.partition("/")[2]
    several = len(replicates) > 1 and len({r.data for r in replicates}) > 1
    shared = [] if several or "seed" not in data else ["one data set"]
    if several and part in ("test", *PARTS_OF_TEST) and _tests_on_the_same(data):
        shared.append("the test samples")
    name = str(data.get("_target_")).rpartition(".")[2]
    if several and name in OF_ONE_FILE:
        shared.append("one file")
    if several and name in OWN_TEST and not 0 < (data.get("n_train") or 0) <= FEW_IMAGES:
        shared.append("one set of images")
    if several and len({show(run.get(SEED)) for run in runs}) == 1:
        shared.append("one seed")
    return " and ".join(shared)


def _tests_on_the_same(data: Mapping[str, Any]) -> bool:
    """Whether data of any seed have the same test samples."""
    own = str(data.get("_target_")).rpartition(".")[2] in OWN_TEST
    return own or any(data.get(key) not in (None, "") for key in ("test_seed", "test_path"))


def _indices(texts: Sequence[str]) -> Indices:
    """The number of each text, in the order of first appearance."""
    numbers = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return np.array([numbers[text] for text in texts], np.intp)


def _product(counts: Sequence[str]) -> str:
    return " x ".join(counts)
