"""Chunks of a sweep, as files of plain data in its folder: what is asked, who trains it, and that it is done.

A chunk is the runs that a worker is handed as one task. In the folder `.chunks` of the sweep, chunk 12 has

    000012.json      its jobs, as differences from the configuration in common.json
    000012.1.claim   the first worker that took it; it is written anew every BEAT seconds while that worker lives
    000012.2.claim   the worker that took it after the first had died
    000012.done      how it ended, written last

Creating a claim fails if it exists, on a shared file system too, so that each has one owner. A claim that was not
renewed for LAPSE seconds has lapsed, and the next one may be made; the one before is replaced by a file that is
nobody's. A worker finds this when it renews its claim, and before it replaces a file of a run if it has not renewed
its claim for long (see `alive`), and stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps import claims
from lightning_d2l.sweeps.claims import NOBODY, changed_at, claim_of, is_gone, padded, words_of
from lightning_d2l.training.files import read_bounded, remove_unfinished, replacing, replacing_together
from lightning_d2l.training.spec import RunSpec

CHUNKS = ".chunks"
COMMON = "common.json"
LARGEST = 500_000_000  # bytes of a file of chunks
_NAME = re.compile(r"(\d{6,})\.(?:(json)|(done)|(\d+)\.claim)")


@dataclass
class Chunk:
    """The files of a chunk: its claims, in order, and how it ended, or None."""

    number: int
    claims: list[Path] = field(default_factory=list)
    done: Mapping[str, Any] | None = None


class Chunks:
    """The chunks in the folder of a sweep."""

    def __init__(self, sweep: Path) -> None:
        self.sweep, self.folder = sweep, sweep / CHUNKS
        self._common: dict[str, Any] | None = None

    def begin(self, common: Mapping[str, Any]) -> None:
        """Write what all chunks have in common; "config" is needed.

        Raises FileNotFoundError if the folder of the sweep does not exist.
        """
        self.folder.mkdir(exist_ok=True)
        self._common = {**common}
        _write(self.folder / COMMON, self._common)

    def remove(self) -> None:
        """Remove the files of all chunks, and their folder if nothing else is in it."""
        remove_unfinished(self.folder, below=False)
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else []:
            if path.name == COMMON or _NAME.fullmatch(path.name) or path.suffix == ".log":
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def forget(self, chunk: Chunk) -> None:
        """Remove the files of a chunk: what is asked first, so that nobody takes it meanwhile."""
        stem = self.folder / f"{chunk.number:06}"
        for path in (stem.with_suffix(".json"), *chunk.claims, stem.with_suffix(".done")):
            path.unlink(missing_ok=True)

    @property
    def common(self) -> dict[str, Any]:
        """What all chunks have in common; raises RequestError if there is nothing, or it is damaged."""
        if self._common is None:
            self._common = self._read(self.folder / COMMON)
        return self._common

    def write(self, number: int, jobs: Sequence[RunSpec]) -> None:
        """Write a chunk."""
        self.write_all({number: jobs})

    def write_all(self, chunks: Mapping[int, Sequence[RunSpec]]) -> None:
        """Write chunks by their numbers."""
        base = self.common["config"]
        with replacing_together():
            for number, jobs in chunks.items():
                listed = [
                    {"name": j.name, "number": j.number, "overrides": j.overrides, "command": j.command,
                     "config": difference(base, j.config)}
                    for j in jobs
                ]  # fmt: skip
                _write(self.folder / f"{number:06}.json", {"jobs": listed})

    def jobs(self, number: int) -> list[RunSpec]:
        """The jobs of a chunk; raises RequestError if there is no such chunk, or it is damaged."""
        path, base, sweep = self.folder / f"{number:06}.json", self.common["config"], str(self.common["sweep"])
        try:
            return [
                RunSpec(changed(base, job["config"]), self.sweep / _name(job["name"]), list(job["overrides"]),
                        job["command"], job["number"], sweep, silent=True)
                for job in self._read(path)["jobs"]
            ]  # fmt: skip
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise RequestError(f"{path}: damaged ({error!r})") from error

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            found = json.loads(read_bounded(path, LARGEST))
        except FileNotFoundError:
            raise RequestError(f"{path}: no such chunk") from None
        except (OSError, ValueError, RecursionError) as error:
            raise RequestError(f"{path}: damaged ({error})") from error
        if not isinstance(found, dict):
            raise RequestError(f"{path}: damaged (no fields)")
        return found

    def listed(self) -> tuple[dict[int, Chunk], set[int]]:
        """The chunks that are asked for, by their numbers, with their claims, and the numbers of those that are done.

        It reads names alone.
        """
        asked: dict[int, Chunk] = {}
        taken: dict[int, list[tuple[int, str]]] = {}
        done: set[int] = set()
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.folder):
                if match := _NAME.fullmatch(name):
                    number = int(match[1])
                    if match[2]:
                        asked[number] = Chunk(number)
                    elif match[3]:
                        done.add(number)
                    else:
                        taken.setdefault(number, []).append((int(match[4]), name))
        for number in asked.keys() & taken.keys():
            asked[number].claims = [self.folder / name for _, name in sorted(taken[number])]
        return dict(sorted(asked.items())), done

    def found(self) -> dict[int, Chunk]:
        """Every chunk by its number, as its files say now."""
        asked, done = self.listed()
        for number in asked.keys() & done:
            with contextlib.suppress(RequestError):
                asked[number].done = self.outcome(number)
        return asked

    def numbers(self) -> list[int]:
        """The numbers of the chunks that are not done."""
        asked, done = self.listed()
        return [number for number in asked if number not in done]

    def outcome(self, number: int) -> dict[str, Any]:
        """How a chunk ended; raises RequestError if it has not, or that is damaged."""
        return self._read(self.folder / f"{number:06}.done")

    def end(self, number: int, outcome: Mapping[str, Any]) -> None:
        """Say that a chunk is done."""
        _write(self.folder / f"{number:06}.done", outcome)

    def now(self) -> float:
        """The time by the clock of the file system; on a network one, the folder's entries are asked for anew, too."""
        probe = self.folder / f"clock-{os.getpid()}-{threading.get_ident()}.log"
        probe.touch()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def lapsed(self, claim: Path) -> bool:
        """Whether the owner of a claim gave no sign of life for LAPSE seconds.

        The clocks of its computer and this one may differ where the file system has none of its own, so that a claim
        that looks old is watched for some seconds.
        """
        before = changed_at(claim)
        if not before or is_gone(words_of(claim)):
            return True
        if abs(self.now() - before) <= claims.LAPSE:
            return False
        time.sleep(3 * claims.BEAT)
        return changed_at(claim) == before

    def take(self, number: int, attempts: int, owner: str = "") -> Path | None:
        """Claim a chunk that nobody works on, or None; workers may be lost with it `attempts` times in all.

        `owner` names the task that this worker is, if there is only one worker of it at a time, as a job of SLURM
        that is queued again: its earlier claim has lapsed.
        """
        stem, made = self.folder / f"{number:06}", 0
        while (last := claim_of(stem, made + 1)).exists():
            made += 1
        if stem.with_suffix(".done").exists() or not stem.with_suffix(".json").exists():
            return None
        attempt = 1
        if made:
            words = words_of(last := claim_of(stem, made))
            if not (owner and words.get("owner") == owner) and not self.lapsed(last):
                return None
            attempt = int(words.get("attempt", made)) + (not words.get("stopped"))
        if attempt > attempts:
            return None
        own = {"token": secrets.token_hex(8), "host": socket.gethostname(), "pid": os.getpid(), "owner": owner[:200]}
        path = claim_of(stem, made + 1)
        try:
            with open(path, "xb", buffering=0) as file:
                file.write(padded({**own, "attempt": attempt}))
        except FileExistsError:
            return None
        if made:  # whoever wakes up finds that its claim is gone
            with replacing(last, new_folders=False) as file:
                file.write(NOBODY)
        return path


def _write(path: Path, fields: Mapping[str, Any]) -> None:
    with replacing(path, new_folders=False) as file:
        file.write(json.dumps(fields, default=str, separators=(",", ":")).encode() + b"\n")


def _name(name: str) -> str:
    if not name or name in (".", "..") or "/" in name or os.sep in name:
        raise ValueError(f"{name!r} is no name of a folder")
    return name


def difference(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What `changed` makes `other` of `base` with: [value] for a key that differs, None for one that `other` lacks."""
    found: dict[str, Any] = {key: None for key in base if key not in other}
    for key, value in other.items():
        there = base.get(key)
        if value is there and key in base:
            continue
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
