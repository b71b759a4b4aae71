"""The functions of one variable that the runs of a study have fitted, from the weights in their folders."""

from __future__ import annotations

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_d2l.config.registry import OBJECTS, POLYNOMIAL, SYNTHETIC_REGRESSION
from lightning_d2l.config.tables import CSV
from lightning_d2l.config.text import cut, show
from lightning_d2l.studies.beside import MOST_FITS, beside
from lightning_d2l.studies.findings import Findings
from lightning_d2l.studies.interactive_fits import Fit, Fitted
from lightning_d2l.studies.lean import LeanRecord
from lightning_d2l.studies.points import Point, series_of
from lightning_d2l.studies.replicates import REPLICATES
from lightning_d2l.studies.study import Study
from lightning_d2l.training.files import LAST
from lightning_d2l.training.record import RunRecord

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_d2l.training.build import BuiltRun

MOST_RUNS = 30  # whose weights are read, unless there are more settings
MOST_SETTINGS = 200
MOST_SEEDS = 5
MOST_SAMPLES = 400  # that are drawn
GRID = 201
KEPT = "sweep.records=full keeps those of all runs, 'sweep.keep=\"seed=0\"' those of one seed"


def fitted(findings: Findings) -> Fitted | None:
    """The fitted functions of the first seed of each setting, and of a few more; None if the data have other inputs.

    Runs whose weights or data are lost are left out; if all are, there are no fits but the reason.
    """
    study = findings.study
    if study.x in ("", "epoch"):
        return None
    if findings.runs and "." not in (target := _target(findings.runs[0])) and target not in OBJECTS:
        return Fitted(reason=f"With the plugin of the data {target} (--plugin FILE) functions of one input are shown.")
    if not _may_have_one_input(findings.runs):
        return None
    points = [point for series in series_of(study, findings.points) for point in series.points][:MOST_SETTINGS]
    chosen = _chosen(study, points, _with_folders(findings))
    if not chosen:
        known = _has_one_input(findings.runs)
        return Fitted(reason=f"The fitted functions are not shown: no weights were kept ({KEPT}).") if known else None
    import torch

    try:
        with torch.random.fork_rng(devices=[]):
            found = _read(chosen)
    except NotImplementedError:  # a module of a person's own without forward
        return None
    if found and len(chosen) < len(points):
        reason = f"Weights were kept at {len(chosen)} of {len(points)} settings ({KEPT})."
        found = dataclasses.replace(found, reason=found.reason or reason)
    return found


def _target(run: RunRecord) -> str:
    return str((run.config.get("data") or {}).get("_target_"))


def _may_have_one_input(runs: Sequence[RunRecord]) -> bool:
    return bool(runs) and _target(runs[0]) in {POLYNOMIAL, SYNTHETIC_REGRESSION, CSV, *OBJECTS}


def _has_one_input(runs: Sequence[RunRecord]) -> bool:
    """Whether the settings alone tell so."""
    return bool(runs) and _target(runs[0]) == POLYNOMIAL


def _with_folders(findings: Findings) -> set[Path]:
    """The folders of the runs that have one; of a hundred thousand lean records few do."""
    found = {run.folder for run in findings.runs if not isinstance(run, LeanRecord)}
    for sweep in findings.sweeps:
        with suppress(OSError), os.scandir(sweep.folder) as entries:
            found |= {sweep.folder / entry.name for entry in entries}
    return found


@dataclass(frozen=True)
class _Chosen:
    """A point, its runs whose functions a page shows, and `further` ones for the figure side by side."""

    point: Point
    runs: Sequence[RunRecord]
    further: Sequence[RunRecord]


def _chosen(study: Study, points: Sequence[Point], folders: set[Path]) -> list[_Chosen]:
    """The points with the runs that have weights: first of the seed that most points have, if it can be the same."""
    having = []
    for point in points:
        kept = [run for run in point.runs if run.completed and run.folder in folders and (run.folder / LAST).is_file()]
        having.append((point, {tuple(show(run.get(key)) for key in study.replicates): run for run in kept}))
    counts = Counter(seed for _, kept in having for seed in kept)
    order = sorted(counts, key=lambda seed: -counts[seed])  # stable: of equally many the first
    each = min(max(MOST_RUNS // max(len(points), 1), 1), MOST_SEEDS)
    drawn = {id(p) for row in beside(study, points, {id(p) for p, kept in having if kept}) for p in row.points}
    found = []
    for point, by_seed in having:
        runs = [by_seed[seed] for seed in order if seed in by_seed]
        most = MOST_FITS if id(point) in drawn and {*study.replicates} <= {*REPLICATES} else each
        found.append(_Chosen(point, runs[:each], runs[each:most]))
    return [each for each in found if each.runs]


def _read(chosen: Sequence[_Chosen]) -> Fitted | None:
    """The fits of the chosen runs; None if they are no functions of one variable."""
    from lightning_d2l.training.reuse import load_run

    loaded: list[tuple[_Chosen, list[BuiltRun]]] = []
    reason = ""
    for each in chosen:
        try:
            first = load_run(each.runs[0].folder, LAST)
            if _inputs(first) is None:
                return None
            others = [load_run(run.folder, LAST, samples=False) for run in each.runs[1:]]
        except Exception as error:  # a lost file, or a record of another version: the rest is worth more
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            continue
        loaded.append((each, [first, *others]))
    if not loaded:
        return Fitted(reason=f"The fitted functions are not shown: {cut(reason, 200)}.")
    return _evaluated(loaded)


def _evaluated(loaded: Sequence[tuple[_Chosen, list[BuiltRun]]]) -> Fitted:
    import torch

    from lightning_d2l.training.predictions import in_own_unit

    ends = [end for _, built in loaded for x in [_inputs(built[0])] if x is not None for end in _ends(x)]
    grid = torch.linspace(min(ends), max(ends), GRID, dtype=torch.float64)
    fits = []
    for each, built in loaded:
        first = built[0]
        x, y = _inputs(first), in_own_unit(first.data, first.data.samples("train")[1])
        assert x is not None
        inputs, targets = (part.flatten()[:MOST_SAMPLES].double().tolist() for part in (x, y))
        outputs = [_outputs(one, grid) for one in built]
        further = _further(first, each.further, grid)
        sums = {str((run.fields.get("data") or {}).get("checksum")) for run in [*each.runs, *each.further]}
        names = [run.name for run in each.runs]
        fits.append(Fit(each.point, names, outputs, inputs, targets, len(sums) > 1, further))
    return Fitted(grid.tolist(), _truth(loaded[0][1][0], grid), fits, _names(loaded[0][1][0]))


def _further(built: BuiltRun, runs: Sequence[RunRecord], grid: Tensor) -> list[list[float]]:
    """The outputs of runs that differ from a built one in their replicates alone, whose network takes their weights.

    None of data that are encoded by what each run's own training data are.
    """
    from lightning_d2l.data.synthetic import RegressionData
    from lightning_d2l.training.reuse import put_weights

    found = []
    if isinstance(built.data, RegressionData) and built.data.preprocessing is None and built.data.transform is None:
        for run in runs:
            with suppress(Exception):  # a damaged file costs its curve
                put_weights(built, run.folder / LAST)
                found.append(_outputs(built, grid))
    return found


def _ends(x: Tensor) -> Iterator[float]:
    for end in (float(x.min()), float(x.max())):
        if math.isfinite(end):
            yield end


def _inputs(built: BuiltRun) -> Tensor | None:
    """The training inputs (n, 1) in their own unit; None unless the run predicts one number from one number."""
    from lightning_d2l.data.synthetic import RegressionData

    data = built.data
    x, y = data.samples("train")
    if data.task != "regression" or y.shape[1:] != (1,) or not len(y):
        return None
    if isinstance(data, RegressionData):
        return data.inputs["train"] if data.num_raw == 1 else None
    if x.shape[1:] != (1,) or not x.is_floating_point():
        return None
    if data.preprocessing is None:
        return x
    column = _column(data)
    return None if column is None else x * column["scale"] + column["mean"]


def _column(data: Any) -> dict[str, Any] | None:
    """The only column of a table of numbers."""
    columns = data.preprocessing["columns"]
    return columns[0] if len(columns) == 1 and "mean" in columns[0] and not columns[0]["missing"] else None


def _outputs(built: BuiltRun, grid: Tensor) -> list[float]:
    """The outputs for inputs (n,) in the unit of the target; they need no samples of the data."""
    from lightning_d2l.data.synthetic import RegressionData
    from lightning_d2l.training.predictions import in_own_unit, outputs

    data, x = built.data, grid[:, None]
    if isinstance(data, RegressionData):
        x = data.features(x)
    elif data.preprocessing is not None and (column := _column(data)):
        x = (x - column["mean"]) / column["scale"]
    found: list[float] = in_own_unit(data, outputs(built.net, x)).flatten().double().tolist()
    return found


def _truth(built: BuiltRun, grid: Tensor) -> list[float]:
    """The true function of generated data, else an empty list."""
    from lightning_d2l.data.synthetic import RegressionData

    if not isinstance(built.data, RegressionData):
        return []
    found: list[float] = built.data.true_function(grid[:, None]).flatten().tolist()
    return found


def _names(built: BuiltRun) -> tuple[str, str]:
    """The names of the input and of the target."""
    if built.data.preprocessing is None:
        return "x", "y"
    column = _column(built.data)
    target = built.data.preprocessing.get("target") or {}
    return str(column["name"] if column else "x"), str(target.get("name", "y"))
