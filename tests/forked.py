"""Programs in processes of their own, forked from one that has imported torch and Lightning, which takes seconds.

Signals, kills and exit codes are those of any process. What is printed while Python imports is not seen.
"""

import faulthandler
import functools
import multiprocessing
import os
import signal
import sys
import tempfile
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from pathlib import Path

import pytest

from tests.conftest import ROOT

IMPORTED = [
    "lightning_d2l.training.fit", "lightning_d2l.sweeps.vectorized", "lightning_d2l.cli", "matplotlib.pyplot",
    "torch.fx.experimental.proxy_tensor", "torch.utils.tensorboard", "tests.forked",
]  # fmt: skip
TRAIN = f"import runpy\nrunpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')"


@functools.cache
def server() -> ForkServerContext:
    """The process that the others are forked from, which imports this checkout's package."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        ensure_running()
    return context


def _run(program: str, words: tuple[str, ...], folder: Path, environment: dict[str, str], output: Path) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, name in enumerate(("out", "err"), 1):
        os.dup2(os.open(output / name, os.O_WRONLY | os.O_CREAT), number)
    faulthandler.enable()
    sys.argv = [str(ROOT / "train.py"), *words]
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})


class Forked:
    """Runs `python train.py` with these words, or another program's text; has what tests use of subprocess.Popen."""

    def __init__(self, *words: str, program: str = TRAIN) -> None:
        self.output = tempfile.TemporaryDirectory()
        given = (program, words, Path.cwd(), dict(os.environ), Path(self.output.name))
        self.process = server().Process(target=_run, args=given, daemon=True)  # ended with the tests
        self.process.start()
        self.pid: int = self.process.pid

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.process.kill()

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float = 120) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.send_signal(signal.SIGABRT)
            self.process.join()
            pytest.fail(f"still ran after {timeout} s: {(Path(self.output.name) / 'err').read_text()}")
        return self.process.exitcode

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        """Wait for the end; returns what was written to stdout and stderr."""
        self.wait(timeout)
        out, err = ((Path(self.output.name) / name).read_text() for name in ("out", "err"))
        return out, err
