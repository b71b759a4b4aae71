"""Properties of every demo, and the command `lightning-d2l demo`."""

import importlib
import inspect
import json
import math

import pytest
from matplotlib.image import imread

from lightning_d2l import cli
from lightning_d2l.book.demos import DEMOS, Demo, run_demo

COLUMNS = 80


@pytest.fixture(scope="module")
def finished() -> dict[str, Demo]:
    """Results of demos by ID, so that each demo runs once."""
    return {}


@pytest.fixture
def demo(request, finished, monkeypatch) -> Demo:
    """The result of a demo; the command returns it too, instead of running the demo again."""
    name = request.param
    if name not in finished:
        finished[name] = run_demo(name, seed=0)
    monkeypatch.setattr("lightning_d2l.book.demos.run_demo", lambda asked, seed: finished[asked])
    return finished[name]


every_demo = pytest.mark.parametrize(("name", "demo"), [(name, name) for name in DEMOS], indirect=["demo"], ids=DEMOS)


@every_demo
def test_command_prints_one_json_document_with_finite_numbers_and_writes_the_pictures(name, demo, capsys, tmp_path):
    assert cli.main(["demo", name, "--format", "json", "--into", str(tmp_path / name)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["demo"], document["seed"]) == (name, 0)
    assert document["numbers"]
    assert all(math.isfinite(number) for number in document["numbers"].values())
    assert document["figures"] == [str(tmp_path / name / f"{figure}.png") for figure in demo.figures]
    for path in document["figures"]:
        assert imread(path).std() > 0.01  # not blank


@every_demo
def test_text_fits_the_console(name, demo, capsys):
    assert cli.main(["demo", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(demo.text.splitlines())] == demo.text.splitlines()
    assert max(map(len, demo.text.splitlines())) <= COLUMNS


@pytest.mark.parametrize("name", DEMOS)
def test_module_docstring_names_the_section(name):
    module = importlib.import_module(f"lightning_d2l.book.demos.{name.replace('-', '_')}")
    assert "d2l" in inspect.getdoc(module).splitlines()[0]
    assert next(iter(inspect.signature(module.run).parameters)) == "seed"


def test_list_of_demos_fits_the_console(capsys):
    assert cli.main(["demo", "--help"]) == 0
    shown = capsys.readouterr().out.splitlines()
    for name, text in DEMOS.items():
        (line,) = [line for line in shown if line.split()[:1] == [name]]
        assert line.endswith(text)
        assert len(line) <= COLUMNS


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("vectorisation", "demo vectorisation: unknown; did you mean vectorization?"),
        ("matrix_product", "demo matrix_product: unknown; did you mean matrix-product?"),
        ("vectorization --seed=-1", "--seed=-1: must be a whole number from 0 up"),
    ],
)
def test_wrong_requests(words, answer, refusal):
    assert answer in refusal(cli.main, ["demo", *words.split()])


def test_pictures_that_cannot_be_written_are_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    assert cli.main(["demo", "activations", "--into", str(tmp_path / "file")]) == 2
    captured = capsys.readouterr()
    assert f"--into={tmp_path / 'file'}: cannot be written" in captured.err
    assert len(captured.err.splitlines()) == 1
