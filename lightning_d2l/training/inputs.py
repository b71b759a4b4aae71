"""Files as inputs of a trained network: images, and CSV files with one column an input."""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from lightning_d2l.config.check import RequestError
from lightning_d2l.data.base import TensorDataModule, is_images
from lightning_d2l.data.synthetic import RegressionData
from lightning_d2l.training.files import read_bounded

if TYPE_CHECKING:
    from lightning_d2l.data.table import TableData  # imports pandas

LARGEST_FILE, MOST_ROWS = 64 * 2**20, 100_000  # of a CSV file
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity|nan)", re.ASCII | re.IGNORECASE)
# The first row is no header if one of its cells looks as if a number was meant: a digit at its start, or behind a
# sign, a currency or a letter that resembles 0 or 1; and what stands for a missing number.
MEANT_AS_NUMBER = re.compile(
    r"[\W_]*\d|[oOlI|][.,]\d|([+-]?inf(inity)?|nan|na|n/a|#n/a|null|none|nil|missing|\W*)$", re.IGNORECASE
)

Input = tuple[str, Tensor, str]
"""The name of an input, its features (1, ...), and a note on how it was read."""


def read_inputs(files: Sequence[Path], data: TensorDataModule) -> Iterator[Input]:
    """The inputs in files: an image each where the data are images, else the rows of CSV files.

    The rows of a table have its raw columns.

    Raises RequestError that names the file, and in a CSV file the row and the column, if one can't be read.
    """
    x, _ = data.samples("train", 1)
    for file in files:
        if data.preprocessing is not None:
            yield from read_table(file, cast("TableData", data))
        elif x.dim() == 2:
            yield from read_csv(file, data)
        elif is_images(x):
            from lightning_d2l.training.images import read_image

            yield (file.name, *read_image(file, data))
        else:
            shape = " x ".join(map(str, x.shape[1:]))
            raise RequestError(f"{file}: inputs of {data.name} ({shape} numbers) can't be read from a file")


def read_table(file: Path, data: TableData) -> Iterator[Input]:
    """The rows of a CSV file with the raw columns of a table, in any order, beside others; a cell may be empty."""
    if file.stat().st_size > LARGEST_FILE:
        raise RequestError(f"{file}: must have at most {LARGEST_FILE // 2**20} MiB; split it")
    table, frame = data.open_like(file, str(file))
    if len(frame) > MOST_ROWS:
        raise RequestError(f"{file}: must have at most {MOST_ROWS:,} rows; split it")
    columns, raw = data.inputs.columns, data.raw_rows(table, frame)
    features = data.inputs(torch.from_numpy(np.stack(raw, 1)))
    shown = [_texts(frame[column["name"]].tolist()) for column in columns[:8]]
    unknown = [(c["name"], values == -1) for c, values in zip(columns, raw, strict=True) if "categories" in c]
    for i, (x, cells) in enumerate(zip(features, zip(*shown, strict=True), strict=True)):
        of = ", ".join(name for name, rows in unknown if rows[i])
        yield ", ".join(cells), x[None], f"unknown category of {of}" if of else ""


def _texts(values: list[object]) -> list[str]:
    """The cells of a column, ? where one is missing."""
    return ["?" if v != v else f"{v:g}" if isinstance(v, float) else str(v) for v in values]  # noqa: PLR0124


def read_csv(file: Path, data: TensorDataModule) -> Iterator[Input]:
    """The inputs of a CSV file, one a row and a column an input.

    The first row is a header if it holds the names of the inputs, in any order, or if none of its cells looks like a
    number. Blank lines are left out.
    """
    named = data.input_names if isinstance(data, RegressionData) else []
    columns = len(named) or data.num_inputs
    order: list[int] | None = None
    rows: list[Tensor] = []
    for line, cells in _rows(file):
        if order is None:
            order, is_header = _header(file, line, cells, named, columns)
            if is_header:
                continue
        if len(cells) != columns:
            hint = _separators(cells[0]) if len(cells) == 1 else ""
            raise RequestError(f"{file}: row {line} has {len(cells)} columns: must be {columns}, the inputs{hint}")
        if len(rows) == MOST_ROWS:
            raise RequestError(f"{file}: must have at most {MOST_ROWS:,} rows; split it")
        values = [_number(file, line, column, cell) for column, cell in enumerate(cells, 1)]
        rows.append(torch.tensor([values[i] for i in order], dtype=torch.float64))
    if not rows:
        raise RequestError(f"{file}: {'empty' if order is None else 'a header and no rows'}; must have a row an input")
    inputs = torch.stack(rows)
    features = data.features(inputs) if isinstance(data, RegressionData) else inputs
    for row, x in zip(inputs, features, strict=True):
        name = ", ".join(f"{v:g}" for v in row[:8].tolist())
        if not x.isfinite().all():
            raise RequestError(f"{file}: the input {name} is too large for features of {data.name}")
        yield name, x[None], ""


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file that are not blank, each with the number of the line at which it ends."""
    try:
        text = _text(read_bounded(file, LARGEST_FILE))
    except OSError as error:
        raise RequestError(f"{file}: can't be read ({error.strerror})") from error
    except ValueError as error:
        raise RequestError(f"{file}: {error}; must be a CSV file") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for cells in reader:
            if cells and (len(cells) > 1 or cells[0] == "" or cells[0].strip()):  # "" was written with quotes
                yield reader.line_num, cells
    except csv.Error as error:
        raise RequestError(f"{file}: row {reader.line_num} is not CSV ({error})") from error


def _text(content: bytes) -> str:
    """Text in UTF-8, or in what its byte-order mark says; raises ValueError."""
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content[:2]:  # the first character is of ASCII
        encoding = "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
    try:
        text = content.decode(encoding)
    except UnicodeError as error:
        raise ValueError("not text in UTF-8 or UTF-16") from error
    if "\0" in text:
        raise ValueError("not text (it holds null characters)")
    return text


def _header(file: Path, line: int, cells: list[str], named: list[str], columns: int) -> tuple[list[int], bool]:
    """Where in a row each input stands, by the first row, and whether that row is a header."""
    names = [cell.strip().lower() for cell in cells]
    if named and sorted(names) == sorted(named):
        return [names.index(name) for name in named], True
    in_place = list(range(columns))
    if any(MEANT_AS_NUMBER.match(cell.strip()) for cell in cells):
        return in_place, False
    if len(cells) != columns or set(names) & set(named):
        wanted = ", ".join([*named[:3], *["..."] * (columns > 4), *named[max(3, columns - 1) :]])
        names_of = f", such as {wanted}" if named else ""
        raise RequestError(f"{file}: row {line} has the columns {_shown(','.join(cells))}: must be {columns}{names_of}")
    return in_place, True


def _number(file: Path, line: int, column: int, cell: str) -> float:
    text = cell.strip()
    where = f"{file}: row {line}, column {column}: {_shown(cell)}"
    if not NUMBER.fullmatch(text):
        hint = _separators(text) or (
            "; thousands and decimals must not have commas" if re.search(r"\d,\d", text) else ""
        )
        raise RequestError(f"{where} is not a number{hint}")
    value = float(text)
    if not math.isfinite(value):
        raise RequestError(f"{where} is not a finite number")
    return value


def _separators(cell: str) -> str:
    """The end of a message about a cell that looks like several."""
    return "; columns are separated by commas" if re.search(r"[;\t|]|\d\s+[\d+-]", cell) else ""


def _shown(cell: str) -> str:
    """A cell in quotes, without characters that a terminal would obey."""
    return repr(cell if len(cell) <= 40 else f"{cell[:40]}...")
