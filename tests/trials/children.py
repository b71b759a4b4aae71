"""Programs of this package in forked children, which have imported everything already, so that a case takes little.

A child has a folder of its own, with a `work` folder in it, where it runs. Whatever it opens a pickle for, imports,
or starts as another program is noted; whatever it writes outside of `work` is seen.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import io
import os
import pickle
import pkgutil
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

os.environ["OMP_NUM_THREADS"] = "1"

LIMIT = 20.0  # seconds: 5 and what the other programs of a shared machine may take of them
MOST_OUTPUT = 2**20  # bytes
CANARY = "trial_canary"  # a module that must never be imported
EXECUTED = "executed"  # the file that tells that it was, or that something else was run
Prepare = Callable[[], object]


@dataclass
class Outcome:
    """How a program ended: its exit code (negative: a signal; None: it hung), what it printed, and what it ran."""

    code: int | None
    out: str
    err: str
    seconds: float
    cpu: float
    executed: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.out + self.err

    def faults(self) -> Iterator[tuple[str, str]]:
        """What no program may do, whatever it is given: kind and description."""
        if self.executed:
            yield "executed", "; ".join(self.executed)
        if self.code is None:
            yield "hung", f"after {self.seconds:.0f} s: {self.last_line()}"
        if "Traceback (most recent call last)" in self.text or "(verbose shows where)" in self.text:
            yield "tracebacks", self.last_line()
        if any((c < " " and c not in "\n\t\r") or "\x7f" <= c <= "\x9f" for c in self.text):
            yield "other", f"control characters in the output: {self.text[-300:]!r}"

    def refused(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the answer to a request that must be refused."""
        if self.code != 2:
            yield "other", f"exit code {self.code} instead of 2: {self.last_line()}"
        elif not 1 <= len(self.err.splitlines()) <= 2:
            yield "other", f"{len(self.err.splitlines())} lines of error: {self.err[:200]!r}"

    def last_line(self) -> str:
        lines = self.text.strip().splitlines() or [""]
        return next((line for line in lines if line.startswith(("error", "failed"))), lines[-1])[:300]


class Room:
    """The folder of a case, with canaries in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder, folder / "work"
        self.executed, self.precious, self.pickle = folder / EXECUTED, folder / "precious", folder / "canary.pkl"
        self.work.mkdir(parents=True)
        self.precious.write_text("mine\n")
        (folder / "modules").mkdir()
        (folder / "modules" / f"{CANARY}.py").write_text(
            f"import pathlib\npathlib.Path({str(self.executed)!r}).write_text('a module')\n"
            "def touch(*args, **named):\n    return 1\n"
        )
        self.pickle.write_bytes(pickle.dumps(Loaded(str(self.executed))))
        self.before = self._outside()

    def _outside(self) -> dict[str, str]:
        """The digests of the files outside of `work`, but for those of the case's input."""
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.folder.rglob("*")
            if not path.is_relative_to(self.work)
            and not path.is_relative_to(self.folder / "input")
            and "__pycache__" not in path.parts
            and path.name not in ("stdout", "stderr", "events", EXECUTED)
            and path.is_file()
        }

    def outside(self) -> Iterator[tuple[str, str]]:
        """What was written outside of `work`, as a fault."""
        if (after := self._outside()) != self.before:
            changed = [name for name in {**after, **self.before} if after.get(name) != self.before.get(name)]
            yield "other", f"written outside: {', '.join(changed[:3])}"

    def written(self) -> list[str]:
        """What lies in `work`."""
        return sorted(str(path.relative_to(self.work)) for path in self.work.rglob("*"))


class Loaded:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"echo a pickle > '{self.path}'",)


@dataclass
class Child:
    """A program that runs in a forked child."""

    pid: int
    room: Room
    began: float
    pipes: tuple[int, ...] = ()  # from which its output and its error stream are read; else they are files

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self, limit: float = LIMIT) -> Outcome:
        """Wait for the end of the program, and kill it after `limit` seconds."""
        pause, until, hung = 0.001, time.monotonic() + limit, False
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > until:
                hung, until = True, float("inf")
                self.signal(signal.SIGKILL)
            time.sleep(pause)
            pause = min(0.02, pause * 1.5)
        folder = self.room.folder
        if self.pipes:
            out, err = (_emptied(pipe).decode(errors="replace") for pipe in self.pipes)
        else:
            out, err = ((folder / name).read_bytes().decode(errors="replace") for name in ("stdout", "stderr"))
        events = folder / "events"
        executed = events.read_text().splitlines() if events.exists() else []
        executed += [self.room.executed.read_text().strip() or EXECUTED] if self.room.executed.exists() else []
        code = None if hung else os.waitstatus_to_exitcode(status)
        return Outcome(code, out, err, time.monotonic() - self.began, usage.ru_utime + usage.ru_stime, executed)


def start(
    room: Room,
    words: Sequence[str],
    *,
    program: str = "train",
    prepare: Prepare | None = None,
    environment: Mapping[str, str] | None = None,
) -> Child:
    """Start `python train.py WORDS` or `lightning-d2l WORDS` in a room's `work`; `prepare` is called in the child."""
    sys.stdout.flush()
    sys.stderr.flush()
    began, pipes = time.monotonic(), [os.pipe(), os.pipe()]
    pid = os.fork()
    if pid:
        for _, written in pipes:
            os.close(written)
        return Child(pid, room, began, tuple(read for read, _ in pipes))
    code = 70
    try:
        code = _child(room, list(words), program, prepare, environment or {}, [written for _, written in pipes])
    except BaseException:  # as the interpreter does with what main lets through
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code if isinstance(code, int) else 1)


def run(room: Room, words: Sequence[str], *, limit: float = LIMIT, **settings: Any) -> Outcome:
    """Start a program and wait for its end."""
    return start(room, words, **settings).wait(limit)


def real(room: Room, words: Sequence[str], *, limit: float = 3 * LIMIT, **settings: Any) -> Outcome:
    """The same as a new process of Python, as a user starts it; `settings` are those of subprocess.Popen."""
    began = time.monotonic()
    with open(room.folder / "stdout", "wb") as out, open(room.folder / "stderr", "wb") as err:
        given = {"stdout": out, "stderr": err, "stdin": subprocess.DEVNULL, "cwd": room.work, **settings}
        process = subprocess.Popen(command(*words), **given)
        child = Child(process.pid, room, began)
        outcome = child.wait(limit)
    process.returncode = outcome.code if outcome.code is not None else -signal.SIGKILL
    return outcome


def command(*words: str) -> list[str]:
    """The command line of a program: `train ...` or another command of lightning-d2l."""
    if words[:1] == ("train",):
        return [sys.executable, str(ROOT / "train.py"), *words[1:]]
    return [sys.executable, "-m", "lightning_d2l", *words]


def import_everything() -> None:
    """Import all modules of the package once, for the children to have them."""
    import joblib  # noqa: F401 - what a hostile configuration would load a pickle with
    import matplotlib.pyplot as plt
    import tensorboard.backend.event_processing.event_accumulator  # noqa: F401

    import hydra_plugins.lightning_d2l_sweeps  # noqa: F401
    import lightning_d2l

    for module in pkgutil.walk_packages(lightning_d2l.__path__, "lightning_d2l."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    plt.close(plt.figure())  # finds the fonts


def _child(
    room: Room,
    words: list[str],
    program: str,
    prepare: Prepare | None,
    environment: Mapping[str, str],
    pipes: list[int],
) -> int:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.chdir(room.work)
    for name, descriptor, pipe in (("stdout", 1, pipes[0]), ("stderr", 2, pipes[1])):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, MOST_OUTPUT)
        os.dup2(pipe, descriptor)
        setattr(sys, name, io.TextIOWrapper(io.FileIO(descriptor, "w", closefd=False), line_buffering=True))
    os.environ.pop("LIGHTNING_D2L_DATA", None)
    os.environ.update(environment)
    sys.path.append(str(room.folder / "modules"))
    memory = 16 * 2**30  # a case that would take all of it shall fail by itself
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    sys.addaudithook(_watch(os.open(room.folder / "events", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)))
    if prepare is not None:
        prepare()
    from lightning_d2l.__main__ import program as main

    sys.argv = ["train.py" if program == "train" else "lightning-d2l", *words]
    try:
        main("lightning_d2l.app" if program == "train" else "lightning_d2l.cli")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _emptied(pipe: int) -> bytes:
    """What is in a pipe, which is closed."""
    os.set_blocking(pipe, False)
    parts = []
    with contextlib.suppress(BlockingIOError):
        while part := os.read(pipe, MOST_OUTPUT):
            parts.append(part)
    os.close(pipe)
    return b"".join(parts)


def _watch(events: int) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that writes what nothing in these trials may do to an open file."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn") or (
            event == "subprocess.Popen" and Path(os.fsdecode(args[0])).name != "git"
        ):
            os.write(events, f"{event} {args[0]!r}\n".encode())
        elif event == "pickle.find_class" and str(args[0]) in ("os", "posix", "nt", "subprocess", CANARY):
            os.write(events, f"{event} {args[0]}.{args[1]}\n".encode())
        elif event == "import" and str(args[0]).split(".")[0] in (CANARY, "antigravity", "this"):
            os.write(events, f"{event} {args[0]}\n".encode())

    return hook
