"""The notebooks: they run on small settings with their solutions, and their outputs belong to their sources."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

from tests.conftest import ROOT

FOLDER = ROOT / "docs/notebooks"
SMALL = {
    "1-linear-regression": "seeds = range(2); data_sets = range(2); sizes = (20, 50)",
    "2-softmax-regression": "n_train = 500; max_epochs = 1; sizes = (50, 100); max_steps = 4; seeds = range(2)",
    "3-multilayer-perceptrons": "seeds = range(2); n_train = 300; n_few = 200; max_epochs = 1; widths = (1, 2, 4); "
    "width_epochs = 2",
    "4-underfitting-and-overfitting": "seeds = range(2); degrees = (1, 3); sizes = (20, 50); candidates = (1, 3); "
    "max_epochs = 1; overtraining = 2; decay_epochs = (1, 2)",
    "5-initialisation-and-numerical-stability": "seeds = range(1); depths = (1, 2); steps = 2; symmetry_epochs = 2",
    "6-own-model-and-data": "seeds = range(2); max_epochs = 2; widths = (1, 2); frequencies = (0.3, 3)",
}
"""What replaces the values of the cell that is tagged `settings`."""


def _make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = _make()
ENGLISH = [FOLDER / f"{name}.ipynb" for name in SMALL]
both = pytest.mark.parametrize("path", ENGLISH, ids=lambda path: path.stem)


def shown(notebook: NotebookNode) -> Iterator[list[list[str]]]:
    """The kinds of the outputs of each code cell; lines of text are of no interest."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield [sorted(output.data) for output in cell.outputs if output.output_type != "stream"]


@pytest.mark.slow
@pytest.mark.apart
@both
def test_a_notebook_and_its_solutions_run(path: Path, tmp_path: Path) -> None:
    notebook = make.read(path)
    committed = list(shown(notebook))
    (settings,) = [cell for cell in notebook.cells if "settings" in cell.metadata.get("tags", [])]
    names = set(re.findall(r"(\w+) = ", SMALL[path.stem]))
    assert names == set(re.findall(r"^(\w+) = ", settings.source, re.M))
    settings.source += f"\n{SMALL[path.stem]}"
    solutions = make.solutions(notebook)
    assert len(solutions) == sum(cell.source.count("**Exercise") for cell in notebook.cells) >= 3
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in solutions]
    make.execute(notebook, tmp_path)
    assert list(shown(notebook))[: len(committed)] == committed


@both
def test_outputs_are_not_older_than_what_they_show(path: Path) -> None:
    assert not make.is_old(path), "python docs/notebooks/make.py makes them anew"


def test_a_change_of_code_or_of_a_setting_makes_outputs_old(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def cells(*sources: str) -> NotebookNode:
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])

    notebook = cells('d2l.study("capacity")')
    before = make.fingerprint(notebook)
    assert make.fingerprint(cells('d2l.study("capacity", seed=1)')) != before
    for name in ("study/capacity", "model/polynomial_regression", "data/polynomial", "trainer/default", "train"):
        conf = tmp_path / name
        shutil.copytree(ROOT / "conf", conf)
        monkeypatch.setattr(make, "CONF", conf)
        file = conf / f"{name}.yaml"
        file.write_text(file.read_text() + "# a remark\n")
        assert make.fingerprint(notebook) == before, name
        file.write_text(file.read_text() + "new: 1\n")
        assert make.fingerprint(notebook) != before, name


@both
def test_a_translation_has_the_same_code_and_outputs(path: Path) -> None:
    english, chinese = make.read(path), make.read(make.translation(path))
    assert make.solutions(english) == make.solutions(chinese)
    assert len(english.cells) == len(chinese.cells)
    for a, b in zip(english.cells, chinese.cells, strict=True):
        assert a.cell_type == b.cell_type
        if a.cell_type == "code":
            assert a == b
        else:
            assert not re.search(r"[\u4e00-\u9fff]", a.source)
            assert re.search(r"[\u4e00-\u9fff]", b.source)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_small_and_complete(path: Path) -> None:
    assert path.stat().st_size < 400_000
    assert path.name.partition(".")[0] in SMALL
    notebook = make.read(path)
    nbformat.validate(notebook)
    texts = [json.dumps(output) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [text for text in texts if re.search(r"/(root|home|work|tmp|Users)/|Traceback", text)]
    assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"] == [
        n + 1 for n in range(len(make.code(notebook)))
    ]
    for cell in notebook.cells:
        for target in re.findall(r"\]\(([^)#\s]+)[^)\s]*\)", cell.source if cell.cell_type == "markdown" else ""):
            assert target.startswith("https://") or (path.parent / target).exists(), target


def test_the_first_cell_installs_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (install,) = {make.code(make.read(path))[0] for path in ENGLISH}
    commands: list[list[str]] = []
    real = subprocess.Popen
    code = 0

    def popen(command: list[str], **settings: Any) -> Any:
        commands.append(command)
        return real([sys.executable, "-c", f"print('collecting'); raise SystemExit({code})"], **settings)

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.chdir(FOLDER)
    exec(install, {})
    assert commands == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(install, {})
    monkeypatch.chdir("/")
    exec(install, {"input": lambda text: "https://host.invalid/own.git"})
    pip = [sys.executable, "-m", "pip", "install"]
    assert commands == [[*pip, str(ROOT)], [*pip, "git+https://host.invalid/own.git"]]
    assert capsys.readouterr().out.count("collecting") == 2
    code = 1
    with pytest.raises(RuntimeError, match="pip failed"):
        exec(install, {"input": str})
