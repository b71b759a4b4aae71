"""A table in a CSV file: numbers and categories, from which a column of numbers or classes is predicted (d2l 3.1)."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.places import here
from lightning_d2l.config.size import LARGEST_DATA
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.columns import Categories, Column, Numbers, Values, check_feature, column_of, raw_values
from lightning_d2l.data.csv_file import Table, open_table
from lightning_d2l.data.table_splits import Rows, fold_of, held_out
from lightning_d2l.data.table_target import check_logarithm, classes_in, numbers_in, target_of
from lightning_d2l.nets.preprocessing import TableInputs

log = logging.getLogger(__name__)
TARGET = "lightning_d2l.nets.preprocessing.TableInputs"
CHUNK = 2**15  # numbers that are encoded at once: few enough for one thread and its cache


class TableData(TensorDataModule):
    """The rows of a CSV file: x (n, features) float64; y (n, 1) float64, or (n,) classes, of the column `target`.

    Numeric columns are standardised, categories (text, true and false) are one-hot, and a column with missing values
    has an indicator of them; a missing number counts as the mean. What this takes is fitted to the training split
    alone, and is `preprocessing`, the description of a `TableInputs`, which encodes further rows.

    `val_size` and `test_size` are fractions of the rows, or numbers of them; `test_path` is a second file for the test
    split. Each class has its share of every split; rows with the same value of the column `group` are in one split.
    With `log_target` the model predicts the logarithm of the target, with `standardize_target` what is standardised.

    Raises RequestError that names the file, and where there are, the row and the column of what can't be used.
    """

    def __init__(
        self,
        path: str,
        target: str | float,
        *,
        task: str | None = None,
        features: Sequence[Any] | str | float | None = None,
        drop: Sequence[Any] | str | float = (),
        categories: Sequence[Any] | str | float = (),
        max_categories: int = 100,
        log_target: bool = False,
        standardize_target: bool = False,
        val_size: float = 0.2,
        test_size: float = 0.2,
        test_path: str | None = None,
        group: str | float | None = None,
        encoding: str | None = None,
        separator: str | None = None,
        decimal: str = ".",
        batch_size: int = 32,
        **settings: Any,
    ) -> None:
        super().__init__(batch_size, **settings)
        self.path, self.test_path = Path(here(path)), Path(here(test_path)) if test_path else None
        self.target = str(target)
        self.name, self.source = self.path.name, "csv"
        self.task = task or ""
        self.features = None if features is None else _names(features)
        self.drop, self.categories, self.max_categories = _names(drop), _names(categories), max_categories
        self.log_target, self.standardize_target = log_target, standardize_target
        self.held_out = {"test": 0 if test_path else test_size, "val": 0 if self.folds else val_size}
        self.group = None if group is None else str(group)
        self.form: dict[str, Any] = {"encoding": encoding, "separator": separator, "decimal": decimal}
        self._asked_task, self._checksum = task, ""

    def setup(self, stage: str | None = None) -> None:
        if not self.splits:
            self.splits = self.draw()

    def draw(self) -> dict[str, tuple[Tensor, Tensor]]:
        table = self._open()
        names = self._features(table)
        frame = table.read(text=self.categories)
        otherwise = "name the column in data.categories or data.drop"
        columns = [column_of(table, frame[c], c, text=c in self.categories, otherwise=otherwise) for c in names]
        for column in columns:
            check_feature(table, column, self.max_categories)
        target = self._target(table, frame[self.target])
        groups = None if self.group is None else _groups(table, frame[self.group], self.group)
        del frame
        n = len(target.values if isinstance(target, Numbers) else target.codes)
        classes = target.codes if isinstance(target, Categories) else None
        rows = self._rows(n, classes, groups)
        fitted = [column.fitted(rows["train"]) for column in columns]
        if large := [each for each in fitted if not np.isfinite(each.get("mean", 0.0) + each.get("scale", 1.0))]:
            raise RequestError(f"{table.what}: column {large[0]['name']}: its numbers are too large to be standardised")
        inputs = self._fitted(fitted, self._described(target, rows["train"]))
        self._require_memory(n, inputs)
        raw, y = [c.raw(f) for c, f in zip(columns, fitted, strict=True)], _y(target)
        splits = {split: (encoded(inputs, raw, chosen), inputs.of_target(y[chosen])) for split, chosen in rows.items()}
        digest = hashlib.sha256()
        for column in [*columns, target, *([] if groups is None else [Categories(str(self.group), groups, [])])]:
            for part in column.content:
                digest.update(part)
        if self.test_path:
            raw, y = self._test_file(inputs)
            splits["test"] = encoded(inputs, raw, np.arange(len(y))), inputs.of_target(y)
            for values in [*raw, y.numpy()]:
                digest.update(np.ascontiguousarray(values).data)
        self._checksum = digest.hexdigest()
        self._tell(splits)
        return splits

    def identity(self) -> dict[str, Any]:
        """Name, source and a checksum (SHA-256) of every value in the columns that are used, as in the file."""
        # The name does not tell the file, which may be renamed between two runs of a sweep.
        return {"name": f"table of {self.target}", "source": self.source, "checksum": self._checksum}

    def no_samples(self) -> tuple[Tensor, Tensor] | None:
        if self.preprocessing is None:
            return None
        y = torch.empty(0, dtype=torch.int64) if self.class_names else torch.empty(0, 1, dtype=torch.float64)
        return torch.empty(0, self.inputs.num_features, dtype=torch.float64), y

    def restore(self, preprocessing: Any) -> None:
        """Take the encoding that a checkpoint holds, for which no file is read; raises ValueError on a damaged one."""
        try:
            settings = {key: value for key, value in preprocessing.items() if key != "_target_"}
            inputs = TableInputs(**settings)
            self._fitted(inputs.columns, inputs.target)
        except (AttributeError, KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"the encoding of its table is damaged ({error})") from error

    @property
    def inputs(self) -> TableInputs:
        """The layer that encodes raw rows."""
        assert self.preprocessing is not None
        return TableInputs(self.preprocessing["columns"], self.preprocessing["target"])

    def in_own_unit(self, output: Tensor) -> Tensor:
        """The target in its own unit for outputs (n, 1) of a model; logits of classes stay as they are."""
        return self.inputs.in_own_unit(output)

    def raw_rows(self, table: Table, frame: pd.DataFrame) -> list[Values]:
        """The raw values (n,) of each column, for the `inputs`, of rows whose categories were read as text."""
        return [raw_values(table, frame[column["name"]], column) for column in self.inputs.columns]

    def open_like(self, path: Path, what: str, *others: str) -> tuple[Table, pd.DataFrame]:
        """The rows of another file with the columns of this one, and those in `others`; categories are text."""
        columns = self.inputs.columns
        table = open_table(path, what, **self.form)
        table.require([*(column["name"] for column in columns), *others])
        return table, table.read(text=[column["name"] for column in columns if "categories" in column])

    def _open(self) -> Table:
        return open_table(self.path, f"data.path={_relative(self.path)}", **self.form)

    def _features(self, table: Table) -> list[str]:
        table.require([self.target], "data.target")
        table.require(self.drop, "data.drop")
        table.require(self.categories, "data.categories")
        table.require([self.group] if self.group else [], "data.group")
        for key in ("drop", "categories", "features"):
            if self.target in (getattr(self, key) or ()):
                hint = "; data.task=classification makes classes of numbers" if key == "categories" else ""
                raise RequestError(f"data.{key}: must not hold {self.target}, which is data.target{hint}")
        if self.group == self.target:
            raise RequestError(f"data.group={self.group}: must be another column than data.target")
        if self.features is not None:
            table.require(self.features, "data.features")
        others = [name for name in table.places if name not in (self.target, self.group)]
        names = [name for name in dict.fromkeys(self.features or others) if name not in self.drop]
        if not names:
            raise RequestError(f"{table.what}: no column is left to predict {self.target} from")
        return names

    def _target(self, table: Table, series: pd.Series) -> Column:
        """The target as numbers or as classes; sets `class_names`."""
        column = target_of(table, series, self.target, self._asked_task)
        self.class_names = tuple(column.names) if isinstance(column, Categories) else ()
        if isinstance(column, Numbers):
            if self.log_target:
                check_logarithm(table, column)
            return column
        for key in ("log_target", "standardize_target"):
            if getattr(self, key):
                raise RequestError(f"data.{key}=true: must be false for classes, which column {self.target} holds")
        return column

    def _described(self, target: Column, rows: Rows) -> dict[str, Any]:
        """The target as `TableInputs` describes it."""
        moments: dict[str, Any] = {"mean": 0.0, "scale": 1.0}
        if isinstance(target, Numbers) and self.standardize_target:
            values = np.log(target.values) if self.log_target else target.values
            moments = Numbers(target.name, values).fitted(rows)
        described = {key: moments[key] for key in ("mean", "scale")}
        return {"name": self.target, "classes": list(self.class_names), "log": self.log_target, **described}

    def _fitted(self, columns: list[dict[str, Any]], target: dict[str, Any]) -> TableInputs:
        self.preprocessing = {"_target_": TARGET, "columns": columns, "target": target}
        self.class_names = tuple(map(str, target["classes"]))
        self.task = "classification" if self.class_names else "regression"
        return self.inputs

    def _rows(self, n: int, classes: Rows | None, groups: Rows | None) -> dict[str, Rows]:
        if not self.test_path and not self.held_out["test"]:
            raise RequestError("data.test_size=0: must be above 0, or data.test_path must name a file of test rows")
        rows = held_out(n, self.held_out, self.seed, classes=classes, groups=groups)
        if not self.folds:
            return rows
        assert self.fold is not None
        rest = rows["train"]
        own = {
            "classes": None if classes is None else classes[rest],
            "groups": None if groups is None else groups[rest],
        }
        chosen = fold_of(len(rest), self.folds, self.fold, self.seed, **own)
        return rows | {split: rest[each] for split, each in chosen.items()}

    def _test_file(self, inputs: TableInputs) -> tuple[list[Values], Tensor]:
        """The raw columns and the targets of `test_path`."""
        assert self.test_path is not None
        table, frame = self.open_like(self.test_path, f"data.test_path={_relative(self.test_path)}", self.target)
        series = frame[self.target]
        if self.class_names:
            y = classes_in(table, series, self.target, self.class_names)
        else:
            y = numbers_in(table, series, self.target)
            if self.log_target:
                check_logarithm(table, Numbers(self.target, y[:, 0].numpy()))
        return self.raw_rows(table, frame), y

    def _require_memory(self, n: int, inputs: TableInputs) -> None:
        if n * inputs.num_features * 8 > LARGEST_DATA:
            raise RequestError(
                f"data.path={_relative(self.path)}: {n:,} rows of {inputs.num_features:,} features do not fit into "
                "memory; leave out columns of many categories with data.drop"
            )

    def _tell(self, splits: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        inputs = self.inputs
        hot = sum("categories" in column for column in inputs.columns)
        what = f"classification ({len(self.class_names)} classes)" if self.class_names else "regression"
        chosen = "" if self._asked_task else f", by its values (data.task={self.task})"
        rows = ", ".join(f"{len(splits[split][1]):,} {split}" for split in ("train", "val", "test") if split in splits)
        log.info("%s: %s of %s%s", self.name, what, self.target, chosen)
        log.info(
            "%s  %s of numbers  %s of categories  %s features  rows: %s",
            "columns", len(inputs.columns) - hot, hot, inputs.num_features, rows,
        )  # fmt: skip


def encoded(inputs: TableInputs, raw: Sequence[Values], rows: Rows) -> Tensor:
    """The features (len(rows), num_features) of some rows of raw columns, each (n,)."""
    x = torch.empty(len(rows), inputs.num_features, dtype=torch.float64)
    size = max(1, CHUNK // len(raw))
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        x[start : start + size] = inputs(torch.from_numpy(np.stack([column.take(part) for column in raw], 1)))
    return x


def _groups(table: Table, series: pd.Series, name: str) -> Rows:
    codes, _ = pd.factorize(series)
    if (codes < 0).any():
        raise RequestError(f"{table.at(int((codes < 0).argmax()), name)}: the group is missing")
    return np.asarray(codes, dtype=np.int64)


def _y(target: Column) -> Tensor:
    return torch.tensor(target.values)[:, None] if isinstance(target, Numbers) else torch.from_numpy(target.codes)


def _names(given: Sequence[Any] | str | float) -> list[str]:
    return [str(name) for name in given] if isinstance(given, (list, tuple)) else [str(given)]


def _relative(path: Path) -> str:
    """A path as the user may have written it: from the current folder where it lies below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
