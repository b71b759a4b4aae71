"""The processes of a run on several devices: the program itself is rank 0, and starts the others.

Lightning would start them by repeating the command line, which composes and checks a new run in the same folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO, Any

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import distributed

from lightning_d2l.config.program import program
from lightning_d2l.training.spec import RunSpec

PROGRAM = "lightning_d2l.training.rank_program"
READY = "ready"  # what a process prints before it waits for the others
POLL = 0.1  # seconds between two looks at the processes
PATIENCE = 10.0  # seconds in which the processes end by themselves, after the first one has


class RankFailed(Exception):
    """Another process of the run ended before it had finished."""


class Environment(LightningEnvironment):
    """The place of this process among those of a run, all of them on this machine."""

    creates_processes_externally = True
    main_address = "127.0.0.1"

    def __init__(self, rank: int = 0, port: int = -1) -> None:
        super().__init__()
        self.rank = rank
        self._main_port = port  # -1: a free one is looked for when it is needed

    def local_rank(self) -> int:
        return self.rank

    def node_rank(self) -> int:
        return 0

    def teardown(self) -> None:
        """Leave the variables of the environment as they are."""


@contextlib.contextmanager
def together(spec: RunSpec, world: int, place: Environment) -> Iterator[None]:
    """Train in `world` processes: rank 0 starts the others and ends them, and each other one tells it that it is ready.

    Raises RankFailed if one of the others fails, with its last words.
    """
    if world == 1:
        yield
        return
    variables, threads = dict(os.environ), torch.get_num_threads()
    torch.set_num_threads(max(1, threads // world))
    try:
        if place.rank:
            print(READY, flush=True)
            with open(os.devnull, "w") as nowhere:  # nobody reads what a model prints here
                os.dup2(nowhere.fileno(), 1)
            yield
        else:
            with _Others(spec, world, place) as others, others.explained():
                yield
    finally:
        if distributed.is_initialized():
            with contextlib.suppress(Exception):  # a process that failed can't be asked any more
                distributed.destroy_process_group()
        torch.set_num_threads(threads)
        for name in ("MASTER_ADDR", "MASTER_PORT"):  # which Lightning sets
            os.environ.pop(name, None)
            if name in variables:
                os.environ[name] = variables[name]


class _Others:
    """The processes from rank 1 on: started on entry, and gone on exit."""

    def __init__(self, spec: RunSpec, world: int, place: Environment) -> None:
        self.processes: list[subprocess.Popen[str]] = []
        self.words: list[IO[bytes]] = []
        self.request: dict[str, Any] = {
            "spec": {**asdict(spec), "folder": str(spec.folder)},
            "program": asdict(program()),
            "port": place.main_port,
        }
        self.world = world

    def __enter__(self) -> _Others:
        try:
            for rank in range(1, self.world):
                self._start(rank)
            self._wait_until_ready()
        except BaseException:
            self._end(0)
            raise
        return self

    def _start(self, rank: int) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self.words.append(words := tempfile.TemporaryFile())  # noqa: SIM115  closed on exit
        self.processes.append(
            subprocess.Popen(
                [sys.executable, "-P", "-m", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C reaches rank 0 alone, which ends the others
            )
        )
        pipe = self.processes[-1].stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, as is seen below
            pipe.write(json.dumps({**self.request, "rank": rank}) + "\n")
            pipe.flush()

    def _wait_until_ready(self) -> None:
        """Wait in Python, where a signal ends the waiting, and not in torch for a process that never comes."""
        heard: list[str] = []  # what each process has printed

        def listen(pipe: IO[str]) -> None:
            heard.append(pipe.readline())

        for process in self.processes:
            assert process.stdout is not None
            threading.Thread(target=listen, args=(process.stdout,), daemon=True).start()
        while len(heard) < len(self.processes) or any(words.strip() != READY for words in heard):
            if failed := self._failed():
                raise RankFailed(failed)
            time.sleep(POLL / 10)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Raise RankFailed in place of the error of a connection to a process that has ended."""
        try:
            yield
        except (RuntimeError, distributed.DistError) as error:
            words = str(error).lower()
            if not any(name in words for name in ("gloo", "nccl", "connection", "store")):
                raise
            end = time.monotonic() + PATIENCE
            while not (failed := self._failed()) and time.monotonic() < end:
                time.sleep(POLL)
            if not failed:
                raise
            raise RankFailed(failed) from error

    def _failed(self) -> str:
        """What happened to the first process that has ended, or an empty string."""
        for rank, (process, file) in enumerate(zip(self.processes, self.words, strict=True), 1):
            if (code := process.poll()) is None:
                continue
            if code <= 0:
                return f"rank {rank} of {self.world} " + (f"was ended by signal {-code}" if code else "ended early")
            file.seek(0)
            said = file.read().decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
            said = [re.sub(r"^\[rank\d+\]: ", "", line) for line in said]
            errors = [line for line in said if re.match(r"[\w.]+(Error|Exception)\b", line)]
            return f"rank {rank} of {self.world} failed: {(errors or said)[-1][:300]}"
        return ""

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._end(0 if error else PATIENCE)

    def _end(self, patience: float) -> None:
        """End the processes that have not ended by themselves after `patience` seconds."""
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        for file in self.words:
            file.close()
