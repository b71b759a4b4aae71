"""On a real SLURM, tasks train what one process trains, whatever ends them, and with nobody waiting."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lightning_d2l import cli
from lightning_d2l.config.check import RequestError
from lightning_d2l.studies.lean import LeanFolder
from lightning_d2l.sweeps.chunks import CHUNKS
from lightning_d2l.sweeps.executors import slurm_site
from lightning_d2l.sweeps.folder import read_sweep
from lightning_d2l.training.files import MetricsFile
from lightning_d2l.training.record import RunRecord
from tests import slurm
from tests.forked import TRAIN, Forked

pytestmark = [pytest.mark.slow, pytest.mark.apart, pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing())]
PATIENCE = 240  # seconds
SMALL = [
    "-m", "data=polynomial", "model=polynomial_regression", "data.n_train=30", "logger=none",
    "trainer.precision=64-true", "trainer.checkpoint_every_n_seconds=0.1", "trainer.log_every_n_epochs=50",
]  # fmt: skip
SLURM = ["hydra/launcher=slurm", "hydra.launcher.chunk_size=2"]
IMPATIENT = f"from lightning_d2l.sweeps.executors import slurm_probe\nslurm_probe.START = 0.5\n{TRAIN}"
REFUSED: list[tuple[dict[str, object], str]] = [
    ({"partition": "nope"}, "hydra.launcher.partition=nope: .*it has main, short"),
    ({"gpus_per_node": 8}, "hydra.launcher.gpus_per_node=8: "),
    ({"cpus_per_task": 64}, "hydra.launcher.cpus_per_task=64: "),
    ({"constraint": "h100"}, "hydra.launcher.constraint=h100: "),
    ({"partition": "short"}, "hydra.launcher.timeout_min=60: must be at most 2, the limit of partition short"),
]


@pytest.fixture(scope="module")
def started() -> Iterator[slurm.Cluster]:
    """SLURM in a folder of its own; the path of its socket must be short."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    made = slurm.Cluster(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**made.env, "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, value)
        try:
            made.start()
            yield made
        finally:
            made.stop()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(started: slurm.Cluster) -> slurm.Cluster:
    """SLURM, with a node that is ready."""
    started.wait_for_node()
    return started


@pytest.fixture
def unshared(cluster: slurm.Cluster, tmp_path: Path) -> Iterator[Path]:
    """A folder in which the node sees nothing of what is in it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    cluster.kill_node()
    try:
        cluster.start_node(hidden=folder)
        cluster.wait_for_node()
        yield folder
    except RuntimeError as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    finally:
        cluster.kill_node()
        cluster.start_node()


def records(folder: Path) -> dict[str, RunRecord]:
    return {job["folder"]: RunRecord.read_or_missing(folder / job["folder"]) for job in read_sweep(folder)["jobs"]}


def wait_for(what: Callable[[], object], driver: Forked | None = None) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, what
        assert driver is None or driver.poll() is None, driver.communicate()
        time.sleep(0.1)


def owners(folder: Path) -> set[str]:
    """The tasks that have claimed a chunk whose runs have written a checkpoint."""
    found = set()
    for claim in (folder / CHUNKS).glob("*.claim"):
        chunk = json.loads((folder / CHUNKS / f"{claim.name.partition('.')[0]}.json").read_text())
        if all((folder / job["name"] / "checkpoints" / "last.ckpt").exists() for job in chunk["jobs"]):
            found.add(json.loads(claim.read_text()).get("owner"))
    return found - {"", None}


def test_what_slurm_would_refuse_is_refused_before_anything_is_submitted_or_written(
    cluster: slurm.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for settings, words in REFUSED:
        with pytest.raises(RequestError, match=words):
            slurm_site.check({"timeout_min": 60, **settings})
    monkeypatch.chdir(tmp_path)
    program = Forked(*SMALL, *SLURM, "seed=0,1", "hydra.launcher.partition=nope", "hydra.sweep.dir=runs")
    error = program.communicate(PATIENCE)[1]
    assert program.poll() == 2
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
    assert cluster.run("squeue", "-h") == ""


def test_what_ended_tasks_had_is_trained_by_others_with_the_numbers_of_one_process(
    cluster: slurm.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*SMALL, "data.degree=1,2,3,4", "seed=range(2)", "trainer.max_epochs=3000"]
    tasks = Forked(*words, *SLURM, "hydra.launcher.workers=3", "hydra.sweep.dir=many")
    ended: list[str] = []
    for end in (("scancel", "--signal=USR2"), ("scancel",), ("scontrol", "requeue")):  # the first as at the time limit
        wait_for(lambda: owners(tmp_path / "many") - {*ended}, tasks)
        ended.append(min(owners(tmp_path / "many") - {*ended}))
        cluster.run(*end, ended[-1])
    cluster.kill_node()
    cluster.start_node()
    one = Forked(*words, "hydra/launcher=vectorized", "hydra.sweep.dir=one")
    end = time.monotonic() + PATIENCE
    while tasks.poll() is None:
        cluster.heal()
        assert time.monotonic() < end, f"{cluster.described()}\n{(Path(tasks.output.name) / 'out').read_text()}"
        time.sleep(0.5)
    output = tasks.communicate()
    assert tasks.poll() == 0, output
    assert one.wait(PATIENCE) == 0
    expected, found = records(tmp_path / "one"), records(tmp_path / "many")
    for name, record in found.items():
        assert record.state == "completed"
        rows, same = MetricsFile(record.folder).rows(), MetricsFile(expected[name].folder).rows()
        for row, wanted in zip(rows, same, strict=True):
            assert row == pytest.approx(wanted, rel=1e-9)
    assert sum("resumed" in record.fields for record in found.values()) >= 2  # from their checkpoints
    logs = tmp_path / "many" / ".slurm"
    assert "Requeued job" in (logs / f"{ended[0]}_0_log.out").read_text()
    arrays = {script.name.partition("_")[0] for script in logs.glob("*_submission.sh")}
    assert len(arrays) >= 2  # MaxArraySize is 2
    assert not (tmp_path / "many" / CHUNKS).exists()


def test_nobody_waits_and_the_last_task_marks_the_sweep_done(
    cluster: slurm.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["data.degree=1,2", "seed=range(2)", "trainer.max_epochs=3000", "sweep.wait=false", "hydra.sweep.dir=runs"]
    driver = Forked(*SMALL, *words, *SLURM, "hydra.launcher.workers=2", "sweep.records=lean")
    output = driver.communicate(PATIENCE)[0]
    assert driver.poll() == 0, output
    assert "lightning-d2l report runs" in output
    name = slurm_site.name_of(read_sweep(tmp_path / "runs")["id"])
    assert f"scancel --name={name}" in output
    assert read_sweep(tmp_path / "runs")["status"] == "submitted"
    assert cli.main(["report", "runs"]) == 0
    assert "0 of 2 chunks done" in capsys.readouterr().out
    wait_for(lambda: read_sweep(tmp_path / "runs")["status"] != "submitted")
    assert read_sweep(tmp_path / "runs")["status"] == "completed"
    lean = LeanFolder(tmp_path / "runs")
    lean.look()
    losses = {name: record.metric("loss/val") or 0.0 for name, record in lean.runs.items()}
    assert len(losses) == 4
    best_and_worst = [min(losses, key=losses.__getitem__), max(losses, key=losses.__getitem__)]
    kept = {name: record for name, record in records(tmp_path / "runs").items() if record.state == "completed"}
    assert sorted(kept) == sorted(best_and_worst)  # which the last task trained again
    for name, record in kept.items():
        assert record.metric("loss/val") == pytest.approx(losses[name], rel=1e-9)
    assert cli.main(["report", "runs"]) == 0
    assert "chunks done" not in capsys.readouterr().out


def test_a_killed_driver_s_tasks_go_on_and_a_second_driver_takes_them_over(
    cluster: slurm.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["data.degree=1,2,3", "seed=range(2)", "trainer.max_epochs=5000", "hydra.sweep.dir=runs"]
    driver = Forked(*SMALL, *words, *SLURM, "hydra.launcher.workers=1")
    wait_for(lambda: owners(tmp_path / "runs"), driver)
    driver.kill()
    driver.wait()
    again = Forked("-m", "sweep.resume=runs", *SLURM, "hydra.launcher.workers=1")
    wait_for(lambda: len(list((tmp_path / "runs" / CHUNKS).glob("*.claim"))) == 1 or again.poll() is not None)
    output = again.communicate(PATIENCE)[0]
    assert again.poll() == 0, output
    assert "1 chunks are trained by workers of an earlier driver" in output
    assert {record.state for record in records(tmp_path / "runs").values()} == {"completed"}
    assert not any("resumed" in record.fields for record in records(tmp_path / "runs").values())
    assert len(list((tmp_path / "runs" / ".slurm").glob("*_submission.sh"))) == 1  # the task of the first driver


def test_a_folder_that_a_node_does_not_share_is_found_before_a_task_is_submitted(
    unshared: Path, cluster: slurm.Cluster
) -> None:
    sweep = unshared / "runs"
    driver = Forked(*SMALL, *SLURM, "seed=0,1", f"hydra.sweep.dir={sweep}")
    output, error = driver.communicate(PATIENCE)
    assert driver.poll() == 2, output
    assert error.startswith(f"error: {sweep}: is not shared with ")
    assert error.count("\n") == 1
    assert not (sweep / slurm_site.FOLDER).exists()
    assert not (sweep / CHUNKS).exists()
    assert cluster.run("squeue", "-h") == ""
    resumed = Forked("-m", f"sweep.resume={sweep}", "hydra/launcher=vectorized")
    assert resumed.wait(PATIENCE) == 0
    assert {record.state for record in records(sweep).values()} == {"completed"}


def test_in_a_long_queue_the_first_task_finds_that_the_folder_is_not_shared_and_the_others_are_cancelled(
    unshared: Path, cluster: slurm.Cluster
) -> None:
    others = ["sbatch", "--parsable", "--exclusive", "--output=/dev/null", "--wrap", "sleep 600"]
    queue = [cluster.run(*others).strip() for _ in range(2)]
    wait_for(lambda: "R" in cluster.run("squeue", "-h", "-o", "%t", "-j", queue[0]))
    sweep = unshared / "runs"
    words = [*SMALL, *SLURM, "seed=range(8)", "hydra.launcher.workers=4", f"hydra.sweep.dir={sweep}"]
    driver = Forked(*words, "hydra.launcher.array_parallelism=1", program=IMPATIENT)
    tasks = lambda: cluster.run("squeue", "-h", "-r", "-o", "%j").count("d2l-")  # noqa: E731
    wait_for(lambda: tasks() == 4, driver)
    cluster.run("scancel", *queue)
    output, error = driver.communicate(PATIENCE)
    assert driver.poll() == 2, output
    assert "no node answered a probe: the first task will see whether it shares the folder" in output
    assert error.startswith(f"error: {sweep}: is not shared with ")
    assert error.count("\n") == 1
    wait_for(lambda: tasks() == 0)
    assert not (sweep / CHUNKS).exists()
    assert read_sweep(sweep)["status"] == "stopped"


def test_a_line_says_why_no_task_runs_while_the_nodes_are_drained(
    cluster: slurm.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cluster.run("scontrol", "update", f"NodeName={cluster.node}", "State=DRAIN", "Reason=broken fan")
    driver = Forked(*SMALL, *SLURM, "seed=0,1", "hydra.sweep.dir=runs", program=IMPATIENT)
    said = Path(driver.output.name) / "out"
    wait_for(lambda: said.exists() and "no task of SLURM runs: " in said.read_text(), driver)
    line = next(line for line in said.read_text().splitlines() if line.startswith("no task of SLURM runs: "))
    cluster.heal()
    assert driver.wait(PATIENCE) == 0
    assert f"{cluster.node} (broken fan)" in line


def test_without_a_controller_nothing_is_submitted(cluster: slurm.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = Path(os.environ["SLURM_CONF"])
    wrong = conf.with_name("wrong.conf")
    wrong.write_text(conf.read_text().replace("SlurmctldPort=", "SlurmctldPort=1#").replace("1#", "1\n#"))
    monkeypatch.setenv("SLURM_CONF", str(wrong))
    with pytest.raises(RequestError, match="SLURM's controller does not answer"):
        slurm_site.check({"timeout_min": 60})
