"""Records as columns: what is written is read back, and no content of a file is trusted."""

import json
import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from lightning_d2l.studies import columns
from lightning_d2l.studies.columns import decoded, encoded, opened, written

NAMES = st.sampled_from(["a", "b", "loss/val", "optimizer.lr", "", "c"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3))


def unchecked(_: object) -> None: ...


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=4), min_size=1, max_size=5))
def test_records_are_read_back(records):
    found, about = decoded(encoded(records, {"curves": "x"}), unchecked)
    assert [json.dumps(each, sort_keys=True) for each in found] == [json.dumps(r, sort_keys=True) for r in records]
    assert about["curves"] == "x"


def test_what_records_share_is_stored_once_and_the_order_of_metrics_is_kept():
    shared = {"lr": 0.1, "texts": ["x"] * 1000}
    rows = [{"config": {**shared, "seed": n}, "metrics": {"loss/val": n / 7, "acc/val": math.nan}} for n in range(500)]
    content = encoded(rows, {})
    assert parquet.read_schema(pa.BufferReader(content)).names == ["config.seed", "metrics.loss/val"]
    assert len(content) < 40 * 500
    found, _ = decoded(content, unchecked)
    assert [*found[3]["metrics"]] == ["loss/val", "acc/val"]
    assert found[0]["config"]["texts"] is found[1]["config"]["texts"]


def test_every_kind_of_a_wrong_value_is_checked():
    seen = []
    values = [1, 2, -1, 1.5, "x", None, [1], ["x"], ["x", 1], True]
    decoded(encoded([{"value": value} for value in values], {}), lambda record: seen.append(record["value"]))
    assert seen == [1, -1, 1.5, "x", None, [1], ["x"], ["x", 1], True]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PAR1" * 20,
        encoded([{"a": 1}, {"a": 2}], {})[:-40],
        written(pa.table({"a": [1, 2]}), {}),
        written(pa.table({"a": [1, 2]}), {"version": 1, "rows": 3, "fields": [[["a"]]], "json": []}),
        written(pa.table({"a": [1, 2]}), {"version": 1, "rows": 2, "fields": [["a", "b", 1, 2]], "json": []}),
        written(pa.table({"a": ["{", "1"]}), {"version": 1, "rows": 2, "fields": [[["a"]]], "json": ["a"]}),
        written(pa.table({"a": [1, 2]}), {"version": 2, "rows": 2, "fields": [[["a"]]], "json": []}),
        written(pa.table({"a": [[1], [2]]}), {"version": 1, "rows": 2, "fields": [[["a"]]], "json": []}),
    ],
)
def test_a_damaged_file_is_refused_with_a_reason(content):
    with pytest.raises(ValueError, match=r"[a-z]"):
        decoded(content, unchecked)


def test_a_file_that_is_small_and_would_be_large_in_memory_is_refused(monkeypatch):
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table({"a": ["x" * 1000] * 10_000}), sink, compression="zstd", use_dictionary=False)
    with pytest.raises(ValueError, match="compressed"):
        opened(bytes(sink.getvalue()))
    monkeypatch.setattr(columns, "MOST_CELLS", 1000)
    with pytest.raises(ValueError, match="more than 1,000 cells"):
        opened(written(pa.table({"a": [1] * 1001}), {}))
