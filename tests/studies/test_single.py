import json
import shlex
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import lightning_d2l as d2l
from lightning_d2l import app, cli
from lightning_d2l.config.compose import compose_checked, plain
from lightning_d2l.modules import ClassificationModule
from lightning_d2l.studies.findings import find
from lightning_d2l.studies.single import judged
from lightning_d2l.training.record import RunRecord
from tests.conftest import ROOT

QUICK = ["logger=none", "trainer.accelerator=cpu"]
FASHION = ["data.source=generated", "data.n_train=200", "data.val_size=200"]
HOUSES = ["data=csv", f"data.path={ROOT / 'docs/houses.csv'}", "data.target=price"]


def end(words: list[str], folder: Path, capsys) -> tuple[dict, list[str]]:
    """The diagnosis that a single run records, and the lines that tell it."""
    app.main([*words, *QUICK, f"hydra.run.dir={folder}"])
    lines = capsys.readouterr().out.splitlines()
    begin = next(n for n, line in enumerate(lines) if line.startswith("diagnosis   "))
    last = next(n for n, line in enumerate(lines) if line.startswith("run folder"))
    return json.loads((folder / "run.json").read_text())["diagnosis"], lines[begin:last]


@pytest.mark.parametrize(
    ("words", "name", "change"),
    [
        (["model=polynomial_regression", "data.n_val=2000"], "well fitted", "'data.seed=${seed}'"),
        (["model=polynomial_regression", "data.degree=1"], "underfitting", "data.degree=2"),
        (["model=polynomial_regression", "optimizer=exact", "data.degree=0"], "underfitting", "data.degree=1"),
        (
            ["model=polynomial_regression", "optimizer.lr=1e-7", "trainer.max_epochs=2"],
            "not learnt",
            "optimizer.lr=0.001",
        ),
        (["model=polynomial_regression", "optimizer.lr=10"], "diverged", "optimizer.lr=1"),
        (
            ["model=high_dimensional_regression", "optimizer=exact", "optimizer.weight_decay=0", "data.n_val=2000"],
            "overfitting",
            "optimizer.weight_decay=0.01",
        ),
        (
            [
                *FASHION,
                "model=mlp",
                "optimizer=adam",
                "optimizer.lr=0.01",
                "data.label_noise=1.0",
                "trainer.max_epochs=25",
            ],
            "overfitting",
            "'callbacks=[early_stopping]'",
        ),
        ([*HOUSES, "model=mlp"], "diverged", "data.standardize_target=true"),
        ([*HOUSES, "model=linear_regression", "optimizer=exact"], "learnt", "study.reference=gradient_boosting"),
        (
            [*FASHION, "model=mlp", "optimizer=adam", "optimizer.lr=1e-3", "trainer.max_epochs=3"],
            "learnt",
            "max_epochs=9",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_single_run_ends_with_its_diagnosis_and_a_command_that_is_valid(tmp_path, capsys, words, name, change):
    found, lines = end(words, tmp_path / "run", capsys)
    assert found["name"] == name
    at = next(n for n, line in enumerate(lines) if line.startswith("try next    "))
    said, command = lines[:at], " ".join(line.removesuffix(" \\").strip() for line in lines[at:])
    assert all(len(line) <= 80 or "docs" in line for line in lines)  # a path may be long
    assert all(line.endswith(" \\") for line in lines[at:-1])
    assert len(said) <= 5
    assert " ".join(line.strip() for line in said).startswith(f"diagnosis   {found['text']}")
    assert command == f"try next    {found['command']}"
    assert change in command
    tried = shlex.split(found["command"])
    assert tried[:2] == ["python", "train.py"]
    compose_checked([word for word in tried[2:] if word != "-m"], multirun="-m" in tried)
    if name not in ("diverged",):
        for part in ("trivial", "train", "val", "test", "gap"):
            assert f" {part} " in found["text"]


def test_the_report_of_a_single_run_says_the_same(tmp_path, capsys):
    found, _ = end(["model=polynomial_regression", "data.degree=2"], tmp_path / "run", capsys)
    (point,) = find([tmp_path / "run"]).points
    assert (point.diagnosis.name, point.diagnosis.or_else) == (found["name"], found["or_else"])
    assert point.diagnosis.share == pytest.approx(found["share"])


@pytest.mark.parametrize(("name", "stronger"), [("knn", "gradient_boosting"), ("5", "knn"), ("mlp", "seed=0,1,2,3,4")])
def test_where_the_model_beats_its_reference_a_stronger_one_is_next(tmp_path, name, stronger):
    config = plain(compose_checked(["model=mlp", f"study.reference={name}"]))
    metrics = {"final": {"loss/train": 0.30, "loss/val": 0.33, "acc/train": 0.9, "acc/val": 0.88}}
    trivial = {"loss/train": 2.3, "loss/val": 2.3, "acc/train": 0.1, "acc/val": 0.1}
    reference = {"name": name, "loss/val": 5.0}
    baselines = {"samples": {"train": 50_000, "val": 10_000}, "trivial": trivial, "reference": reference}
    command = f"python train.py model=mlp study.reference={name}"
    fields = {"status": "completed", "config": config, "metrics": metrics, "baselines": baselines, "command": command}
    found = judged(tmp_path, fields)
    assert found["text"].endswith("): choose a stronger one")
    assert found["name"] == "learnt"
    assert stronger in found["command"]
    assert ("reference" in found["next"]) == (name != "mlp")


@pytest.mark.parametrize(
    ("words", "change"),
    [
        (["model=mlp", "model.num_hiddens=[64,32]"], "'model.num_hiddens=[64,32]' model.dropout=0.5"),
        (["model=phm_mlp", "model.num_hiddens=16"], "model.num_hiddens=16 optimizer.weight_decay=0.01"),
        (
            ["model=mlp", "model.dropout=0.5", "optimizer.weight_decay=0.01"],
            "model.dropout=0.5 optimizer.weight_decay=0.1",
        ),
        (["model=dropout_mlp_scratch"], "'model.dropout=[0.5,0.5]'"),
    ],
)
def test_only_what_a_model_has_is_suggested(tmp_path, words, change):
    config = plain(compose_checked(words))
    if "scratch" in words[0]:
        config["model"]["dropout"] = [0.0, 0.0]
    metrics = {"final": {"loss/train": 0.01, "loss/val": 0.8, "acc/train": 1.0, "acc/val": 0.7}}
    command = shlex.join(["python", "train.py", *words])
    found = judged(tmp_path, {"status": "completed", "config": config, "metrics": metrics, "command": command})
    assert found["name"] == "overfitting"
    assert found["command"].endswith(change)
    compose_checked(shlex.split(found["command"])[2:])


def test_the_command_is_that_of_the_run_with_the_words_of_a_study_and_no_folder(tmp_path):
    words = ["study=capacity", "data.degree=1", "seed=0", "optimizer=exact"]
    config = plain(compose_checked([*words, "hydra.mode=RUN"]))
    baselines = {"trivial": {"loss/val": 30.0, "loss/train": 30.0}, "samples": {"train": 100, "val": 1000}}
    metrics = {"final": {"loss/train": 9.0, "loss/val": 10.0}}
    command = shlex.join(["python", "train.py", *words, "hydra.mode=RUN", "hydra.run.dir=outputs/a b", "resume=x"])
    fields = {"status": "completed", "config": config, "metrics": metrics, "baselines": baselines, "command": command}
    found = judged(tmp_path, fields)
    assert found["name"] == "underfitting"
    assert found["command"] == "python train.py study=capacity seed=0 optimizer=exact data.degree=2 hydra.mode=RUN"


def test_tensorboard_has_the_diagnosis_of_a_single_run_and_a_rerun_ends_with_it(tmp_path, capsys):
    words = ["model=polynomial_regression", "trainer.max_epochs=2", "trainer.accelerator=cpu"]
    assert app.main([*words, "logger=tensorboard", f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    found = RunRecord.read(tmp_path / "run").fields["diagnosis"]
    read = EventAccumulator(str(tmp_path / "run"))
    read.Reload()
    (text,) = read.Tensors("diagnosis")
    assert text.tensor_proto.string_val[0].decode() == (
        f"{found['text']}\n\nnext: {found['next']}\n\n`{found['command']}`"
    )
    capsys.readouterr()
    assert cli.main(["rerun", str(tmp_path / "run"), "--into", str(tmp_path / "again")]) == 0
    assert "\ndiagnosis   " in capsys.readouterr().out
    assert RunRecord.read(tmp_path / "again").fields["diagnosis"]["text"] == found["text"]


def test_runs_of_a_sweep_are_diagnosed_by_its_report_and_objects_in_words(tmp_path, capsys):
    sweep = [*QUICK, "-m", "model=polynomial_regression", "trainer.max_epochs=2", "seed=0,1", "study.reference=0.5"]
    assert app.main([*sweep, f"hydra.sweep.dir={tmp_path / 'sweep'}"]) == 0
    assert "try next" not in capsys.readouterr().out
    record = RunRecord.read(tmp_path / "sweep" / "seed=0")
    assert "diagnosis" not in record.fields
    (point,) = find([tmp_path / "sweep"]).points
    assert point.diagnosis.reference == ("0.5", 0.5)
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    module = ClassificationModule(nn.Linear(2, 2), optimizer={"_target_": "torch.optim.SGD", "lr": 1e-9})
    run = d2l.fit(module, (x, (x[:, 0] > 0).long()), folder=tmp_path / "fit", logger=None, verbose=False, max_epochs=1)
    assert run.record["diagnosis"]["command"] == ""
    assert run.record["diagnosis"]["name"] in repr(run)


def test_a_run_without_a_held_out_loss_says_why_it_has_no_diagnosis(tmp_path, capsys):
    words = ["model=polynomial_regression", "data.n_train=20", "trainer.max_epochs=1", "logger=none"]
    words += ["trainer.limit_val_batches=0", "trainer.limit_test_batches=0", f"hydra.run.dir={tmp_path / 'run'}"]
    assert app.main(words) == 0
    out = capsys.readouterr().out
    assert "diagnosis   none, without a loss on held-out data" in out
    assert "try next" not in out
