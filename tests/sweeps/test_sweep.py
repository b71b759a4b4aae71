"""A sweep checks all jobs before the first one trains; a failure costs no other run; only the same sweep is resumed."""

import json
import shlex

import pytest

from lightning_d2l import app
from lightning_d2l.nets.linear import LinearRegression
from lightning_d2l.studies import collect
from lightning_d2l.sweeps.folder import read_sweep
from lightning_d2l.training.record import RunRecord
from tests.runs import POLYNOMIAL

SMALL = ["-m", *POLYNOMIAL, "trainer.max_epochs=1"]


def sweep(folder, *words: str) -> int:
    return app.main([*SMALL, f"hydra.sweep.dir={folder}", *words])


def statuses(folder) -> dict[str, str]:
    return {path.parent.name: json.loads(path.read_text())["status"] for path in folder.glob("*/run.json")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("data.degree=1,200", "job 1 (degree=200): data.degree=200: must be a whole number from 0 to 100"),
        ("optimizer=sgd,sdg", "job 1 (optimizer=sdg): optimizer=sdg: unknown option; did you mean sgd"),
        ("trainer.accelerator=cpu,mps", "job 1 (accelerator=mps): trainer.accelerator=mps: this machine has none"),
        ("seed=range(0)", "seed=range(0): no value in it"),
        ("data.degre=1,2", "data.degre: unknown key; did you mean degree"),
        ("hydra.sweep.subdir=x", "named by what varies"),
        ("sweep.on_error=halt", "sweep.on_error=halt: must be one of continue, stop"),
        ("sweep.resume=latest", "no sweep below outputs"),
        ("sweep.resume=/nowhere", "/nowhere: not a sweep's folder"),
    ],
)
def test_one_wrong_job_is_named_and_nothing_is_written(words, said, tmp_path, capsys):
    assert app.main([*SMALL, words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert len(captured.err.splitlines()) <= 2
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("word", ["sweep.dry_run=true", "sweep.resume=x"])
def test_what_is_for_sweeps_is_refused_for_one_run(word, capsys):
    assert app.main([*POLYNOMIAL, word]) == 2
    assert word.partition("=")[0] in capsys.readouterr().err


def test_failures_and_divergence_cost_no_other_run(tmp_path, monkeypatch, capsys):
    working = LinearRegression.forward

    def forward(self, x):
        if x.shape[-1] == 3:
            raise MemoryError("no room for degree 2")
        return working(self, x)

    monkeypatch.setattr(LinearRegression, "forward", forward)
    folder = tmp_path / "all"
    assert sweep(folder, "data.degree=1,2,3", "optimizer.lr=0.01,1e30", "trainer.max_epochs=2") == 1
    words = {1: "completed", 2: "failed", 3: "completed"}
    expected = {f"degree={d},lr=0.01": status for d, status in words.items()}
    expected |= {f"degree={d},lr=1e+30": "failed" if d == 2 else "diverged" for d in words}
    assert statuses(folder) == expected
    assert "MemoryError: no room" in (folder / "degree=2,lr=0.01" / "train.log").read_text()
    assert "Traceback" in (folder / "degree=2,lr=0.01" / "train.log").read_text()
    out = capsys.readouterr().out
    assert "epoch" not in out.split("sweep folder")[0]
    assert max(map(len, out.split("sweep folder")[0].splitlines()[1:])) <= 80
    counts = dict(line.split() for line in out.splitlines() if line.startswith(("completed ", "diverged ", "failed ")))
    assert counts == {"completed": "2", "diverged": "2", "failed": "2"}
    assert read_sweep(folder)["status"] == "completed"

    stopped = tmp_path / "stopped"
    assert sweep(stopped, "data.degree=1,2,3", "sweep.on_error=stop", "hydra/launcher=sequential") == 1
    assert statuses(stopped) == {"degree=1": "completed", "degree=2": "failed"}
    assert read_sweep(stopped)["status"] == "stopped"

    monkeypatch.undo()
    kept = (stopped / "degree=1" / "run.json").read_text()
    monkeypatch.chdir(tmp_path)
    assert app.main([f"sweep.resume={stopped}"]) == 0
    assert statuses(stopped) == {f"degree={degree}": "completed" for degree in (1, 2, 3)}
    assert (stopped / "degree=1" / "run.json").read_text() == kept
    assert [job["number"] for job in read_sweep(stopped)["jobs"]] == [0, 1, 2]


def test_divergence_alone_is_a_result(tmp_path):
    assert app.main([*SMALL, "optimizer.lr=0.01,1e30", "trainer.max_epochs=2"]) == 0
    (folder,) = (tmp_path / "outputs").glob("*/*")
    assert folder.name.endswith("-sweep")


def test_the_record_of_a_finished_run_is_read_once(tmp_path, monkeypatch, capsys):
    reads = []
    working = RunRecord.read

    def reading(folder):
        record = working(folder)
        reads.append((folder.name, record.status))
        return record

    monkeypatch.setattr(RunRecord, "read", reading)
    monkeypatch.setattr(collect, "read_fields", None)
    assert sweep(tmp_path / "s", "seed=2,1") == 0
    assert reads == [("seed=2", "completed"), ("seed=1", "completed")]
    assert "report " in capsys.readouterr().out


def test_a_changed_sweep_is_not_resumed(tmp_path, capsys):
    folder = tmp_path / "s"
    assert sweep(folder, "seed=1,2") == 0
    for words, said in [
        (["seed=1,2,3"], "seed is 1,2 there and 1,2,3 here"),
        (["seed=1,2", "data.noise=0.5"], "data.noise is not given there and 0.5 here"),
        (["seed=2,1"], "seed is 1,2 there and 2,1 here"),
    ]:
        assert app.main([*SMALL, *words, f"sweep.resume={folder}"]) == 2
        assert said in capsys.readouterr().err
    record = RunRecord.read(folder / "seed=2").fields
    record["config"]["data"]["noise"] = 0.7
    (folder / "seed=2" / "run.json").write_text(json.dumps(record))
    assert app.main([*SMALL, "seed=1,2", f"sweep.resume={folder}"]) == 2
    assert "job 1 (seed=2): data.noise is 0.7 there and 0.1 here" in capsys.readouterr().err
    assert sweep(folder, "seed=5,6") == 2
    assert "holds a sweep already" in capsys.readouterr().err
    (folder / "sweep.json").write_text("{")
    assert app.main([f"sweep.resume={folder}"]) == 2
    assert "damaged" in capsys.readouterr().err


def test_a_dry_run_lists_the_jobs_with_their_parameters(tmp_path, capsys):
    assert app.main([*SMALL, "data.degree=1,4", "seed=range(2)", "sweep.dry_run=true"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:-1]]
    assert rows == [[str(2 * (d == 4) + s), str(d + 1), f"degree={d},seed={s}"] for d in (1, 4) for s in (0, 1)]
    assert list(tmp_path.rglob("*")) == []


def test_a_study_needs_no_dash_m_and_its_axes_can_be_changed(tmp_path, capsys):
    (tmp_path / "conf" / "study").mkdir(parents=True)
    (tmp_path / "conf" / "study" / "tiny.yaml").write_text(
        "# @package _global_\ndefaults: [override /model: polynomial_regression, override /logger: none]\n"
        "trainer: {max_epochs: 1}\nhydra:\n  mode: MULTIRUN\n"
        '  sweeper: {params: {data.degree: "range(3)", seed: "range(2)"}}\n'
        "study: {name: tiny, question: what is best, x: data.degree, curves: [], metrics: [loss/val],\n"
        "  replicates: [seed], scale: {x: linear}, theory: null}\n"
    )
    words = ["--config-dir", "conf", "study=tiny", "data.degree=1,3"]
    assert app.main(words) == 0
    assert app.main(words) == 0
    folders = list((tmp_path / "outputs").glob("*/*"))
    assert sorted(folder.name[8:] for folder in folders) in (["-tiny"] * 2, ["-tiny", "-tiny-2"])
    for folder in folders:
        assert statuses(folder) == {f"degree={d},seed={s}": "completed" for d in (1, 3) for s in (0, 1)}
        record = read_sweep(folder)
        assert (record["study"]["x"], record["varied"]) == ("data.degree", ["data.degree", "seed"])
    run = RunRecord.read(folders[0] / "degree=3,seed=1").fields
    assert run["overrides"] == ["seed=1", "study=tiny", "data.degree=3"]
    assert "study" not in run["config"]
    assert run["command"].endswith("hydra.mode=RUN")
    assert app.main([*words[:3], "data.degree=4", "hydra.mode=RUN", "hydra.run.dir=alone"]) == 0
    assert RunRecord.read(tmp_path / "alone").fields["num_parameters"] == 5


def test_hydras_own_launcher_trains_the_same(tmp_path, capsys):
    ours, hydras = tmp_path / "ours", tmp_path / "hydras"
    assert sweep(ours, "data.degree=1,3", "hydra/launcher=sequential") == 0
    assert sweep(hydras, "data.degree=1,3", "hydra/launcher=basic") == 0
    for job in ("degree=1", "degree=3"):
        first, second = RunRecord.read(ours / job).fields, RunRecord.read(hydras / job).fields
        assert first["metrics"] == second["metrics"]
        assert first["config"] == second["config"]
    (hydras / "degree=3" / "run.json").unlink()
    assert app.main([f"sweep.resume={hydras}"]) == 0
    assert statuses(hydras) == {"degree=1": "completed", "degree=3": "completed"}


def test_hydras_own_sweeper_trains_too_and_the_highest_exit_code_counts(tmp_path):
    words = ["hydra/sweeper=basic", "hydra.sweep.subdir=${hydra.job.num}", "trainer.max_epochs=2"]
    assert sweep(tmp_path / "good", "seed=1,2", *words) == 0
    assert statuses(tmp_path / "good") == {"0": "completed", "1": "completed"}
    assert sweep(tmp_path / "bad", "optimizer.lr=0.01,1e30", *words) == 1
    assert statuses(tmp_path / "bad") == {"0": "completed", "1": "diverged"}


def test_the_command_in_sweep_json_is_what_was_typed_and_starts_the_same_sweep(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["pytest", "something", "else"])
    words = [*POLYNOMIAL, "--multirun", "seed=1,2", "trainer.max_epochs=1"]  # the flag may stand among the overrides
    assert app.main([*words, "hydra.sweep.dir=first"]) == 0
    command = shlex.split(read_sweep(tmp_path / "first")["command"])
    assert command == ["python", "train.py", *words, "hydra.sweep.dir=first"]
    assert app.main([*command[2:-1], "hydra.sweep.dir=second"]) == 0
    assert read_sweep(tmp_path / "first")["jobs"] == read_sweep(tmp_path / "second")["jobs"]
