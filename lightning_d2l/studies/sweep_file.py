"""sweep.json: what it may hold, and reading it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning_d2l.training.fields import is_plain, is_plugins
from lightning_d2l.training.files import read_json
from lightning_d2l.training.lock import holder

SWEEP_FILE = "sweep.json"
LARGEST = 64 * 2**20  # bytes; a sweep of 100,000 jobs has half of it


def read_sweep_file(path: Path) -> dict[str, Any]:
    """The fields of a sweep.json; its status is "running" only while a process holds the sweep's folder.

    Raises OSError if it can't be read, and ValueError, with the reason, if it is not the record of a sweep.
    """
    fields = read_json(path, LARGEST)
    if not isinstance(fields, dict):
        raise ValueError("not the record of a sweep")
    for name, is_right in _KINDS.items():
        if name in fields and not is_right(fields[name]):
            raise ValueError(f"{name} is not that of a sweep")
    if lacking := [name for name in ("status", "command", "jobs") if name not in fields]:
        raise ValueError(f"it has no {lacking[0]}")
    folders = [job["folder"] for job in fields["jobs"]]
    if len(set(folders)) < len(folders):
        raise ValueError("two of its jobs have the same folder")
    if fields["status"] == "running" and holder(path.parent) is None:
        fields["status"] = "stopped"
    return fields


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_jobs(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(job, dict)
        and is_name(job.get("folder"))
        and _is_texts(job.get("overrides", []))
        and _is_count(job.get("number", 0))
        for job in value
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def is_name(value: Any) -> bool:
    """Whether a value is the name of a folder, which can't be elsewhere than in the sweep's folder."""
    return isinstance(value, str) and re.fullmatch(r"[^/\\\0]{1,255}", value) is not None and value not in (".", "..")


def _is_counts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_group_or_none(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping) and is_plain(value))


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e9 < value < 1e9


_KINDS: dict[str, Callable[[Any], bool]] = {
    "status": lambda value: value in ("running", "submitted", "completed", "stopped"),
    "id": lambda value: isinstance(value, str),
    "command": lambda value: isinstance(value, str),
    "config_dir": _is_text_or_none,
    "overrides": _is_texts,
    "varied": _is_texts,
    "jobs": _is_jobs,
    "study": _is_group_or_none,
    "started": lambda value: isinstance(value, str),
    "seconds": lambda value: _is_share(value) and 0 <= value < float("inf"),
    "process": _is_group_or_none,
    "plugins": is_plugins,
    "prune": lambda value: isinstance(value, Mapping) and is_plain(value) and _is_counts(value.get("rungs")),
    "versions": _is_group_or_none,
    "git": _is_text_or_none,
    "records": lambda value: value in ("full", "lean"),
    "importance": lambda value: isinstance(value, Mapping) and all(map(_is_share, value.values())),
}
