"""What the command line says to a wrong request."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_d2l import cli
from tests.runs import POLYNOMIAL, run_here

WRONG = {
    "prdict x": "prdict: unknown command; did you mean predict?",
    "": "COMMAND",
    "evaluate": "RUN_FOLDER",
    "evaluate nowhere": "nowhere: not a run folder",
    "predict nowhere": "nowhere: not a run folder",
    "rerun nowhere": "nowhere: not a run folder",
    "predict nowhere --figure=picture.gif": "--figure=picture.gif: must end in .png",
    "train optimizer.lr=0": "optimizer.lr=0: must be",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_requests(words, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["lightning-d2l", *words.split()])
    assert cli.main() == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert WRONG[words] in captured.err
    assert len(captured.err.splitlines()) <= 2


def test_an_error_is_broken_between_words_in_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert cli.main(["prdict"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert cli.main(["prdict"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) <= 40
    assert " ".join(each.strip() for each in lines) == line


@pytest.mark.parametrize(
    ("content", "answer"),
    [("x\n1\n2,3\n", "row 3 has 2 columns: must be 1"), ("x\n1\ntwo\n", "row 3, column 1: 'two' is not a number")],
)
def test_inputs_that_do_not_fit(content, answer, tmp_path, capsys):
    assert run_here(tmp_path / "run", *POLYNOMIAL, "trainer.max_epochs=1") == 0
    (tmp_path / "inputs.csv").write_text(content)
    capsys.readouterr()
    assert cli.main(["predict", str(tmp_path / "run"), str(tmp_path / "inputs.csv")]) == 2
    assert answer in capsys.readouterr().err


def test_images_are_classified_and_turned_light_on_dark(tmp_path, capsys):
    import json

    import numpy as np
    import torch
    from PIL import Image

    overrides = ["data.source=generated", "data.n_train=300", "data.val_size=100", "trainer.max_epochs=2"]
    assert run_here(tmp_path / "run", "model=softmax_regression", "logger=none", *overrides) == 0
    pixels = np.zeros((28, 28), np.uint8)
    pixels[8:24, 4:20] = 200
    for name, picture in (("dark", pixels), ("light", 255 - pixels)):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    capsys.readouterr()
    files = [str(tmp_path / "dark.png"), str(tmp_path / "light.png")]
    assert cli.main(["predict", str(tmp_path / "run"), *files, "--format", "json"]) == 0
    dark, light = json.loads(capsys.readouterr().out)
    assert dark["probabilities"] == light["probabilities"]
    assert "inverted" in light["note"]
    state = torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    logits = state["net.1.weight"] @ torch.from_numpy(pixels).flatten().float() / 255 + state["net.1.bias"]
    assert list(dark["probabilities"].values()) == pytest.approx(logits.softmax(0).tolist(), rel=1e-4)


def test_a_float64_run_is_evaluated_in_float64(tmp_path, capsys):
    assert run_here(tmp_path / "run", *POLYNOMIAL, "trainer.max_epochs=2", "trainer.precision=64-true") == 0
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())["metrics"]["final"]["loss/test"]
    capsys.readouterr()
    assert cli.main(["evaluate", str(tmp_path / "run"), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["final"]["loss/test"] == pytest.approx(recorded, rel=1e-14)


def test_a_record_from_before_a_setting_existed_is_completed_with_its_default(tmp_path, capsys):
    assert run_here(tmp_path / "run", *POLYNOMIAL, "trainer.max_epochs=2") == 0
    path = tmp_path / "run" / "run.json"
    record = json.loads(path.read_text())
    del record["config"]["gradients"], record["config"]["model"]["input_noise"], record["config"]["data"]["test_seed"]
    path.write_text(json.dumps(record))
    assert cli.main(["evaluate", str(tmp_path / "run")]) == 0
    assert cli.main(["rerun", str(tmp_path / "run")]) == 0
    assert "same numbers" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["train.py"], ["-m", "lightning_d2l", "demo"]])
def test_a_python_without_the_packages_names_the_way_out(words):
    command = [sys.executable, "-S", *words]  # -S: without site-packages
    done = subprocess.run(command, cwd=Path(__file__).parents[1], check=False, text=True, capture_output=True)
    assert done.returncode == 2
    assert "activate the environment" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_demo_makes_the_folder_of_its_pictures_whatever_a_matplotlibrc_there_asks_for(tmp_path):
    program = "from lightning_d2l.cli import main; raise SystemExit(main(['demo', 'xavier']))"
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\ntext.latex.preamble: \\input{evil}\n")
    assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "outputs" / "demos" / "xavier" / "xavier.png").exists()


@pytest.mark.parametrize(("command", "known"), [("demo", "xavier"), ("reproduce", "poly-normal")])
def test_without_a_name_the_demos_or_experiments_are_listed(command, known, capsys, tmp_path):
    assert cli.main([command]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"  {known} ") for line in lines)
    assert max(map(len, lines)) <= 80
    assert not any(tmp_path.iterdir())
