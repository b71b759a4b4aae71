"""The target of a table: numbers to predict, or classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lightning_d2l.config.check import RequestError
from lightning_d2l.data.columns import Categories, Column, Numbers, Values, column_of
from lightning_d2l.data.csv_file import Table, shown

FEW, ROWS_A_CLASS = 20, 5  # whole numbers that are classes if nobody says what they are, and rows of each on average
MOST_CLASSES = 1000
LOOKED_AT = 1000  # rows that tell quickly that a column has many different numbers


def target_of(table: Table, series: pd.Series, name: str, task: str | None) -> Column:
    """The column `name` as numbers or classes, as the task says, or else the values: text, booleans and few different
    whole numbers are classes. Raises RequestError where a value is missing or does not suit the task."""
    text = task == "classification" and not pd.api.types.is_numeric_dtype(series.dtype)
    column = column_of(table, series, name, text=text, otherwise="give data.task=classification")
    missing = np.isnan(column.values) if isinstance(column, Numbers) else column.codes < 0
    if missing.any():
        more = f", and in {int(missing.sum()) - 1:,} more rows" if missing.sum() > 1 else ""
        where = table.at(int(missing.argmax()), name)
        raise RequestError(f"{where}: the target is missing{more}; remove such rows")
    if isinstance(column, Numbers):
        column = _as_classes(column, task)
    elif task == "regression":
        raise RequestError(f"data.task=regression: {table.at(0, name)}: {shown(series.iloc[0])} is not a number")
    if isinstance(column, Categories):
        _check_classes(table, column)
    return column


def _as_classes(column: Numbers, task: str | None) -> Column:
    """Numbers as classes if the task says so, or if nobody says what they are and they are few whole numbers."""
    if task == "regression":
        return column
    begin = column.values[:LOOKED_AT]
    if task is None and ((begin != np.round(begin)).any() or len(np.unique(begin)) > FEW):
        return column
    found, codes = np.unique(column.values, return_inverse=True)
    few = (found == np.round(found)).all() and len(found) <= min(FEW, len(codes) // ROWS_A_CLASS)
    if task is None and not few:
        return column
    return Categories(column.name, codes.astype(np.int64), class_names(found))


def class_names(values: Values) -> list[str]:
    """The names of classes that are numbers."""
    return [str(int(value)) if value == np.round(value) else repr(float(value)) for value in values]


def _check_classes(table: Table, column: Categories) -> None:
    n, names = len(column.codes), column.names
    if len(names) == 1:
        raise RequestError(f"{table.what}: column {column.name} is {shown(names[0])} in every row: only one class")
    if len(names) > MOST_CLASSES or len(names) == n:
        words = f"has {len(names):,} different values of {column.name} in {n:,} rows: too many for classes"
        raise RequestError(f"data.target={column.name}: {table.what} {words}")


def check_logarithm(table: Table, column: Numbers) -> None:
    """Raise RequestError unless all numbers have a logarithm."""
    if (wrong := column.values <= 0).any():
        row = int(wrong.argmax())
        where = table.at(row, column.name)
        raise RequestError(f"{where}: {column.values[row]:g} has no logarithm; must be above 0 for data.log_target")


def numbers_in(table: Table, series: pd.Series, name: str) -> Tensor:
    """The targets (n, 1) of another file than that of the training rows."""
    column = target_of(table, series, name, "regression")
    assert isinstance(column, Numbers)
    return torch.tensor(column.values)[:, None]


def classes_in(table: Table, series: pd.Series, name: str, known: tuple[str, ...]) -> Tensor:
    """The classes (n,) of another file than that of the training rows, which has the classes `known`."""
    column = target_of(table, series, name, "classification")
    assert isinstance(column, Categories)
    place = {each: i for i, each in enumerate(known)}
    for code, each in enumerate(column.names):
        if each not in place:
            where = table.at(int((column.codes == code).argmax()), name)
            raise RequestError(f"{where}: {shown(each)} is no class of data.path ({', '.join(known[:20])})")
    return torch.tensor([place[each] for each in column.names])[torch.from_numpy(column.codes)]
