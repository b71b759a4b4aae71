"""A folder that one process writes is refused to every other, and free again when that process ends in any way."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lightning_d2l.config.check import RequestError
from lightning_d2l.training import lock

HOLDS = (
    "import sys, time, pathlib; from lightning_d2l.training.lock import hold; import lightning_d2l.training.lock as l\n"
)
NO_FLOCK = "import fcntl, errno\ndef fails(*_): raise OSError(errno.ENOLCK, '')\nfcntl.flock = fails"


@contextmanager
def process_that_holds(folder: Path, before: str = "") -> Iterator[subprocess.Popen[str]]:
    code = f"{HOLDS}{before}\nwith hold(pathlib.Path({str(folder)!r}), 'x'):\n    print('holds', flush=True); input()\n"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        try:
            yield process
        finally:
            process.kill()


def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("fcntl.flock", fails)


@pytest.mark.parametrize("flock", [True, False])
def test_a_folder_in_use_is_refused_until_its_process_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flock: bool
) -> None:
    if not flock:
        no_flock(monkeypatch)
    with process_that_holds(tmp_path, "" if flock else NO_FLOCK) as process:
        assert lock.holder(tmp_path) == lock.Holder(0, "", "")
        fields = {"pid": process.pid, "host": "here", "started": "2024-01-01"}
        (tmp_path / "run.json").write_text(json.dumps({"process": fields}))
        assert lock.holder(tmp_path) == lock.Holder(process.pid, "here", "2024-01-01")
        message = rf"^run.dir=a: in use by process {process.pid} on here, started 2024-01-01; wait for it or stop it$"
        with pytest.raises(RequestError, match=message), lock.hold(tmp_path, "run.dir=a"):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert lock.holder(tmp_path) is None
    with lock.hold(tmp_path, "run.dir=a"):
        assert lock.holder(tmp_path)
    assert lock.holder(tmp_path) is None


@pytest.mark.parametrize("flock", [True, False])
def test_of_many_processes_at_once_one_holds_the_folder(tmp_path: Path, flock: bool) -> None:
    """Each adds 1 to a number in a file 30 times, reading and writing it slowly: no addition is lost."""
    number, folder = tmp_path / "number", tmp_path / "folder"
    number.write_text("0")
    folder.mkdir()
    code = f"""{HOLDS}{"" if flock else NO_FLOCK}
folder, number, done = pathlib.Path({str(folder)!r}), pathlib.Path({str(number)!r}), 0
while done < 30:
    try:
        with hold(folder, 'x'):
            before = int(number.read_text()); time.sleep(0.0005); number.write_text(str(before + 1)); done += 1
    except l.RequestError:
        pass
"""
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert number.read_text() == "120"


def test_a_thread_may_hold_a_folder_twice_and_another_thread_not(tmp_path: Path) -> None:
    refused: list[str] = []

    def other() -> None:
        try:
            with lock.hold(tmp_path, "x"):
                pass
        except RequestError as error:
            refused.append(str(error))

    with lock.hold(tmp_path, "x"), lock.hold(tmp_path, "x"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert refused == ["x: in use by another thread of this process; wait for it or stop it"]
    assert lock.holder(tmp_path) is None


def test_a_forked_process_does_not_end_its_parents_lock(tmp_path: Path) -> None:
    code = f"""{HOLDS}import os
with hold(folder := pathlib.Path({str(tmp_path)!r}), 'x'):
    if (child := os.fork()) == 0:
        pass
    else:
        os.waitpid(child, 0)
        assert l.holder(folder)
assert l.process()["pid"] == os.getpid()
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0


def test_a_large_group_may_hold_more_folders_than_files_are_open_by_default(tmp_path: Path) -> None:
    code = f"""{HOLDS}import contextlib, resource
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
with contextlib.ExitStack() as all:
    for number in range(100):
        (folder := pathlib.Path({str(tmp_path)!r}, str(number))).mkdir()
        all.enter_context(hold(folder, 'x'))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("content", [b"", b"[[", b"[]", b'{"pid": "x"}', b"\xff"])
def test_a_lock_file_that_no_process_holds_is_taken(tmp_path: Path, content: bytes) -> None:
    (tmp_path / lock.LOCK).write_bytes(content)
    assert lock.holder(tmp_path) is None
    with lock.hold(tmp_path, "x"):
        pass


@pytest.mark.parametrize("record", [b"", b"[" * 100_000, b'{"process": {"pid": 1e400}}', b'{"process": 1}', b"\xff"])
def test_a_damaged_record_names_no_process(tmp_path: Path, record: bytes) -> None:
    (tmp_path / "run.json").write_bytes(record)
    with lock.hold(tmp_path, "x"):
        assert str(lock.holder(tmp_path)) == "another process"


def test_the_holder_of_a_folder_that_can_only_be_read_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with lock.hold(tmp_path, "x"):
        assert lock.holder(tmp_path) is not None
    assert lock.holder(tmp_path) is None


def test_a_folder_that_cannot_be_locked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^x: cannot be written"), lock.hold(tmp_path / "none", "x"):
        pass
    os.mkfifo(tmp_path / lock.LOCK)
    with pytest.raises(RequestError, match=r"^x: its .lock must be a regular file"), lock.hold(tmp_path, "x"):
        pass
    assert lock.holder(tmp_path) is None
