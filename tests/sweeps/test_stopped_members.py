"""Runs that stop early in a group leave what they leave by themselves, also when the group is interrupted."""

import shutil
from pathlib import Path

import pytest

from lightning_d2l import app
from lightning_d2l.sweeps import saver
from lightning_d2l.sweeps.folder import read_sweep
from lightning_d2l.sweeps.group import Group
from lightning_d2l.training.checkpoint import load_checkpoint
from lightning_d2l.training.files import MetricsFile
from lightning_d2l.training.record import RunRecord
from tests.sweeps.test_vectorized import MLPS, Killed, assert_same_leaves, assert_same_run, folders, sweep

# Nothing improves by so much, so that a run stops after patience + 1 epochs; the last one trains all six.
STOPPING = [
    *MLPS, "callbacks=[early_stopping,lr_monitor,model_summary]", "callbacks.early_stopping.min_delta=1e9",
    "callbacks.early_stopping.patience=2,4,50",
]  # fmt: skip
ENDS = [3, 5, 6]


def stopped(folder: Path) -> list[int | None]:
    """The epoch at which each run stopped, or None."""
    records = [RunRecord.read(run).fields for run in folders(folder)]
    assert {record["status"] for record in records} == {"completed"}
    return [(record.get("stopped") or {}).get("epoch") for record in records]


def assert_same_ends(found: Path, expected: Path) -> None:
    for key in ("metrics", "stopped"):
        mine, theirs = (RunRecord.read(folder).fields.get(key) for folder in (found, expected))
        assert_same_leaves({key: mine}, {key: theirs})
    rows, others = (MetricsFile(folder).rows() for folder in (found, expected))
    assert_same_leaves(rows, others)


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "together"
    assert sweep(folder, *STOPPING) == 0
    assert {RunRecord.read(run).fields["members"] for run in folders(folder)} == {3}
    return folder


def test_a_group_leaves_of_runs_that_stopped_what_each_leaves_by_itself(together, tmp_path):
    alone = tmp_path / "alone"
    assert sweep(alone, *STOPPING, "hydra/launcher=sequential") == 0
    assert stopped(together) == [3, 5, None]
    assert [RunRecord.read(run).fields["metrics"]["final"]["epoch"] for run in folders(together)] == ENDS
    for found, expected in zip(folders(together), folders(alone), strict=True):
        assert_same_run(found, expected)
    log = (folders(together)[0] / "train.log").read_text()
    assert "stopped early after epoch 3: loss/val did not improve by more than 1e+09 for 2" in log
    report = (together / "report.md").read_text()
    assert "2 of 3 completed runs stopped early, after epochs 3 to 5" in report
    assert "2 of 3 completed runs stopped early, after epochs 3 to 5" in (together / "report.html").read_text()
    header, *lines = (together / "results.csv").read_text().splitlines()
    assert [line.split(",")[header.split(",").index("stopped")] for line in lines] == ["3", "5", ""]


@pytest.mark.parametrize("call", [2, 4])
def test_a_killed_group_of_which_some_have_stopped_ends_as_undisturbed(call, together, tmp_path, monkeypatch):
    undisturbed, killed = together, tmp_path / "killed"
    saved, calls = Group.save, []

    def save(self):
        calls.append(saved(self))
        if len(calls) == call:
            raise Killed

    monkeypatch.setattr(Group, "save", save)
    monkeypatch.setattr(saver, "SHARE_OF_TIME", 0)
    monkeypatch.setattr(saver, "SECONDS_A_MEMBER", 0)
    with pytest.raises(Killed):
        sweep(killed, *STOPPING)
    assert [len(MetricsFile(run).rows()) for run in folders(killed)] == [min(call, end) for end in ENDS]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    for run in folders(killed):  # each by itself too, from the checkpoint that the group has written
        alone = tmp_path / f"alone {run.name}"
        shutil.copytree(run, alone)
        own = [*STOPPING[1:-1], f"callbacks.early_stopping.{run.name}"]
        assert app.main([*own, f"resume='{alone}'"]) == 0
        assert_same_ends(alone, undisturbed / run.name)
    assert app.main([f"sweep.resume={killed}"]) == 0
    assert stopped(killed) == [3, 5, None]
    for found, expected in zip(folders(killed), folders(undisturbed), strict=True):
        assert_same_ends(found, expected)


def test_a_group_of_which_all_have_stopped_trains_no_more_when_it_is_resumed(tmp_path, monkeypatch):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    words = [*STOPPING[:-1], "callbacks.early_stopping.patience=2", "seed=range(2)"]
    assert sweep(undisturbed, *words) == 0

    def finish(self, *args):
        raise Killed

    monkeypatch.setattr(Group, "_finish", finish)
    monkeypatch.setattr(saver, "SHARE_OF_TIME", 0)
    monkeypatch.setattr(saver, "SECONDS_A_MEMBER", 0)
    with pytest.raises(Killed):
        sweep(killed, *words)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert {RunRecord.read(run).status for run in folders(killed)} == {"running"}
    assert app.main([f"sweep.resume={killed}"]) == 0
    assert stopped(killed) == [3, 3]
    for found, expected in zip(folders(killed), folders(undisturbed), strict=True):
        assert_same_ends(found, expected)


def test_a_group_resumes_runs_that_began_by_themselves(tmp_path):
    undisturbed, begun = tmp_path / "undisturbed", tmp_path / "begun"
    words = [word for word in STOPPING if not word.startswith("callbacks.early_stopping.patience")]
    words += ["callbacks.early_stopping.patience=4", "seed=range(2)"]
    assert sweep(undisturbed, *words) == 0
    assert sweep(begun, *words, "trainer.max_epochs=2", "hydra/launcher=sequential") == 0
    for run in folders(begun):
        record = RunRecord.read(run)
        config = {**record.fields["config"]}
        config["trainer"] = config["trainer"] | {"max_epochs": 6}
        record.update(status="failed", error="stopped by SIGTERM", config=config, sweep=read_sweep(undisturbed)["id"])
        state = load_checkpoint(run / "checkpoints/last.ckpt")["callbacks"]
        assert state["EarlyStopping{'monitor': 'loss/val', 'mode': 'min'}"]["wait_count"] == 1
    shutil.copy(undisturbed / "sweep.json", begun / "sweep.json")
    assert app.main([*words, f"sweep.resume={begun}"]) == 0
    assert stopped(begun) == [5, 5]
    for found, expected in zip(folders(begun), folders(undisturbed), strict=True):
        assert RunRecord.read(found).fields["members"] == 2
        assert_same_ends(found, expected)


def test_other_callbacks_train_one_by_one_and_the_line_names_them(tmp_path, capsys):
    words = ["-m", *[w for w in MLPS[1:] if "max_epochs" not in w], "trainer.max_epochs=1", "seed=1,2"]
    assert sweep(tmp_path / "s", *words, "callbacks=[lr_monitor,gradient_norm]") == 0
    assert "2 runs one by one: callbacks.gradient_norm" in capsys.readouterr().out
    assert sweep(tmp_path / "t", *words, "callbacks=lr_monitor", "callbacks.lr_monitor.logging_interval=step") == 0
    assert "2 runs one by one: callbacks.lr_monitor" in capsys.readouterr().out
