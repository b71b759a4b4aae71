"""A table that a registered function returns as a DataFrame, encoded as one in a CSV file is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lightning_d2l.config.check import RequestError
from lightning_d2l.data.csv_file import Table
from lightning_d2l.data.table import TableData
from lightning_d2l.data.table_splits import Rows, fold_of, held_out

BATCH_SIZE = 32


@dataclass(frozen=True)
class FrameTable(Table):
    """A DataFrame in place of a CSV file. Rows are counted from 0, as pandas does."""

    frame: pd.DataFrame

    def read(self, text: Sequence[str] | None = None) -> pd.DataFrame:
        as_text = set(self.places if text is None else text)
        return pd.DataFrame({name: _plain(self.frame[name], name in as_text) for name in self.frame})

    def line(self, row: int) -> int:
        return row


class FrameData(TableData):
    """The rows of DataFrames of one width, by split; missing splits are held out of "train"."""

    def __init__(self, frames: Mapping[str, pd.DataFrame], name: str, own: Mapping[str, Any]) -> None:
        columns = [str(column) for column in frames["train"].columns]
        if own["target"] is None:
            listed = ", ".join(columns[:20]) + ", ..." * (len(columns) > 20)
            raise RequestError(f"data.target=null: must be a column of the DataFrame of {name}: {listed}")
        sizes = {key: own[f"{key}_size"] for key in ("val", "test") if key not in frames}
        super().__init__(
            name,
            own["target"],
            task=own["task"],
            val_size=sizes.get("val", 0),
            test_size=sizes.get("test", 0),
            batch_size=own["batch_size"] or BATCH_SIZE,
            seed=own["seed"],
            folds=own["folds"],
            fold=own["fold"],
        )
        self.name, self.source = name, "custom"
        self.frames = {split: frame.set_axis(map(str, frame.columns), axis=1) for split, frame in frames.items()}
        for split, frame in self.frames.items():
            if twice := frame.columns[frame.columns.duplicated()].tolist():
                raise RequestError(f"data={name}: two columns are called {twice[0]}; rename one")
            if set(frame.columns) != set(columns):
                other = sorted(set(frame.columns) ^ set(columns))[0]
                raise RequestError(f"data={name}: {split} and train differ in the column {other}")
            if frame.empty:
                raise RequestError(f"data={name}: {split} holds no rows")

    def _open(self) -> Table:
        whole = pd.concat(self.frames.values(), ignore_index=True)
        places = {name: number for number, name in enumerate(whole.columns)}
        return FrameTable(self.path, f"data={self.name}", "utf-8", ",", ".", places, len(places), False, whole)

    def _rows(self, n: int, classes: Rows | None, groups: Rows | None) -> dict[str, Rows]:
        if len(self.frames) == 1:
            return super()._rows(n, classes, groups)
        ends = np.cumsum([len(frame) for frame in self.frames.values()])
        given = dict(zip(self.frames, np.split(np.arange(n), ends[:-1]), strict=True))
        rest = given.pop("train")
        sizes = {split: size for split, size in self.held_out.items() if split not in given}
        rows = held_out(len(rest), sizes, self.seed, classes=None if classes is None else classes[rest])
        found = {split: rest[chosen] for split, chosen in rows.items()}
        if self.folds:
            rest, found = found["train"], {split: chosen for split, chosen in found.items() if split != "train"}
            own = None if classes is None else classes[rest]
            folds = fold_of(len(rest), self.folds, self.fold or 0, self.seed, classes=own)
            found |= {split: rest[chosen] for split, chosen in folds.items()}
        return found | given


def _plain(series: pd.Series, text: bool) -> pd.Series:
    """A column of numbers, booleans or text, as pandas reads them from a file."""
    if text or isinstance(series.dtype, pd.CategoricalDtype) or pd.api.types.is_datetime64_any_dtype(series.dtype):
        return series.astype(object).map(str, na_action="ignore")
    if pd.api.types.is_bool_dtype(series.dtype):
        return series.astype(object).map(str, na_action="ignore") if series.isna().any() else series.astype(bool)
    if pd.api.types.is_numeric_dtype(series.dtype):
        return series if isinstance(series.dtype, np.dtype) else series.astype(np.float64)
    return series.astype(object)
