"""All runs below a folder, as a table."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_d2l.api.finished import Folder, hashable, path_of
from lightning_d2l.api.library import library_call
from lightning_d2l.config.check import RequestError
from lightning_d2l.studies.collect import differences
from lightning_d2l.studies.lean import LeanFolder
from lightning_d2l.studies.sweep_file import SWEEP_FILE
from lightning_d2l.training.record import RUN_FILE, RunRecord

if TYPE_CHECKING:
    import pandas as pd


@library_call
def runs(folder: Folder = "outputs") -> pd.DataFrame:
    """All runs below a folder, those of sweeps too, also of lean records, as a table.

    Parameters
    ----------
    folder : path
        Where to look.

    Returns
    -------
    DataFrame
        A row a run in the order in which they started: run (its path below the folder), status, model, data, seed,
        started, seconds, num_parameters, the settings in which the runs differ, and the metrics of the last weights.

    Raises
    ------
    RequestError
        If there is no such folder.

    Examples
    --------
    >>> import lightning_d2l as d2l
    >>> for seed in range(2):
    ...     run = d2l.train("model=polynomial_regression", "trainer.max_epochs=1", seed=seed, verbose=False)
    >>> list(d2l.runs("outputs")["seed"])
    [0, 1]
    """
    import pandas as pd

    top = path_of("folder", folder)
    if not top.is_dir():
        raise RequestError(f"{folder}: no such folder")
    found = [RunRecord.read_or_missing(path.parent) for path in sorted(top.rglob(RUN_FILE))]
    found = [*(run for run in found if run.fields), *_lean(top, {run.folder for run in found})]
    found = sorted(found, key=lambda run: str(run.fields.get("started")))
    varied = [key for key in differences(found) if key not in ("seed", "model", "data")] if len(found) > 1 else []
    rows = []
    for run in found:
        fields = run.fields
        row = {"run": str(run.folder.relative_to(top)), "status": run.state, "model": fields.get("model")}
        row |= {"data": (fields.get("data") or {}).get("name"), "seed": fields.get("seed")}
        row |= {name: fields.get(name) for name in ("started", "seconds", "num_parameters")}
        row |= {key: hashable(run.get(key)) for key in varied}
        rows.append({**row, **{name: run.metric(name) for name in run.metric_names}})
    columns = ["run", "status", "model", "data", "seed", "started", "seconds", "num_parameters"]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)


def _lean(top: Path, there: Collection[Path]) -> list[RunRecord]:
    """The runs of lean records below a folder, but those whose folders are `there`."""
    found: list[RunRecord] = []
    for path in sorted(top.rglob(SWEEP_FILE)):
        records = LeanFolder(path.parent)
        records.look()
        found += [run for run in records.runs.values() if run.folder not in there]
    return found
