"""Lean records say what full ones do, survive what happens to their files, and name the way back to a run's folder."""

import hashlib
import json
import os
import signal
import time
from pathlib import Path

import pyarrow as pa
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import lightning_d2l as d2l
from lightning_d2l import app, cli
from lightning_d2l.config.check import RequestError
from lightning_d2l.nets.linear import LinearRegression
from lightning_d2l.studies import report, tables
from lightning_d2l.studies.columns import encoded, written
from lightning_d2l.studies.lean import Entry, LeanFolder, write
from lightning_d2l.sweeps import lean
from lightning_d2l.sweeps.folder import read_sweep
from lightning_d2l.training.record import RunRecord
from tests.forked import Forked
from tests.runs import POLYNOMIAL

SMALL = ["-m", *POLYNOMIAL, "data.n_train=20", "trainer.max_epochs=3"]


def swept(folder: Path, *words: str, code: int = 0) -> Path:
    assert app.main([*SMALL, *words, f"hydra.sweep.dir={folder}"]) == code
    return folder


def folders(sweep: Path) -> set[str]:
    return {path.parent.name for path in sweep.glob("*/run.json")}


def numbers(sweep: Path) -> dict[str, dict]:
    """The results of a sweep by run, without what differs by chance."""
    rows = tables.results(report.find([sweep]))
    return {row["run"]: row for row in rows}


def runs_files(sweep: Path) -> list[Path]:
    return sorted((sweep / "records").glob("*.runs.parquet"))


def test_full_and_lean_records_give_the_same_report(tmp_path, monkeypatch):
    working = LinearRegression.forward

    def fails(self, x):
        if x.shape[-1] == 3:
            raise OSError("no such luck")
        return working(self, x)

    monkeypatch.setattr(LinearRegression, "forward", fails)
    words = ["data.degree=1,2,3", "seed=0,1,2", "optimizer.lr=0.01,1e6"]
    full, few = tmp_path / "full" / "s", tmp_path / "lean" / "s"
    swept(full, *words, code=1)
    swept(few, *words, "sweep.records=lean", code=1)
    assert len(folders(full)) == 18
    # Six failed, the six others of lr=1e6 diverged, and the best and the worst of the sweep.
    assert len(folders(few)) == 14
    assert read_sweep(few)["records"] == "lean"
    for name in ("results.csv", "summary.csv"):
        assert (few / name).read_text() == (full / name).read_text()
    texts = []
    for folder in (full, few):
        made = report.report([folder])
        texts.append(report.text(made).replace(str(folder), "SWEEP").replace("sweep.records=lean ", ""))
    assert texts[0] == texts[1]
    here, there = d2l.load_sweep(few), d2l.load_sweep(full)
    assert here.results.equals(there.results)
    assert here.summary.equals(there.summary)
    for run, other in zip(here.runs, there.runs, strict=True):
        assert (run.status, run.metrics, run.best_metrics) == (other.status, other.metrics, other.best_metrics)
        assert run.history.equals(other.history)
        assert {**run.config, "x": 0} == {**other.config, "x": 0}
        varying = ("started", "command", "seconds", "process", "sweep", "error", "diagnosis")
        mine, its = ({k: v for k, v in each.record.items() if k not in varying} for each in (run, other))
        assert mine.keys() >= {"versions", "baselines", "num_parameters", "data"} or run.status == "failed"
        assert json.dumps(mine, default=str) == json.dumps(its, default=str) or (few / run.folder.name).exists()


@pytest.mark.parametrize("launcher", ["vectorized", "sequential", "basic"])
def test_every_launcher_leaves_the_folders_of_few_runs(launcher, tmp_path):
    sweep = swept(tmp_path / "s", "seed=range(4)", f"hydra/launcher={launcher}", "sweep.records=lean",
                  'sweep.keep=["seed=2"]')  # fmt: skip
    losses = {row["run"]: row["loss/val"] for row in numbers(sweep).values()}
    assert len(losses) == 4
    assert folders(sweep) == {"seed=2", min(losses, key=losses.get), max(losses, key=losses.get)}
    assert len(runs_files(sweep)) == 1
    kept = RunRecord.read(sweep / "seed=2")
    assert kept.metric("loss/val") == pytest.approx(losses["seed=2"], rel=1e-6)
    assert (sweep / "seed=2" / "checkpoints" / "best.ckpt").exists()


def test_settings_with_many_runs_keep_the_best_and_the_worst_of_each(tmp_path, monkeypatch):
    monkeypatch.setattr(lean, "FEWEST", 3)
    sweep = swept(tmp_path / "s", "data.degree=1,2", "seed=range(3)", "sweep.records=lean")
    rows = numbers(sweep).values()
    for degree in (1, 2):
        losses = {row["run"]: row["loss/val"] for row in rows if row["data.degree"] == degree}
        assert {min(losses, key=losses.get), max(losses, key=losses.get)} == folders(sweep) & losses.keys()
    means = {
        row["data.degree"]: row["value"] for row in tables.summary(report.find([sweep])) if row["metric"] == "loss/val"
    }
    pages = sorted((sweep / "summary" / "settings").iterdir())
    shown = [EventAccumulator(str(page)).Reload().Scalars("loss/val")[0].value for page in pages]
    assert [page.name for page in pages] == ["001_data.degree=2", "002_data.degree=1"]
    assert shown == pytest.approx([means[2], means[1]], rel=1e-6)


def test_what_happens_to_a_file_costs_its_runs_alone_and_they_are_trained_again(tmp_path, capsys):
    words = ["seed=range(12)", "hydra.launcher.max_members=3", "sweep.records=lean"]
    sweep = swept(tmp_path / "s", *words)
    before = numbers(sweep)
    first, second, third, fourth = runs_files(sweep)
    first.unlink()
    second.with_name(second.name.replace(".runs.", ".curves.")).unlink()
    content = bytearray(third.read_bytes())
    content[len(content) // 2] ^= 1
    third.write_bytes(content)
    capsys.readouterr()
    left = {*folders(sweep), "seed=9", "seed=10", "seed=11"}
    assert cli.main(["report", str(sweep)]) == 0
    out = capsys.readouterr().out
    assert f"{len(left)} completed, {12 - len(left)} missing" in out
    assert "its checksum is not that in its name" in out
    assert "curves.parquet can't be read" in out
    assert app.main([f"sweep.resume={sweep}"]) == 0
    said = capsys.readouterr()
    assert said.err.count("its runs are trained again") == 2
    assert f"{len(left)} of them finished before" in said.out
    assert {k: v["loss/val"] for k, v in numbers(sweep).items()} == pytest.approx(
        {k: v["loss/val"] for k, v in before.items()}, rel=1e-5
    )
    assert fourth.exists()
    assert not third.exists()


def test_hostile_files_are_damaged_and_no_name_leads_out_of_the_sweep(tmp_path):
    record = {"status": "completed", "config": {"seed": 0}, "metrics": {"final": {"loss/val": 1.0}}}
    places = tmp_path / "s"
    places.mkdir()
    wrong = [
        {**record, "status": "running"},
        {**record, "status": "completed", "metrics": {}},
        {**record, "config": "x"},
        {**record, "seed": -1},
        {**record, "metrics": {"final": {"loss/val": "x"}}},
    ]
    for number, fields in enumerate(wrong):
        write(places, [Entry(f"seed={number}", number, fields, [])])
    for name in ("../outside", "", "a/b", ".."):
        write(places, [Entry(name, 7, record, [])])
    for content in (b"PAR1", written(pa.table({"a": [1]}), {}), encoded([{"run": "x", "number": 0, **record}], {})):
        digest = hashlib.sha256(content).hexdigest()[:16]
        (places / "records" / f"000009-{digest}.runs.parquet").write_bytes(content)
    (places / "records" / "000010-0123456789abcdef.runs.parquet").mkdir()
    os.mkfifo(places / "records" / "000011-0123456789abcdef.runs.parquet")
    there = LeanFolder(places)
    there.look()
    assert not there.runs
    assert len(there.damaged) == 5 + 4 + 3 + 2
    assert all("\n" not in reason for reason in there.damaged.values())


def test_a_run_is_made_again_from_its_lean_record(tmp_path, capsys):
    sweep = swept(tmp_path / "a sweep", "seed=range(5)", "sweep.records=lean")
    name = next(name for name in numbers(sweep) if name not in folders(sweep))
    run = d2l.load_run(sweep / name)
    assert run.metrics["loss/val"] == numbers(sweep)[name]["loss/val"]
    assert len(run.history) == 2
    again = f"lightning-d2l rerun '{sweep}' --run {name}"
    for use in (lambda: run.module, run.predict):
        with pytest.raises(RequestError) as refused:
            use()
        assert again in str(refused.value)
    assert cli.main(["predict", str(sweep / name)]) == 2
    assert again in capsys.readouterr().err
    before = (sweep / "results.csv").read_text()
    assert cli.main(["rerun", str(sweep), "--run", name]) == 0
    assert "same numbers" in capsys.readouterr().out
    assert run.module is not None
    assert name in folders(sweep)
    assert cli.main(["report", str(sweep)]) == 0
    assert (sweep / "results.csv").read_text() == before
    for wrong in ("nothing", "../x"):
        assert cli.main(["rerun", str(sweep), "--run", wrong]) == 2
        assert f"--run={wrong}: " in capsys.readouterr().err


def test_many_runs_take_lean_records_unless_a_folder_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lean, "MOST_FULL", 2)
    assert read_sweep(swept(tmp_path / "a", "seed=0,1,2"))["records"] == "lean"
    assert "3 runs with full records are about 21 files and 0.1 GB; lean records" in capsys.readouterr().out
    assert read_sweep(swept(tmp_path / "b", "seed=0,1,2", "sweep.records=full"))["records"] == "full"
    assert read_sweep(swept(tmp_path / "c", "seed=0,1,2", "logger=csv"))["records"] == "full"
    assert "logger=csv writes for each run, so that lean records are not possible" in capsys.readouterr().out
    swept(tmp_path / "d", "seed=0,1", "trainer.save_predictions=true", "sweep.records=lean", code=2)
    assert "sweep.records=lean: trainer.save_predictions=true" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ('"seed=9"', "sweep.keep=seed=9: no run has this name or these settings; a name is such as seed=0"),
        ('"loss/val>e"', "e is no number"),
        ("[1]", "sweep.keep=[1]: must be"),
    ],
)
def test_what_can_not_be_kept_is_refused(asked, said, tmp_path, capsys):
    swept(tmp_path / "s", "seed=0,1", "sweep.records=lean", f"sweep.keep={asked}", code=2)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_what_is_kept_is_named_by_patterns_settings_or_metrics():
    record = RunRecord(Path("degree=12,seed=0"), {
        "config": {"seed": 0, "data": {"degree": 12}}, "overrides": ["optimizer=sgd"],
        "metrics": {"final": {"loss/val": 3.0}},
    }, "degree=12,seed=0")  # fmt: skip
    holds = ["*", "degree=12,*", "seed=0", "data.degree=1?,seed=0", "optimizer=sgd", "loss/val>2", "loss/val <= 3.0"]
    lacks = ["seed=1", "degree=12", "data.degree=1?,seed=1", "loss/val>3", "acc/val>0", "loss/val<-1"]
    assert [entry for entry in [*holds, *lacks] if lean.Kept([entry]).names(record.name, record.fields)] == holds


@pytest.mark.slow
def test_a_sweep_that_is_killed_between_chunks_goes_on_with_those_that_are_missing(tmp_path):
    words = [*SMALL, "seed=range(40)", "hydra.launcher.max_members=4", "sweep.records=lean", "trainer.max_epochs=30"]
    whole = swept(tmp_path / "whole", *words[1:])
    killed = Forked(*words, f"hydra.sweep.dir={tmp_path / 'killed'}")
    while len(runs_files(tmp_path / "killed")) < 3:
        assert killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    left = {path.name for path in runs_files(tmp_path / "killed")}
    assert app.main([f"sweep.resume={tmp_path / 'killed'}"]) == 0
    assert left <= {path.name for path in runs_files(tmp_path / "killed")}
    mine, its = ({k: v["loss/test"] for k, v in numbers(s).items()} for s in (tmp_path / "killed", whole))
    assert mine == pytest.approx(its, rel=1e-5)
    assert len(mine) == 40
