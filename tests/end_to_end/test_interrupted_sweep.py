"""A sweep killed again and again ends as if nothing had happened; one stopped by a signal says how to go on."""

import json
import random
import signal
import time
from pathlib import Path

import pytest

from lightning_d2l.sweeps.folder import read_sweep
from lightning_d2l.training.record import RunRecord
from tests.end_to_end.test_run import STATEFUL, same_run
from tests.forked import Forked
from tests.runs import POLYNOMIAL

# Groups of 5 train for as long as is needed to meet them in the midst of it.
LAUNCHERS = {"sequential": ["trainer.max_epochs=8"], "vectorized": ["trainer.max_epochs=100"]}
JOBS = ["seed=range(5)", "model.num_hiddens=[32],[16,16]", "model.dropout=0.3", "logger=none"]


def saved(folder: Path) -> int:
    """When a checkpoint of any run was written last."""
    return max((path.stat().st_mtime_ns for path in folder.glob("*/checkpoints/last.ckpt")), default=0)


def finished(folder: Path) -> int:
    return sum(json.loads(path.read_text())["status"] == "completed" for path in folder.glob("*/run.json"))


@pytest.mark.slow
@pytest.mark.apart
@pytest.mark.parametrize(("launcher", "epochs"), LAUNCHERS.items(), ids=LAUNCHERS)
def test_a_sweep_of_10_jobs_killed_and_resumed_gives_the_same_bits(launcher, epochs, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    words = [word for word in STATEFUL if not word.startswith(("model.", "trainer.max"))] + JOBS + epochs
    words.append(f"hydra/launcher={launcher}")
    assert Forked("-m", *words, f"hydra.sweep.dir={undisturbed}").wait() == 0
    a_job = read_sweep(undisturbed)["seconds"] / 10
    moments, interrupted = random.Random(0), 0
    for kill in range(2):
        arguments = [f"sweep.resume={killed}"] if kill else ["-m", *words, f"hydra.sweep.dir={killed}"]
        before, stamp = finished(killed), saved(killed)
        process = Forked(*arguments)
        limit = time.monotonic() + 120
        while finished(killed) < before + 2 if launcher == "sequential" else saved(killed) == stamp:
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.002)
        time.sleep(moments.random() * 2 * a_job)
        process.kill()
        process.wait()
        assert json.loads((killed / "sweep.json").read_text())["status"] == "running"
        assert read_sweep(killed)["status"] == "stopped"  # its process has ended
        interrupted += any(RunRecord.read(path.parent).status == "running" for path in killed.glob("*/run.json"))
    assert interrupted, "every kill fell between two jobs"
    assert finished(killed) < 10
    process = Forked(f"sweep.resume={killed}")
    out, err = process.communicate()
    assert process.poll() == 0, err
    apart = [line for line in out.splitlines() if "one by one" in line]
    assert all("no other run has the same structure" in line for line in apart), apart
    assert read_sweep(killed)["jobs"] == read_sweep(undisturbed)["jobs"]
    jobs = [job["folder"] for job in read_sweep(undisturbed)["jobs"]]
    assert len(jobs) == 10
    for job in jobs:
        same_run(undisturbed / job, killed / job)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_sweep_and_the_console_says_how_to_go_on(number, code, tmp_path):
    folder = tmp_path / "sweep"
    words = ["-m", *POLYNOMIAL, "trainer.max_epochs=10,100000", f"hydra.sweep.dir={folder}"]
    process = Forked(*words)
    long = folder / "max_epochs=100000"
    while not (long / "metrics.csv").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.poll() == code, err
    assert read_sweep(folder)["status"] == "stopped"
    assert "left             1" in out
    assert "python train.py sweep.resume=sweep" in out
    assert "Traceback" not in out + err
    assert (long / "checkpoints/last.ckpt").exists()


def test_two_sweeps_started_at_once_get_two_folders(tmp_path):
    words = ["-m", *POLYNOMIAL, "trainer.max_epochs=1", "seed=1,2", "hydra.job.name=same"]
    processes = [Forked(*words) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(list((tmp_path / "outputs").glob("*/*/sweep.json"))) == 2
    assert len(list((tmp_path / "outputs").glob("*/*/*/run.json"))) == 4
