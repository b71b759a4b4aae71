"""The record of a run: what its run.json holds, complete whenever it is read."""

from __future__ import annotations

import functools
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError, flat
from lightning_d2l.training.fields import STATUSES, check_fields, is_running, renamed, up_to_date
from lightning_d2l.training.files import LAST, METRICS, MetricsFile, read_json, write_json
from lightning_d2l.training.lock import holder, process
from lightning_d2l.training.origin import git_revision, versions
from lightning_d2l.training.spec import RunSpec
from lightning_d2l.training.used_plugins import plugins_of

__all__ = ["STATUSES", "RunRecord", "git_revision", "read_fields", "to_resume", "versions"]

RUN_FILE = "run.json"
LEAN = "records"  # the folder of the lean records of a sweep
LARGEST = 2**26  # bytes of a run.json
STOPPED = "stopped by"  # the start of the error of a run that a signal ended
RECORDED = ("num_parameters", "seconds")
"""Fields that `RunRecord.setting` returns too, so that they may lie along x."""


@dataclass(eq=False)
class RunRecord:
    """A run on the disk: its folder and the fields of its run.json."""

    folder: Path
    fields: dict[str, Any]
    name: str = ""  # in tables
    sweep: str = ""  # the label of its sweep in a report
    source: str = ""  # what its data are, in a report on runs with different data

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read the record of a run folder; raises RequestError if there is none or it is damaged."""
        path = Path(folder) / RUN_FILE
        try:
            return cls(Path(folder), read_fields(path), path.parent.name)
        except FileNotFoundError:
            raise RequestError(_without_record(Path(folder))) from None
        except ValueError as error:
            raise RequestError(f"{path}: damaged: {error}") from error

    @classmethod
    def read_or_missing(cls, folder: Path) -> RunRecord:
        """Read the record of a run folder; if it can't be read, the record has no fields and the state "missing"."""
        try:
            return cls.read(folder)
        except RequestError:
            return cls(Path(folder), {}, Path(folder).name)

    @classmethod
    def of(cls, spec: RunSpec) -> RunRecord:
        """The record of a run that starts or is resumed, not yet written; raises RequestError if it can't resume.

        That of a resumed run has its present command and configuration, and those of each earlier attempt in "before".
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        fields = {
            "status": "running",
            "error": None,
            "started": now,
            "command": _command(spec.command),
            "overrides": _without_resume(spec.overrides),
            "seed": spec.config["seed"],
            "versions": versions(),
            "git": git_revision(),
            "plugins": plugins_of(spec.config, spec.overrides),
            "config": {**spec.config, "resume": None},
            "process": process(),
        }
        if spec.sweep:
            fields["sweep"] = spec.sweep
        if spec.resuming:
            there = cls.read(spec.folder).fields
            before = [*(there.get("before") or []), _attempt(there, fields["config"])]
            first = {"started": there.get("started"), "resumed": now, "before": before}
            fields = there | fields | first
        return cls(spec.folder, fields)

    def end(self, status: str, error: str, seconds: float, **fields: Any) -> None:
        """Write how a run ended; `seconds` are added to those of earlier attempts."""
        self.fields = self.ended(status, error, seconds, **fields)
        self.update()

    def ended(self, status: str, error: str, seconds: float, **fields: Any) -> dict[str, Any]:
        """The fields of a run that has ended so."""
        seconds = round((self.fields.get("seconds") or 0.0) + seconds, 3)
        kept = {name: value for name, value in self.fields.items() if name != "process"}
        return {**kept, "status": status, "error": error or None, "seconds": seconds, **fields}

    def update(self, **fields: Any) -> None:
        """Change fields; they are on the disk when the call returns. The folder must exist."""
        self.fields = self.fields | fields
        write_json(self.folder / RUN_FILE, self.fields, new_folders=False)

    @property
    def status(self) -> str:
        """The status in run.json: one of STATUSES."""
        return str(self.fields["status"])

    @property
    def completed(self) -> bool:
        return self.status == "completed"

    @property
    def state(self) -> str:
        """How a run ended: completed, diverged, pruned, failed, interrupted or missing; or running, while it trains.

        Interrupted: a signal stopped it, or its process ended without writing how.
        """
        if not self.fields:
            return "missing"
        if self.status == "running":
            return "running" if holder(self.folder) else "interrupted"
        stopped = self.status == "failed" and str(self.fields.get("error")).startswith(STOPPED)
        return "interrupted" if stopped else self.status

    @property
    def error(self) -> str:
        """The last line of the error, or an empty string."""
        lines = str(self.fields.get("error") or "").strip().splitlines()
        return lines[-1].removeprefix("failed: ") if lines else ""

    @property
    def config(self) -> Mapping[str, Any]:
        config: Mapping[str, Any] = self.fields["config"]
        return config

    @functools.cached_property
    def overrides(self) -> dict[str, str]:
        """The overrides of the run's command line, by key."""
        given = (str(o).lstrip("+").partition("=") for o in self.fields.get("overrides") or [])
        return {key: value for key, equals, value in given if equals}

    def setting(self, key: str) -> Any:
        """The value of a full key such as "data.degree", or the option chosen for a group such as "optimizer".

        "sweep", "source", "num_parameters" and "seconds" are keys too. Raises KeyError for a key that the run doesn't
        have.
        """
        if key in ("sweep", "source"):
            return self.sweep if key == "sweep" else self.source
        if key in RECORDED:
            return self.fields[key]
        value, found = lookup(self.config, key)
        if type(value) in (int, float, str, bool):
            return value
        if not found or value is None or isinstance(value, Mapping):
            if key in self.overrides:
                return None if self.overrides[key] == "null" else self.overrides[key]
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
        """A metric by its name, or None where the run has no finite value of it.

        "loss/test" is that of the last weights, "best.loss/test" of the best epoch, "exact.loss/test" of the analytic
        solution, "first.loss/val" of the first logging point. The names in QUANTITIES are metrics too.
        """
        if name in QUANTITIES:
            value = QUANTITIES[name](self)
        else:
            node, dot, rest = name.partition(".")
            node, rest = (node, rest) if dot and "/" not in node else ("final", name)
            metrics = {"first": next(iter(self.history), {})} if node == "first" else self._metrics
            value = (metrics.get(node) or {}).get(rest)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        return float(value)

    @property
    def metric_names(self) -> list[str]:
        """Names of the metrics of the last weights: `<metric>/<split>`, and others such as norm/weights."""
        return [name for name in self._metrics.get("final") or {} if "/" in name]

    @property
    def _metrics(self) -> Mapping[str, Any]:
        return self.fields.get("metrics") or {}

    @functools.cached_property
    def history(self) -> list[dict[str, float]]:
        """The rows of metrics.csv, one for each logging point, with its epoch as "epoch"; read once."""
        try:
            rows = MetricsFile(self.folder).rows()
            return [renamed(row) for row in rows] if is_running(self.config) else rows
        except (OSError, ValueError, TypeError):
            return []


def read_fields(path: Path) -> dict[str, Any]:
    """The fields of a run.json; raises ValueError with the reason if they can't be used, or FileNotFoundError."""
    try:
        fields = read_json(path, LARGEST)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"can't be read ({error.strerror})") from error
    check_fields(fields)
    return up_to_date(dict(fields))


def _without_record(folder: Path) -> str:
    """Why a folder without a record can't be used, and how a run of a lean sweep is made again."""
    if (folder.parent / LEAN).is_dir() and not (folder / LEAN).is_dir():
        again = shlex.join(["lightning-d2l", "rerun", str(folder.parent), "--run", folder.name])
        return f"{folder}: its sweep has lean records and no folder of this run; to make it: {again}"
    return f"{folder}: not a run folder (it has no {RUN_FILE})"


def to_resume(folder: Path) -> RunRecord:
    """The record of a run that can be resumed; one that was killed before its first checkpoint starts afresh.

    Raises RequestError if there is none, or if its checkpoint is lost.
    """
    record, what = RunRecord.read(folder), f"resume={folder}"
    if user := holder(folder):
        raise RequestError(f"{what}: in use by {user}; wait for it or stop it")
    ended = record.state in ("completed", "diverged", "pruned")
    if not (folder / LAST).exists() and ((folder / METRICS).exists() or ended):
        raise RequestError(f"{what}: its {LAST} is lost, so there is nothing to resume; choose a new hydra.run.dir")
    return record


def _command(text: str) -> str:
    """A command that gives the same numbers from the start; hundreds of runs have one without resume=."""
    return shlex.join(_without_resume(shlex.split(text))) if "resume=" in text else text


def _without_resume(words: Sequence[str]) -> list[str]:
    return [word for word in words if not word.startswith("resume=")]


def _attempt(fields: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What a record keeps of an earlier attempt; of the configuration, what differs from the present one."""
    names = ("command", "overrides", "status", "error", "versions", "git", "plugins", "threads")
    found = {"started": fields.get("resumed") or fields.get("started")}
    there, here = flat(fields["config"]), flat(config)
    changed = {key: there.get(key) for key in [*there, *here] if there.get(key) != here.get(key)}
    return found | {name: fields.get(name) for name in names if name in fields} | {"changed": changed}


def lookup(node: Any, key: str) -> tuple[Any, bool]:
    """The value of a full key such as "data.degree" in a configuration, and whether there is one."""
    for part in key.split("."):
        if not isinstance(node, (dict, Mapping)) or part not in node:  # that of a dict takes little time
            return None, False
        node = node[part]
    return node, True


def _gap(name: str, run: RunRecord) -> float | None:
    train, held_out = run.metric(f"{name.partition('/')[0]}/train"), run.metric(name)
    return None if train is None or held_out is None else held_out - train


def _epochs_to_fit(run: RunRecord) -> float | None:
    """The first logged epoch at whose end every training sample is classified as labelled."""
    return next((row["epoch"] for row in run.history if row.get("acc/train") == 1.0), None)


GAPS = {"gap/val": "loss/val", "gap/test": "loss/test", "acc_gap/val": "acc/val", "acc_gap/test": "acc/test"}
"""Name of a quantity, which is a metric on held-out data minus the same on training data, to the metric."""
QUANTITIES: dict[str, Callable[[RunRecord], Any]] = {
    "epochs_to_fit": _epochs_to_fit,
    "num_parameters": lambda run: run.fields.get("num_parameters"),
    "seconds": lambda run: run.fields.get("seconds"),
    **{name: functools.partial(_gap, metric) for name, metric in GAPS.items()},
}
"""What `RunRecord.metric` computes from other fields: name to function(run)."""


def require_plugins_of_resumed(overrides: Sequence[str]) -> None:
    """Raise RequestError if `resume=FOLDER` in a command line names a run with a plugin that is not loaded."""
    from lightning_d2l.config.compose import literal, parse
    from lightning_d2l.training.used_plugins import require_plugins

    for override in parse([text for text in overrides if text.lstrip("+").startswith("resume=")]):
        folder = Path(literal(str(override.value())))
        if (folder / RUN_FILE).is_file():
            require_plugins(RunRecord.read(folder).fields, f"resume={folder}", every=True)
