"""Runs on two devices, which are two processes on the processor: one folder, the metrics of both, and no orphans."""

import os
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from lightning_d2l import app
from lightning_d2l.training.checkpoint import load_checkpoint
from lightning_d2l.training.files import LAST, METRICS, MetricsFile
from lightning_d2l.training.record import RunRecord
from tests.forked import Forked
from tests.runs import run_here

SMALL = ["model=polynomial_regression", "data.n_train=40", "logger=none", "trainer.precision=64-true"]
TWO = [*SMALL, "trainer=ddp_cpu", "data.batch_size=4", "trainer.log_every_n_epochs=2"]
LONG = [*TWO, "trainer.max_epochs=100000", "trainer.log_every_n_epochs=1", "trainer.checkpoint_every_n_seconds=0"]
PATIENCE = 90  # seconds


def others(process: Forked) -> list[int]:
    """The processes that a process started."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def started(folder: Path) -> tuple[Forked, int]:
    """A long run that has trained some epochs, and its other process."""
    process = Forked(*LONG, f"hydra.run.dir={folder}")
    wait_for(lambda: process.poll() is not None or len(MetricsFile(folder).rows()) > 2, "no row")
    (other,) = others(process)
    return process, other


@pytest.mark.slow
@pytest.mark.apart
def test_two_processes_give_the_numbers_of_one_with_twice_the_batch_and_resume(tmp_path):
    assert run_here(tmp_path / "one", *SMALL, "data.batch_size=8", "trainer.max_epochs=4",
                    "trainer.log_every_n_epochs=2") == 0  # fmt: skip
    assert run_here(tmp_path / "whole", *TWO, "trainer.max_epochs=4", part_of_sweep=False) == 0
    assert run_here(tmp_path / "parts", *TWO, "trainer.max_epochs=2") == 0
    assert run_here(tmp_path / "parts", *TWO, "trainer.max_epochs=4", f"resume={tmp_path / 'parts'}") == 0
    one, whole, parts = (MetricsFile(tmp_path / name).rows() for name in ("one", "whole", "parts"))
    assert whole == parts
    assert [row["epoch"] for row in whole] == [1, 2, 4]
    for row, expected in zip(whole, one, strict=True):
        assert row == pytest.approx(expected, rel=1e-6)
    weights = [load_checkpoint(tmp_path / name / LAST)["state_dict"] for name in ("one", "whole", "parts")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-6, atol=1e-9)
        assert torch.equal(weights[1][name], weights[2][name])
    final = RunRecord.read(tmp_path / "whole").fields["metrics"]["final"]
    assert final == pytest.approx(RunRecord.read(tmp_path / "one").fields["metrics"]["final"], rel=1e-6)
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
@pytest.mark.apart
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_a_process_that_dies_ends_the_run_which_can_be_resumed(tmp_path):
    process, other = started(tmp_path / "run")
    os.kill(other, signal.SIGKILL)
    output = "".join(process.communicate(timeout=PATIENCE))
    assert process.poll() == 1, output
    assert "rank 1 of 2 was ended by signal 9" in output
    record = RunRecord.read(tmp_path / "run")
    assert record.state == "failed"
    words = shlex.split(record.fields["error"].partition("to resume: ")[2])
    rows = MetricsFile(tmp_path / "run").rows()
    words = [word for word in words[2:] if not word.startswith("trainer.max_epochs")]
    assert app.main([*words, f"trainer.max_epochs={int(rows[-1]['epoch']) + 2}"]) == 0
    assert MetricsFile(tmp_path / "run").rows()[: len(rows)] == rows


@pytest.mark.slow
@pytest.mark.apart
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_both_processes(number, tmp_path):
    process, other = started(tmp_path / "run")
    os.kill(process.pid, number)
    output = "".join(process.communicate(timeout=PATIENCE))
    wait_for(lambda: not running(other), "an orphan")
    record = RunRecord.read(tmp_path / "run")
    assert record.state == "interrupted"
    if number == signal.SIGTERM:
        assert process.poll() == 128 + number, output
        assert "to resume: " in record.fields["error"]
    assert not list((tmp_path / "run").glob(f"*/{METRICS}"))
