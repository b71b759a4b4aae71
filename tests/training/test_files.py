import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_d2l.training import files
from lightning_d2l.training.files import MetricsFile, read_bounded, read_json, replacing, replacing_together


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half of the new")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.fixture(params=[True, False], ids=["syncfs", "fsync"])
def old_files(request, tmp_path, monkeypatch) -> list[Path]:
    """Files of two runs, for both ways to wait for the disk."""
    monkeypatch.setattr(files, "SYNCFS", request.param and files.SYNCFS)
    paths = [tmp_path / run / name for run in ("a", "b") for name in ("metrics.csv", "run.json")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text("old")
    return paths


def replace_all(paths: list[Path], content: bytes) -> None:
    for path in paths:
        with replacing(path) as file:
            file.write(content)


def test_many_files_are_replaced_together(old_files):
    with replacing_together():
        replace_all(old_files, b"newer")
        replace_all(old_files, b"newest")
        assert [path.read_text() for path in old_files] == ["old"] * 4
    assert [path.read_text() for path in old_files] == ["newest"] * 4
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in old_files)
    replace_all(old_files, b"one by one")
    assert [path.read_text() for path in old_files] == ["one by one"] * 4
    assert sorted(p for path in old_files for p in path.parent.iterdir()) == sorted(old_files * 2)


@pytest.mark.parametrize("when", ["while they are written", "while one is written", "before they are on the disk"])
def test_of_many_files_that_fail_none_is_replaced(when, old_files, monkeypatch):
    def fail(*args):
        raise OSError("no space left")

    def write() -> None:
        with replacing_together():
            replace_all(old_files, b"new")
            if when == "while they are written":
                fail()
            if when == "while one is written":
                with replacing(old_files[0]) as file:
                    file.write(b"half of")
                    fail()
            monkeypatch.setattr(files, "_sync_folders", fail)

    with pytest.raises(OSError, match="no space"):
        write()
    assert [path.read_text() for path in old_files] == ["old"] * 4
    assert sorted(p for path in old_files for p in path.parent.iterdir()) == sorted(old_files * 2)
    monkeypatch.undo()
    replace_all(old_files, b"new")
    assert [path.read_text() for path in old_files] == ["new"] * 4


@pytest.mark.parametrize("killed_at", ["os.replace", "files._sync_folders", "files.secrets.token_hex"])
def test_a_kill_leaves_each_of_many_files_whole(killed_at, tmp_path):
    program = f"""if True:
        import os, signal, sys
        from pathlib import Path
        from lightning_d2l.training import files
        paths = [Path(sys.argv[1]) / str(i) for i in range(6)]
        for path in paths:
            path.write_text("old" * 5000)
        working, calls = {killed_at}, []
        def killed(*args):
            calls.append(args)
            if len(calls) == {2 if killed_at == "files._sync_folders" else 4}:
                os.kill(os.getpid(), signal.SIGKILL)
            return working(*args)
        {killed_at} = killed
        with files.replacing_together():
            for path in paths:
                with files.replacing(path) as file:
                    file.write(b"new" * 5000)
    """
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    new = {"files.secrets.token_hex": 0, "os.replace": 3, "files._sync_folders": 6}[killed_at]
    assert [(tmp_path / str(i)).read_text() for i in range(6)] == ["new" * 5000] * new + ["old" * 5000] * (6 - new)


def test_a_full_disk_leaves_whole_rows(tmp_path):
    """A limit on file size instead of a full disk: the write that crosses it fails."""
    program = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from lightning_d2l.training.files import MetricsFile\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"
        "file = MetricsFile(Path(sys.argv[1]))\n"
        "try:\n    for epoch in range(1, 100):\n        file.append({'epoch': epoch, 'loss/train': 1 / 3})\n"
        "except OSError:\n    sys.exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 7
    rows = MetricsFile(tmp_path).rows()
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    assert (tmp_path / "metrics.csv").read_text().endswith("\n")


def test_metrics_are_cut_to_the_checkpoint_and_a_torn_row_is_left_out(tmp_path):
    file = MetricsFile(tmp_path)
    for epoch in range(1, 6):
        file.append({"epoch": epoch, "step": 10 * epoch, "loss/train": 1 / epoch})
    with open(tmp_path / "metrics.csv", "a") as torn:
        torn.write("6,60,0.1")
    assert [row["epoch"] for row in file.rows()] == [1, 2, 3, 4, 5]
    file.cut_after(3)
    assert file.rows()[-1] == {"epoch": 3, "step": 30, "loss/train": 1 / 3}
    file.append({"epoch": 4, "step": 40, "loss/train": 0.25})
    assert [row["epoch"] for row in file.rows()] == [1, 2, 3, 4]
    file.cut_after(0)
    assert not (tmp_path / "metrics.csv").exists()


def test_only_a_regular_file_of_a_bounded_size_is_read(tmp_path: Path) -> None:
    """A FIFO without a writer is refused at once, and so is a device without an end."""
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    with pytest.raises(ValueError, match=r"^larger than 4 bytes$"):
        read_bounded(path, 4)
    os.mkfifo(tmp_path / "fifo")
    for other in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises((ValueError, OSError), match=r"regular|No such device"):
            read_bounded(other, 5)
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "none", 5)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 10_000])
def test_json_that_can_t_be_read_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=r"^(not valid JSON|JSON nested too deeply)$"):
        read_json(tmp_path / "file", 1_000_000)


def test_a_row_may_lack_a_metric_and_a_later_one_may_have_more(tmp_path):
    rows = [
        {"epoch": 1, "step": 5, "loss/train": 0.5},
        {"epoch": 2, "step": 10, "loss/train": 0.25, "loss/val": 0.75},
        {"epoch": 3, "step": 15, "loss/val": 0.5},
    ]
    for row in rows:
        MetricsFile(tmp_path).append(row)  # as each attempt of a resumed run has its own
    assert MetricsFile(tmp_path).rows() == rows
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines == ["epoch,step,loss/train,loss/val", "1,5,0.5,", "2,10,0.25,0.75", "3,15,,0.5"]
