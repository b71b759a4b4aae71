"""Worker processes train what one process trains; what one had that died is trained by another."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightning_d2l.sweeps.chunks import CHUNKS
from lightning_d2l.sweeps.folder import read_sweep
from lightning_d2l.training.files import MetricsFile
from lightning_d2l.training.record import RunRecord
from tests.conftest import ROOT

PATIENCE = 240  # seconds
SMALL = ["-m", "data=polynomial", "data.n_train=30", "logger=none", "trainer.precision=64-true"]
DYING = """
import os
import torch
from lightning_d2l import register
from lightning_d2l.scratch import linreg  # a worker has imported other parts of the package when it loads this file

@register.model
class Dying(torch.nn.Module):
    def __init__(self, num_inputs: int, num_outputs: int, deadly: bool = False):
        super().__init__()
        self.net = torch.nn.Linear(num_inputs, num_outputs)
        self.deadly = deadly

    def forward(self, x):
        if self.deadly:
            os._exit(77)
        return self.net(x)
"""


def program(
    *words: str, folder: Path, launcher: str = "processes", clone: Path = ROOT, **more: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(clone / "train.py"), *words, f"hydra/launcher={launcher}"],
        env={**os.environ, "PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1", **more},
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def records(folder: Path) -> dict[str, RunRecord]:
    return {job["folder"]: RunRecord.read_or_missing(folder / job["folder"]) for job in read_sweep(folder)["jobs"]}


def cloned(folder: Path) -> Path:
    """A folder with train.py and all that it needs, as a clone of the repository has them."""
    for name in ("lightning_d2l", "hydra_plugins", "conf"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy2(ROOT / "train.py", folder)
    return folder


@pytest.mark.slow
@pytest.mark.apart
def test_a_run_that_kills_its_workers_fails_alone_and_the_others_equal_those_of_one_process(tmp_path):
    """Its model is a plugin beside train.py and this package, which are no part of the plugin."""
    (clone := tmp_path / "clone").mkdir()
    (cloned(clone) / "dying.py").write_text(DYING)
    words = ["--plugin", "clone/dying.py", *SMALL, "model=Dying", "trainer.max_epochs=4", "seed=0,1"]
    dying = [*words, "model.deadly=false,true", "hydra.launcher.retries=0", "hydra.launcher.chunk_size=2"]
    many = program(*dying, "hydra.sweep.dir=many", folder=tmp_path, clone=clone)
    plain = [*words, "model.deadly=false", "hydra.sweep.dir=one"]
    one = program(*plain, folder=tmp_path, launcher="sequential", clone=clone)
    output = many.communicate(timeout=PATIENCE)[0]
    assert one.wait(PATIENCE) == 0, one.communicate()[0]
    assert many.returncode == 1, output
    assert "a worker was lost: it ended with exit code 77" in output
    assert all(len(line) <= 80 for line in output.splitlines() if not line.startswith(("train the rest", "2 runs one")))
    expected = records(tmp_path / "one")
    for name, record in records(tmp_path / "many").items():
        if "deadly=True" in name:
            assert record.state == "failed"
            assert "exit code 77" in record.error
            continue
        other = expected[name.replace(",deadly=False", "")]
        rows, same = MetricsFile(record.folder).rows(), MetricsFile(other.folder).rows()
        for row, wanted in zip(rows, same, strict=True):
            assert row == pytest.approx(wanted, rel=1e-9)
    assert not (tmp_path / "many" / CHUNKS).exists()


@pytest.mark.slow
@pytest.mark.apart
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_what_a_killed_worker_and_a_killed_driver_had_is_trained_by_others(tmp_path):
    words = [*SMALL, "model=polynomial_regression", "data.degree=3,5", "seed=range(4)", "hydra.launcher.workers=1",
             "hydra.launcher.chunk_size=4", "trainer.checkpoint_every_n_seconds=0.1",
             "hydra.sweep.dir=runs"]  # fmt: skip
    driver = program(*words, "trainer.max_epochs=4000", "trainer.log_every_n_epochs=50", folder=tmp_path)
    killed = wait_for_worker(driver, tmp_path / "runs")
    os.kill(killed, signal.SIGKILL)
    again = wait_for_worker(driver, tmp_path / "runs", but=killed)
    driver.kill()
    driver.communicate()
    end = time.monotonic() + PATIENCE
    while Path(f"/proc/{again}").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not Path(f"/proc/{again}").exists()
    interrupted = [record.folder for record in records(tmp_path / "runs").values() if record.state == "interrupted"]
    before = {folder: MetricsFile(folder).rows() for folder in interrupted}
    assert any(before.values())
    resumed = program("sweep.resume=runs", folder=tmp_path, launcher="vectorized")
    output = resumed.communicate(timeout=PATIENCE)[0]
    assert resumed.returncode == 0, output
    assert {record.state for record in records(tmp_path / "runs").values()} == {"completed"}
    for folder, rows in before.items():
        assert MetricsFile(folder).rows()[: len(rows)] == rows


def wait_for_worker(driver: subprocess.Popen[str], sweep: Path, but: int = 0) -> int:
    """The process of a worker that has written the checkpoint of a run."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and driver.poll() is None:
        children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text().split()
        for child in map(int, children):
            claimed = any(f'"pid": {child}' in path.read_text() for path in sweep.glob(f"{CHUNKS}/*.claim"))
            if child != but and claimed and len([*sweep.glob("*/checkpoints/last.ckpt")]) > bool(but):
                return child
        time.sleep(0.1)
    raise AssertionError(driver.communicate()[0])
