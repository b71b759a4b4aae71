import json
import subprocess
import sys

import pytest

from lightning_d2l.config.check import RequestError
from lightning_d2l.training.record import STOPPED, RunRecord


def test_a_record_is_read_back_and_damage_is_named(tmp_path):
    record = RunRecord(tmp_path, {"status": "running", "config": {"folder": tmp_path}})
    record.update(overrides=["+optimizer.lr=0.5"])
    record.update(status="completed", metrics={"final": {"loss/train": 1.5, "loss/val": float("nan")}})
    found = RunRecord.read(tmp_path)
    assert (found.name, found.state, found.error) == (tmp_path.name, "completed", "")
    assert found.config == {"folder": str(tmp_path)}
    assert found.overrides == {"optimizer.lr": "0.5"}
    assert (found.metric("loss/train"), found.metric("loss/val"), found.metric("loss/test")) == (1.5, None, None)
    (tmp_path / "run.json").write_text('{"status": "comp')
    with pytest.raises(RequestError, match="damaged"):
        RunRecord.read(tmp_path)
    with pytest.raises(RequestError, match="not a run folder"):
        RunRecord.read(tmp_path / "nowhere")
    assert RunRecord.read_or_missing(tmp_path).state == "missing"


@pytest.mark.parametrize(
    ("status", "error", "state"),
    [
        ("running", None, "interrupted"),
        ("failed", f"{STOPPED} SIGTERM; resume it with: ...", "interrupted"),
        ("failed", "Traceback\nfailed: ValueError: no", "failed"),
        ("diverged", "diverged: loss is nan", "diverged"),
    ],
)
def test_the_state_of_a_run_that_has_ended(status, error, state, tmp_path):
    RunRecord(tmp_path, {"config": {}}).update(status=status, error=error)
    found = RunRecord.read(tmp_path)
    assert found.state == state
    if state == "failed":
        assert found.error == "ValueError: no"


def test_reading_records_needs_no_torch():
    """A report starts in a fraction of the time that torch takes to import."""
    program = (
        "import sys\nfrom lightning_d2l.studies import collect, findings, report\n"
        "from lightning_d2l.theory import theories\nfrom lightning_d2l.training import record\n"
        "print([name for name in ('torch', 'pytorch_lightning') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_older_record_calls_the_running_mean_by_its_name_of_today(tmp_path):
    """Version 0.2 recorded both as loss/train; a run that evaluated train keeps the name."""
    for name, evaluate, expected in (("images", ["val"], "loss/train_running"), ("numbers", ["train"], "loss/train")):
        folder = tmp_path / name
        folder.mkdir()
        config = {"seed": 0, "optimizer": {"_target_": "torch.optim.SGD"}, "loss": None}
        metrics = {"epoch": 1, "loss/train": 1.5, "acc/train": 0.5, "loss/val": 2.0}
        fields = {"status": "completed", "metrics": {"final": metrics, "best": metrics, "exact": {"loss/train": 1.0}}}
        fields["config"] = config | {"trainer": {"evaluate": evaluate}}
        (folder / "run.json").write_text(json.dumps(fields))
        (folder / "metrics.csv").write_text("epoch,step,loss/train,loss/val\n1,5,1.75,2.0\n")
        record = RunRecord.read(folder)
        assert (record.metric(expected), record.metric(f"first.{expected}")) == (1.5, 1.75)
        assert record.metric("exact.loss/train") == 1.0
        assert (record.metric("gap/val") is None) == (name == "images"), "a gap needs the whole training split"
