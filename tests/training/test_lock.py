"""A folder that one process writes is refused to every other, and free again when that process ends in any way."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lightning_d2l.config.check import RequestError
from lightning_d2l.training import lock

HOLDS = (
    "import sys, time, pathlib; from lightning_d2l.training.lock import hold; import lightning_d2l.training.lock as l\n"
)


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


NO_FLOCK = "import fcntl, errno\ndef fails(*_): raise OSError(errno.ENOLCK, '')\nfcntl.flock = fails"


@pytest.mark.parametrize("flock", [True, False])
def test_a_folder_in_use_is_refused_until_its_process_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flock: bool
) -> None:
    if not flock:
        no_flock(monkeypatch)
    with process_that_holds(tmp_path, "" if flock else NO_FLOCK) as process:
        found = lock.holder(tmp_path)
        assert found is not None
        assert found.pid == process.pid
        assert found.host == lock.process()["host"]
        message = rf"^run.dir=a: in use by process {process.pid} on .* since .*; wait for it or stop it$"
        with pytest.raises(RequestError, match=message), lock.hold(tmp_path, "run.dir=a"):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / lock.LOCK).exists()
    assert lock.holder(tmp_path) is None
    with lock.hold(tmp_path, "run.dir=a"):
        assert lock.holder(tmp_path)
    assert list(tmp_path.iterdir()) == []


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
    assert list(folder.iterdir()) == []


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
        assert l.holder(folder).pid == os.getpid()
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("content", [b"", b"[[", b"[]", b'{"pid": "x"}', b"[" * 100_000, b'{"pid": 1e400}', b"\xff"])
def test_a_damaged_lock_of_no_process_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    (tmp_path / lock.LOCK).write_bytes(content)
    with lock.hold(tmp_path, "x"):
        pass
    no_flock(monkeypatch)
    (tmp_path / lock.LOCK).write_bytes(content)
    os.utime(tmp_path / lock.LOCK, (time.time() - 2 * lock.DEAD,) * 2)
    with lock.hold(tmp_path, "x"):
        pass


def test_without_flock_a_process_on_another_machine_lives_while_its_lock_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_flock(monkeypatch)
    path = tmp_path / lock.LOCK
    path.write_text(json.dumps({"pid": 1, "host": "elsewhere", "started": "", "since": "2024-01-01"}))
    found = lock.holder(tmp_path)
    assert found is not None
    assert str(found) == "process 1 on elsewhere since 2024-01-01"
    os.utime(path, (time.time() - 2 * lock.DEAD,) * 2)
    assert lock.holder(tmp_path) is None


def test_without_flock_a_later_process_with_the_same_number_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_flock(monkeypatch)
    fields = {**lock.process(), "since": "2024-01-01T00:00:00+00:00"}
    (tmp_path / lock.LOCK).write_text(json.dumps(fields))
    assert lock.holder(tmp_path) is not None
    (tmp_path / lock.LOCK).write_text(json.dumps(fields | {"started": "2024-01-01T00:00:00+00:00"}))
    assert lock.holder(tmp_path) is None


def test_a_folder_that_can_t_be_written_is_a_wrong_request(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^x: cannot be written"), lock.hold(tmp_path / "none", "x"):
        pass
    os.mkfifo(tmp_path / lock.LOCK)
    with pytest.raises(RequestError, match=r"^x: "), lock.hold(tmp_path, "x"):
        pass
    assert lock.holder(tmp_path) is None
