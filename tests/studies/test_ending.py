"""What a sweep and `lightning-d2l report` print at their end."""

from pathlib import Path

import lightning_d2l as d2l
from lightning_d2l import app, cli
from lightning_d2l.studies import ending
from lightning_d2l.studies.answer import places
from lightning_d2l.studies.findings import find
from lightning_d2l.studies.report import report, text
from tests.studies.records import write_sweep

LR = [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3]


def losses(lr, size, seed):
    return None if lr * 4 > size else {"loss/train": 1 + abs(lr - 0.1) + 0.01 * seed}


def test_divergences_of_a_study_are_one_line(tmp_path):
    axes = {"optimizer.lr": LR, "data.batch_size": [1, 4, 100], "seed": range(5)}
    made = report([write_sweep(tmp_path, axes, losses)])
    (line,) = ending.diverged(made.findings)
    where = "data.batch_size=1, optimizer.lr 0.3, 1, 3; data.batch_size=4, optimizer.lr 3"
    assert line == f"20 of 105 runs: {where}"
    said = text(made)
    assert said.count("\ndiverging  ") == 1
    assert "loss is nan" not in said
    assert max(len(line) for line in said.splitlines() if "train.py" not in line and str(tmp_path) not in line) <= 80


def test_a_curve_whose_runs_were_all_pruned_has_no_empty_line(tmp_path):
    axes = {"optimizer.lr": LR, "data.degree": [1, 2, 3]}
    folder = write_sweep(tmp_path, axes, lambda lr, degree: {"loss/train": 1.0, "loss/val": 1.0 + lr})
    for path in folder.glob("*degree=2/run.json"):
        path.write_text(path.read_text().replace('"completed"', '"pruned"'))
    first, second = ending.diagnoses(find([folder]))
    assert first.startswith("by optimizer.lr: data.degree=1: underfitting ")
    assert second.startswith("data.degree=3: underfitting ")


def test_a_diagnosis_has_ranges_and_a_mark_at_each_uncertain_end(tmp_path):
    axes = {"data.degree": range(8), "seed": [0]}
    held = [9.0, 9.0, 9.0, 0.0101, 0.0118, 0.0119, 0.0118, 1.0]
    folder = write_sweep(tmp_path, axes, lambda d, s: {"loss/train": min(held[d], 0.0099), "loss/val": held[d]})
    findings = find([folder])
    said = places("data.degree", findings.points, "overfitting")
    assert said == ["0 to 2", "7"]
    assert all(each.startswith("~") for each in places("data.degree", findings.points, "well fitted")[-1].split(" to "))
    assert "overfitting at data.degree 0 to 2, 7" in findings.answer.diagnosis[0]


def test_warnings_and_the_next_command_are_printed_once_each(tmp_path, capsys):
    words = ["-m", "model=polynomial_regression", "data.n_train=20", "trainer.max_epochs=3", "logger=none"]
    words += ["data.degree=range(5)", "seed=range(3)", f"hydra.sweep.dir={tmp_path / 's'}", "trainer.accelerator=cpu"]
    assert app.main(words) == 0
    out = capsys.readouterr().out
    end = out.split("sweep folder")[1]
    assert end.count("warning: All runs share one generated data set (data.seed=0)") == 1
    parts = ["degree  loss/val ", "mean [95 % interval]", " has the lowest loss/val", "warning: "]
    parts += ["report  ", "run next  "]
    places = [end.index(part) for part in parts]
    assert places == sorted(places)
    assert max(len(line) for line in end.splitlines() if not line.startswith(("report", "run next", "look at"))) <= 80
    assert "\r" not in out
    assert "\x1b" not in out
    assert cli.main(["report", str(tmp_path / "s")]) == 0
    again = capsys.readouterr().out
    for part in (parts[0], "warning: All runs share", "run next  "):
        assert again.count(part) == 1
    assert ending.ahead(find([tmp_path / "s"]))[0].startswith("run next      python train.py -m ")


def test_a_study_without_a_name_has_that_of_its_file_and_lean_runs_are_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "study").mkdir(parents=True)
    (tmp_path / "conf" / "study" / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [override /model: polynomial_regression, override /optimizer: exact]\n"
        "hydra: {mode: MULTIRUN, sweeper: {params: {data.degree: '1,3', seed: 'range(2)'}}}\nstudy: {x: data.degree}\n"
    )
    words = ["--config-dir", "conf", "study=mine", "sweep.records=lean", "logger=none"]
    assert app.main(words) == 0
    (folder,) = tmp_path.glob("outputs/*/*")
    assert folder.name.endswith("-mine")
    found = d2l.runs("outputs")
    assert sorted(found["data.degree"]) == [1, 1, 3, 3]
    expected = {run.folder.name: run.metrics["loss/test"] for run in d2l.load_sweep(folder).runs}
    assert {Path(run).name: loss for run, loss in zip(found["run"], found["loss/test"], strict=True)} == expected


def test_runs_that_log_nothing_are_told_how_to(tmp_path, capsys):
    write_sweep(tmp_path, {"optimizer.lr": [0.1, 0.2]}, lambda lr: {})
    assert cli.main(["report", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: no run has logged a metric")
    assert 'self.log("val_loss", ...)' in told
    assert "gap/val" not in told
