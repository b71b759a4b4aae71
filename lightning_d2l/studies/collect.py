"""Sweeps as their records describe them, at any time: sweep.json, and the run.json or the lean record of every run."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError, flat
from lightning_d2l.config.garbage import without_collection
from lightning_d2l.studies.lean import LeanFolder
from lightning_d2l.studies.sweep_file import SWEEP_FILE, read_sweep_file
from lightning_d2l.training.record import RUN_FILE, RunRecord, read_fields
from lightning_d2l.training.used_plugins import require_plugins

MARKERS = (SWEEP_FILE, "multirun.yaml")
OUTPUTS = Path("outputs")
RERUN = "-rerun"
"""How the folder of a run ends that repeats the one beside it; then a number."""


@dataclass
class SweepRecord:
    """The runs below a folder, in the order of their jobs, with the fields of sweep.json if there is one.

    `unreadable` gives for each damaged file, or folder that can't be listed, the reason why it is left out.
    """

    folder: Path
    label: str
    runs: list[RunRecord] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """The number of jobs without a record."""
        there = {run.folder.name for run in self.runs} | {
            path.parent.name for path in self.unreadable if path.name == RUN_FILE
        }
        return sum(job["folder"] not in there for job in self.fields.get("jobs") or [])

    @functools.cached_property
    def varied(self) -> list[str]:
        """Full keys of what varies, from sweep.json, or else those whose values differ between the runs."""
        return list(self.fields.get("varied") or differences(self.runs))


@without_collection()
def collect(folders: Sequence[Path]) -> list[SweepRecord]:
    """The sweeps in folders; "latest" is the newest one below outputs/.

    Raises RequestError if a folder doesn't exist or contains no readable run.json.
    """
    paths = [newest_sweep(OUTPUTS) if str(folder) == "latest" else Path(folder) for folder in folders]
    for path in paths:
        if not path.is_dir():
            raise RequestError(f"{path}: no such folder; it must be the folder of a sweep or of a run")
    labels = _labels([_resolved(path) for path in paths])
    return [_collect(path, label, len(paths) > 1) for path, label in zip(paths, labels, strict=True)]


def newest_sweep(outputs: Path) -> Path:
    """The folder below `outputs` whose sweep was written last; raises RequestError if there is none."""
    marks = {}
    for at, _, names in os.walk(outputs):
        for mark in (Path(at) / name for name in MARKERS if name in names):
            with suppress(OSError):  # it is being deleted
                marks[mark] = mark.stat().st_mtime_ns
    if not marks:
        raise RequestError(f"latest: no sweep below {outputs}; name the sweep's folder")
    return max(marks, key=lambda mark: marks[mark]).parent


def of_runs(folder: Path, fields: dict[str, Any], runs: Sequence[RunRecord]) -> SweepRecord:
    """A sweep whose sweep.json and runs have been read already, in the order of its jobs."""
    label = _resolved(folder).name
    for run in runs:
        run.sweep = label
    return SweepRecord(folder, label, list(runs), fields=fields)


def _resolved(path: Path) -> Path:
    """The path without symbolic links, where they can be followed."""
    return Path(os.path.realpath(path))


def _labels(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that differ from each other; raises RequestError if two paths are the same."""
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise RequestError(f"{twice}: named twice; a report compares different folders")
    deepest = max(len(path.parts) for path in paths)
    depth = next(n for n in range(1, deepest + 1) if len({path.parts[-n:] for path in paths}) == len(paths))
    return ["/".join(path.parts[-depth:]) for path in paths]


def _collect(folder: Path, label: str, several: bool) -> SweepRecord:
    sweep = SweepRecord(folder, label)
    try:
        sweep.fields = read_sweep_file(folder / SWEEP_FILE)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        sweep.unreadable[folder / SWEEP_FILE] = f"damaged ({reason}); what varies is taken from the runs"
    require_plugins(sweep.fields, str(folder))

    lean = LeanFolder(folder)
    lean.look()
    sweep.unreadable |= {path: f"{reason}; its runs are left out" for path, reason in lean.damaged.items()}
    sweep.runs += lean.runs.values()
    for run in sweep.runs:
        run.name, run.sweep = f"{label}/{run.name}" if several else run.name, label

    def not_listed(error: OSError) -> None:
        sweep.unreadable[Path(error.filename)] = f"can't be listed ({error.strerror})"

    for at, below, files in os.walk(folder, onerror=not_listed):
        if RUN_FILE not in files:
            continue
        below.clear()
        place = Path(at)
        if place != folder and _is_known(place, lean.runs if place.parent == folder else ()):
            continue
        name = _resolved(folder).name if place == folder else place.relative_to(folder).as_posix()
        try:
            fields = read_fields(place / RUN_FILE)
        except FileNotFoundError:
            sweep.unreadable[place / RUN_FILE] = "was removed while it was read, or is a link to nothing"
        except ValueError as error:
            sweep.unreadable[place / RUN_FILE] = str(error)
        else:
            sweep.runs.append(RunRecord(place, fields, f"{label}/{name}" if several else name, label))
    if not sweep.runs:
        left_out = sum(path.name == RUN_FILE for path in sweep.unreadable)
        damaged = f": {left_out} run.json, all damaged" if left_out else ""
        raise RequestError(f"{folder}: no run to report on{damaged or ' (no run.json in it or below it)'}")
    order = {job["folder"]: position for position, job in enumerate(sweep.fields.get("jobs") or [])}

    def planned(run: RunRecord) -> tuple[int, list[tuple[int, float, str]]]:
        known = order.get(run.folder.name)
        return (len(order), _natural(run.name)) if known is None else (known, [])

    sweep.runs.sort(key=planned)
    return sweep


def _is_known(place: Path, lean: Collection[str]) -> bool:
    """Whether a run is there already: a lean one that was kept or made again as a folder, or that of a rerun.

    A rerun has the seed of its run, and says nothing new of the setting.
    """
    first = re.sub(rf"({RERUN}(-\d+)?)+$", "", place.name)
    return first in lean or (first != place.name and (place.parent / first / RUN_FILE).is_file())


def _natural(name: str) -> list[tuple[int, float, str]]:
    """A key that sorts numbers by value: `lr=2` before `lr=10`."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [(0, float(part), "") if i % 2 else (1, 0.0, part) for i, part in enumerate(parts)]


def differences(runs: Sequence[RunRecord]) -> list[str]:
    """Keys whose values differ between runs: in their overrides, or, if these agree, in their configurations."""
    given = dict.fromkeys(key for run in runs for key in run.overrides if not key.startswith("hydra"))
    if found := [key for key in given if len({run.overrides.get(key) for run in runs}) > 1]:
        return found
    configs = [flat(run.config) for run in runs]
    keys = dict.fromkeys(key for values in configs for key in values if not key.startswith(("resume", "verbose")))
    return [key for key in keys if len({str(values.get(key)) for values in configs}) > 1]
