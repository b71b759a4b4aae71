"""Finished runs used elsewhere: other data, other threads, damaged files, places that can't be written."""

import json
import math
import os
import shutil
from pathlib import Path

import pytest
import torch

from lightning_d2l import app, cli
from lightning_d2l.config.check import RequestError
from lightning_d2l.data import download
from lightning_d2l.training import reuse
from lightning_d2l.training.files import BEST, LAST
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.same_data import located, require_same_data
from tests.runs import POLYNOMIAL, run_here

SMALL = ["data.n_train=20", "data.n_val=5", "data.n_test=5", "trainer.max_epochs=2"]
IMAGES = ["model=softmax_regression", "logger=none", "trainer.accelerator=cpu", "data.n_train=60", "data.val_size=20"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run_here(folder, *POLYNOMIAL, *SMALL) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def no_mirror(monkeypatch):
    from torchvision.datasets import FashionMNIST

    monkeypatch.setattr(FashionMNIST, "mirrors", [])


@pytest.fixture
def elsewhere(official_root, tmp_path, monkeypatch, no_mirror) -> Path:
    """A run on official data in the data root `here`, which is then moved to `there`; the cache folder is empty."""
    monkeypatch.delenv("LIGHTNING_D2L_DATA", raising=False)
    monkeypatch.setattr(download, "user_cache_dir", lambda name: str(tmp_path / "cache"))
    raw = tmp_path / "here" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in download.MD5:
        (raw / name).symlink_to(Path(official_root) / "FashionMNIST" / "raw" / name)
    overrides = [*IMAGES, f"data.root={tmp_path / 'here'}", "trainer.max_epochs=1"]
    assert run_here(tmp_path / "run", *overrides) == 0
    assert RunRecord.read(tmp_path / "run").fields["data"]["source"] == "official"
    (tmp_path / "here").rename(tmp_path / "there")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_data_that_have_moved_are_asked_for(elsewhere, capsys, monkeypatch):
    monkeypatch.chdir(elsewhere)
    before = contents(elsewhere / "run")
    checksum = RunRecord.read(elsewhere / "run").fields["data"]["checksum"][:12]
    capsys.readouterr()
    for words in (["evaluate", "run"], ["rerun", "run", "--into", "again"], ["predict", "run"]):
        assert cli.main(words) == 2
        captured = capsys.readouterr()
        first, second = captured.err.splitlines()
        assert captured.out == ""
        assert f"data with checksum {checksum} (official Fashion-MNIST) not found at " in first
        assert all(str(elsewhere / name) in first for name in ("here", "cache"))
        assert "give data.root=" in second
    again = [*IMAGES, "trainer.max_epochs=2", "resume=run"]
    assert app.main(again) == 2
    assert "not found at" in capsys.readouterr().err
    assert contents(elsewhere / "run") == before
    assert sorted(path.name for path in elsewhere.iterdir()) == ["run", "there"]


def test_what_needs_no_data_does_without(elsewhere, capsys):
    from PIL import Image

    folder = str(elsewhere / "run")
    Image.new("L", (28, 28), 7).save(elsewhere / "image.png")
    assert cli.main(["predict", folder, str(elsewhere / "image.png")]) == 0
    assert cli.main(["export", folder]) == 0
    capsys.readouterr()
    assert cli.main(["inspect", folder, "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert {item["gradient"] for item in json.loads(captured.out)["tensors"]} == {None}
    assert "no gradients: " in captured.err
    from safetensors import safe_open

    with safe_open(elsewhere / "run" / "weights.safetensors", "pt") as file:
        assert file.metadata()["source"] == "official"
        assert json.loads(file.metadata()["model"])["num_inputs"] == 784


@pytest.mark.parametrize("how", ["given", "variable", "cache"])
def test_the_checksum_decides_where_the_data_are(how, elsewhere, capsys, monkeypatch):
    given = []
    if how == "given":
        given = [f"data.root={elsewhere / 'there'}"]
        monkeypatch.setenv("LIGHTNING_D2L_DATA", str(elsewhere / "nowhere"))
    elif how == "variable":
        monkeypatch.setenv("LIGHTNING_D2L_DATA", str(elsewhere / "there"))
    else:
        (elsewhere / "there").rename(elsewhere / "cache")
    folder, record = elsewhere / "run", RunRecord.read(elsewhere / "run")
    capsys.readouterr()
    assert cli.main(["evaluate", str(folder), *given, "--format=json"]) == 0
    final = json.loads(capsys.readouterr().out)["final"]
    assert final["loss/test"] == pytest.approx(record.fields["metrics"]["final"]["loss/test"], rel=1e-6)
    assert cli.main(["predict", *given, str(folder)]) == 0
    assert cli.main(["inspect", str(folder), *given, "--format=json"]) == 0
    assert cli.main(["rerun", str(folder), "--into", str(elsewhere / "again"), *given]) == 0
    assert "same numbers" in capsys.readouterr().out
    assert RunRecord.read(elsewhere / "again").fields["data"] == record.fields["data"]
    overrides = [*IMAGES, "trainer.max_epochs=2", f"resume={folder}", *given]
    assert app.main(overrides) == 0
    after = RunRecord.read(folder)
    assert after.fields["data"] == record.fields["data"]
    assert after.completed
    assert after.config["data"]["root"] == str(elsewhere / ("cache" if how == "cache" else "there"))


@pytest.mark.parametrize("launcher", ["vectorized", "basic"])
def test_a_sweep_keeps_to_the_data_of_its_runs(launcher, elsewhere, capsys):
    words = [
        f"hydra/launcher={launcher}",
        "-m",
        *IMAGES,
        "trainer.max_epochs=1",
        "seed=0,1",
        f"hydra.sweep.dir={elsewhere / 'sweep'}",
    ]
    assert app.main([*words, f"data.root={elsewhere / 'there'}"]) == 0
    sources = {job: RunRecord.read(elsewhere / "sweep" / job).fields["data"] for job in ("seed=0", "seed=1")}
    assert {fields["source"] for fields in sources.values()} == {"official"}
    shutil.rmtree(elsewhere / "sweep" / "seed=1")  # one run is left to train
    (elsewhere / "there").rename(elsewhere / "moved")
    capsys.readouterr()
    before = contents(elsewhere / "sweep")
    assert app.main([f"sweep.resume={elsewhere / 'sweep'}"]) == 2
    assert "official Fashion-MNIST) not found at" in capsys.readouterr().err
    assert contents(elsewhere / "sweep") == before
    assert app.main([f"sweep.resume={elsewhere / 'sweep'}", f"data.root={elsewhere / 'moved'}"]) == 0
    assert RunRecord.read(elsewhere / "sweep" / "seed=1").fields["data"] == sources["seed=1"]


def test_a_damaged_file_in_the_data_root_is_named(elsewhere, capsys):
    victim = elsewhere / "there" / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    victim.unlink()
    victim.write_bytes(b"damaged")
    assert cli.main(["evaluate", str(elsewhere / "run"), f"data.root={elsewhere / 'there'}"]) == 2
    error = capsys.readouterr().err
    assert str(victim) in error
    assert download.MD5[victim.name] in error


def test_generated_garments_stay_generated(official_root, tmp_path, capsys):
    assert run_here(tmp_path / "run", *IMAGES, "data.source=generated", "trainer.max_epochs=1") == 0
    record = RunRecord.read(tmp_path / "run")
    config = dict(record.config)
    config["data"] = {**config["data"], "source": "auto", "root": official_root}
    assert located(config, record)["data"]["source"] == "generated"
    config["data"]["source"] = "official"
    with pytest.raises(RequestError, match=r"data\.source=official: must be generated or auto"):
        located(config, record)


def test_data_drawn_otherwise_are_refused(run, capsys):
    path = run / "run.json"
    fields = json.loads(path.read_text())
    fields["config"]["data"]["noise"] = 0.2
    path.write_text(json.dumps(fields))
    for words in (["evaluate"], ["predict"], ["rerun"]):
        assert cli.main([*words, str(run)]) == 2
        assert "its data were polynomial (synthetic) with checksum" in capsys.readouterr().err
    assert [path.name for path in run.parent.iterdir()] == ["run"]
    with pytest.raises(RequestError, match="checksum"):
        require_same_data(RunRecord.read(run), reuse.build_data(fields["config"]))


def test_a_data_root_is_a_folder_and_of_use(run, tmp_path, capsys):
    assert cli.main(["evaluate", str(run), "data.root=nowhere"]) == 2
    assert "data.root=nowhere: not a folder" in capsys.readouterr().err
    assert cli.main(["evaluate", str(run), "data.root="]) == 0  # none
    assert cli.main(["evaluate", str(run), f"data.root={tmp_path}"]) == 2
    assert "read from no folder" in capsys.readouterr().err
    assert cli.main(["report", str(run), f"data.root={tmp_path}"]) == 2


def rewritten(folder: Path, **metrics: float) -> None:
    """Change recorded final metrics, each by a factor."""
    fields = json.loads((folder / "run.json").read_text())
    for row in ("final", "best"):
        for name, factor in metrics.items():
            fields["metrics"][row][f"loss/{name}"] *= factor
    (folder / "run.json").write_text(json.dumps(fields))


def test_a_rerun_is_compared_within_rounding_and_shows_both_numbers(run, tmp_path, capsys):
    exact = RunRecord.read(run).fields["metrics"]["final"]["loss/test"]
    rewritten(run, test=1 + 5e-6)
    assert cli.main(["rerun", str(run), "--into", str(tmp_path / "near")]) == 0
    printed = capsys.readouterr().out
    assert "same numbers within 1e-05" in printed
    assert repr(exact) in printed
    assert repr(RunRecord.read(run).fields["metrics"]["final"]["loss/test"]) in printed
    rewritten(run, test=1 + 1e-3)
    assert cli.main(["rerun", str(run), "--into", str(tmp_path / "far")]) == 1
    printed = capsys.readouterr().out
    assert "other numbers (by more than 1e-05)" in printed
    assert repr(exact) in printed


def test_a_rerun_in_float64_is_compared_more_closely(tmp_path, capsys):
    assert run_here(tmp_path / "run", *POLYNOMIAL, *SMALL, "trainer.precision=64-true") == 0
    rewritten(tmp_path / "run", test=1 + 1e-7)
    assert cli.main(["rerun", str(tmp_path / "run"), "--into", str(tmp_path / "again")]) == 1
    assert "by more than 1e-09" in capsys.readouterr().out


def test_another_number_of_threads_is_named(run, tmp_path, capsys):
    fields = json.loads((run / "run.json").read_text())
    fields["threads"] = 64
    (run / "run.json").write_text(json.dumps(fields))
    rewritten(run, val=1 + 1e-6)
    assert cli.main(["rerun", str(run), "--into", str(tmp_path / "again")]) == 0
    assert f"64 threads there, {torch.get_num_threads()} here" in capsys.readouterr().out


def test_a_diverged_run_is_looked_at_with_valid_json(tmp_path, capsys):
    settings = ["optimizer.lr=1e6", "data.n_train=20", "trainer.max_epochs=30"]
    assert run_here(tmp_path / "run", *POLYNOMIAL, *settings) == 1
    path = tmp_path / "run" / LAST
    checkpoint = torch.load(path, weights_only=True)
    weight = next(iter(checkpoint["state_dict"].values()))
    weight[0, 0], weight[0, 1] = math.nan, math.inf
    torch.save(checkpoint, path)
    capsys.readouterr()
    folder = str(tmp_path / "run")
    for words in (["inspect", folder, "--checkpoint=last"], ["inspect", folder, "0.weight", "--checkpoint=last"]):
        assert cli.main([*words, "--format=json"]) == 0
        json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        assert cli.main(words) == 0
        assert "nan" in capsys.readouterr().out
    assert cli.main(["evaluate", folder, "--format=json"]) == 0
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["final"]["loss/test"] is None
    assert cli.main(["evaluate", folder]) == 0
    assert cli.main(["export", folder, "--checkpoint=last"]) == 0
    assert cli.main(["rerun", folder, "--into", str(tmp_path / "again")]) == 1
    assert "diverged too" in capsys.readouterr().out


def test_a_rerun_goes_into_a_new_folder(run, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    before = contents(tmp_path)
    refused = {
        run: "holds a run already",
        tmp_path / "file": "cannot be written",
        tmp_path / "file" / "below": "cannot be written",
        tmp_path / "full": "not empty",
        Path("/proc/new/folder"): "cannot be written",
        tmp_path / ("long" * 100): "cannot be written",
    }
    for into, answer in refused.items():
        capsys.readouterr()
        assert cli.main(["rerun", str(run), "--into", str(into)]) == 2
        error = capsys.readouterr().err
        assert f"--into={into}: {answer}" in error
        assert len(error.splitlines()) == 1
    assert contents(tmp_path) == before
    assert cli.main(["rerun", str(run), "--into", str(tmp_path / "new" / "folder")]) == 0


def test_a_rerun_into_a_folder_in_use_is_refused(run, tmp_path, capsys):
    from lightning_d2l.training.lock import hold

    (tmp_path / "busy").mkdir()
    with hold(tmp_path / "busy", "test"):
        assert cli.main(["rerun", str(run), "--into", str(tmp_path / "busy")]) == 2
    assert f"--into={tmp_path / 'busy'}: in use by " in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "run", "--figure=file/picture.png"],
        ["predict", "run", "--figure=folder.png"],
        ["predict", "run", "--figure=/proc/none/picture.png"],
        ["export", "run", "--into=file/weights"],
        ["export", "run", "--into=folder.png"],
        ["export", "run", "--into=/proc/none/weights"],
        ["export", "run", f"--into={'long' * 100}"],
    ],
)
def test_files_that_can_not_be_written_are_refused_before_anything_is_done(words, run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.png").mkdir()
    before = contents(tmp_path)
    capsys.readouterr()
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    option, _, value = words[-1].partition("=")
    assert f"{option}={value}: " in line
    assert contents(tmp_path) == before


def damage(kind: str, folder: Path) -> None:
    path = folder / BEST
    content = path.read_bytes()
    checkpoint = torch.load(path, weights_only=True)
    path.unlink()
    match kind:
        case "half":
            path.write_bytes(content[: len(content) // 2])
        case "empty":
            path.touch()
        case "text":
            path.write_text("no weights")
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "endless":
            path.symlink_to("/dev/zero")
        case "another model":
            torch.save({**checkpoint, "state_dict": {"net.0.weight": torch.zeros(3, 3)}}, path)
        case "other names":
            torch.save({**checkpoint, "state_dict": {"other": torch.zeros(1, 4)}}, path)
        case "no tensors":
            torch.save({**checkpoint, "state_dict": {"net.0.weight": "text"}}, path)
        case "no names":
            torch.save({**checkpoint, "state_dict": [1, 2]}, path)
        case "numbers as names":
            torch.save({**checkpoint, "state_dict": {1: torch.zeros(1, 4)}}, path)


DAMAGE = ("missing", "half", "empty", "text", "folder", "fifo", "endless")
OTHER = ("another model", "other names", "no tensors", "no names", "numbers as names")


@pytest.mark.parametrize("kind", DAMAGE + OTHER)
def test_a_damaged_checkpoint_is_refused_in_a_line(kind, run, tmp_path, capsys):
    damage(kind, run)
    (tmp_path / "inputs.csv").write_text("1\n")
    capsys.readouterr()
    for words in (["predict"], ["evaluate"], ["inspect"], ["export"]):
        assert cli.main([*words, str(run)]) == 2, words
        (line,) = capsys.readouterr().err.splitlines()
        assert "best.ckpt" in line
    assert not (run / "weights.safetensors").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"config": {}},
        {"config": {"data": None}},
        {"config": {"trainer": "text"}},
        {"overrides": "text"},
        {"data": "text"},
        {"data": {"source": "official", "checksum": 7}},
        {"versions": 3},
        {"metrics": {"final": 3}},
    ],
)
def test_a_damaged_record_is_refused_in_a_line(change, run, capsys):
    fields = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**fields, **change}))
    for words in (["predict"], ["evaluate"], ["inspect"], ["export"], ["rerun"]):
        code = cli.main([*words, str(run)])
        assert code in (0, 1, 2)
        assert len(capsys.readouterr().err.splitlines()) <= 2
    changed = {**fields["config"], **change.get("config", {"seed": -1})}
    (run / "run.json").write_text(json.dumps({**fields, "config": changed}))
    if change != {"config": {}}:
        assert cli.main(["evaluate", str(run)]) == 2
        assert len(capsys.readouterr().err.splitlines()) <= 2


def test_a_file_named_as_mathematics_is_drawn_under_its_name(tmp_path, capsys):
    from PIL import Image

    assert run_here(tmp_path / "run", *IMAGES, "data.source=generated", "trainer.max_epochs=1") == 0
    path = tmp_path / "$x_{$.png"
    Image.new("L", (28, 28), 7).save(path)
    capsys.readouterr()
    assert cli.main(["predict", str(tmp_path / "run"), str(path), f"--figure={tmp_path / 'picture.png'}"]) == 0
    assert capsys.readouterr().out.startswith("$x_{$.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_figures_are_of_a_bounded_number_of_inputs(run, tmp_path, capsys):
    (tmp_path / "inputs.csv").write_text("1\n" * 101)
    words = ["predict", str(run), str(tmp_path / "inputs.csv"), f"--figure={tmp_path / 'picture.png'}"]
    capsys.readouterr()
    assert cli.main(words) == 2
    assert "at most 100 inputs, not 101" in capsys.readouterr().err
    assert not (tmp_path / "picture.png").exists()
