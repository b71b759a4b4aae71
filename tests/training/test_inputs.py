"""CSV files as inputs of a network: headers, encodings, and cells that are no numbers."""

import json
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_d2l import cli
from lightning_d2l.config.check import RequestError
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.synthetic import PolynomialData, SyntheticRegressionData
from lightning_d2l.training import inputs
from lightning_d2l.training.inputs import read_csv, read_inputs
from tests.runs import POLYNOMIAL, run_here

SIZES = {"noise": 0.1, "n_train": 5, "n_val": 5, "n_test": 5, "batch_size": 5}
ONE = PolynomialData(degree=2, coefficients=[1.0, 2.0], factorial=False, **SIZES)
TWO = SyntheticRegressionData(w=[2.0, -3.4], b=4.2, **SIZES)
for module in (ONE, TWO):
    module.splits = {"train": module.no_samples()}


def values(tmp_path, content, data=TWO) -> list[list[float]]:
    """The inputs that are read from a CSV file: x itself, not its powers."""
    path = tmp_path / "inputs.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = [x[0] for _, x, _ in read_csv(path, data)]
    return [x[1:2].tolist() if data is ONE else x.tolist() for x in found]


SAME = [[1.5, -2.0], [3.0, 4e-5]]


@pytest.mark.parametrize(
    "content",
    [
        "1.5,-2\n3,4e-5\n",
        "x1,x2\n1.5,-2\n3,4e-5",
        "X2, X1\n-2,1.5\n4e-5,3\n",
        "width,height\n1.5,-2\n3,4e-5\n",
        "1.5,-2\r3,4e-5\r",
        "1.5,-2\r\n3,4e-5\r\n\r\n\r\n",
        "\n\n1.5,-2\n\n  \n3,4e-5\n\n",
        ' "1.5" ,-2\n" 3",+4E-05\n',
        '"1.5","-2"\n"3","4e-5"\n',
        b"\xef\xbb\xbf1.5,-2\n3,4e-5\n",
        b"\xef\xbb\xbfx1,x2\n1.5,-2\n3,4e-5\n",
        "1.5,-2\n3,4e-5\n".encode("utf-16"),
        "x2,x1\n-2,1.5\n4e-5,3\n".encode("utf-16-be"),
        "1.5,-2\n3,4e-5\n".encode("utf-16-le"),
        "Größe,長さ\n1.5,-2\n3,4e-5\n".encode("utf-32"),
    ],
)
def test_the_same_numbers_however_they_are_written(content, tmp_path):
    if isinstance(content, str) and content.startswith(' "'):
        content = content.replace(' "1.5" ', "1.5 ")
    assert values(tmp_path, content) == SAME


WRONG = {
    "1.O\n2\n": "row 1, column 1: '1.O' is not a number",
    "O.5\n2\n": "row 1, column 1: 'O.5' is not a number",
    "l,5\n": "row 1 has 2 columns: must be 1",
    '"1,000"\n2\n': "row 1, column 1: '1,000' is not a number; thousands and decimals must not have commas",
    "1,000\n2\n": "row 1 has 2 columns: must be 1",
    "1;2\n": "row 1, column 1: '1;2' is not a number; columns are separated by commas",
    "1\t2\n": "columns are separated by commas",
    "1 2\n": "columns are separated by commas",
    "": "empty; must have a row an input",
    "\n\n\n": "empty",
    "x\n": "a header and no rows",
    "x\n\n": "a header and no rows",
    "1\ntwo\n": "row 2, column 1: 'two' is not a number",
    "x\n1\n\n3e\n": "row 4, column 1: '3e' is not a number",
    "nan\n": "row 1, column 1: 'nan' is not a finite number",
    "inf\n": "row 1, column 1: 'inf' is not a finite number",
    "x\n-Infinity\n": "row 2, column 1: '-Infinity' is not a finite number",
    "1e999\n": "row 1, column 1: '1e999' is not a finite number",
    "1e300\n": "too large",
    "NA\n1\n": "row 1, column 1: 'NA' is not a number",
    '""\n1\n': "row 1, column 1: '' is not a number",
    '1\n""\n': "row 2, column 1: '' is not a number",
    "$5\n": "row 1, column 1: '$5' is not a number",
    "1_000\n": "row 1, column 1: '1_000' is not a number",
    "0x10\n": "row 1, column 1: '0x10' is not a number",
    "−5\n": "row 1, column 1: '−5' is not a number",  # noqa: RUF001
    "١\n": "is not a number",  # noqa: RUF001 an Arabic digit, which Python's float accepts
    "5%\n": "row 1, column 1: '5%' is not a number",
    "x,y\n1,2\n": "row 1 has the columns 'x,y': must be 1, such as x",
    "a\nb\n": "row 2, column 1: 'b' is not a number",
    "1\x1b[31m\n": "row 1, column 1: '1\\x1b[31m' is not a number",
    "1\u202e\n": "'1\\u202e' is not a number",
    "x" * 200_000: "is not CSV",
    '"1\n2\n3\n': "row 3, column 1: '1\\n2\\n3\\n' is not a number",
}


@pytest.mark.parametrize("content", WRONG, ids=lambda content: repr(content[:20]))
def test_a_bad_cell_is_named_by_row_and_column(content, tmp_path):
    with pytest.raises(RequestError) as refused:
        values(tmp_path, content, ONE)
    assert str(refused.value).startswith(f"{tmp_path}/inputs.csv: ")
    assert WRONG[content] in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("x1\n1\n", "row 1 has the columns 'x1': must be 2, such as x1, x2"),
        ("x1,x1\n1,2\n", "row 1 has the columns 'x1,x1'"),
        ("x2,other\n1,2\n", "row 1 has the columns 'x2,other'"),
        ("x1,2\n1,2\n", "row 1, column 1: 'x1' is not a number"),
        ("1,2,\n", "row 1 has 3 columns: must be 2"),
        ("1,2\n3\n", "row 2 has 1 columns: must be 2"),
        ("1;2\n3;4\n", "row 1 has 1 columns: must be 2, the inputs; columns are separated by commas"),
        (",1,2\n", "row 1 has 3 columns"),
        ("1,\n", "row 1, column 2: '' is not a number"),
        (b"\xff\xff\xff", "not text in UTF-8 or UTF-16"),
        ("größe,b\n1,2\n".encode("latin-1"), "not text in UTF-8 or UTF-16"),
        (b"1,2\n\x00\n", "null characters"),
        (b"\xff\xfe1", "not text in UTF-8 or UTF-16"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not text"),
    ],
)
def test_rows_and_text_that_do_not_fit(content, answer, tmp_path):
    with pytest.raises(RequestError) as refused:
        values(tmp_path, content)
    assert answer in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_file_is_read_or_refused_in_a_line(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    try:
        found = values(folder, content)
    except RequestError as error:
        refused = str(error)
    else:
        refused = ""
        assert torch.tensor(found).isfinite().all()
    assert len(refused.splitlines()) <= 1


@given(st.lists(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False, width=32)] * 2), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_numbers_as_python_writes_them_are_read_back(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("floats")
    assert values(folder, "".join(f"{a!r},{b!r}\n" for a, b in rows)) == [list(row) for row in rows]


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path), None])
def test_what_is_no_file_is_refused_by_its_name(put, tmp_path):
    path = tmp_path / "inputs.csv"
    if put:
        put(path)
    with pytest.raises(RequestError, match=r"inputs\.csv: "):
        list(read_csv(path, ONE))


def test_files_and_rows_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "MOST_ROWS", 10)
    assert len(values(tmp_path, "1\n" * 10, ONE)) == 10
    with pytest.raises(RequestError, match="at most 10 rows"):
        values(tmp_path, "1\n" * 11, ONE)
    monkeypatch.setattr(inputs, "LARGEST_FILE", 10)
    with pytest.raises(RequestError, match="larger than 10 bytes"):
        values(tmp_path, "1\n" * 10, ONE)


def test_custom_data_are_read_by_their_shape(tmp_path):
    path = tmp_path / "inputs.csv"
    path.write_text("a,b,c\n1,2,3\n")
    custom = TensorDataModule(1)
    custom.name, custom.splits = "custom", {"train": (torch.zeros(4, 3), torch.zeros(4, 1))}
    ((_, x, _),) = read_inputs([path], custom)
    assert x.tolist() == [[1.0, 2.0, 3.0]]
    custom.splits = {"train": (torch.zeros(4, 3, 8, 8), torch.zeros(4, 1))}
    with pytest.raises(RequestError, match="3 x 8 x 8 numbers"):
        list(read_inputs([path], custom))


def test_no_row_is_lost_on_the_command_line(tmp_path, capsys):
    assert run_here(tmp_path / "run", *POLYNOMIAL, "trainer.max_epochs=1") == 0
    (tmp_path / "inputs.csv").write_bytes(b"\xef\xbb\xbf0.5\n-1\n")
    capsys.readouterr()
    assert cli.main(["predict", str(tmp_path / "run"), str(tmp_path / "inputs.csv"), "--format=json"]) == 0
    assert [row["input"] for row in json.loads(capsys.readouterr().out)] == ["0.5", "-1"]
    for content in ("", "1;2\n", "nan\n"):
        (tmp_path / "inputs.csv").write_text(content)
        assert cli.main(["predict", str(tmp_path / "run"), str(tmp_path / "inputs.csv"), "--format=json"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert len(captured.err.splitlines()) == 1


def test_an_output_that_is_not_finite_is_noted_and_null(tmp_path, capsys):
    assert run_here(tmp_path / "run", *POLYNOMIAL, "trainer.max_epochs=1") == 0
    (tmp_path / "inputs.csv").write_text("1e30\n1\n")
    capsys.readouterr()
    assert cli.main(["predict", str(tmp_path / "run"), str(tmp_path / "inputs.csv"), "--format=json"]) == 0
    first, second = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert first["prediction"] == [None]
    assert "not a finite number" in first["note"]
    assert second["note"] == ""
