"""Sweeps in chunks, whose workers are forked from the driver: what they share, and what is refused."""

import json
import os
import signal
import time

import pytest

from lightning_d2l.training.record import RunRecord
from tests.forked import TRAIN, Forked

SMALL = ["-m", "model=polynomial_regression", "data.n_train=20", "trainer.max_epochs=3", "logger=none"]
FORKING = f"from tests.trials.chunk_kills import forked\nforked(60.0)()\n{TRAIN}"
COUNTING = """
from tests.trials import chunk_kills

class Counted(chunk_kills.Forked):
    def __init__(self, *given):
        with open("started", "a") as file:
            file.write("a worker\\n")
        super().__init__(*given)

chunk_kills.Forked = Counted
"""
IN_CHUNKS = ["hydra/launcher=processes", "hydra.launcher.workers=1", "hydra.sweep.dir=runs"]

pytestmark = [pytest.mark.apart, pytest.mark.skipif(not hasattr(os, "fork"), reason="forks workers")]


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_worker_of_a_search_trains_all_its_batches(tmp_path):
    search = ["hydra/sweeper=optuna", "hydra.sweeper.num_trials=3", "hydra.sweeper.batch_size=1"]
    words = [*SMALL, *search, "optimizer.lr=interval(0.001,0.1)", *IN_CHUNKS]
    program = Forked(*words, program=COUNTING + FORKING)
    out, err = program.communicate()
    assert program.poll() == 0, out + err
    records = [RunRecord.read(path.parent) for path in tmp_path.glob("runs/*/run.json")]
    assert {record.state for record in records} == {"completed"}
    assert len(records) == 3
    assert (tmp_path / "started").read_text() == "a worker\n"
    assert not (tmp_path / "runs/.chunks").exists()


def test_a_worker_of_another_version_is_told_in_a_line_and_nothing_is_trained(tmp_path):
    other = "import lightning_d2l.sweeps.worker as worker\nworker.__version__ = '0.0.1'\n"
    program = Forked(*SMALL, "seed=0,1", *IN_CHUNKS, program=other + FORKING)
    _, err = program.communicate()
    assert program.poll() == 2
    assert "and the worker on" in err
    assert "has 0.0.1; install one version for all" in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.glob("runs/*/run.json"))
    assert not (tmp_path / "runs/.chunks").exists()


def test_a_chunk_that_is_larger_than_the_memory_writes_nothing(tmp_path):
    small = "import lightning_d2l.sweeps.memory as memory\nmemory.free_bytes = lambda accelerator: 1_000_000\n"
    words = [*SMALL, "seed=range(300)", *IN_CHUNKS, "hydra.launcher.chunk_size=300"]
    program = Forked(*words, program=small + FORKING)
    _, err = program.communicate()
    assert program.poll() == 2
    assert "hydra.launcher.chunk_size=300: " in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_two_drivers_that_resume_a_sweep_at_once_do_not_train_it_twice(tmp_path):
    words = [*SMALL, "seed=range(8)", *IN_CHUNKS, "hydra.launcher.chunk_size=2", "trainer.max_epochs=200"]
    first = Forked(*words, program=FORKING)
    end = time.monotonic() + 60
    while not list(tmp_path.glob("runs/.chunks/*.claim")) and time.monotonic() < end:
        time.sleep(0.02)
    first.send_signal(signal.SIGSTOP)
    _, refused = Forked("sweep.resume=runs", "hydra/launcher=vectorized").communicate()
    assert f"in use by process {first.pid} " in refused
    first.send_signal(signal.SIGCONT)
    assert first.wait() == 0
    assert {json.loads(path.read_text())["status"] for path in tmp_path.glob("runs/*/run.json")} == {"completed"}


def test_the_progress_of_chunks_is_few_short_lines(tmp_path):
    words = [*SMALL, "seed=range(40)", *IN_CHUNKS, "hydra.launcher.chunk_size=1"]
    program = Forked(*words, program=FORKING)
    out, err = program.communicate()
    assert program.poll() == 0, err
    lines = out.split("\n\n")[0].splitlines()
    assert lines[0] == "40 runs, in runs"
    assert lines[-1].startswith("40/40  40 of 40 chunks, 0 training")
    assert len(lines) < 10
    assert max(map(len, lines)) <= 80
