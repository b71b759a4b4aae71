"""Chunks of a sweep, as files of plain data in its folder: what is asked, who trains it, and that it is done.

A chunk is the runs that a worker is handed as one task. In the folder `.chunks` of the sweep, chunk 12 has

    000012.json      its jobs, as differences from the configuration in common.json
    000012.1.claim   the first worker that took it; its time of change says that the worker lives
    000012.2.claim   the worker that took it after the first had died
    000012.done      how it ended, written last

Creating a claim fails if it exists, on a shared file system too, so that each has one owner. A claim that was not
renewed for LAPSE seconds has lapsed, and the next one may be made. A worker that finds a later claim than its own
stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.training.files import read_bounded, write_json
from lightning_d2l.training.spec import RunSpec

CHUNKS = ".chunks"
COMMON = "common.json"
LARGEST = 500_000_000  # bytes of a file of chunks
LAPSE = 60.0  # seconds without a sign of life, after which a worker counts as dead
BEAT = 2.0  # seconds between two signs of life
_NAME = re.compile(r"(\d{6,})\.(json|done|(\d+)\.claim)")


@dataclass
class Chunk:
    """The files of a chunk: its claims by their owners' words, in order, and how it ended, or None."""

    number: int
    claims: list[Path]
    done: Mapping[str, Any] | None = None


class Chunks:
    """The chunks in the folder of a sweep."""

    def __init__(self, sweep: Path) -> None:
        self.sweep, self.folder = sweep, sweep / CHUNKS
        self._common: dict[str, Any] | None = None

    def begin(self, common: Mapping[str, Any]) -> None:
        """Remove the chunks of an earlier process, and write what all chunks have in common; "config" is needed."""
        self.folder.mkdir(exist_ok=True)
        self.remove()
        self.folder.mkdir(exist_ok=True)
        self._common = {**common}
        write_json(self.folder / COMMON, self._common, new_folders=False)

    def remove(self) -> None:
        """Remove the files of chunks, and their folder if nothing else is in it."""
        for path in list(self.folder.iterdir()) if self.folder.is_dir() else []:
            if path.name == COMMON or _NAME.fullmatch(path.name) or path.suffix == ".log":
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    @property
    def common(self) -> dict[str, Any]:
        """What all chunks have in common; raises RequestError if there is nothing, or it is damaged."""
        if self._common is None:
            self._common = self._read(self.folder / COMMON)
        return self._common

    def write(self, number: int, jobs: Sequence[RunSpec]) -> None:
        """Write a chunk."""
        base = self.common["config"]
        listed = [
            {"name": j.name, "number": j.number, "overrides": j.overrides, "command": j.command,
             "config": difference(base, j.config)}
            for j in jobs
        ]  # fmt: skip
        write_json(self.folder / f"{number:06}.json", {"jobs": listed}, new_folders=False)

    def jobs(self, number: int) -> list[RunSpec]:
        """The jobs of a chunk; raises RequestError if there is no such chunk, or it is damaged."""
        path, base, sweep = self.folder / f"{number:06}.json", self.common["config"], str(self.common["sweep"])
        try:
            return [
                RunSpec(changed(base, job["config"]), self.sweep / job["name"], list(job["overrides"]),
                        job["command"], job["number"], sweep, silent=True)
                for job in self._read(path)["jobs"]
            ]  # fmt: skip
        except (KeyError, TypeError) as error:
            raise RequestError(f"{path}: damaged ({error!r})") from error

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            found = json.loads(read_bounded(path, LARGEST))
        except FileNotFoundError:
            raise RequestError(f"{path}: no such chunk") from None
        except (OSError, ValueError) as error:
            raise RequestError(f"{path}: damaged ({error})") from error
        return dict(found)

    def found(self) -> dict[int, Chunk]:
        """Every chunk by its number, as its files say now."""
        chunks: dict[int, Chunk] = {}
        claims: dict[int, list[tuple[int, Path]]] = {}
        ended = []
        for entry in os.scandir(self.folder):
            if match := _NAME.fullmatch(entry.name):
                number = int(match[1])
                if match[2] == "json":
                    chunks[number] = Chunk(number, [])
                elif match[2] == "done":
                    ended.append(number)
                else:
                    claims.setdefault(number, []).append((int(match[3]), Path(entry.path)))
        for number in chunks.keys() & claims.keys():
            chunks[number].claims = [path for _, path in sorted(claims[number])]
        for number in chunks.keys() & set(ended):
            with contextlib.suppress(RequestError):
                chunks[number].done = self._read(self.folder / f"{number:06}.done")
        return dict(sorted(chunks.items()))

    def end(self, number: int, outcome: Mapping[str, Any]) -> None:
        """Say that a chunk is done."""
        write_json(self.folder / f"{number:06}.done", dict(outcome), new_folders=False)

    def lapsed(self, claim: Path) -> bool:
        """Whether the owner of a claim gave no sign of life for LAPSE seconds, by the clock of the file system."""
        probe = self.folder / f"clock-{os.getpid()}-{threading.get_ident()}.log"
        probe.touch()
        try:
            return probe.stat().st_mtime - claim.stat().st_mtime > LAPSE
        except FileNotFoundError:
            return False
        finally:
            probe.unlink(missing_ok=True)

    def take(self, number: int, attempts: int) -> Path | None:
        """Claim a chunk that nobody works on, or None; it may be claimed `attempts` times in all."""
        chunk = self.found().get(number)
        if chunk is None or chunk.done or len(chunk.claims) >= attempts:
            return None
        if chunk.claims and not self.lapsed(chunk.claims[-1]):
            return None
        path = self.folder / f"{number:06}.{len(chunk.claims) + 1}.claim"
        try:
            with path.open("x") as file:
                json.dump({"host": socket.gethostname(), "pid": os.getpid()}, file)
        except FileExistsError:
            return None
        return path


def give_up(claim: Path) -> None:
    """Let a claim lapse at once, since its owner is known to be dead."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(claim, (0, 0))


@contextlib.contextmanager
def alive(claim: Path, lost: Callable[[], None], said: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
    """Give signs of life of the owner of a claim, with what it has to say; `lost` is called if another one took over.

    A claim that its owner gave no sign of for LAPSE seconds, such as in a stopped process, may have been taken.
    """
    over, base = threading.Event(), claim.name.rpartition(".")[0]
    stem, _, attempt = base.rpartition(".")
    later, own = claim.with_name(f"{stem}.{int(attempt) + 1}.claim"), json.loads(claim.read_text())

    def beat() -> None:
        while not over.wait(BEAT):
            if later.exists() or not claim.exists():
                lost()
                return
            with contextlib.suppress(OSError):
                claim.write_text(json.dumps({**own, **said()}))

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(2 * BEAT)


def words_of(claim: Path) -> dict[str, Any]:
    """What the owner of a claim said last; empty while it writes."""
    try:
        found = json.loads(read_bounded(claim, 100_000))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def difference(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What `changed` makes `other` of `base` with: [value] for a key that differs, None for one that `other` lacks."""
    found: dict[str, Any] = {key: None for key in base if key not in other}
    for key, value in other.items():
        there = base.get(key)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            if below := difference(there, value):
                found[key] = below
        elif key not in base or repr(there) != repr(value):  # 1 and 1.0 are equal
            found[key] = [value]
    return found


def changed(base: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration from `difference`; what does not differ is shared with `base`."""
    result = {**base}
    for key, value in found.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = value[0] if isinstance(value, list) else changed(result[key], value)
    return result
