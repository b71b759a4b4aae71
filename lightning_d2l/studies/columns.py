"""Many records as columns of Parquet, and back: what all records share once, and a column for each field that varies.

A field that is a mapping becomes a field for each of its entries, such as `metrics.final.loss/val`. A column holds
true or false, whole numbers, real numbers or texts; values of several kinds, lists and nulls are JSON. Where a record
lacks a field its cell is null. Nothing is compressed, so that a file can't become larger in memory than it says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

Path_ = tuple[str, ...]
VERSION = 1
LACKS = object()  # what a record that lacks a field has in its column
DEEPEST = 30  # entries of a path
MOST_CELLS = 10**8  # of a file: rows times columns
SCALARS = (bool, int, float, str, type(None))
MARK = b"lightning_d2l"  # the key of what a file says about itself
ENCODINGS = {"PLAIN", "RLE", "RLE_DICTIONARY", "PLAIN_DICTIONARY"}


def encoded(records: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> bytes:
    """A Parquet file with a row for each record; `about` is what it says about itself beside their common fields."""
    import pyarrow as pa

    flat = [dict(_leaves(record)) for record in records]
    order = _order(flat)
    columns: dict[str, pa.Array] = {}
    fields: list[Any] = []
    texts: list[str] = []  # the columns whose cells are JSON
    for path in order:
        values = [record.get(path, LACKS) for record in flat]
        first = values[0]
        if first is not LACKS and all(v is first or (type(v) is type(first) and _same(v, first)) for v in values):
            fields.append([path, first])
            continue
        name = ".".join(path)
        name = json.dumps(path) if name in columns or any("." in part for part in path[:-1]) else name
        columns[name], is_json = _column(values)
        texts += [name] * is_json
        fields.append([path])
    columns = columns or {"row": pa.array(range(len(flat)), pa.int64())}
    said = {**about, "version": VERSION, "rows": len(flat), "fields": fields, "json": texts}
    return written(pa.table(columns), said)


def written(table: pa.Table, about: Mapping[str, Any]) -> bytes:
    """A table as a Parquet file that holds `about` as JSON."""
    import pyarrow as pa
    from pyarrow import parquet

    sink = pa.BufferOutputStream()
    settings: Any = {"compression": "none", "write_statistics": False, "store_schema": False}
    with parquet.ParquetWriter(sink, table.schema, **settings) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({MARK: json.dumps(about)})
    return bytes(sink.getvalue())


def decoded(content: bytes, check: Callable[[Any], None]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The records in a file of `encoded`, and what it says about itself; raises ValueError if it is damaged.

    `check` raises ValueError on a wrong record. It is called with one record of those whose values have equal types.
    """
    file, about = opened(content)
    names = file.schema_arrow.names
    table = file.read()
    if about.get("version") != VERSION:
        raise ValueError(f"of version {about.get('version')!r}, and this reads {VERSION}")
    try:
        is_json = set(about["json"])
        columns = [_values(table.column(i), name in is_json) for i, name in enumerate(names)]
        count = sum(len(field) == 1 for field in about["fields"])
        if count not in (len(columns), 0) or about["rows"] != table.num_rows:
            raise ValueError("its columns are not those that it names")
        tree = _tree(about["fields"], iter(columns))
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError("its description is damaged") from error
    records = [_record(tree, row) for row in range(table.num_rows)]
    seen = set()
    for record, *cells in zip(records, *columns, strict=True):
        if (kinds := tuple(map(_kind, cells))) not in seen:
            check(record)
            seen.add(kinds)
    return records, about


def opened(content: bytes) -> tuple[ParquetFile, dict[str, Any]]:
    """A Parquet file and what it says about itself; raises ValueError if it is damaged or would be too large."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pa.BufferReader(content))
        metadata = file.metadata
        if metadata.num_rows * max(metadata.num_columns, 1) > MOST_CELLS:
            raise ValueError(f"more than {MOST_CELLS:,} cells")
        for group in range(metadata.num_row_groups):
            for column in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(column)
                if chunk.compression != "UNCOMPRESSED" or not ENCODINGS.issuperset(chunk.encodings):
                    raise ValueError("compressed, which these files are not")
        kinds = {"bool", "int64", "int32", "double", "string"}
        if any(str(field.type) not in kinds for field in file.schema_arrow):
            raise ValueError("it has a column of another kind")
        texts = [field.name for field in file.schema_arrow if str(field.type) == "string"]
        file = parquet.ParquetFile(pa.BufferReader(content), read_dictionary=texts)  # equal texts are one object
        about = json.loads((metadata.metadata or {})[MARK])
    except (pa.ArrowException, OSError, KeyError, RecursionError) as error:
        raise ValueError("not a file of records") from error
    if not isinstance(about, dict):
        raise ValueError("it does not describe itself")
    return file, about


def _leaves(node: Mapping[Any, Any], above: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Each field that is no mapping, with its path; a mapping without entries is one."""
    for key, value in node.items():
        path = (*above, key if isinstance(key, str) else str(key))
        if type(value) in SCALARS:
            yield path, value
        elif isinstance(value, Mapping) and value:
            yield from _leaves(value, path)
        else:
            yield path, json.loads(json.dumps(value, default=str))


def _order(flat: Sequence[Mapping[Path_, Any]]) -> list[Path_]:
    """The paths of all records; those of the longest first, so that the order of most records is kept."""
    longest = max(flat, key=len, default={})
    return list(dict.fromkeys([*longest, *(path for record in flat for path in record if path not in longest)]))


def _same(value: Any, other: Any) -> bool:
    """Whether two values of one type are the same in JSON, where 1 and 1.0 differ, and NaN is NaN."""
    if type(value) is float or isinstance(value, (list, dict)):
        return repr(value) == repr(other)
    return bool(value == other)


def _column(values: Sequence[Any]) -> tuple[pa.Array, bool]:
    """A column of values, and whether its cells are JSON."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not LACKS}
    known = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    if len(kinds) == 1 and (kind := known.get(kinds.pop())) is not None:
        try:
            return pa.array([None if value is LACKS else value for value in values], kind), False
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):  # a number or a text that it can't hold
            pass
    return pa.array([None if value is LACKS else json.dumps(value) for value in values], pa.string()), True


def _kind(value: Any) -> object:
    """What a check of a cell can depend on: its type, whether it is negative, the types in a list."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int, value < 0
    if isinstance(value, list):
        return tuple({_kind(each): None for each in value})
    return object() if isinstance(value, dict) else type(value)


def _values(column: pa.ChunkedArray, is_json: bool) -> list[Any]:
    """The cells of a column; equal texts, and equal values of JSON, are one object."""
    import pyarrow as pa

    found: list[Any] = []
    for chunk in column.chunks:
        if not pa.types.is_dictionary(chunk.type):
            found += [LACKS if value is None else value for value in chunk.to_pylist()]
            continue
        texts = chunk.dictionary.to_pylist()
        values = [json.loads(text) for text in texts] if is_json else texts
        found += [LACKS if index is None else values[index] for index in chunk.indices.to_pylist()]
    return found


Node = list[tuple[str, int, Any]]
"""The entries of a mapping: a key with 0 and its value, 1 and its column, or 2 and the entries of a mapping."""


def _tree(fields: Sequence[Any], columns: Iterator[list[Any]]) -> Node:
    """How a record is built; a mapping that does not vary is built once."""
    root: dict[str, list[Any]] = {}
    for field in fields:
        path = field[0]
        if not isinstance(path, list) or not 0 < len(path) <= DEEPEST or not all(isinstance(k, str) for k in path):
            raise KeyError(path)
        *above, last = path
        node = root
        for key in above:
            slot = node.setdefault(key, [None, {}])
            node = slot[1]
        node.setdefault(last, [None, {}])[0] = (0, field[1]) if len(field) > 1 else (1, next(columns))
    return _entries(root)


def _entries(node: Mapping[str, Sequence[Any]]) -> Node:
    """The entries of a mapping; a key that has a value in some records and a mapping in others has both."""
    found: Node = []
    for key, (entry, below) in node.items():
        if entry is not None:
            found.append((key, *entry))
        if below:
            entries = _entries(below)
            constant = entry is None and all(kind == 0 for _, kind, _ in entries)
            found.append((key, 0, {k: v for k, _, v in entries}) if constant else (key, 2, entries))
    return found


def _record(node: Node, row: int) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for key, kind, value in node:
        if kind == 0:
            record[key] = value
        elif kind == 1:
            if (cell := value[row]) is not LACKS:
                record[key] = cell
        elif entries := _record(value, row):
            record[key] = entries
    return record
