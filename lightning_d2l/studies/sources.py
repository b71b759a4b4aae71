"""Runs on different data: no mean is taken over them, and none is called better than another."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from lightning_d2l.config.places import PLACES_OF_DATA
from lightning_d2l.config.text import show
from lightning_d2l.studies.labels import listing
from lightning_d2l.training.record import RunRecord

SOURCE = "source"
"""The key by which runs are told apart if their data differ without being varied."""
UNKNOWN = "not recorded"
DRAWN = ("seed", "fold")
"""The settings of data that may differ between runs whose data have one name and source."""


def tell_apart(runs: Sequence[RunRecord], keys: Sequence[str]) -> bool:
    """Set the source of each run if means over runs of equal `keys` would mix data; returns whether they would.

    Data have a name, such as fashion_mnist, and a source, such as official or generated: runs with the same settings of
    the data must agree in both. Runs that are averaged must also have the same checksum if their data.seed and
    every other setting of the data are the same.
    """
    completed = [run for run in runs if run.completed]
    swept = [key for key in keys if key.partition(".")[0] in ("data", "sweep")]
    origins, checksums = defaultdict(set), defaultdict[Any, Counter[str]](Counter)
    for run in completed:
        settings, drawn, values = _settings(run, keys)
        origins[settings, *(values[key] for key in swept)].add(_origin(run))
        if checksum := _data(run, "checksum"):
            checksums[_origin(run), settings, drawn, *values.values()][checksum] += 1
    mixed = any(len(found) > 1 for found in origins.values())
    common = Counter(checksum for found in checksums.values() for checksum in found)
    usual = {key: max(found, key=lambda c: (found[c], common[c])) for key, found in checksums.items()}
    if not mixed and all(len(found) == 1 for found in checksums.values()):
        return False
    names = {_data(run, "name") for run in completed}
    for run in runs:
        own, source = _data(run, "checksum"), _data(run, "source") or UNKNOWN
        settings, drawn, values = _settings(run, keys)
        other = bool(own) and usual.get((_origin(run), settings, drawn, *values.values()), own) != own
        parts = [_data(run, "name") if len(names) > 1 else "", source, f"({own[:8]})" if other else ""]
        run.source = " ".join(part for part in parts if part)
    return True


def main_source(runs: Iterable[RunRecord]) -> str:
    """The source of most completed runs; official data, if as many runs have another."""
    counts = Counter(run.source for run in runs if run.completed)
    return max(counts, key=lambda source: (counts[source], "official" in source), default="")


def warning(runs: Sequence[RunRecord]) -> str:
    """The sentence that says which data the runs have."""
    counts = Counter(run.source for run in runs)
    found = listing(f"{source} ({n} {'run' if n == 1 else 'runs'})" for source, n in counts.items())
    return (
        f"The runs were trained on different data: {found}. No mean is over more than one of them, and the answer is "
        f"about {main_source(runs)}."
    )


def _data(run: RunRecord, name: str) -> str:
    return str((run.fields.get("data") or {}).get(name) or "")


def _origin(run: RunRecord) -> tuple[str, str]:
    return _data(run, "name"), _data(run, "source")


def _settings(run: RunRecord, keys: Sequence[str]) -> tuple[str, tuple[str, ...], dict[str, str]]:
    """The settings of a run's data but where they lie, what draws them, and the run's values of keys."""
    data = run.config.get("data") or {}
    own = {key: value for key, value in data.items() if key not in (*PLACES_OF_DATA, *DRAWN)}
    drawn = tuple(show(data.get(key)) for key in DRAWN)
    values = {key: show(run.get(key)) for key in keys if key != "epoch"}
    return json.dumps(own, sort_keys=True, default=str), drawn, values
