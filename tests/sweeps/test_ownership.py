"""A sweep removes and counts only what is its own, and leaves out what another process trains."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lightning_d2l import app
from lightning_d2l.sweeps.folder import read_sweep, resume_command
from lightning_d2l.training.record import RunRecord
from tests.runs import POLYNOMIAL, run_here

SMALL = ["-m", *POLYNOMIAL, "data.n_train=20", "trainer.max_epochs=2"]
LAUNCHERS = ("vectorized", "sequential", "basic")


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with what is in it."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def statuses(folder: Path) -> dict[str, str]:
    return {path.parent.name: json.loads(path.read_text())["status"] for path in folder.glob("*/run.json")}


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The line by which a command is refused."""
    assert app.main(words) == 2
    said = capsys.readouterr().err
    assert 1 <= len(said.splitlines()) <= 2
    assert "Traceback" not in said
    return said


@contextmanager
def another_process_holds(folder: Path) -> Iterator[None]:
    """A process that holds a folder as a run does."""
    folder.mkdir(parents=True, exist_ok=True)
    code = (
        "import sys, pathlib; from lightning_d2l.training.lock import hold\n"
        "with hold(pathlib.Path(sys.argv[1]), 'run'): print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.stdin.close()


# What lies in the folder of a new sweep


def a_note(folder: Path) -> str:
    (folder / "seed=0").mkdir()
    (folder / "seed=0" / "notes.txt").write_text("mine")
    return "seed=0"


def a_file(folder: Path) -> str:
    (folder / "seed=1").write_text("mine")
    return "seed=1"


def a_link(folder: Path) -> str:
    (folder.parent / "elsewhere").mkdir()
    (folder / "seed=0").symlink_to(folder.parent / "elsewhere")
    return "seed=0"


def a_broken_link(folder: Path) -> str:
    (folder / "seed=0").symlink_to("nowhere")
    return "seed=0"


def a_run(folder: Path) -> str:
    assert run_here(folder / "seed=1", *POLYNOMIAL, "data.degree=19", "trainer.max_epochs=1") == 0
    return "seed=1"


def a_checkpoint_without_a_record(folder: Path) -> str:
    (folder / "seed=0" / "checkpoints").mkdir(parents=True)
    (folder / "seed=0" / "checkpoints" / "last.ckpt").write_text("mine")
    return "seed=0"


def a_table(folder: Path) -> str:
    (folder / "results.csv").write_text("mine")
    return "results.csv"


@pytest.mark.parametrize("put", [a_note, a_file, a_link, a_broken_link, a_run, a_checkpoint_without_a_record, a_table])
def test_a_new_sweep_touches_nothing_that_lies_where_it_would_write(put, tmp_path, capsys):
    folder = tmp_path / "proj"
    folder.mkdir()
    name = put(folder)
    before = contents(tmp_path)
    said = refused([*SMALL, "seed=0,1", f"hydra.sweep.dir={folder}"], capsys)
    assert f"hydra.sweep.dir={folder}: holds {name}" in said
    assert contents(tmp_path) == before


def test_a_single_run_touches_nothing_that_lies_where_it_would_write(tmp_path, capsys):
    folder = tmp_path / "proj"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "curves.png").write_text("mine")
    (folder / "metrics.csv").write_text("mine")
    before = contents(tmp_path)
    assert "holds metrics.csv and 1 more" in refused([*SMALL[1:], f"hydra.run.dir={folder}"], capsys)
    assert contents(tmp_path) == before
    sweep = tmp_path / "sweep"
    assert app.main([*SMALL, "seed=0,1", f"hydra.sweep.dir={sweep}"]) == 0
    assert "holds a sweep already" in refused([*SMALL[1:], f"hydra.run.dir={sweep}"], capsys)


def test_other_files_in_the_folder_of_a_sweep_stay(tmp_path):
    folder = tmp_path / "proj"
    (folder / "seed=0").mkdir(parents=True)  # empty, as another program may have made it
    (folder / "seed=7").mkdir()
    mine = [folder / "notes.txt", folder / "seed=7" / "notes.txt", folder / ".lock"]
    for path in mine:
        path.write_text("mine")
    assert app.main([*SMALL, "seed=0,1", f"hydra.sweep.dir={folder}"]) == 0
    assert statuses(folder) == {"seed=0": "completed", "seed=1": "completed"}
    assert [path.read_text() for path in mine[:2]] == ["mine", "mine"]


# What a killed sweep leaves


def killed_before_its_first_record(folder: Path) -> None:
    assert app.main([*SMALL, "seed=0,1", f"hydra.sweep.dir={folder}"]) == 0
    for path in [*folder.glob("*.csv"), *folder.glob("report.*"), *folder.glob("figure.*")]:
        path.unlink()
    shutil.rmtree(folder / "summary")
    record = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps(record | {"status": "running"}))
    shutil.rmtree(folder / "seed=1")
    for path in (folder / "seed=0").rglob("*"):
        if path.is_file():
            path.unlink()
    (folder / "seed=0" / ".new-abc").write_text("half a record")
    (folder / "seed=0" / "train.log").touch()
    (folder / "seed=0" / ".lock").touch()


@pytest.mark.parametrize("again", ["resume", "repeat"])
def test_a_sweep_that_was_killed_before_its_first_record_is_started(again, tmp_path, monkeypatch):
    folder = tmp_path / "s"
    killed_before_its_first_record(folder)
    assert read_sweep(folder)["status"] == "stopped"  # nobody holds it, whatever its record says
    monkeypatch.chdir(tmp_path)
    words = ["sweep.resume=s"] if again == "resume" else [*SMALL, "seed=0,1", "hydra.sweep.dir=s"]
    assert app.main(words) == 0
    assert statuses(folder) == {"seed=0": "completed", "seed=1": "completed"}
    assert not [*folder.rglob(".new-*")]
    assert read_sweep(folder)["status"] == "completed"


def test_what_a_user_put_into_a_killed_sweep_is_not_replaced(tmp_path, capsys):
    folder = tmp_path / "s"
    killed_before_its_first_record(folder)
    (folder / "seed=0" / "notes.txt").write_text("mine")
    before = contents(folder)
    assert "holds seed=0" in refused([*SMALL, "seed=0,1", f"hydra.sweep.dir={folder}"], capsys)
    assert contents(folder) == before
    assert app.main([f"sweep.resume={folder}"]) == 0  # which adds to it, and removes only files of runs
    assert (folder / "seed=0" / "notes.txt").read_text() == "mine"
    assert statuses(folder) == {"seed=0": "completed", "seed=1": "completed"}


def test_a_folder_with_a_lock_alone_says_what_to_do(tmp_path, capsys):
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / ".lock").touch()
    assert f"repeat its command with hydra.sweep.dir={folder}" in refused([f"sweep.resume={folder}"], capsys)
    assert app.main([*SMALL, "seed=0,1", f"hydra.sweep.dir={folder}"]) == 0


def test_a_run_that_is_tried_again_loses_only_its_own_files(tmp_path):
    folder = tmp_path / "s"
    assert app.main([*SMALL, "seed=0,1", f"hydra.sweep.dir={folder}"]) == 0
    (folder / "seed=1" / "notes.txt").write_text("mine")
    record = json.loads((folder / "seed=1" / "run.json").read_text())
    (folder / "seed=1" / "run.json").write_text(json.dumps(record | {"status": "failed", "error": "failed: x"}))
    expected = (folder / "seed=1" / "metrics.csv").read_text()
    assert app.main([f"sweep.resume={folder}"]) == 0
    assert (folder / "seed=1" / "notes.txt").read_text() == "mine"
    assert (folder / "seed=1" / "metrics.csv").read_text() == expected
    assert statuses(folder)["seed=1"] == "completed"


# What is no run of the sweep


def test_runs_name_their_sweep_and_that_of_another_sweep_is_not_counted(tmp_path, capsys):
    for name in ("one", "two"):
        assert app.main([*SMALL, "seed=0,1", f"hydra.sweep.dir={tmp_path / name}"]) == 0
    one, two = (read_sweep(tmp_path / name)["id"] for name in ("one", "two"))
    assert one != two
    assert [RunRecord.read(tmp_path / "one" / f"seed={n}").fields["sweep"] for n in (0, 1)] == [one, one]
    shutil.rmtree(tmp_path / "one" / "seed=1")
    shutil.copytree(tmp_path / "two" / "seed=1", tmp_path / "one" / "seed=1")
    before = contents(tmp_path)
    capsys.readouterr()
    assert "job 1 (seed=1)" in refused([f"sweep.resume={tmp_path / 'one'}"], capsys)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("jobs", [{"folder": "../x", "overrides": []}]),
        ("jobs", [{"folder": "/x/y", "overrides": []}]),
        ("jobs", [{"folder": "..", "overrides": []}]),
        ("jobs", [{"folder": "a", "overrides": []}, {"folder": "a", "overrides": []}]),
        ("jobs", {"a": 1}),
        ("jobs", [3]),
        ("status", "finished"),
        ("overrides", "seed=1"),
        ("overrides", [1]),
        ("varied", [["seed"]]),
        ("seconds", "1"),
        ("seconds", float("nan")),
        ("study", [1]),
        ("id", 7),
        ("command", None),
    ],
)
def test_a_damaged_record_of_a_sweep_is_refused(field, value, tmp_path, capsys):
    record = {"status": "stopped", "command": "python train.py -m", "overrides": ["seed=0,1"], "varied": ["seed"]}
    record |= {"jobs": [{"number": 0, "folder": "seed=0", "overrides": ["seed=0"]}], "seconds": 0.0, "study": None}
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "sweep.json").write_text(json.dumps(record | {field: value}))
    assert "damaged" in refused([f"sweep.resume={tmp_path / 's'}"], capsys)


# What another process trains


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_run_that_another_process_trains_is_left_out(launcher, tmp_path, capsys):
    folder = tmp_path / "s"
    words = [*SMALL, "seed=range(3)", f"hydra/launcher={launcher}", f"hydra.sweep.dir={folder}"]
    assert app.main(words) == 0
    for name in ("seed=1", "seed=2"):
        (folder / name / "run.json").unlink()
    with another_process_holds(folder / "seed=1"):
        before = contents(folder / "seed=1")
        assert app.main([f"sweep.resume={folder}"]) == 1
        out = capsys.readouterr().out
        assert "left out     seed=1: its folder: in use by" in out
        assert contents(folder / "seed=1") == before
        assert statuses(folder) == {"seed=0": "completed", "seed=2": "completed"}
        assert read_sweep(folder)["status"] == "stopped"
    assert app.main([f"sweep.resume={folder}"]) == 0
    assert statuses(folder) == {f"seed={n}": "completed" for n in range(3)}


def test_a_sweep_that_another_process_trains_is_not_resumed(tmp_path, capsys):
    folder = tmp_path / "s"
    assert app.main([*SMALL, "seed=0,1", f"hydra.sweep.dir={folder}"]) == 0
    capsys.readouterr()
    with another_process_holds(folder):
        assert "in use by" in refused([f"sweep.resume={folder}"], capsys)
    with another_process_holds(tmp_path / "new"):
        words = [*SMALL, "seed=0,1", f"hydra.sweep.dir={tmp_path / 'new'}"]
        assert "in use by another process" in refused(words, capsys)
        assert "in use by another process" in refused([f"sweep.resume={tmp_path / 'new'}"], capsys)
        assert contents(tmp_path / "new").keys() == {".lock"}


# Commands that are printed


@pytest.fixture(scope="module")
def with_one_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two runs that has one."""
    folder = tmp_path_factory.mktemp("sweep") / "s"
    assert app.main([*SMALL, "seed=0,1", f"hydra.sweep.dir={folder}"]) == 0
    shutil.rmtree(folder / "seed=1")
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "2024",
        "1e5",
        "null",
        "a b",
        "a,b",
        "a=b",
        "it's",
        'say "x"',
        "$HOME",
        "a${seed}b",
        "[x]",
        "{x}",
        "ü",
        "a\\b",
        "-x",
    ],
)
def test_the_command_that_resumes_a_sweep_can_be_typed(name, with_one_run):
    folder = Path(shutil.copytree(with_one_run, name))
    typed = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {resume_command(folder).removeprefix('python train.py ')}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.removesuffix("\n")
    assert shlex.split(resume_command(folder))[2:] == [typed]
    assert app.main([typed]) == 0
    assert statuses(folder) == {"seed=0": "completed", "seed=1": "completed"}
