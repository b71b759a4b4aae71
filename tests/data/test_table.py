import os
import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lightning_d2l.config.check import RequestError
from lightning_d2l.data.table import TableData

N = 90


@pytest.fixture
def frame():
    random = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "row": np.arange(N),
            "height": random.normal(1e6, 3.0, N),
            "constant": 0.1,
            "colour": random.choice(["red", "green", "blue"], N),
            "owner": random.integers(0, 15, N),
            "warm": random.choice([True, False], N),
            "price": random.normal(10, 3, N).round(3).clip(0.5),
        }
    )
    made.loc[random.choice(N, 20, replace=False), "height"] = np.nan
    made.loc[random.choice(N, 15, replace=False), "colour"] = np.nan
    made["kind"] = np.where(made.row % 6 == 0, "rare", np.where(made.row % 3 == 0, "some", "usual"))
    return made


@pytest.fixture
def table(frame, tmp_path):
    def write(target="price", **settings):
        frame.to_csv(tmp_path / "table.csv", index=False)
        data = TableData(str(tmp_path / "table.csv"), target, **settings)
        data.setup()
        return data

    return write


def rows(data, split):
    """The row numbers of a split, from the standardised column `row`."""
    column = data.preprocessing["columns"][0]
    return (data.splits[split][0][:, 0] * column["scale"] + column["mean"]).round().long().numpy()


def test_features_are_those_of_scikit_learn_fitted_to_the_training_rows(table, frame):
    data = table(drop=["kind"])
    numbers, categories = ["row", "height", "constant", "owner"], ["colour", "warm"]
    zero = SimpleImputer(strategy="constant", fill_value=0.0)
    one_hot = OneHotEncoder(
        handle_unknown="ignore", sparse_output=False, categories=[["blue", "green", "red"], ["False", "True"]]
    )
    oracle = make_column_transformer(
        (make_pipeline(StandardScaler(), zero), numbers),
        (one_hot, categories),
        (MissingIndicator(), ["height", "colour"]),
    )
    frame["warm"] = frame.warm.astype(str)
    oracle.fit(frame.iloc[rows(data, "train")])
    for split in ("train", "val", "test"):
        expected = oracle.transform(frame.iloc[rows(data, split)])
        np.testing.assert_allclose(data.splits[split][0], expected.astype(float), atol=1e-9)
        np.testing.assert_array_equal(data.splits[split][1][:, 0], frame.price.iloc[rows(data, split)])
    assert sorted(np.concatenate([rows(data, split) for split in data.splits])) == list(range(N))
    assert {split: len(x) for split, (x, _) in data.splits.items()} == {"train": 54, "val": 18, "test": 18}


def test_folds_are_those_of_scikit_learn_and_each_has_its_own_statistics(table, frame):
    folds = [table(folds=4, fold=fold, seed=5) for fold in range(4)]
    rest = np.setdiff1d(np.arange(N), rows(folds[0], "test"))
    for data, (train, val) in zip(folds, KFold(4, shuffle=True, random_state=5).split(rest), strict=True):
        np.testing.assert_array_equal(rows(data, "val"), rest[val])
        np.testing.assert_array_equal(rows(data, "train"), rest[train])
        assert data.preprocessing["columns"][1]["mean"] == pytest.approx(
            frame.height.iloc[rest[train]].mean(), rel=1e-14
        )


@pytest.mark.parametrize("fold", [None, 0, 2])
def test_rows_of_a_group_are_in_one_split(table, frame, fold):
    data = table(group="owner", **({} if fold is None else {"folds": 3, "fold": fold}))
    owners = [set(frame.owner.iloc[rows(data, split)]) for split in ("train", "val", "test")]
    assert all(owners)
    assert sum(map(len, owners)) == len(set.union(*owners)) == frame.owner.nunique()
    assert 10 <= len(rows(data, "test")) <= 26  # near the fifth that was asked for


@pytest.mark.parametrize("fold", [None, 0, 4])
def test_each_class_has_its_share_of_every_split(table, frame, fold):
    data = table("kind", **({} if fold is None else {"folds": 5, "fold": fold}))
    assert data.class_names == ("rare", "some", "usual")
    for split, (_, y) in data.splits.items():
        expected = len(y) * frame.kind.value_counts(normalize=True, sort=False).sort_index()
        assert (abs(y.bincount().numpy() - expected.to_numpy()) <= 1).all(), split


@pytest.mark.parametrize(
    ("values", "settings", "task", "classes"),
    [
        (["b", "a", "b"], {}, "classification", ("a", "b")),
        ([True, False, True], {}, "classification", ("false", "true")),
        ([10, 9, 2], {}, "classification", ("2", "9", "10")),
        ([10, 9, 2], {"task": "regression"}, "regression", ()),
        ([10, 9, 2.5], {}, "regression", ()),
        ([10, 9, 2.5], {"task": "classification"}, "classification", ("2.5", "9", "10")),
        (range(30), {}, "regression", ()),
    ],
)
def test_the_task_follows_from_the_target(tmp_path, values, settings, task, classes):
    pd.DataFrame({"x": np.arange(30), "y": [values[i % len(values)] for i in range(30)]}).to_csv(tmp_path / "t.csv")
    data = TableData(str(tmp_path / "t.csv"), "y", **settings)
    data.setup()
    assert (data.task, data.class_names) == (task, classes)
    assert data.inputs.feature_names == ["x"]  # and not the row numbers that pandas writes


def test_the_layer_encodes_raw_rows_with_missing_and_unknown_values(table):
    inputs = table(features=["height", "colour"]).inputs
    x = inputs(torch.tensor([[1e6, 1.0], [float("nan"), float("nan")], [1e6 + 3, -1.0]]))
    assert inputs.feature_names == [
        "height",
        "colour=blue",
        "colour=green",
        "colour=red",
        "height is missing",
        "colour is missing",
    ]
    assert x[:, 1:].tolist() == [[0, 1, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]
    assert float(x[2, 0] - x[0, 0]) == pytest.approx(3 / float(inputs.scale))
    assert float(x[1, 0]) == 0


@pytest.mark.parametrize(
    "settings", [{"log_target": True}, {"standardize_target": True}, {"log_target": True, "standardize_target": True}]
)
def test_outputs_return_to_the_unit_of_the_target(table, frame, settings):
    data = table(**settings)
    y = data.splits["train"][1]
    np.testing.assert_allclose(data.in_own_unit(y)[:, 0], frame.price.iloc[rows(data, "train")], rtol=1e-12)
    if "standardize_target" in settings:
        assert (float(y.mean()), float(y.std(correction=0))) == (pytest.approx(0, abs=1e-12), pytest.approx(1))


PLAIN = "area,district,price\n" + "".join(f"{i}.5,{'ab'[i % 2]},{i * 1.5}\n" for i in range(1, 41))
WRITTEN = {
    "semicolons and decimal commas": (PLAIN.replace(",", ";").replace(".", ","), "utf-8", {"decimal": ","}),
    "tabs": (PLAIN.replace(",", "\t"), "utf-8", {}),
    "byte-order mark": (PLAIN, "utf-8-sig", {}),
    "utf-16": (PLAIN, "utf-16", {}),
    "blank lines": ("\n\n" + PLAIN.replace("\n", "\n\n"), "utf-8", {}),
    "windows lines": (PLAIN.replace("\n", "\r\n"), "utf-8", {}),
    "quotes": (re.sub(r"[^,\n]+", lambda found: f'"{found[0]}"', PLAIN), "utf-8", {}),
    "spaces": (PLAIN.replace(",", " , "), "utf-8", {}),
    "row numbers": ("".join(f"{i or ''},{line}\n" for i, line in enumerate(PLAIN.splitlines())), "utf-8", {}),
    "latin-1": (PLAIN, "latin-1", {"encoding": "latin-1"}),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_same_table_written_otherwise_is_the_same_data(name, tmp_path):
    text, encoding, settings = WRITTEN[name]
    (tmp_path / "plain.csv").write_text(PLAIN)
    (tmp_path / "other.csv").write_bytes(text.encode(encoding))
    plain, other = (
        TableData(str(tmp_path / f"{f}.csv"), "price", **s) for f, s in (("plain", {}), ("other", settings))
    )
    plain.setup()
    other.setup()
    assert other.identity()["checksum"] == plain.identity()["checksum"]
    for split, (x, y) in plain.splits.items():
        assert torch.equal(other.splits[split][0], x)
        assert torch.equal(other.splits[split][1], y)


def test_one_other_value_is_other_data(tmp_path):
    found = set()
    for text in (
        PLAIN,
        PLAIN.replace("7.5,b", "7.6,b"),
        PLAIN.replace("7.5,b", "7.5,a"),
        PLAIN.replace(",10.5", ",10.6"),
    ):
        (tmp_path / "t.csv").write_text(text)
        data = TableData(str(tmp_path / "t.csv"), "price")
        data.setup()
        found.add(data.identity()["checksum"])
    assert len(found) == 4


def test_a_second_file_is_the_test_split(tmp_path):
    (tmp_path / "train.csv").write_text(PLAIN)
    (tmp_path / "test.csv").write_text("price,district,area\n3,c,2\n4,,\n")
    data = TableData(str(tmp_path / "train.csv"), "price", test_path=str(tmp_path / "test.csv"), val_size=10)
    data.setup()
    assert {split: len(y) for split, (_, y) in data.splits.items()} == {"train": 30, "val": 10, "test": 2}
    x, y = data.splits["test"]
    assert y[:, 0].tolist() == [3, 4]
    assert x[:, 1:].tolist() == [[0, 0], [0, 0]]  # an unknown category and a missing one
    assert float(x[1, 0]) == 0


def changed(row, text):
    lines = PLAIN.splitlines()
    lines[row] = text
    return "\n".join(lines) + "\n"


BAD = {
    "no rows": ("area,price\n", {}, "has a header and no rows"),
    "empty": ("", {}, "empty"),
    "no target": (PLAIN, {"target": "prise"}, "data.target=prise: .* did you mean price?"),
    "text among numbers": (changed(17, "large,a,1"), {}, "row 18, column area: 'large' is not a number"),
    "text in a long cell": (changed(3, '1,"a\nb",2') + "large,a,1\n", {}, "row 43, column area: 'large'"),
    "missing target": (changed(5, "1,a,"), {}, "row 6, column price: the target is missing"),
    "infinite": (changed(9, "-inf,a,1"), {}, "row 10, column area: -inf is not a finite number"),
    "one class": ("x,y\n" + "1,a\n2,a\n" * 9, {"target": "y"}, "'a' in every row"),
    "two of one name": ("area,area,price\n1,2,3\n", {}, "columns 1 and 2 are both called area"),
    "not UTF-8": ("straße,price\n1,2\n".encode("latin-1"), {}, "not text in UTF-8 .*data.encoding"),
    "too many cells": (changed(7, "1,a,2,3"), {}, "row 8 has 4 values: must have 3"),
    "too many cells at first": (changed(1, "1,a,2,3"), {}, "the first row has 4 values"),
    "names of rows": ("id,x,y\n" + "".join(f"n{i},{i},{i / 7}\n" for i in range(20)), {"target": "y"}, "column id"),
    "many categories": (PLAIN, {"max_categories": 1}, r"column district has 2 categories.*\n.*data.drop=\[district\]"),
    "dates": (
        "d,y\n" + "".join(f"2024-01-{i % 28 + 1:02},{i / 7}\n" for i in range(60)),
        {"target": "y"},
        "column d holds dates",
    ),
    "decimal commas": ("x;y\n" + "".join(f"{i},5;{i}\n" for i in range(60)), {"target": "y"}, r"data.decimal=','"),
    "no feature of that name": (PLAIN, {"features": ["aera"]}, "data.features=aera: .* did you mean area?"),
    "target as feature": (PLAIN, {"features": ["area", "price"]}, "data.features: must not hold price"),
    "nothing left to train": (PLAIN, {"val_size": 0.5, "test_size": 20}, "none of the 40"),
    "no test rows": (PLAIN, {"test_size": 0}, "data.test_size=0"),
    "few groups": (PLAIN, {"group": "district"}, "no group of 2 is left to train on"),
    "many folds": (PLAIN, {"folds": 33, "fold": 0}, "data.folds=33: must be at most 32"),
    "logarithm of zero": (changed(4, "1,a,0"), {"log_target": True}, "row 5, column price: 0 has no logarithm"),
    "packed": (b"\x1f\x8b\x08\x00", {}, "looks like gzip"),
    "no text": (b"a,b\0,price\n1,2,3\n", {}, "null characters"),
    "too large": (
        "a,y\n" + "".join(f"{i}e307,{i / 7}\n" for i in range(10, 17)),
        {"target": "y"},
        "column a: .* too large",
    ),
    "unclosed quotes": (PLAIN + '"abc', {}, "not CSV"),
    "wide": (",".join(f"c{i}" for i in range(20_000)) + "\n", {}, "20,000 columns: must have at most 10,000"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_table_is_refused_by_file_row_and_column(name, tmp_path):
    content, settings, words = BAD[name]
    (tmp_path / "bad.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RequestError) as error:
        TableData(str(tmp_path / "bad.csv"), **{"target": "price", **settings}).setup()
    assert re.search(words, str(error.value), re.S), error.value
    assert str(error.value).count("\n") <= 1
    assert os.listdir(tmp_path) == ["bad.csv"]


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("pipe", "not a regular file"), ("", "not a regular file"), ("none", "No such file")):
        with pytest.raises(RequestError, match=words):
            TableData(str(tmp_path / name), "y").setup()
