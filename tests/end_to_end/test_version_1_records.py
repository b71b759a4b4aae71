"""Runs and sweeps of version 0.1.0 can be read; what would draw random numbers again is refused.

Each folder of tests/records_v1 has the `command` that made it in its run.json or sweep.json.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lightning_d2l import app, cli
from tests.conftest import ROOT

POLYNOMIAL = ["model=polynomial_regression", "trainer.log_every_n_epochs=5", "trainer.accelerator=cpu", "logger=none"]


@pytest.fixture
def records(tmp_path) -> Path:
    return Path(shutil.copytree(ROOT / "tests" / "records_v1", tmp_path / "v1"))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]


def test_report(records, capsys):
    assert cli.main(["report", str(records / "sweep"), "--format", "json"]) == 0
    text = capsys.readouterr().out
    for job in ("degree=1", "degree=3"):
        final = json.loads((records / "sweep" / job / "run.json").read_text())["metrics"]["final"]
        assert f"{final['loss/val']:.4g}" in (records / "sweep" / "report.md").read_text()
    assert json.loads(text)["answer"].startswith("data.degree=3 has the lowest loss/val")
    assert cli.main(["report", *(str(records / name) for name in ("polynomial", "exact", "softmax"))]) == 0


def test_predictions_are_those_of_the_recorded_weights(records, tmp_path, capsys):
    (tmp_path / "inputs.csv").write_text("x\n0.5\n-2\n")
    assert cli.main(["predict", str(records / "polynomial"), str(tmp_path / "inputs.csv"), "--format", "json"]) == 0
    found = [row["prediction"][0] for row in json.loads(capsys.readouterr().out)]
    (coefficients,) = weights(records / "polynomial").values()
    x = torch.tensor([0.5, -2.0])
    expected = torch.stack([x**0, x, x**2 / 2, x**3 / 6], 1) @ coefficients[0]
    assert found == pytest.approx(expected.tolist(), rel=1e-5)


@pytest.mark.parametrize("name", ["polynomial", "exact", "softmax"])
def test_the_weights_are_inspected_and_exported(records, name, capsys):
    folder = records / name
    assert cli.main(["predict", str(folder)]) == 0
    assert cli.main(["export", str(folder)]) == 0
    exported = load_file(folder / "weights.safetensors")
    recorded = weights(folder)
    assert {f"net.{key}" for key in exported} == recorded.keys()
    assert all(torch.equal(value, recorded[f"net.{key}"]) for key, value in exported.items())
    capsys.readouterr()
    assert cli.main(["inspect", str(folder), next(iter(exported)), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["values"] == next(iter(exported.values())).tolist()


def test_what_would_draw_random_numbers_again_is_refused_and_changes_nothing(records, capsys, monkeypatch):
    monkeypatch.chdir(records)
    (records / "sweep" / "degree=3" / "run.json").unlink()
    before = contents(records)
    for program, words in [
        (cli, ["evaluate", "polynomial"]),
        (cli, ["rerun", "polynomial"]),
        (app, [*POLYNOMIAL, "trainer.engine=lightning", "trainer.max_epochs=30", "resume=polynomial"]),
        (app, ["sweep.resume=sweep"]),
        (app, ["-m", "model=polynomial_regression", "data.degree=1,3", "sweep.resume=sweep"]),
    ]:
        assert program.main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "recorded by version 0.1.0, which drew its random numbers from other streams" in line
        assert contents(records) == before
