"""Reading CSV files with pandas: what is not a table is refused with its file, row and column."""

from __future__ import annotations

import codecs
import csv
import io
import re
import stat
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lightning_d2l.config.check import RequestError, nearest

MOST_COLUMNS = 10_000
LARGEST_FILE = 2**34  # bytes
HEAD = 2**22  # characters, in which the header and the first row are looked for
SEPARATORS = (",", ";", "\t", "|")
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
PACKED = {b"\x1f\x8b": "gzip", b"PK": "zip (or Excel)", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PAR1": "Parquet"}


@dataclass(frozen=True)
class Table:
    """A CSV file that was looked into: how it is written, and the places of its columns by their names.

    `what` begins messages. Rows are counted as lines of the file, from 1.
    """

    path: Path
    what: str
    encoding: str
    separator: str
    decimal: str
    places: Mapping[str, int]
    num_columns: int
    spaces: bool  # behind separators, near the beginning

    def read(self, text: Sequence[str] | None = None) -> pd.DataFrame:
        """The rows that are not blank, with the columns that have names.

        Columns of `text` (None: all) are read as text. Raises RequestError on what is no table, or has no rows.
        """
        as_text = self.places if text is None else text
        types: dict[int, Any] = {self.places[name]: str for name in as_text}
        frame = self._read(types)
        if mixed := [i for i in frame if frame[i].dtype == object]:  # numbers in one part of the file, text in another
            frame[mixed] = self._read(types | dict.fromkeys(mixed, str))[mixed]
        if not len(frame):
            raise RequestError(f"{self.what}: has a header and no rows")
        if len(self.places) < self.num_columns:
            frame = frame[list(self.places.values())]
        frame.columns = pd.Index(self.places)
        return frame

    def _read(self, types: Mapping[int, Any]) -> pd.DataFrame:
        with warnings.catch_warnings(), _named(self.what):
            warnings.simplefilter("ignore")
            return pd.read_csv(
                self.path.absolute(),
                compression=None,
                sep=self.separator,
                encoding=self.encoding,
                decimal=self.decimal,
                header=0,
                names=list(range(self.num_columns)),  # pandas would rename columns of one name
                index_col=False,
                skipinitialspace=self.spaces,
                dtype=types or None,
            )

    def require(self, names: Sequence[str], key: str = "") -> None:
        """Raise RequestError that names the first column that is missing, and the setting `key` that asks for it."""
        for name in names:
            if name not in self.places:
                columns = list(self.places)
                listed = ", ".join(columns[:20]) + ", ..." * (len(columns) > 20)
                asked = f"{key}={name}: " if key else ""
                raise RequestError(
                    f"{asked}{self.what} has no column {name}{nearest(name, columns)} (its columns: {listed})"
                )

    def at(self, row: int, column: str) -> str:
        """Where row number `row`, from 0, of a column stands: the beginning of a message."""
        return f"{self.what}: row {self.line(row)}, column {column}"

    def line(self, row: int) -> int:
        """The line of the file at which row number `row`, from 0, ends."""
        with open(self.path, encoding=self.encoding, newline="") as file:
            reader = csv.reader(file, delimiter=self.separator, skipinitialspace=True)
            for number, _ in enumerate(_not_blank(reader), -1):
                if number == row:
                    break
        return reader.line_num

    def numbers(self, column: pd.Series, name: str) -> NDArray[np.float64]:
        """The numbers (n,) of a column of text, NaN where it is missing; raises RequestError on other text."""
        codes, found = pd.factorize(column)
        texts = [str(text).strip() for text in found]
        values = as_numbers(texts, self.decimal)
        if wrong := [code for code, text in enumerate(texts) if text and np.isnan(values[code])]:
            row = int(np.flatnonzero(np.isin(codes, wrong))[0])
            raise RequestError(f"{self.at(row, name)}: {shown(column.iloc[row])} is not a number")
        numbers: NDArray[np.float64] = np.append(values, np.nan)[codes]
        self.require_finite(numbers, name)
        return numbers

    def require_finite(self, values: NDArray[np.float64], name: str) -> None:
        """Raise RequestError that names the first infinite value of a column."""
        if (infinite := np.isinf(values)).any():
            row = int(infinite.argmax())
            raise RequestError(f"{self.at(row, name)}: {values[row]} is not a finite number")


def open_table(
    path: Path, what: str, *, encoding: str | None = None, separator: str | None = None, decimal: str = "."
) -> Table:
    """Look into a CSV file; raises RequestError unless it is text with a header of columns of different names.

    By default the encoding is UTF-8, or what a byte-order mark says, and the separator the most frequent of
    `SEPARATORS` in the header.
    """
    with _named(what):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise RequestError(f"{what}: not a regular file; must be a CSV file")
        if status.st_size > LARGEST_FILE:
            raise RequestError(f"{what}: must have at most {LARGEST_FILE // 2**30} GiB; split it")
        with open(path, "rb") as file:
            begin = file.read(8)
        if packed := next((name for mark, name in PACKED.items() if begin.startswith(mark)), ""):
            raise RequestError(f"{what}: looks like {packed}; must be a CSV file: unpack or convert it first")
        encoding = encoding or next((name for mark, name in MARKS.items() if begin.startswith(mark)), "utf-8")
        with open(path, encoding=encoding, newline="") as text:
            head = text.read(HEAD)
    if "\0" in head:
        raise RequestError(f"{what}: not text (it holds null characters); must be a CSV file")
    first = next((line for line in io.StringIO(head, newline="") if line.strip()), "")
    if not first:
        raise RequestError(f"{what}: empty; must be a CSV file with a header")
    if len(first) == HEAD:
        raise RequestError(f"{what}: its first line is longer than {HEAD:,} characters; must be a CSV file")
    if separator is None:
        bare = re.sub(r'"[^"]*"', "", first)
        candidates = [mark for mark in SEPARATORS if mark != decimal]
        separator = max(candidates, key=bare.count)
    try:
        rows = _not_blank(csv.reader(io.StringIO(head, newline=""), delimiter=separator, skipinitialspace=True))
        names = [name.strip() for name in next(rows)]
        second = next(rows, names) if len(head) < HEAD or head.count("\n") > 2 else names
    except (csv.Error, StopIteration) as error:
        raise RequestError(f"{what}: not CSV ({error})") from error
    if len(names) > MOST_COLUMNS:
        raise RequestError(f"{what}: has {len(names):,} columns: must have at most {MOST_COLUMNS:,}")
    places: dict[str, int] = {}
    for i, name in enumerate(names):
        if name in places:
            raise RequestError(f"{what}: columns {places[name] + 1} and {i + 1} are both called {name}; rename one")
        if name:  # such as the row numbers that pandas writes
            places[name] = i
    if len(second) > len(names) and any(second[len(names) :]):
        raise RequestError(f"{what}: the first row has {len(second)} values: must have {len(names)}, as the header")
    return Table(path, what, encoding, separator, decimal, places, len(names), f"{separator} " in head)


def as_numbers(texts: Any, decimal: str) -> NDArray[np.float64]:
    """The numbers that texts (n,) spell, NaN where one spells none."""
    series = pd.Series(texts, dtype=object)
    if decimal != ".":
        series = series.str.replace(decimal, ".", regex=False)
    return np.asarray(pd.to_numeric(series, errors="coerce"), dtype=np.float64)


def shown(cell: object) -> str:
    """A cell in quotes, without characters that a terminal would obey."""
    text = str(cell)
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


def _not_blank(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    return (cells for cells in rows if cells and (len(cells) > 1 or cells[0].strip()))


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Errors of reading as RequestErrors that begin with `what`."""
    try:
        yield
    except OSError as error:
        raise RequestError(f"{what}: can't be read ({error.strerror or error})") from error
    except UnicodeError as error:
        wanted = getattr(error, "encoding", "").upper()
        at = f" (byte {error.start:,})" if isinstance(error, UnicodeDecodeError) else ""
        raise RequestError(
            f"{what}: not text in {wanted or 'its encoding'}{at}; give data.encoding, such as data.encoding=latin-1"
        ) from error
    except LookupError as error:
        raise RequestError(f"data.encoding: {error}; must be an encoding that Python knows, such as latin-1") from error
    except pd.errors.ParserError as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if found:
            raise RequestError(f"{what}: row {found[2]} has {found[3]} values: must have {found[1]}") from error
        raise RequestError(f"{what}: not CSV ({' '.join(str(error).split())[:200]})") from error
    except ValueError as error:
        raise RequestError(f"{what}: not CSV ({' '.join(str(error).split())[:200]})") from error
