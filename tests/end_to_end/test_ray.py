"""Workers on the nodes of a Ray cluster train what one process trains; a node that dies costs nothing."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightning_d2l.studies.lean import LeanFolder
from lightning_d2l.sweeps.chunks import CHUNKS
from lightning_d2l.sweeps.executors import ray_calls
from lightning_d2l.sweeps.folder import read_sweep
from lightning_d2l.training.files import MetricsFile
from lightning_d2l.training.record import RunRecord
from tests.conftest import ROOT
from tests.ray_nodes import Nodes, needs_ray

pytestmark = [pytest.mark.slow, pytest.mark.apart, needs_ray]

PATIENCE = 240  # seconds
SMALL = ["-m", "data=polynomial", "data.n_train=30", "logger=none", "trainer.precision=64-true"]
LONG = [*SMALL, "model=polynomial_regression", "seed=range(16)", "hydra.launcher.chunk_size=2",
        "trainer.max_epochs=3000", "trainer.log_every_n_epochs=50",
        "trainer.checkpoint_every_n_seconds=0.1"]  # fmt: skip
# A plugin that is loaded in the driver and in each worker. On the nodes with BLIND=1 in their environment it hides the
# sweep's folder and the table, as they are where nothing is shared; all nodes are on this computer in truth.
BLIND = """
import os
from pathlib import Path
import torch
from lightning_d2l import register
from lightning_d2l.sweeps.executors import ray_task, sent_data

@register.model
class Blind(torch.nn.Linear):
    steps = 0

    def __init__(self, num_inputs: int, num_outputs: int):
        super().__init__(num_inputs, num_outputs)

    def forward(self, x):
        Blind.steps += 1
        if Blind.steps > 50:  # the driver looks at it, too
            Path(__file__).with_name("trains").touch()
        return super().forward(x)

if os.environ.get("BLIND"):
    real = sent_data._sum
    def hidden(path):
        if Path(path).name == "table.csv" and "sent" not in Path(path).parts:
            raise FileNotFoundError(path)
        return real(path)
    sent_data._sum = hidden
    ray_task.sees = lambda sweep, word: False
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    made = Nodes(2)
    yield made
    made.close()


def program(
    *words: str, folder: Path, nodes: Nodes | None = None, launcher: str = "ray", **more: str
) -> subprocess.Popen[str]:
    environment = nodes.environment if nodes else {}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words, f"hydra/launcher={launcher}"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment, **more},
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def records(folder: Path) -> dict[str, RunRecord]:
    return {job["folder"]: RunRecord.read_or_missing(folder / job["folder"]) for job in read_sweep(folder)["jobs"]}


def require_same(folder: Path, other: Path) -> None:
    expected = records(other)
    for name, record in records(folder).items():
        assert record.state == "completed"
        rows, wanted = MetricsFile(record.folder).rows(), MetricsFile(expected[name].folder).rows()
        for row, there in zip(rows, wanted, strict=True):
            assert row == pytest.approx(there, rel=1e-5)


def wait_until_training(driver: subprocess.Popen[str], sweep: Path, chunks: int) -> None:
    """Wait until so many chunks were claimed, and a run has a checkpoint."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and driver.poll() is None:
        if len([*sweep.glob(f"{CHUNKS}/*.claim")]) >= chunks and any(sweep.glob("*/checkpoints/last.ckpt")):
            return
        time.sleep(0.05)
    raise AssertionError(driver.communicate()[0])


def test_a_node_removed_under_its_chunk_costs_nothing_and_a_killed_driver_is_resumed(tmp_path: Path, nodes: Nodes):
    whole = [word for word in LONG if "chunk_size" not in word]
    one = program(*whole, "hydra.sweep.dir=one", folder=tmp_path, launcher="vectorized")
    driver = program(*LONG, "hydra.sweep.dir=many", folder=tmp_path, nodes=nodes)
    wait_until_training(driver, tmp_path / "many", chunks=2)
    nodes.remove(0)
    nodes.add()
    wait_until_training(driver, tmp_path / "many", chunks=2)
    driver.kill()
    driver.communicate()
    assert one.wait(PATIENCE) == 0, one.communicate()[0]
    resumed = program("sweep.resume=many", "hydra.launcher.chunk_size=4", folder=tmp_path, nodes=nodes)
    output = resumed.communicate(timeout=PATIENCE)[0]
    assert resumed.returncode == 0, output
    assert "raylet" not in output
    require_same(tmp_path / "many", tmp_path / "one")
    assert not (tmp_path / "many" / CHUNKS).exists()


def test_without_a_shared_folder_chunks_data_and_runs_go_through_ray(tmp_path: Path, nodes: Nodes):
    (tmp_path / "blind.py").write_text(BLIND)
    (tmp_path / "table.csv").write_text("x,y\n" + "".join(f"{i},{3 * i + i % 3}\n" for i in range(90)))
    words = ["--plugin", "blind.py", "-m", "model=Blind", "data=csv", "data.path=table.csv", "data.target=y",
             "logger=none", "seed=range(8)", "trainer.precision=64-true", "trainer.max_epochs=5"]  # fmt: skip
    nodes.add(BLIND="1", XDG_CACHE_HOME=str(tmp_path / "cache"))
    many = program(*words, "hydra.launcher.chunk_size=2", "hydra.sweep.dir=many", folder=tmp_path, nodes=nodes)
    one = program(*words, "hydra.sweep.dir=one", folder=tmp_path, launcher="vectorized")
    output = many.communicate(timeout=PATIENCE)[0]
    assert one.wait(PATIENCE) == 0, one.communicate()[0]
    assert many.returncode == 0, output
    assert "1 of 3 nodes do not see the sweep's folder" in output
    require_same(tmp_path / "many", tmp_path / "one")
    for record in records(tmp_path / "many").values():
        assert record.config["data"]["path"] == str(tmp_path / "table.csv")
    assert len([*(tmp_path / "cache").glob("**/table.csv")]) == 1
    (tmp_path / "trains").unlink(missing_ok=True)
    stopped = program(
        *words[:-1], "trainer.max_epochs=1000000", "hydra.sweep.dir=stopped", folder=tmp_path, nodes=nodes
    )
    end = time.monotonic() + PATIENCE
    while not (tmp_path / "trains").exists() and time.monotonic() < end and stopped.poll() is None:
        time.sleep(0.1)
    stopped.send_signal(signal.SIGINT)
    output = stopped.communicate(timeout=PATIENCE)[0]
    assert stopped.returncode == 130, output
    nodes.remove(-1)
    assert {record.state for record in records(tmp_path / "stopped").values()} == {"interrupted"}


def test_lean_records_and_pruned_runs_come_back_without_a_shared_folder(tmp_path: Path, nodes: Nodes):
    (tmp_path / "blind.py").write_text(BLIND)
    words = ["--plugin", "blind.py", *SMALL, "model=Blind", "optimizer.lr=0.0001,0.003,0.1", "seed=range(4)",
             "trainer.max_epochs=24", "trainer.log_every_n_epochs=1"]  # fmt: skip
    few = ["sweep.prune=halving", "sweep.prune.min_epochs=2", "sweep.records=lean", "hydra.launcher.chunk_size=4"]
    nodes.add(BLIND="1")
    many = program(*words, *few, "hydra.sweep.dir=many", folder=tmp_path, nodes=nodes)
    one = program(*words, "hydra.sweep.dir=one", folder=tmp_path, launcher="vectorized")
    output = many.communicate(timeout=PATIENCE)[0]
    assert one.wait(PATIENCE) == 0, one.communicate()[0]
    assert many.returncode == 0, output
    assert "nodes do not see the sweep's folder" in output
    lean = LeanFolder(tmp_path / "many")
    lean.look()
    whole, ends = records(tmp_path / "one"), Counter[tuple[str, str]]()
    assert lean.runs.keys() == whole.keys()
    for name, record in lean.runs.items():
        ends[name.partition(",")[0], record.state] += 1
        for row, there in zip(record.history, whole[name].history, strict=False):
            assert {key: row.get(key) for key in there} == pytest.approx(there, rel=1e-5)
    assert sorted(ends.values()) == [4, 4, 4]  # a setting ends as a whole
    assert sorted(state for _, state in ends) == ["completed", "pruned", "pruned"]
    assert len([*(tmp_path / "many").glob("*/run.json")]) == 2
    nodes.remove(-1)


@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        (["hydra.launcher.num_gpus=1"], {}, "hydra.launcher.num_gpus=1: no node has so much"),
        (["hydra.launcher.resources={big: 2}"], {}, "hydra.launcher.resources.big=2: no node has so much"),
        ([], {"RAY_ADDRESS": "127.0.0.1:9"}, "RAY_ADDRESS=127.0.0.1:9: no Ray cluster answers there"),
    ],
)
def test_what_no_cluster_can_do_is_refused_in_a_line(tmp_path: Path, nodes: Nodes, words, environment, message):
    driver = program(*SMALL, "seed=0,1", *words, "hydra.sweep.dir=runs", folder=tmp_path, nodes=nodes, **environment)
    output = driver.communicate(timeout=PATIENCE)[0]
    assert driver.returncode == 2
    assert message in output
    assert len(output.splitlines()) == 1, output
    assert not (tmp_path / "runs").exists()


def test_a_worker_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ray_calls, "__version__", "99.0")
    assert "install one version" in ray_calls.remote.__wrapped__("probe")._function({}, [])["refused"]
