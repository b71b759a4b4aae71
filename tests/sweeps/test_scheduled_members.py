"""Runs with a schedule: in a group as by themselves, and resumed to the same numbers by any loop."""

import shutil
from pathlib import Path

import pytest
import torch

from lightning_d2l import app
from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps import saver
from lightning_d2l.sweeps.group import Group
from lightning_d2l.training.files import LAST, MetricsFile
from lightning_d2l.training.record import RunRecord
from tests.runs import POLYNOMIAL, run_here
from tests.sweeps.test_vectorized import MLPS, Killed, assert_same_leaves, assert_same_run, folders, sweep

RUN = [*POLYNOMIAL, "data.n_train=20", "trainer.checkpoint_every_n_seconds=0", "trainer.log_every_n_epochs=2"]
SCHEDULES = {
    "one_cycle": ["scheduler=one_cycle", "optimizer.lr=0.001,0.01"],
    "plateau": ["scheduler=reduce_on_plateau", "scheduler.patience=0", "scheduler.threshold=0.5,0.01"],
}


def assert_same_schedule(found: Path, expected: Path) -> None:
    states, others = (torch.load(folder / LAST, weights_only=True) for folder in (found, expected))
    assert_same_leaves(states["lr_schedulers"], others["lr_schedulers"])
    for mine, theirs in zip(*(each["optimizer_states"][0]["param_groups"] for each in (states, others)), strict=True):
        assert_same_leaves(mine, theirs)
    rows, expected_rows = (MetricsFile(folder).rows() for folder in (found, expected))
    assert_same_leaves(rows, expected_rows)
    assert "lr" in rows[-1]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_killed_group_with_a_schedule_ends_as_the_runs_by_themselves(name, tmp_path, monkeypatch, capsys):
    words, alone, killed = [*MLPS, *SCHEDULES[name]], tmp_path / "alone", tmp_path / "killed"
    assert sweep(alone, *words, "hydra/launcher=sequential") == 0
    saved, calls = Group.save, []

    def save(self):
        calls.append(saved(self))
        if len(calls) == 3:
            raise Killed

    monkeypatch.setattr(Group, "save", save)
    monkeypatch.setattr(saver, "SHARE_OF_TIME", 0)
    monkeypatch.setattr(saver, "SECONDS_A_MEMBER", 0)
    with pytest.raises(Killed):
        sweep(killed, *words)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    first = folders(killed)[0]
    shutil.copytree(first, tmp_path / "single")
    own = [word.partition(",")[0] if "scheduler." in word or "optimizer.lr" in word else word for word in words[1:]]
    assert app.main([*own, "resume=single"]) == 0
    assert_same_schedule(tmp_path / "single", folders(alone)[0])
    capsys.readouterr()
    assert app.main([f"sweep.resume={killed}"]) == 0
    assert "2/2  2 at once" in capsys.readouterr().out
    for found, expected in zip(folders(killed), folders(alone), strict=True):
        assert_same_schedule(found, expected)


def test_a_group_with_a_schedule_leaves_what_each_run_leaves_by_itself(tmp_path):
    words = [*MLPS, "scheduler=exponential,one_cycle,reduce_on_plateau", "optimizer.lr=0.01,0.02"]
    assert sweep(tmp_path / "together", *words) == 0
    assert sweep(tmp_path / "alone", *words, "hydra/launcher=sequential") == 0
    for found, expected in zip(folders(tmp_path / "together"), folders(tmp_path / "alone"), strict=True):
        assert_same_run(found, expected)


RESUMED = {
    "exponential": ["scheduler=exponential", "scheduler.interval=step"],
    "warmup": ["scheduler=linear_warmup", "scheduler.total_iters=5"],
    "one_cycle": ["scheduler=one_cycle", "scheduler.total_steps=12", "optimizer=adam"],
    "plateau": ["scheduler=reduce_on_plateau", "scheduler.patience=0", "scheduler.threshold=0.9"],
}


@pytest.mark.parametrize("engine", ["fast", "lightning"])
@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_run_continues_its_schedule_bit_for_bit(name, engine, tmp_path):
    words = [*RUN, *RESUMED[name], f"trainer.engine={engine}"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run_here(whole, *words, "trainer.max_epochs=6") == 0
    assert run_here(parts, *words, "trainer.max_epochs=4") == 0
    assert run_here(parts, *words, "trainer.max_epochs=6", f"resume={parts}") == 0
    rows = MetricsFile(whole).rows()
    assert MetricsFile(parts).rows() == rows
    assert len({row["lr"] for row in rows}) > 1
    one, other = (torch.load(folder / LAST, weights_only=True)["state_dict"] for folder in (whole, parts))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_what_would_change_a_schedule_or_looks_at_nothing_is_refused(tmp_path):
    run = tmp_path / "run"
    assert run_here(run, *RUN, "scheduler=cosine", "trainer.max_epochs=2") == 0
    with pytest.raises(RequestError, match=r"trainer.max_epochs=4: must be 2, of which scheduler.T_max=null made"):
        run_here(run, *RUN, "scheduler=cosine", "trainer.max_epochs=4", f"resume={run}")
    words = ["scheduler=reduce_on_plateau", "scheduler.monitor=loss/test2"]
    with pytest.raises(RequestError, match=r"scheduler.monitor=loss/test2: must be a metric of the run: loss/train, "):
        run_here(tmp_path / "new", *RUN, *words, part_of_sweep=False)
    assert not (tmp_path / "new").exists()


def test_optimizers_train_at_once_or_one_by_one_with_the_reason(tmp_path, capsys):
    words = ["-m", *RUN, "trainer.max_epochs=2", "optimizer=rprop,asgd,adafactor,lbfgs", "seed=0,1"]
    assert sweep(tmp_path / "s", *words) == 0
    printed = capsys.readouterr().out
    assert "2 runs one by one: a step of Adafactor may mix parameters" in printed
    assert "2 runs one by one: LBFGS.step(closure) needs Lightning's own loop" in printed
    members = [RunRecord.read(folder).fields.get("members") for folder in folders(tmp_path / "s")]
    assert members == [2, 2, 2, 2, None, None, None, None]
