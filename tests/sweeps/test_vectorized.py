"""Jobs that train at once leave what they leave one by one; what can't says why, and trains all the same."""

import csv
import json
import operator
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from lightning_d2l import app, cli
from lightning_d2l.config import registry
from lightning_d2l.config.compose import quote
from lightning_d2l.config.rules import ANYTHING
from lightning_d2l.engine.batches import StackedBatches
from lightning_d2l.sweeps import progress, saver
from lightning_d2l.sweeps.folder import read_sweep
from lightning_d2l.sweeps.group import Group
from lightning_d2l.training.checkpoint import load_checkpoint
from lightning_d2l.training.files import MetricsFile
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.signals import Stopped
from tests.runs import POLYNOMIAL
from tests.second_device import off_the_cpu

SMALL = ["-m", *POLYNOMIAL, "data.n_train=30", "data.n_val=10", "data.n_test=10", "trainer.max_epochs=3"]
MLPS = [
    "-m", "model=mlp", "data=polynomial", "logger=none", "trainer.accelerator=cpu", "data.n_train=30", "data.n_val=10",
    "data.n_test=10", "model.num_hiddens=[4]", "model.dropout=0.3", "optimizer=adam", "trainer.max_epochs=6",
    "trainer.precision=64-true", "trainer.checkpoint_every_n_seconds=0",
]  # fmt: skip


def sweep(folder: Path, *words: str) -> int:
    return app.main([*words, f"hydra.sweep.dir={folder}"])


def folders(sweep: Path) -> list[Path]:
    return [sweep / job["folder"] for job in read_sweep(sweep)["jobs"]]


def leaves(node: Any, path: str = "") -> dict[str, Any]:
    """The values of nested dicts and lists by their paths."""
    if isinstance(node, (dict, list, tuple)):
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        return {k: v for key, value in pairs for k, v in leaves(value, f"{path}/{key}").items()}
    return {path: node}


def close(value: Any, other: Any, tolerance: float) -> bool:
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return torch.allclose(value, other, rtol=tolerance, atol=tolerance)
    return value == pytest.approx(other, rel=tolerance, abs=1e-12) if isinstance(value, float) else value == other


def assert_same_leaves(found: Any, expected: Any, *apart: str, tolerance: float = 1e-9) -> None:
    mine, theirs = leaves(found), leaves(expected)
    assert mine.keys() == theirs.keys()
    for path in mine:
        if not path.startswith(apart):
            assert close(mine[path], theirs[path], tolerance), (path, mine[path], theirs[path])


def assert_same_run(found: Path, expected: Path) -> None:
    """Records, metrics, predictions and checkpoints, but for the last digits of numbers."""
    mine, theirs = RunRecord.read(found).fields, RunRecord.read(expected).fields
    assert mine.pop("members") > 1
    assert_same_leaves(mine, theirs, "/started", "/seconds", "/command", "/git", "/sweep")
    rows, others = MetricsFile(found).rows(), MetricsFile(expected).rows()
    assert [list(row) for row in rows] == [list(row) for row in others]
    assert_same_leaves(rows, others)
    for name in ("last", "best")[: 1 if theirs["status"] == "diverged" else 2]:
        mine, theirs = (load_checkpoint(folder / f"checkpoints/{name}.ckpt") for folder in (found, expected))
        assert_same_leaves(mine, theirs, "/loops/validate_loop", "/loops/fit_loop/epoch_loop.val_loop", *RANDOM)
        for kind in ("state_dict", "optimizer_states"):
            tensors = [{k: v for k, v in leaves(c[kind]).items() if torch.is_tensor(v)} for c in (mine, theirs)]
            shapes = [{k: (v.shape, v.dtype) for k, v in each.items()} for each in tensors]
            assert shapes[0] == shapes[1]


RANDOM = tuple(f"/callbacks/Recorder/{name}" for name in ("python", "numpy", "torch", "cuda"))


def test_a_group_leaves_what_each_run_leaves_by_itself(tmp_path, capsys):
    words = [
        *MLPS,
        "seed=1,2",
        "optimizer.lr=0.01,1e200",
        "optimizer.weight_decay=0.1",
        "trainer.save_predictions=true",
    ]
    words += ["logger=tensorboard", "trainer.evaluate=[train,val]"]
    together, alone = tmp_path / "together", tmp_path / "alone"
    assert sweep(together, *words) == 0
    assert "4/4  4 at once" in capsys.readouterr().out
    assert sweep(alone, *words, "hydra/launcher=sequential") == 0
    for found, expected in zip(folders(together), folders(alone), strict=True):
        files, others = (
            {str(p.relative_to(run)) for p in run.rglob("*") if "tfevents" not in p.name} for run in (found, expected)
        )
        assert files == others
        assert_same_run(found, expected)
        events, theirs = (EventAccumulator(str(run)).Reload() for run in (found, expected))
        assert sorted(events.Tags()["scalars"]) == sorted(theirs.Tags()["scalars"])
        for tag in events.Tags()["scalars"]:
            points, others = ([(e.step, e.value) for e in each.Scalars(tag)] for each in (events, theirs))
            assert [step for step, _ in points] == [step for step, _ in others]
            assert [value for _, value in points] == pytest.approx([value for _, value in others], rel=1e-5)
        diverged = "1e+200" in found.name
        assert RunRecord.read(found).status == ("diverged" if diverged else "completed")
        if not diverged:
            rows, others = (list(csv.reader((run / "predictions.csv").open())) for run in (found, expected))
            assert rows[0] == others[0]
            numbers = [[[float(cell) for cell in row] for row in table[1:]] for table in (rows, others)]
            assert numbers[0] == pytest.approx(torch.tensor(numbers[1], dtype=torch.float64).numpy(), rel=1e-9)
    log = (folders(together)[0] / "train.log").read_text()
    assert "epoch 6/6  loss/train" in log
    assert "run folder" in log


@pytest.mark.parametrize(
    "words", [["optimizer=exact"], ["penalty.l2=0.1", "seed=0,1"], ["data.folds=3", "data.fold=0,2"]], ids=str
)
def test_a_polynomial_has_its_own_distance_from_its_own_solution(words, tmp_path):
    """Whatever the degree of the others."""
    together, alone = tmp_path / "together", tmp_path / "alone"
    words = [*SMALL, "data.degree=1,4", "trainer.precision=64-true", "optimizer.lr=0.02", *words]
    if "optimizer=exact" in words:
        words.remove("optimizer.lr=0.02")
    assert sweep(together, *words) == sweep(alone, *words, "hydra/launcher=sequential") == 0
    for found, expected in zip(folders(together), folders(alone), strict=True):
        assert_same_run(found, expected)
        assert "distance_to_exact" in RunRecord.read(found).fields


def test_a_members_folder_is_that_of_a_run(tmp_path, capsys):
    """It can be evaluated, used and done again, and its checkpoint goes on as a run by itself."""
    together, alone, data = tmp_path / "together", tmp_path / "alone", "trainer.evaluate=[train,val]"
    assert sweep(together, *MLPS, data, "seed=1,2") == 0
    assert sweep(alone, *MLPS, data, "seed=1,2", "trainer.max_epochs=9", "hydra/launcher=sequential") == 0
    run = together / "seed=2"
    record = RunRecord.read(run).fields
    capsys.readouterr()
    assert cli.main(["evaluate", str(run), "--format", "json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    for which in ("final", "best"):
        assert evaluated[which]["loss/test"] == pytest.approx(record["metrics"][which]["loss/test"], rel=1e-9)
    assert cli.main(["predict", str(run)]) == 0
    cli.main(["rerun", str(run), "--into", str(tmp_path / "again")])
    assert_same_leaves(RunRecord.read(tmp_path / "again").fields["metrics"], record["metrics"])
    own = [*MLPS[1:], data, "seed=2", "trainer.max_epochs=9", f"resume={quote(str(run))}"]
    assert app.main(own) == 0
    assert_same_leaves(RunRecord.read(run).fields["metrics"], RunRecord.read(alone / "seed=2").fields["metrics"])
    assert [row["epoch"] for row in MetricsFile(run).rows()] == list(range(1, 10))


class Killed(BaseException):
    """Stands for a kill: nothing that follows is executed."""


def test_a_log_tells_of_epochs_between_logging_points(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "SILENCE", 0.0)
    assert sweep(tmp_path / "s", *SMALL, "seed=1,2", "trainer.log_every_n_epochs=3") == 0
    assert re.search(r"^0/2  2 at once, epoch 2/3  [\d.]+ s left$", capsys.readouterr().out, re.MULTILINE)


@pytest.fixture
def interrupted(monkeypatch) -> Callable[..., None]:
    """Ends the process's training of a group by an error, at its n-th call of a method of `Group`."""

    def at(method: str, call: int, error: BaseException) -> None:
        working, calls = getattr(Group, method), []

        def interrupted(self, *args):
            calls.append(method)
            if len(calls) == call:
                raise error
            return working(self, *args)

        monkeypatch.setattr(Group, method, interrupted)
        monkeypatch.setattr(saver, "SHARE_OF_TIME", 0)

    return at


@pytest.fixture
def kill_and_resume(interrupted, tmp_path, monkeypatch) -> Callable[..., None]:
    """Trains a sweep up to the n-th time that a group is saved, and goes on with it undisturbed."""

    def both(folder: Path, words: list[str], call: int) -> None:
        interrupted("save", call, Killed())
        with pytest.raises(Killed):
            sweep(folder, *words)
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
        assert app.main([f"sweep.resume={folder}"]) == 0

    return both


MOMENTS = {
    "before anything was saved": ("save", 1, {0}),
    "in the third epoch": ("save", 3, {2}),
    "at the end, while results are written": ("_finish", 3, {6}),
}


KILLED = [*MLPS, "seed=range(3)", "optimizer.lr=0.01,1", "loss=gaussian_nll"]  # with a parameter of no dimensions


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "undisturbed"
    assert sweep(folder, *KILLED) == 0
    return folder


@pytest.mark.parametrize(("method", "call", "epochs"), MOMENTS.values(), ids=MOMENTS)
def test_a_killed_group_resumes_bit_for_bit(method, call, epochs, undisturbed, interrupted, tmp_path, monkeypatch):
    killed, words = tmp_path / "killed", KILLED
    best = {RunRecord.read(folder).fields["metrics"]["best"]["epoch"] for folder in folders(undisturbed)}
    assert {1, 6} <= best, "the best epoch came before the kill for some, and after it for others"
    interrupted(method, call, Killed())
    with pytest.raises(Killed):
        sweep(killed, *words)
    assert {RunRecord.read(folder).status for folder in folders(killed)} == {"running"}
    assert {len(MetricsFile(folder).rows()) for folder in folders(killed)} <= epochs | {min(epochs), max(epochs) - 1}
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    half_written = folders(killed)[0] / ".new-metrics"
    half_written.touch()
    assert app.main([f"sweep.resume={killed}"]) == 0
    assert_same_bits(killed, undisturbed)
    assert not half_written.exists()


def test_a_killed_group_with_a_diverged_member_ends_as_undisturbed(kill_and_resume, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    words = [*MLPS, "optimizer=sgd", "optimizer.lr=0.01,1e60,0.02"]
    assert sweep(undisturbed, *words) == 0
    kill_and_resume(killed, words, call=4)
    for found, expected in zip(folders(killed), folders(undisturbed), strict=True):
        mine, theirs = RunRecord.read(found).fields, RunRecord.read(expected).fields
        assert (mine["status"], mine["error"]) == (theirs["status"], theirs["error"])
        assert_same_leaves(mine.get("metrics"), theirs.get("metrics"))
    assert [RunRecord.read(folder).status for folder in folders(killed)] == [
        "completed",
        "diverged",
        "completed",
    ]


def assert_same_bits(sweep: Path, other: Path) -> None:
    for found, expected in zip(folders(sweep), folders(other), strict=True):
        assert (found / "metrics.csv").read_text() == (expected / "metrics.csv").read_text()
        assert RunRecord.read(found).fields["metrics"] == RunRecord.read(expected).fields["metrics"]
    assert_same_weights(sweep, other)


def assert_same_weights(sweep: Path, other: Path) -> None:
    """And the same states of their optimizers, to the bit."""
    for found, expected in zip(folders(sweep), folders(other), strict=True):
        for name in ("last", "best"):
            mine, theirs = (load_checkpoint(folder / f"checkpoints/{name}.ckpt") for folder in (found, expected))
            for kind in ("state_dict", "optimizer_states"):
                first, second = leaves(mine[kind]), leaves(theirs[kind])
                assert first.keys() == second.keys()
                for key, value in first.items():
                    equal = torch.equal if torch.is_tensor(value) else operator.eq
                    assert equal(value, second[key]), key


def test_a_signal_leaves_each_member_where_it_stood(interrupted, tmp_path, monkeypatch, capsys):
    undisturbed, stopped = tmp_path / "undisturbed", tmp_path / "stopped"
    words = [*MLPS, "seed=range(2)", "trainer.precision=32-true"]
    assert sweep(undisturbed, *words) == 0
    interrupted("save", 3, Stopped(15))
    assert sweep(stopped, *words) == 128 + 15
    assert "sweep.resume=stopped" in capsys.readouterr().out
    for folder in folders(stopped):
        record = RunRecord.read(folder).fields
        assert record["status"] == "failed"
        assert "stopped by SIGTERM; to resume: python train.py" in record["error"]
        assert f"'resume=\"stopped/{folder.name}\"'" in record["error"]  # can be pasted, though = is Hydra's
        assert len(MetricsFile(folder).rows()) == 3
    shutil.copytree(stopped / "seed=1", tmp_path / "alone")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert app.main([f"sweep.resume={stopped}"]) == 0
    assert_same_bits(stopped, undisturbed)
    assert app.main([*words[1:-2], "seed=1", words[-1], "resume=alone"]) == 0
    found, expected = (
        RunRecord.read(folder).fields["metrics"] for folder in (tmp_path / "alone", undisturbed / "seed=1")
    )
    assert_same_leaves(found, expected, tolerance=1e-5)


@pytest.mark.apart
def test_a_group_trains_and_goes_on_off_the_cpu(tmp_path, capsys):
    adam = [*MLPS, "seed=range(2)", "optimizer.lr=0.01,1"]
    momentum = [*MLPS, "optimizer=sgd", "optimizer.momentum=0.9", "optimizer.lr=0.01", "optimizer.weight_decay=0,0.1"]
    sweeps = {"adam": adam, "momentum": momentum}
    for name, words in sweeps.items():
        assert sweep(tmp_path / "on" / name, *words) == 0
    off_the_cpu(f"""if True:
        from lightning_d2l import app
        from lightning_d2l.sweeps import group, progress, saver
        from lightning_d2l.training.signals import Stopped
        from tests.second_device import second_device

        saver.SHARE_OF_TIME, save = 0, group.Group.save
        for name, words in {sweeps!r}.items():
            calls = []
            def stops_at_the_third(self):
                calls.append(self)
                if len(calls) == 3:
                    raise Stopped(15)
                save(self)
            group.Group.save = stops_at_the_third
            with second_device() as operations:
                assert app.main([*words, f"hydra.sweep.dir=off/{{name}}"]) == 128 + 15
                assert app.main([f"sweep.resume=off/{{name}}"]) == 0
            assert operations["aten::bmm"] > 20
    """)
    for name in sweeps:
        for found, expected in zip(folders(tmp_path / "off" / name), folders(tmp_path / "on" / name), strict=True):
            assert_same_leaves(*(RunRecord.read(folder).fields["metrics"] for folder in (found, expected)))


# What trains one by one


class Odd(nn.Module):
    """A custom model with a branch that depends on the data."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(num_inputs, num_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output = self.layer(x)
        return output / 2 if output.abs().sum() > 1 else output


REASONS = {  # how many runs trained by themselves, and why
    "control flow": (["model=fixed_hidden_mlp", "seed=1,2"], "2 runs one by one: RuntimeError: "),
    "draws": (
        ["model=dropout_mlp_scratch", "data=polynomial", "loss=mse", "model.num_hiddens=[4,4]", "seed=1,2"],
        "2 runs one by one: RuntimeError: vmap: called random operation",
    ),
    "automatic": (
        ["trainer.engine=lightning,auto", "seed=1,2"],
        "2 runs one by one: trainer.engine=lightning",
    ),
    "other data": (["data.n_train=20,30"], "2 runs one by one: no other run has the same structure"),
    "a custom model": (
        ["model._target_=tests.sweeps.test_vectorized.Odd", "~model.bias", "~model.input_noise", "~model.dropout",
         "~model.init", "seed=1,2"],
        "2 runs one by one: RuntimeError: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("words", "reason"), REASONS.values(), ids=REASONS)
def test_what_can_not_train_together_says_why_and_trains_one_by_one(words, reason, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(registry.MODELS, "tests.sweeps.test_vectorized.Odd", ANYTHING)
    words = [*SMALL, *words]
    assert sweep(tmp_path / "vectorized", *words) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "one by one" in line]
    assert len(said) == 1
    assert reason in said[0]
    assert len(said[0]) <= 80
    assert sweep(tmp_path / "alone", *words, "hydra/launcher=sequential") == 0
    for found, expected in zip(folders(tmp_path / "vectorized"), folders(tmp_path / "alone"), strict=True):
        if "members" not in RunRecord.read(found).fields:
            assert RunRecord.read(found).fields["metrics"] == RunRecord.read(expected).fields["metrics"]


OPTIONS = {
    "min_members": ("hydra.launcher.min_members=1", "hydra.launcher.min_members=1: must be at least 2"),
    "max_members": ("hydra.launcher.max_members=1", "max_members=1: must be at least min_members=2"),
    "memory": ("hydra.launcher.memory=1.5", "hydra.launcher.memory=1.5: must be above 0 and at most 1"),
}  # fmt: skip


@pytest.mark.parametrize(("word", "reason"), OPTIONS.values(), ids=OPTIONS)
def test_a_launcher_option_out_of_range_costs_no_run(word, reason, tmp_path, capsys):
    assert sweep(tmp_path / "s", *SMALL, "trainer.max_epochs=1", "seed=1,2", word) == 0
    assert reason in capsys.readouterr().out
    assert [RunRecord.read(folder).status for folder in folders(tmp_path / "s")] == ["completed"] * 2


def test_what_has_no_other_like_it_does_not_keep_others_apart(tmp_path, capsys):
    assert sweep(tmp_path / "s", *SMALL, "data.n_train=20,30", "data.degree=1,2", "hydra.launcher.max_members=2") == 0
    out = capsys.readouterr().out
    assert out.count("2 at once") == 2
    assert "one by one" not in out


def test_runs_of_one_seed_train_at_once_where_there_are_several_groups(tmp_path, monkeypatch):
    groups: list[list[int]] = []
    orders = StackedBatches.__init__

    def noted(self, split, batch_size, shuffle_seeds):
        groups.append(list(shuffle_seeds))
        orders(self, split, batch_size, shuffle_seeds)

    monkeypatch.setattr(StackedBatches, "__init__", noted)
    words = ["data.degree=1,2", "seed=0,1,2", "hydra.launcher.max_members=2"]
    assert sweep(tmp_path / "s", *SMALL, *words) == 0
    assert [len(set(seeds)) for seeds in groups] == [1, 1, 1]


def test_the_first_epochs_tell_no_time_left():
    shown = progress.SweepProgress(100)
    shown.under_way = 0.5
    assert "left" not in shown._summary()
    shown.under_way = 1.0
    assert shown._summary().endswith(" left")


def test_what_is_left_over_says_so(tmp_path, capsys):
    assert sweep(tmp_path / "s", *SMALL, "seed=range(3)", "hydra.launcher.max_members=2") == 0
    assert "1 run one by one: fewer than 2 runs are left to train together" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["memory=abc", "max_members=many", "min_members=null", "max_members=2.5"])
def test_a_launcher_option_that_is_no_number_is_refused(word, tmp_path, capsys):
    assert sweep(tmp_path / "s", *SMALL, "seed=1,2", f"hydra.launcher.{word}") == 2
    captured = capsys.readouterr().err
    assert f"hydra.launcher.{word}: must be a" in captured
    assert len(captured.splitlines()) <= 2
    assert not (tmp_path / "s").exists()
