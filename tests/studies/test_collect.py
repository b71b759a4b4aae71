import json

import pytest

from lightning_d2l.config.check import RequestError
from lightning_d2l.studies.collect import collect, newest_sweep
from tests.studies.records import write_run, write_sweep

LOSS = {"loss/train": 1.0, "loss/val": 2.0}


def test_what_varies_is_found_without_sweep_json_and_group_choices_have_their_name(tmp_path):
    for lr in (0.1, 0.01):
        for optimizer in ("sgd", "adam"):
            overrides = {"model": "mlp", "optimizer": optimizer, "optimizer.lr": lr}
            write_run(tmp_path / f"lr={lr},{optimizer}", overrides, LOSS)
    (sweep,) = collect([tmp_path])
    assert sweep.varied == ["optimizer", "optimizer.lr"]
    assert {(run.setting("optimizer"), run.setting("optimizer.lr")) for run in sweep.runs} == {
        (optimizer, lr) for optimizer in ("sgd", "adam") for lr in (0.1, 0.01)
    }
    with pytest.raises(KeyError):
        sweep.runs[0].setting("optimizer.lrr")


def test_configurations_differ_where_overrides_agree(tmp_path):
    for n in (10, 20):
        folder = write_run(tmp_path / str(n), {"data.n_train": n}, LOSS)
        record = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**record, "overrides": []}))
    assert collect([tmp_path])[0].varied == ["data.n_train"]


def test_jobs_keep_their_order_and_those_without_a_record_are_missing(tmp_path):
    write_sweep(tmp_path, {"optimizer.lr": [10, 2, 1], "seed": [0]}, lambda *_: LOSS)
    (tmp_path / "lr=2,seed=0" / "run.json").unlink()
    (sweep,) = collect([tmp_path])
    assert [run.name for run in sweep.runs] == ["lr=10,seed=0", "lr=1,seed=0"]
    assert sweep.missing == 1
    (tmp_path / "sweep.json").write_text("{")
    (sweep,) = collect([tmp_path])
    assert [run.name for run in sweep.runs] == ["lr=1,seed=0", "lr=10,seed=0"]  # by number, not by letter
    assert [path.name for path in sweep.unreadable] == ["sweep.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"status": "completed", "config": {}}', "\x00\x01", '"x"'])
def test_a_corrupt_record_is_left_out_and_the_rest_is_used(content, tmp_path):
    write_sweep(tmp_path, {"seed": range(3)}, lambda _: LOSS)
    (tmp_path / "seed=1" / "run.json").write_text(content)
    (sweep,) = collect([tmp_path])
    assert [run.name for run in sweep.runs] == ["seed=0", "seed=2"]
    assert list(sweep.unreadable) == [tmp_path / "seed=1" / "run.json"]
    assert sweep.missing == 0


def test_latest_is_the_newest_sweep_and_equal_names_get_longer_labels(tmp_path):
    import os

    for age, day in enumerate(("monday", "tuesday")):
        folder = write_sweep(tmp_path / "outputs" / day / "lr", {"seed": [0]}, lambda _: LOSS)
        os.utime(folder / "sweep.json", (1000 - age, 1000 - age))
    assert newest_sweep(tmp_path / "outputs") == tmp_path / "outputs" / "monday" / "lr"
    sweeps = collect([tmp_path / "outputs" / "monday" / "lr", tmp_path / "outputs" / "tuesday" / "lr"])
    assert [sweep.label for sweep in sweeps] == ["monday/lr", "tuesday/lr"]
    with pytest.raises(RequestError, match="named twice"):
        collect([sweeps[0].folder, sweeps[0].folder])
    with pytest.raises(RequestError, match="no sweep below"):
        newest_sweep(tmp_path / "nowhere")


def test_a_rerun_beside_its_run_is_no_run_of_the_sweep(tmp_path):
    sweep = write_sweep(tmp_path / "sweep", {"data.degree": [1, 2]}, lambda degree: {"loss/val": degree})
    for name in ("degree=1-rerun", "degree=1-rerun-2", "degree=2-rerun-rerun", "degree=3-rerun"):
        write_run(sweep / name, {"data.degree": int(name[7])}, {"loss/val": 9.0})
    names = ["degree=1", "degree=2", "degree=3-rerun"]  # of the last one there is no first run
    assert [run.name for run in collect([sweep])[0].runs] == names
    assert [run.name for run in collect([sweep / "degree=1-rerun"])[0].runs] == ["degree=1-rerun"]
