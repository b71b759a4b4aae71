"""The runs of a sweep, read from the run.json files below its folder, at any time."""

from __future__ import annotations

import functools
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError, flat
from lightning_d2l.training.files import MetricsFile

STATUSES = ("completed", "diverged", "failed", "running")
OUTPUTS = Path("outputs")
MARKERS = ("sweep.json", "multirun.yaml")
RECORDED = ("num_parameters", "seconds")  # keys of a record that may lie along x


@dataclass(frozen=True)
class Run:
    """One run: its name below the folders that were asked for, the folder that it was found under, its record."""

    name: str
    sweep: str
    folder: Path
    record: Mapping[str, Any]

    @property
    def status(self) -> str:
        return str(self.record["status"])

    @property
    def completed(self) -> bool:
        return self.status == "completed"

    @property
    def config(self) -> Mapping[str, Any]:
        return self.record.get("config") or {}

    @functools.cached_property
    def overrides(self) -> dict[str, str]:
        """What the run's command line set, by key."""
        given = (str(o).lstrip("+").partition("=") for o in self.record.get("overrides") or [])
        return {key: value for key, equals, value in given if equals}

    def setting(self, key: str) -> Any:
        """The value of a full key such as "data.degree", or the option chosen of a group such as "optimizer".

        "sweep", the folder it was found under, "num_parameters" and "seconds" are keys too. Raises KeyError for a
        key that the run doesn't have.
        """
        if key == "sweep":
            return self.sweep
        if key in RECORDED:
            return self.record[key]
        value, found = _lookup(self.config, key)
        if not found or value is None or isinstance(value, Mapping):
            if key in self.overrides:
                choice = self.overrides[key]
                return None if choice == "null" else choice
            if isinstance(value, Mapping):
                return str(value.get("_target_", "settings")).rpartition(".")[2]
            if not found:
                raise KeyError(key)
        return value

    def get(self, key: str) -> Any:
        """`setting`, or None for a key that the run doesn't have."""
        try:
            return self.setting(key)
        except KeyError:
            return None

    def metric(self, name: str) -> float | None:
        """A metric of the last weights ("loss/test"), of the best epoch's ("best.loss/test"), of the analytic
        solution ("exact.loss/test"), of the first logging point ("first.loss/val"), or one of QUANTITIES; None where
        the run has no finite value of it.
        """
        if name in QUANTITIES:
            value = QUANTITIES[name](self)
        else:
            node, dot, rest = name.partition(".")
            node, rest = (node, rest) if dot and "/" not in node else ("final", name)
            found = self.record.get("metrics") or {}
            nodes = {"first": next(iter(self.history), {})} if node == "first" else found
            value = (nodes.get(node) or {}).get(rest)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        return float(value)

    @property
    def metric_names(self) -> list[str]:
        """Names of the metrics of the last weights: `<metric>/<split>` and such as norm/weights."""
        return [name for name in (self.record.get("metrics") or {}).get("final") or {} if "/" in name]

    @functools.cached_property
    def history(self) -> list[dict[str, float]]:
        """The rows of metrics.csv, one a logging point, the number of the epoch as "epoch"."""
        try:
            return MetricsFile(self.folder).rows()
        except (OSError, ValueError, TypeError):
            return []


def _lookup(config: Mapping[str, Any], key: str) -> tuple[Any, bool]:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None, False
        node = node[part]
    return node, True


def _gap(name: str) -> Callable[[Run], float | None]:
    def gap(run: Run) -> float | None:
        train, held_out = run.metric(f"{name.partition('/')[0]}/train"), run.metric(name)
        return None if train is None or held_out is None else held_out - train

    return gap


def _epochs_to_fit(run: Run) -> float | None:
    """The first logged epoch at whose end every training sample is classified as labelled."""
    return next((row["epoch"] for row in run.history if row.get("acc/train") == 1.0), None)


GAPS = {"gap/val": "loss/val", "gap/test": "loss/test", "acc_gap/val": "acc/val", "acc_gap/test": "acc/test"}
"""The distance of a metric on held-out data from that on training data: name to metric."""
QUANTITIES: dict[str, Callable[[Run], Any]] = {
    "epochs_to_fit": _epochs_to_fit,
    "num_parameters": lambda run: run.record.get("num_parameters"),
    "seconds": lambda run: run.record.get("seconds"),
    **{name: _gap(metric) for name, metric in GAPS.items()},
}
"""What is computed from a record and may stand among a study's metrics: name to function(run)."""


@dataclass
class Sweep:
    """The runs found below one folder, in the order of their jobs, and what sweep.json says of them."""

    folder: Path
    label: str
    runs: list[Run] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Jobs that have no record yet."""
        readable = {run.folder.name for run in self.runs} | {path.parent.name for path in self.unreadable}
        return sum(job["folder"] not in readable for job in self.facts.get("jobs") or [])

    @functools.cached_property
    def varied(self) -> list[str]:
        """Full keys of what varies: sweep.json's, else what differs between the runs."""
        return list(self.facts.get("varied") or differences(self.runs))


def collect(folders: Sequence[Path]) -> list[Sweep]:
    """The sweeps below folders; "latest" is the newest one below outputs.

    Raises RequestError if a folder isn't there or no run.json below it can be read.
    """
    paths = [newest_sweep(OUTPUTS) if str(folder) == "latest" else Path(folder) for folder in folders]
    labels = _labels([path.resolve() for path in paths])
    return [_collect(path, label, len(paths) > 1) for path, label in zip(paths, labels, strict=True)]


def _labels(paths: Sequence[Path]) -> list[str]:
    """The last parts of folders' paths, as many as tell them apart; raises RequestError if two are the same."""
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise RequestError(f"{twice}: named twice; a report compares different folders")
    depth = next(n for n in range(1, 99) if len({path.parts[-n:] for path in paths}) == len(paths))
    return ["/".join(path.parts[-depth:]) for path in paths]


def newest_sweep(outputs: Path) -> Path:
    """The folder below `outputs` whose sweep was written last; raises RequestError if there is none."""
    marks = [Path(at) / name for at, _, names in os.walk(outputs) for name in MARKERS if name in names]
    if not marks:
        raise RequestError(f"latest: no sweep below {outputs}; name the sweep's folder")
    return max(marks, key=lambda mark: mark.stat().st_mtime_ns).parent


def _collect(folder: Path, label: str, several: bool) -> Sweep:
    if not folder.is_dir():
        raise RequestError(f"{folder}: no such folder; it must be a sweep's folder or a run's")
    sweep = Sweep(folder, label)
    _read_facts(sweep)
    for path in _records(folder):
        try:
            record = _read(path)
        except ValueError as error:
            sweep.unreadable[path] = str(error)
            continue
        name = path.parent.relative_to(folder).as_posix()
        name = folder.resolve().name if name == "." else name
        sweep.runs.append(Run(f"{label}/{name}" if several else name, label, path.parent, record))
    _require_runs(sweep)
    order = {job["folder"]: position for position, job in enumerate(sweep.facts.get("jobs") or [])}
    sweep.runs.sort(key=lambda run: (order.get(run.folder.name, len(order)), _natural(run.name)))
    return sweep


def of_records(folder: Path, facts: dict[str, Any], records: Mapping[str, Mapping[str, Any]]) -> Sweep:
    """A sweep whose records were read already, in the order of its jobs, by the names of their folders.

    `facts` are those of sweep.json. Raises RequestError if none of the records can be used.
    """
    sweep = Sweep(folder, folder.resolve().name, facts=facts)
    for name, record in records.items():
        try:
            sweep.runs.append(Run(name, sweep.label, folder / name, _usable(record)))
        except ValueError as error:
            sweep.unreadable[folder / name / "run.json"] = str(error)
    _require_runs(sweep)
    return sweep


def _require_runs(sweep: Sweep) -> None:
    if not sweep.runs:
        damaged = f": {len(sweep.unreadable)} run.json, all damaged" if sweep.unreadable else ""
        raise RequestError(f"{sweep.folder}: no run to report on{damaged or ' (no run.json in it or below it)'}")


def _records(folder: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        if "run.json" in names:
            folders.clear()
            yield Path(at) / "run.json"


def _read(path: Path) -> Mapping[str, Any]:
    """A record; raises ValueError with the reason why it can't be used."""
    try:
        return _usable(json.loads(path.read_bytes()))
    except OSError as error:
        raise ValueError(f"can't be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError("not valid JSON") from error


def _usable(record: Any) -> Mapping[str, Any]:
    if not isinstance(record, dict):
        raise ValueError("not a record")
    if record.get("status") not in STATUSES:
        raise ValueError(f"status is none of {', '.join(STATUSES)}")
    final = (record.get("metrics") or {}).get("final") if isinstance(record.get("metrics") or {}, dict) else None
    if record["status"] == "completed" and not isinstance(final, dict):
        raise ValueError("completed, but without metrics")
    if not isinstance(record.get("config") or {}, dict) or not isinstance(record.get("overrides") or [], list):
        raise ValueError("config or overrides are damaged")
    return record


def _read_facts(sweep: Sweep) -> None:
    path = sweep.folder / "sweep.json"
    if not path.exists():
        return
    try:
        facts = json.loads(path.read_bytes())
        ok = isinstance(facts, dict) and all(isinstance(job["folder"], str) for job in facts.get("jobs") or [])
        ok = ok and isinstance(facts.get("varied") or [], list) and isinstance(facts.get("study") or {}, dict)
    except (OSError, ValueError, TypeError, KeyError):
        ok = False
    if ok:
        sweep.facts = facts
    else:
        sweep.unreadable[path] = "damaged; what varies is taken from the runs"


def _natural(name: str) -> list[tuple[int, float, str]]:
    """For sorting: numbers by value, `lr=2` before `lr=10`."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [(0, float(part), "") if i % 2 else (1, 0.0, part) for i, part in enumerate(parts)]


def differences(runs: Sequence[Run]) -> list[str]:
    """Keys whose values differ between runs: of their overrides, or, where those agree, of their configurations."""
    given = dict.fromkeys(key for run in runs for key in run.overrides if not key.startswith("hydra"))
    found = [key for key in given if len({run.overrides.get(key) for run in runs}) > 1]
    if found:
        return found
    configs = [flat(run.config) for run in runs]
    keys = dict.fromkeys(key for values in configs for key in values if not key.startswith(("resume", "verbose")))
    return [key for key in keys if len({str(values.get(key)) for values in configs}) > 1]
