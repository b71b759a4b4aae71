"""The columns of a table: numbers or categories, and the statistics of the training rows that encode them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lightning_d2l.config.check import RequestError
from lightning_d2l.data.csv_file import Table, as_numbers, shown

NEARLY_ALL = 0.9  # of the values; a column of which so many are numbers is numeric
ALL_DIFFERENT = 10  # values; so many categories of one row each are names of the rows
BOOLEANS = ("false", "true")
DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ].*)?|\d{1,2}([-/])\d{1,2}\2\d{2,4}|\d{1,2}\.\d{1,2}\.\d{4}")

THOUSANDS = re.compile(r"[+-]?\d{1,3}(([,' ]\d{3})+(\.\d+)?|(\.\d{3}){2,}|(\.\d{3})+,\d+)")

Values = NDArray[np.float64]


@dataclass
class Numbers:
    """The values (n,) of a numeric column, NaN where one is missing."""

    name: str
    values: Values

    def fitted(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        """The statistics of some rows, as `nets.preprocessing.TableInputs` takes them."""
        chosen = self.values[rows]
        missing = np.isnan(chosen)
        present = chosen[~missing] if missing.any() else chosen
        constant = not len(present) or present.min() == present.max()
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by the caller
            mean = float(present.mean()) if len(present) else 0.0
            scale = 1.0 if constant else float(present.std()) or 1.0
        return {"name": self.name, "mean": mean, "scale": scale, "missing": bool(missing.any())}

    def raw(self, fitted: Mapping[str, Any]) -> Values:
        return self.values

    @property
    def content(self) -> tuple[bytes, Any]:
        return self.name.encode(), np.ascontiguousarray(self.values).data


@dataclass
class Categories:
    """The categories (n,) of a column as indices of `names`, -1 where one is missing."""

    name: str
    codes: NDArray[np.int64]
    names: list[str]

    def fitted(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        """The categories of some rows, as `nets.preprocessing.TableInputs` takes them."""
        found = np.unique(self.codes[rows])
        categories = [self.names[code] for code in found if code >= 0]
        return {"name": self.name, "categories": categories, "missing": bool((found < 0).any())}

    def raw(self, fitted: Mapping[str, Any]) -> Values:
        """The indices of the fitted categories, -1 for another one, NaN where one is missing."""
        place = {name: float(i) for i, name in enumerate(fitted["categories"])}
        return np.array([*(place.get(name, -1.0) for name in self.names), np.nan])[self.codes]

    @property
    def content(self) -> tuple[bytes, Any]:
        return f"{self.name}{json.dumps(self.names)}".encode(), np.ascontiguousarray(self.codes).data


Column = Numbers | Categories


def column_of(table: Table, series: pd.Series, name: str, *, text: bool = False, otherwise: str = "") -> Column:
    """A column as numbers if it holds numbers, else as categories; with `text` as categories whatever it holds.

    Raises RequestError on an infinite number, where nearly all values are numbers and one is not, and on numbers that
    are written otherwise; `otherwise` is what the message offers beside a correction.
    """
    if series.dtype == bool:
        return Categories(name, series.to_numpy().astype(np.int64), list(BOOLEANS))
    if pd.api.types.is_numeric_dtype(series.dtype):
        values = series.to_numpy(np.float64)
        table.require_finite(values, name)
        return Numbers(name, values)
    codes, found = pd.factorize(series)
    texts = [str(value).strip() for value in found]
    if not text and texts:
        values = as_numbers(texts, table.decimal)
        counts = np.bincount(codes[codes >= 0], minlength=len(texts))
        share = counts[~np.isnan(values)].sum() / counts.sum()
        if share == 1:
            return Numbers(name, table.numbers(series, name))
        if share >= NEARLY_ALL:
            row = int(np.isin(codes, np.flatnonzero(np.isnan(values))).argmax())
            raise RequestError(
                f"{table.at(row, name)}: {shown(series.iloc[row])} is not a number, and {share:.0%} of the column are\n"
                f"correct it{otherwise and f', or {otherwise}'}"
            )
        _require_plain_numbers(table, name, texts)
    if {each.lower() for each in texts} <= set(BOOLEANS):
        texts = [each.lower() for each in texts]
    names = sorted(set(texts) - {""})
    place = {each: i for i, each in enumerate(names)}
    return Categories(name, np.array([*(place.get(each, -1) for each in texts), -1])[codes], names)


def _require_plain_numbers(table: Table, name: str, texts: Sequence[str]) -> None:
    """Raise RequestError if nearly all of the texts are numbers with decimal or thousands separators."""
    other = "," if table.decimal == "." else "."
    decimals = np.isfinite(as_numbers(texts, other)) & np.isnan(as_numbers(texts, table.decimal))
    hint = f"data.decimal='{other}' reads decimals like this" if decimals.mean() >= NEARLY_ALL else ""
    if np.mean([bool(THOUSANDS.fullmatch(each)) for each in texts]) >= NEARLY_ALL:
        hint = "thousands must not be separated"
    if hint:
        raise RequestError(f"{table.what}: column {name}: {shown(texts[0])} is not a number; {hint}")


def raw_values(table: Table, series: pd.Series, column: Mapping[str, Any]) -> Values:
    """The raw values (n,) of a fitted column in a file; its categories were read as text."""
    if "categories" not in column:
        if series.dtype == bool or not pd.api.types.is_numeric_dtype(series.dtype):
            return table.numbers(series.astype(str), column["name"])
        found = np.asarray(series, dtype=np.float64)
        table.require_finite(found, column["name"])
        return found
    codes, texts = pd.factorize(series)
    names = [str(text).strip() for text in texts]
    if set(column["categories"]) <= set(BOOLEANS):
        names = [name.lower() for name in names]
    place = {name: float(i) for i, name in enumerate(column["categories"])} | {"": np.nan}
    values: Values = np.array([*(place.get(name, -1.0) for name in names), np.nan])[codes]
    return values


def check_feature(table: Table, column: Column, most: int) -> None:
    """Raise RequestError on a column of dates, and of more categories than there may be, such as names of the rows."""
    if isinstance(column, Numbers):
        return
    n, names = len(column.codes), column.names
    leave_out = f"leave it out with data.drop={listed([column.name])}"
    if names and sum(bool(DATE.fullmatch(name)) for name in names) >= NEARLY_ALL * len(names):
        raise RequestError(
            f"{table.what}: column {column.name} holds dates, such as {shown(names[0])}\n"
            f"make numbers of them in the file, such as a year, or {leave_out}"
        )
    if len(names) > most:
        raise RequestError(
            f"{table.what}: column {column.name} has {len(names):,} categories: must have at most {most:,}, "
            f"data.max_categories\n{leave_out}"
        )
    if len(names) == n >= ALL_DIFFERENT:
        raise RequestError(f"{table.what}: column {column.name} has another text in each row\n{leave_out}")


def listed(names: Sequence[str]) -> str:
    """Names of columns as a list of Hydra's override grammar."""
    plain = re.compile(r"[A-Za-z_]\w*")
    return f"[{','.join(name if plain.fullmatch(name) else json.dumps(name) for name in names)}]"
