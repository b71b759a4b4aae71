"""What a run leaves, and that it can be repeated, resumed after a kill, stopped by a signal, and refused."""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_d2l import app, cli
from lightning_d2l.training.checkpoint import finished_epochs, load_checkpoint
from lightning_d2l.training.console import WHOLE
from lightning_d2l.training.files import MetricsFile
from lightning_d2l.training.record import RunRecord
from tests.conftest import ROOT
from tests.forked import Forked
from tests.runs import POLYNOMIAL, run_here
from tests.second_device import off_the_cpu

# An MLP with everything that has a state: momentum of Adam, dropout, shuffling. On 100 samples an epoch is short.
STATEFUL = [
    "model=mlp", "data=polynomial", "model.num_hiddens=[64,64]", "model.dropout=0.3", "optimizer=adam",
    "trainer.max_epochs=100", "trainer.accelerator=cpu", "trainer.checkpoint_every_n_seconds=0",
]  # fmt: skip


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def same_run(first: Path, second: Path) -> None:
    for name, value in weights(first).items():
        assert torch.equal(value, weights(second)[name]), name
    assert (first / "metrics.csv").read_text() == (second / "metrics.csv").read_text()
    assert RunRecord.read(first).fields["metrics"] == RunRecord.read(second).fields["metrics"]


def test_a_run_leaves_its_folder_and_can_be_used(tmp_path, capsys):
    words = [sys.executable, str(ROOT / "train.py"), "model=polynomial_regression", "seed=4", "trainer.max_epochs=60"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert max(len(line) for line in done.stdout.splitlines() if not line.startswith(WHOLE)) <= 80
    (folder,) = (tmp_path / "outputs").glob("*/*-polynomial_regression")
    for name in ("run.json", "metrics.csv", "train.log", "checkpoints/last.ckpt", "checkpoints/best.ckpt",
                 "figures/curves.png", "figures/fit.png", ".hydra/config.yaml"):  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "completed"
    assert record["overrides"] == ["model=polynomial_regression", "seed=4", "trainer.max_epochs=60"]
    assert (record["seed"], record["num_parameters"], record["data"]["source"]) == (4, 4, "synthetic")
    expected = {"epoch", "step", "loss/train", "loss/val", "loss/test", "norm/weights"}
    assert set(record["metrics"]["final"]) == expected
    assert [row["epoch"] for row in MetricsFile(folder).rows()] == [1, 20, 40, 60]
    assert "epoch 60/60" in done.stdout
    assert "epoch 60/60" in (folder / "train.log").read_text()
    lightning = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert (lightning["epoch"], lightning["global_step"]) == (59, 600)

    assert cli.main(["evaluate", str(folder), "--format", "json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["final"]["loss/test"] == record["metrics"]["final"]["loss/test"]
    assert evaluated["best"]["loss/test"] == record["metrics"]["best"]["loss/test"]

    assert cli.main(["rerun", str(folder), "--into", str(tmp_path / "again")]) == 0
    assert "same numbers" in capsys.readouterr().out
    same_run(folder, tmp_path / "again")

    (tmp_path / "inputs.csv").write_text("x\n0.5\n-1\n")
    arguments = ["predict", str(folder), str(tmp_path / "inputs.csv"), "--figure", str(tmp_path / "p.png")]
    assert cli.main([*arguments, "--format", "json"]) == 0
    predicted = [item["prediction"][0] for item in json.loads(capsys.readouterr().out)]
    w = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["state_dict"]["net.0.weight"][0].tolist()
    expected = [w[0] + w[1] * x + w[2] * x**2 / 2 + w[3] * x**3 / 6 for x in (0.5, -1)]
    assert predicted == pytest.approx(expected, rel=1e-5)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_holds_every_kind_of_view(tmp_path):
    overrides = ["data.source=generated", "data.n_train=200", "data.val_size=100", "trainer.max_epochs=7"]
    assert run_here(tmp_path / "run", "model=mlp", "trainer.accelerator=cpu", *overrides, part_of_sweep=False) == 0
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"images": 0, "histograms": 0}).Reload()
    tags = events.Tags()
    rows = MetricsFile(tmp_path / "run").rows()
    validation = EventAccumulator(str(tmp_path / "run" / "val")).Reload()
    assert [(e.step, e.value) for e in validation.Scalars("acc")] == [
        (row["epoch"], pytest.approx(row["acc/val"])) for row in rows
    ]
    names = ("confusion_matrix", "curves", "first_layer_weights", "predictions")
    assert sorted(tags["images"]) == [f"figures/{name}" for name in names]
    for name in names:
        (image,) = events.Images(f"figures/{name}")
        assert (image.width, image.height) > (300, 300)
    assert {h.step for h in events.Histograms("weights/hidden 1 weight")} == {1, 6, 7}
    assert {h.step for h in events.Histograms("gradients/output bias")} == {1, 6, 7}
    assert tags["graph"]
    plugins = events.SummaryMetadata("_hparams_/session_start_info").plugin_data
    assert plugins.plugin_name == "hparams"
    assert b"data.n_train" in plugins.content
    assert {"configuration", "data"} <= set(tags["tensors"])


def test_a_run_in_double_precision_has_its_graph_too(tmp_path):
    words = ["model=polynomial_regression", "trainer.precision=64-true", "trainer.max_epochs=2"]
    assert run_here(tmp_path, *words, part_of_sweep=False) == 0
    assert EventAccumulator(str(tmp_path)).Reload().Tags()["graph"]


def test_no_message_of_a_dependency_on_a_first_run(tmp_path):
    printed = "".join(Forked("model=mlp", "data=polynomial", "trainer.max_epochs=2").communicate())
    words = ("GPU available", "litlogger", "Tip", "Warning", "warning", "stopped:", "LeafSpec", "weights_only", "[rank")
    assert "run folder" in printed
    assert [word for word in words if word in printed] == []


def test_a_run_trains_and_goes_on_off_the_cpu(tmp_path):
    words, (on, off) = [*STATEFUL, "trainer.max_epochs=6"], (tmp_path / "on", tmp_path / "off")
    assert run_here(on, *words) == 0
    off_the_cpu(f"""if True:
        from pathlib import Path
        from tests.runs import run_here
        from tests.second_device import second_device
        folder, words = Path({str(off)!r}), {words!r}
        for more in ["trainer.max_epochs=3"], ["resume=off"]:
            with second_device() as operations:
                assert run_here(folder, *words, *more, part_of_sweep=not folder.exists()) == 0
            assert operations["aten::addmm"] > 20
    """)
    same_run(on, off)
    assert (off / "figures/curves.png").exists()


@pytest.mark.slow
def test_kill_and_resume_gives_the_same_bits(tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert Forked(*STATEFUL, f"hydra.run.dir={undisturbed}").wait() == 0
    seconds = RunRecord.read(undisturbed).fields["seconds"]
    moments, kills = random.Random(0), 0
    while kills < 2:
        last = killed / "checkpoints/last.ckpt"
        place = f"resume={killed}" if last.exists() else f"hydra.run.dir={killed}"
        process = Forked(*STATEFUL, place)
        limit = time.monotonic() + 60  # until the first checkpoint, or until this attempt's is on the disk
        stamp = last.stat().st_mtime_ns if last.exists() else 0
        while not (last.exists() and last.stat().st_mtime_ns != stamp):
            assert time.monotonic() < limit
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(moments.random() * min(1.0, seconds / 6))
        process.kill()
        process.wait()
        assert json.loads((killed / "run.json").read_text())["status"] == "running"
        kills += 1
    assert not RunRecord.read(killed).fields.get("metrics"), "the kills came too late to interrupt anything"
    assert Forked(*STATEFUL, f"resume={killed}").wait() == 0
    same_run(undisturbed, killed)
    assert [row["epoch"] for row in MetricsFile(killed).rows()] == list(range(1, 101))
    assert [p for p in killed.rglob(".*-*") if p.name != ".hydra"] == []
    steps = [e.step for e in EventAccumulator(str(killed / "train_running")).Reload().Scalars("loss")]
    assert steps == list(range(1, 101))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_with_a_checkpoint_and_says_how_to_go_on(number, code, tmp_path):
    folder = tmp_path / "run"
    words = [*STATEFUL, "trainer.max_epochs=100000", "trainer.checkpoint_every_n_seconds=100"]
    process = Forked(*words, f"hydra.run.dir={folder}")
    for _ in range(600):
        if len(MetricsFile(folder).rows()) > 5 or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.poll() == code, output
    assert "resume=run" in output
    assert "Traceback" not in output
    assert json.loads((folder / "run.json").read_text())["status"] == "failed"
    epoch = finished_epochs(load_checkpoint(folder / "checkpoints/last.ckpt"))
    assert MetricsFile(folder).rows()[-1]["epoch"] - epoch in (0, 1)
    if number == signal.SIGTERM:
        return  # going on takes seconds, and is the same after either signal
    shown = next(line for line in output.splitlines() if "to resume:" in line).partition("to resume: ")[2]
    assert shown.startswith("python train.py model=mlp")
    # trainer.max_epochs is then given twice, and Hydra takes the last
    words = shlex.split(shown)[2:]
    assert app.main([*words, f"trainer.max_epochs={epoch + 3}"]) == 0
    assert MetricsFile(folder).rows()[-1]["epoch"] == epoch + 3


def test_resume_refuses_another_models_folder(tmp_path, capsys):
    folder = tmp_path / "run"
    assert run_here(folder, *POLYNOMIAL, "trainer.max_epochs=1") == 0
    assert app.main([*POLYNOMIAL, "trainer.max_epochs=1", "data.degree=5", f"resume={folder}"]) == 2
    assert "data.degree is 3 there and 5 here" in capsys.readouterr().err
    (folder / "checkpoints/last.ckpt").write_bytes(b"not weights")
    assert app.main([*POLYNOMIAL, "trainer.max_epochs=2", f"resume={folder}"]) == 2
    assert "not a file of plain weights" in capsys.readouterr().err
    assert RunRecord.read(folder).status == "completed"


def test_divergence_is_a_status_with_exit_code_1(tmp_path):
    assert run_here(tmp_path / "run", *POLYNOMIAL, "optimizer.lr=10") == 1
    record = RunRecord.read(tmp_path / "run").fields
    assert record["status"] == "diverged"
    assert "optimizer.lr=10" in record["error"]


def test_a_failing_model_leaves_its_traceback(tmp_path, monkeypatch, capsys):
    from lightning_d2l.nets.linear import LinearRegression

    def forward(self, x):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(LinearRegression, "forward", forward)
    assert run_here(tmp_path / "run", *POLYNOMIAL) == 1
    assert RunRecord.read(tmp_path / "run").status == "failed"
    assert "Traceback" in (tmp_path / "run/train.log").read_text()
    shown = capsys.readouterr().out
    assert "failed: RuntimeError: shapes do not fit" in shown
    assert "Traceback" not in shown


def test_two_runs_started_at_once_get_two_folders(tmp_path):
    words = [*POLYNOMIAL, "trainer.max_epochs=1", "hydra.job.name=same"]
    processes = [Forked(*words) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(list((tmp_path / "outputs").glob("*/*/run.json"))) == 2


def test_a_folder_that_holds_a_run_is_not_written_over(tmp_path, capsys):
    assert run_here(tmp_path / "run", *POLYNOMIAL, "trainer.max_epochs=1") == 0
    before = (tmp_path / "run/run.json").read_text()
    assert app.main([*POLYNOMIAL, f"hydra.run.dir={tmp_path / 'run'}"]) == 2
    assert (tmp_path / "run/run.json").read_text() == before
    assert "holds a run already" in capsys.readouterr().err


def test_a_multirun_runs_every_job_with_its_own_settings(tmp_path):
    words = [*POLYNOMIAL, "trainer.max_epochs=2", "data.degree=1,3", "seed=range(2)"]
    assert app.main(["-m", *words, f"hydra.sweep.dir={tmp_path / 'sweep'}"]) == 0
    records = [json.loads(path.read_text()) for path in (tmp_path / "sweep").glob("*/run.json")]
    names = {f"degree={degree},seed={seed}" for degree in (1, 3) for seed in (0, 1)}
    assert {path.parent.name for path in (tmp_path / "sweep").glob("*/run.json")} == names
    assert sorted((r["num_parameters"], r["seed"]) for r in records) == [(2, 0), (2, 1), (4, 0), (4, 1)]


def test_an_install_from_a_wheel_trains_elsewhere(tmp_path):
    """conf/ travels with the package: the wheel's own files, with this environment's dependencies."""
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    pytest.importorskip("hatchling")
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert "hydra_plugins/lightning_d2l_sweeps.py" in zipfile.ZipFile(wheel).namelist()
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(site)], check=True)
    program = (
        "import lightning_d2l, sys\nfrom lightning_d2l.cli import main\nprint(lightning_d2l.__file__)\nsys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "train", *POLYNOMIAL, "trainer.max_epochs=1"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(site) in done.stdout
    assert list((tmp_path / "outputs").glob("*/*/run.json"))
