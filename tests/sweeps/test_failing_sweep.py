"""What goes wrong in one run, on the disk, in a report or by a signal costs no result of a sweep."""

import errno
import itertools
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from lightning_d2l import app
from lightning_d2l.nets.linear import LinearRegression
from lightning_d2l.studies import report, tables
from lightning_d2l.sweeps.folder import read_sweep
from lightning_d2l.training import files
from lightning_d2l.training.checkpoint import load_checkpoint
from lightning_d2l.training.record import RunRecord
from tests.forked import Forked
from tests.runs import POLYNOMIAL

SMALL = ["-m", *POLYNOMIAL, "data.n_train=20", "trainer.max_epochs=3"]


def statuses(folder: Path) -> dict[str, str]:
    return {path.parent.name: json.loads(path.read_text())["status"] for path in folder.glob("*/run.json")}


# One run


@pytest.mark.parametrize(
    ("launcher", "where", "error"),
    [
        ("vectorized", "forward", KeyboardInterrupt()),
        ("vectorized", "__init__", SystemExit(0)),
        ("sequential", "forward", SystemExit(143)),
        ("sequential", "__init__", KeyboardInterrupt()),
        ("basic", "forward", SystemExit(0)),
        ("basic", "__init__", KeyboardInterrupt()),
    ],
    ids=repr,
)
def test_a_job_that_ends_the_program_is_a_failed_run_and_the_rest_trains(
    launcher, where, error, tmp_path, monkeypatch, capsys
):
    working = getattr(LinearRegression, where)

    def ends(self, *arguments, **settings):
        size = arguments[0].shape[-1] if where == "forward" else settings.get("num_inputs", arguments[:1] or 0)
        if size in (3, (3,)):
            raise error
        return working(self, *arguments, **settings)

    monkeypatch.setattr(LinearRegression, where, ends)
    words = [*SMALL, "data.degree=1,2,3,4", f"hydra/launcher={launcher}", f"hydra.sweep.dir={tmp_path / 's'}"]
    assert app.main(words) == 1
    expected = {f"degree={d}": "failed" if d == 2 else "completed" for d in (1, 2, 3, 4)}
    assert statuses(tmp_path / "s") == expected
    # Lightning turns KeyboardInterrupt into SystemExit.
    said = str(RunRecord.read(tmp_path / "s" / "degree=2").fields["error"])
    assert type(error).__name__ in said or "SystemExit" in said
    assert read_sweep(tmp_path / "s")["status"] == "completed"
    assert "report " in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_equal_jobs_are_trained_once(tmp_path, capsys):
    words = [*SMALL, "data.noise=1,1.0", "seed=0,1", f"hydra.sweep.dir={tmp_path / 's'}"]
    assert app.main(words) == 0
    out = capsys.readouterr().out
    assert out.startswith("equal settings are trained once: data.noise=1.0 (as 1)\n2 runs, in ")
    assert statuses(tmp_path / "s").keys() == {"noise=1,seed=0", "noise=1,seed=1"}
    record = read_sweep(tmp_path / "s")
    assert [(job["number"], job["folder"]) for job in record["jobs"]] == [(0, "noise=1,seed=0"), (1, "noise=1,seed=1")]
    assert app.main([f"sweep.resume={tmp_path / 's'}"]) == 0
    words = [*SMALL, "data.degree=1,2", "++data.degree=3", "seed=0,1", f"hydra.sweep.dir={tmp_path / 't'}"]
    assert app.main(words) == 0
    assert "equal settings are trained once: degree=2,seed=0 (as degree=1,seed=0)" in capsys.readouterr().out
    assert len(statuses(tmp_path / "t")) == 2


def test_settings_of_hydra_can_not_be_swept(capsys):
    assert app.main([*SMALL, "seed=0,1", "hydra.launcher.max_members=2,3"]) == 2
    assert "hydra.launcher.max_members=2,3: must have one value" in capsys.readouterr().err


# The disk


@pytest.mark.parametrize(
    ("launcher", "number"), [("vectorized", errno.ENOSPC), ("sequential", errno.EDQUOT), ("vectorized", errno.EIO)]
)
def test_a_full_disk_ends_the_sweep_in_a_line_and_it_can_be_resumed(launcher, number, tmp_path, monkeypatch, capsys):
    undisturbed, full = tmp_path / "undisturbed", tmp_path / "full"
    words = [*SMALL, "seed=range(4)", f"hydra/launcher={launcher}", "trainer.checkpoint_every_n_seconds=0"]
    assert app.main([*words, f"hydra.sweep.dir={undisturbed}"]) == 0
    written = []
    replace = os.replace

    def fails(source, target, *others):
        written.append(target)
        if len(written) > 12:
            raise OSError(number, os.strerror(number), str(target))
        replace(source, target, *others)

    monkeypatch.setattr(files.os, "replace", fails)
    capsys.readouterr()
    assert app.main([*words, f"hydra.sweep.dir={full}"]) == 2
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 2, printed.err
    assert (os.strerror(number) if launcher == "vectorized" else "can't be written") in printed.err
    assert "to resume when it can be written: python train.py sweep.resume=full" in printed.err
    assert "Errno" not in printed.err
    assert len(written) < 30  # no other run is tried
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    for path in full.glob("*/checkpoints/*.ckpt"):
        load_checkpoint(path)
    assert app.main(["sweep.resume=full"]) == 0
    for seed in range(4):
        found, expected = (RunRecord.read(each / f"seed={seed}").fields["metrics"] for each in (full, undisturbed))
        assert found["final"] == pytest.approx(expected["final"])  # another group, so within rounding
    assert not [*full.rglob(".new-*")]


# Reports


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ((report, "write"), ValueError("ParseException: $x_{$")),
        ((report, "write"), MemoryError()),
        ((tables, "text"), OSError(28, "No space left")),
    ],
)
def test_a_report_that_fails_is_a_warning(part, error, tmp_path, monkeypatch, capsys):
    def fails(*arguments):
        raise error

    monkeypatch.setattr(*part, fails)
    assert app.main([*SMALL, "seed=0,1", f"hydra.sweep.dir={tmp_path / 's'}"]) == 0
    assert "warning: no report: " in capsys.readouterr().out
    assert read_sweep(tmp_path / "s")["status"] == "completed"


def test_the_report_is_written_before_the_first_line_is_printed(tmp_path, monkeypatch):
    class Terminal:
        """Notes at each line whether the report was there."""

        def __init__(self):
            self.there = []

        def write(self, text):
            if "completed" in text:
                self.there.append((tmp_path / "s" / "report.html").exists())
            return len(text)

        def flush(self):
            pass

        def isatty(self):
            return False

    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    assert app.main([*SMALL, "seed=0,1", f"hydra.sweep.dir={tmp_path / 's'}"]) == 0
    assert terminal.there
    assert all(terminal.there)


# Signals

MOMENTS = {  # what is called when the signals arrive, in a process that trains a small sweep
    "before the record": "lightning_d2l.sweeps.sweep:Sweep._train_missing",
    "in the first file": "lightning_d2l.sweeps.sweep:write_json",
    "between two runs": "lightning_d2l.sweeps.sweep:Sweep.ended",
    "in a run": "lightning_d2l.training.checkpoint:write_checkpoint",
    "at the end": "lightning_d2l.sweeps.sweep:tell",
    "in the report": "lightning_d2l.studies.report:write",
    "when the lock is given back": "filelock:BaseFileLock.release",
}
PROGRAM = """
import importlib, os, signal, sys
from lightning_d2l import app
moment, number, times, *words = sys.argv[1:]
module, _, name = moment.partition(":")
owner = importlib.import_module(module)
*path, last = name.split(".")
for part in path:
    owner = getattr(owner, part)
working = getattr(owner, last)
def interrupted(*arguments, **settings):
    for _ in range(int(times)):
        os.kill(os.getpid(), int(number))
    return working(*arguments, **settings)
setattr(owner, last, interrupted)
sys.exit(app.main(words))
"""


SIGNALS = itertools.cycle([(signal.SIGINT, 20), (signal.SIGTERM, 1), (signal.SIGHUP, 2)])
SWEPT_BY = itertools.cycle(["vectorized", "sequential"])
# Every moment once; the kills of tests/trials send each signal at each of them, with both launchers.
SENT = [
    pytest.param(moment, *next(SIGNALS), launcher := next(SWEPT_BY), id=f"{name}-{launcher}")
    for name, moment in MOMENTS.items()
]


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "number", "times", "launcher"), SENT)
def test_signals_at_any_moment_leave_a_record_and_no_traceback(moment, number, times, launcher, tmp_path):
    words = [*SMALL, "seed=range(3)", f"hydra/launcher={launcher}", "hydra.sweep.dir=s"]
    process = Forked(moment, str(int(number)), str(times), *words, program=PROGRAM)
    _, err = process.communicate()
    assert "Traceback" not in err, err
    assert process.poll() == 128 + number, err
    folder = tmp_path / "s"
    if not (folder / "sweep.json").exists():
        assert app.main([*words]) == 0
        return
    assert json.loads((folder / "sweep.json").read_text())["status"] in ("stopped", "completed")
    assert all(status != "running" for status in statuses(folder).values())
    assert app.main(["sweep.resume=s"]) == 0
    assert statuses(folder) == {f"seed={n}": "completed" for n in range(3)}
    assert not [*folder.rglob(".new-*")]


def test_a_sweep_whose_folder_is_removed_ends_in_a_line(tmp_path, monkeypatch, capsys):
    working = LinearRegression.forward
    calls = []

    def forward(self, x):
        calls.append(x)
        if len(calls) == 12:
            shutil.rmtree(tmp_path / "s")
        return working(self, x)

    monkeypatch.setattr(LinearRegression, "forward", forward)
    assert app.main([*SMALL, "seed=range(3)", "hydra/launcher=sequential", f"hydra.sweep.dir={tmp_path / 's'}"]) == 2
    assert len(calls) >= 12
    assert 1 <= len(capsys.readouterr().err.splitlines()) <= 2
