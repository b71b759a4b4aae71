"""A run as an object: what its folder holds, read where it is asked for."""

from __future__ import annotations

import copy
import html
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_d2l.api.ended import RunFailed
from lightning_d2l.api.library import library, library_call
from lightning_d2l.config.check import RequestError, nearest
from lightning_d2l.config.given import is_given
from lightning_d2l.config.text import number, show
from lightning_d2l.studies.lean import lean_record
from lightning_d2l.studies.sweep_file import SWEEP_FILE
from lightning_d2l.training.files import BEST, LAST
from lightning_d2l.training.record import RUN_FILE, RunRecord

if TYPE_CHECKING:
    import pandas as pd
    import pytorch_lightning as pl
    from matplotlib.figure import Figure

    from lightning_d2l.training.build import BuiltRun

Folder = str | os.PathLike[str]


def path_of(name: str, folder: Folder) -> Path:
    """The path that an argument holds; raises RequestError if it is none."""
    if not isinstance(folder, (str, os.PathLike)):
        raise RequestError(f"{name}: must be a path, not {type(folder).__name__}")
    try:
        return Path(folder).expanduser()
    except RuntimeError as error:  # ~somebody
        raise RequestError(f"{name}={folder}: {error}") from error


class Run:
    """A run in its folder. `train`, `fit` and `load_run` return it; nothing is read before it is asked for.

    Attributes
    ----------
    folder : Path
        Where the run was recorded.
    """

    def __init__(
        self,
        folder: Folder,
        module: pl.LightningModule | None = None,
        datamodule: Any = None,
        *,
        lean: RunRecord | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._objects = (module, datamodule)
        self._lean = lean  # the record of a run without a folder

    @property
    @library_call
    def record(self) -> dict[str, Any]:
        """What run.json holds."""
        return self._record.fields

    @property
    def _record(self) -> RunRecord:
        if self._lean is not None and not (self.folder / RUN_FILE).exists():
            return self._lean
        return RunRecord.read(self.folder)

    @property
    @library_call
    def status(self) -> str:
        """How the run ended: "completed", "diverged", "failed" or "interrupted"; or "running"."""
        return self._record.state

    @property
    @library_call
    def config(self) -> dict[str, Any]:
        """The resolved settings, as nested dicts."""
        return copy.deepcopy(dict(self._record.config))

    @property
    @library_call
    def metrics(self) -> dict[str, float]:
        """The metrics of the last weights by name, such as "loss/test"; of an unfinished run those so far."""
        return _named(self._rows().get("final", {}))

    @property
    @library_call
    def best_metrics(self) -> dict[str, float]:
        """The metrics of the best epoch, which has the lowest loss on the validation data."""
        return _named(self._rows().get("best", {}))

    @property
    @library_call
    def history(self) -> pd.DataFrame:
        """The rows of metrics.csv: epoch, step, and every metric at each logging point."""
        import pandas as pd

        rows = self._record.history
        return pd.DataFrame(rows) if rows else pd.DataFrame({name: pd.Series(dtype=int) for name in ("epoch", "step")})

    def _rows(self) -> Mapping[str, Mapping[str, float]]:
        record = self._record
        if found := record.fields.get("metrics"):
            return dict(found)
        rows = record.history
        return {"final": rows[-1]} if rows else {}

    @library_call
    def figure(self, name: str = "curves") -> Figure:
        """A figure of the run, as its folder has it; it is returned and not shown.

        Parameters
        ----------
        name : str
            "curves", the metrics over the epochs, or another figure that suits the data: "fit", "predicted",
            "predictions", "confusion_matrix", "first_layer_weights".

        Raises
        ------
        RequestError
            If the run has no such figure, or its data are not found.
        """
        record = self._record
        if not (rows := record.history):
            raise RequestError(f"{self.folder}: has no figures: no epoch has ended")
        from lightning_d2l.api.notebook import show_figures
        from lightning_d2l.studies.labels import quantity
        from lightning_d2l.training.learning_curves import curves

        show_figures()

        if name == "curves":
            stopped = record.fields.get("stopped")
            made = curves(rows, stopped["epoch"] if stopped else None, quantity("loss", record.config))
            if made is not None:
                return made
        from lightning_d2l.training.extras import figures_of

        built = self._built(LAST)
        built.rows[:] = rows
        found = figures_of(built, record.fields.get("stopped"))
        if name not in found:
            raise RequestError(f"figure: {name}: must be one of {', '.join(found)}{nearest(str(name), list(found))}")
        if (drawn := found[name]()) is None:
            raise RequestError(f"figure: {name}: does not suit the data or the network of this run")
        return drawn

    @property
    @library_call
    def module(self) -> pl.LightningModule:
        """The LightningModule with the weights of the best epoch, in evaluation mode."""
        return self._best(samples=False).module.eval()

    @library_call
    def predict(self, x: Any = None) -> Any:
        """Predict with the weights of the best epoch.

        Parameters
        ----------
        x : tensor, array, DataFrame, path or list of paths, optional
            Inputs (n, ...) as a person has them: raw columns of a table, inputs of generated data, pixels from 0 to 255
            as whole numbers or from 0 to 1 as real ones. The columns of a DataFrame are found by their names. Paths
            name images or CSV files. Without `x`, the first ten test samples.

        Returns
        -------
        tensor, array or DataFrame
            For a tensor or array the same kind: the probabilities (n, classes), or the numbers (n, outputs). For a
            DataFrame or files a DataFrame with a row an input and the column "prediction", for classes also the
            probability of each.

        Raises
        ------
        RequestError
            On another shape, with that which is expected, a lacking column, or a file that can't be read.
        """
        from lightning_d2l.api.predicting import predicted

        with library(verbose=False):
            return predicted(self._best(samples=x is None), x)

    def _best(self, *, samples: bool) -> BuiltRun:
        return self._built(BEST if (self.folder / BEST).is_file() else LAST, samples=samples)

    def _built(self, checkpoint: Path, *, samples: bool = True) -> BuiltRun:
        with library(verbose=False):
            record = self._record
            if is_given(record.config):
                from lightning_d2l.api.given import restored

                return restored(record, checkpoint, *self._objects)
            from lightning_d2l.training.reuse import load_run as load

            built = load(self.folder, checkpoint, samples=samples)
        built.points = [max(1, int(built.spec.config["trainer"]["max_epochs"] or 1))]
        return built

    def completed_or_failed(self, error: BaseException | None) -> Run:
        """The run; raises RunFailed, caused by `error`, if it failed."""
        record = self._record
        if record.state == "failed":
            raise RunFailed(f"{record.fields.get('error')}\nrun folder: {self.folder}", self) from error
        return self

    def __repr__(self) -> str:
        try:
            record = self._record
        except RequestError as error:
            return f"Run({str(self.folder)!r}): {error}"
        shown = [
            f"{name} {number(value)}" for name, value in self.metrics.items() if name.startswith(("loss/", "acc/"))
        ]
        if name := (record.fields.get("diagnosis") or {}).get("name"):
            shown.append(str(name))
        return f"Run({str(self.folder)!r}, {record.state}{''.join(f', {each}' for each in shown)})"

    def _repr_html_(self) -> str:
        from lightning_d2l.api.notebook import inline

        try:
            record, rows = self._record, self._rows()
        except RequestError as error:
            return f"<p>{html.escape(str(error))}</p>"
        names = dict.fromkeys(name for row in rows.values() for name in row if "/" in name)
        head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        lines = [
            f"<tr><th>{kind}</th>"
            + "".join(f"<td>{number(row[name]) if row.get(name) is not None else ''}</td>" for name in names)
            for kind, row in rows.items()
        ]
        title = (
            f"{record.fields.get('model', '')} on {(record.fields.get('data') or {}).get('name', '')}: {record.state}"
        )
        table = f"<table><tr><th></th>{head}</tr>{''.join(lines)}</table>" if names else ""
        picture = inline(self.figure(), "learning curves") if record.history else ""
        where = f"<code>{html.escape(str(self.folder))}</code>"
        return f"<div><p>{html.escape(title)} {where}</p>{table}{picture}</div>"


def _named(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name not in ("epoch", "step") and value is not None}


def hashable(value: Any) -> Any:
    """A setting as a cell of a table, whose rows can be grouped by it: a list or a mapping as text."""
    return show(value) if isinstance(value, (list, dict)) else value


@library_call
def load_run(folder: Folder, *, module: pl.LightningModule | None = None, datamodule: Any = None) -> Run:
    """The run that was recorded in a folder.

    A run of lean records has its metrics and history, and no weights: what needs them raises RequestError with the
    command that makes the folder of the run.

    Parameters
    ----------
    folder : path
        The folder with the run.json; of lean records the path that it would have, such as "sweep/seed=3".
    module, datamodule : optional
        The objects of a run of `fit`, which no record describes; its weights are loaded into a copy of the module.

    Returns
    -------
    Run

    Raises
    ------
    RequestError
        If the folder holds no run, or its record is damaged.

    Examples
    --------
    >>> import lightning_d2l as d2l
    >>> run = d2l.train("model=polynomial_regression", "trainer.max_epochs=2", verbose=False)
    >>> d2l.load_run(run.folder).metrics == run.metrics
    True
    """
    found = path_of("folder", folder)
    if found.is_file():
        raise RequestError(f"{folder}: must be the folder of a run, not a file")
    if (found / SWEEP_FILE).is_file() and not (found / RUN_FILE).exists():
        raise RequestError(f"{folder}: holds a sweep; lightning_d2l.load_sweep reads it")
    lean = lean_record(found) if not (found / RUN_FILE).exists() else None
    if lean is None:
        RunRecord.read(found)
    return Run(found, module, datamodule, lean=lean)
