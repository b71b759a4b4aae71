"""A run is resumed, measured and run again on the data that it was trained on, wherever they lie now."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_d2l.config.check import RequestError, check
from lightning_d2l.config.given import is_given
from lightning_d2l.config.image_data import IMAGE_FOLDER, TORCHVISION
from lightning_d2l.config.records import has_other_streams, up_to_date
from lightning_d2l.config.registry import FASHION_MNIST
from lightning_d2l.config.tables import TABLES_DATA
from lightning_d2l.data.download import data_root, has_official
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec
from lightning_d2l.training.used_plugins import require_plugins

if TYPE_CHECKING:
    from lightning_d2l.data.base import TensorDataModule

VARIABLE = "LIGHTNING_D2L_DATA"
SOURCES = ("official", "generated")  # of Fashion-MNIST


class OtherData(RequestError):
    """The data that a run was trained on are not found."""


def configuration(record: RunRecord) -> dict[str, Any]:
    """The configuration of a record in today's settings, checked; raises RequestError."""
    require_plugins(record.fields, str(record.folder))
    if is_given(record.config):
        raise RequestError(
            f"{record.folder}: its module and data were given to lightning_d2l.fit, so this needs them again\n"
            "in Python: lightning_d2l.load_run(folder, module=..., datamodule=...)"
        )
    try:
        check(config := up_to_date(record.config))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RequestError(f"{record.folder}: damaged: the configuration in its run.json is none of a run") from error
    return config


def located(config: Mapping[str, Any], record: RunRecord, given: str | None = None) -> dict[str, Any]:
    """A run's configuration with the data.root and data.source of the data that the record names.

    Official files are looked for in `given`, data.root, the recorded data.root, LIGHTNING_D2L_DATA and the user's cache
    folder; nothing is downloaded. A record without data leaves the configuration as it is, but for `given`.

    Raises OtherData if the files are in none of them, RequestError if those found first are damaged.
    """
    data, known = config["data"], recorded(record)
    if data["_target_"] in TABLES_DATA:
        return {**config, "data": _located_table(data, record, given)}
    if data["_target_"] == IMAGE_FOLDER:
        return {**config, "data": {**data, "path": _located_folder(data, record, given)}}
    if data["_target_"] == TORCHVISION:
        from lightning_d2l.data.torchvision import has_files  # imports torch

        places = [given, data["root"], _setting(record, "root"), os.environ.get(VARIABLE), None]
        there = [str(data_root(root)) for root in places if has_files(data["dataset"], data_root(root))]
        return {**config, "data": {**data, "root": given or (there[0] if there else data["root"])}}
    if "root" not in data:
        if given:
            raise RequestError(f"data.root={given}: the data of {record.folder} are read from no folder")
        return dict(config)
    source = known.get("source")
    if source in SOURCES and data.get("source", source) not in ("auto", source):
        raise RequestError(f"data.source={data['source']}: must be {source} or auto, as {record.folder} was trained")
    official = source == "official" and data["_target_"] == FASHION_MNIST
    roots = [given, data["root"], _setting(record, "root"), os.environ.get(VARIABLE), None]
    if not official:
        pinned = {"source": source} if source == "generated" and "source" in data else {}
        return {**config, "data": {**data, "root": given or data["root"], **pinned}}
    places = list(dict.fromkeys(data_root(root) for root in roots))
    for place in places:
        if has_official(str(place)):
            return {**config, "data": {**data, "root": str(place), "source": "official"}}
    raise OtherData(
        f"{record.folder}: data with checksum {str(known.get('checksum'))[:12]} (official Fashion-MNIST) not found at "
        f"{', '.join(map(str, places))}\ngive data.root=FOLDER, which holds FashionMNIST/raw with the four .gz files"
    )


def _located_table(data: Mapping[str, Any], record: RunRecord, given: str | None) -> dict[str, Any]:
    """The settings of a table with the places of its files; a test_path that is gone is looked for beside the path."""
    found = {**data, "path": os.path.abspath(os.path.expanduser(given or data["path"]))}
    if (test := data["test_path"]) and not os.path.exists(test):
        found["test_path"] = os.path.join(os.path.dirname(found["path"]), os.path.basename(test))
    for key in ("path", "test_path"):
        if found[key] and not os.path.exists(found[key]):
            checksum = str(recorded(record).get("checksum"))[:12]
            raise OtherData(
                f"{record.folder}: its data with checksum {checksum} not found at {found[key]}\n"
                f"give data.path=FILE, the CSV file{', beside which that of data.test_path lies' if test else ''}"
            )
    return found


def _located_folder(data: Mapping[str, Any], record: RunRecord, given: str | None) -> str:
    """Where the folder of images of a run is now."""
    path = os.path.abspath(os.path.expanduser(given or data["path"]))
    if not os.path.exists(path):
        checksum = str(recorded(record).get("checksum"))[:12]
        raise OtherData(
            f"{record.folder}: its data with checksum {checksum} not found at {path}\n"
            "give data.path=FOLDER, which holds a folder a class"
        )
    return path


def require_same_data(record: RunRecord, data: TensorDataModule) -> None:
    """Raise OtherData if a record names data with another checksum than these.

    The data of a run of version 0.1.0 can't be drawn again, so they are not compared.
    """
    known = recorded(record)
    if not known or has_other_streams(record.fields):
        return
    here = data.identity()
    if here["checksum"] != known.get("checksum"):
        there = f"{known.get('name')} ({known.get('source')}) with checksum {str(known.get('checksum'))[:12]}"
        raise OtherData(
            f"{record.folder}: its data were {there}; these are {here['name']} ({here['source']}) with checksum "
            f"{str(here['checksum'])[:12]}"
        )


def on_the_data_of_its_runs(jobs: Sequence[RunSpec]) -> None:
    """Set the data of each job of a resumed sweep to those of its own record, or of any other run of the sweep.

    So no statistic mixes two sources of data. Raises RequestError as `located` does.
    """
    records = [RunRecord.read_or_missing(job.folder) for job in jobs]
    known = [record for record in records if recorded(record)]
    found: dict[str, dict[str, Any]] = {}
    for job, record in zip(jobs, records, strict=True):
        node = job.config["data"]
        same = [other for other in known if _fits(other, node)]
        like = record if recorded(record) or not same else same[0]
        key = json.dumps([node.get("root"), node.get("source"), recorded(like).get("source"), _setting(like, "root")])
        if key not in found:
            found[key] = {name: located(job.config, like)["data"].get(name) for name in ("root", "source")}
        job.config = {**job.config, "data": {**node, **{k: v for k, v in found[key].items() if k in node}}}


def overrides_of_data(job: RunSpec) -> list[str]:
    """The overrides that give a job composed anew the data.root and data.source of its configuration."""
    from lightning_d2l.config.compose import quote  # imports Hydra

    data = job.config["data"]
    if "root" not in data or "source" not in data:
        return []
    return [f"data.root={'null' if data['root'] is None else quote(data['root'])}", f"data.source={data['source']}"]


def recorded(record: RunRecord) -> Mapping[str, Any]:
    """The name, source and checksum of a run's data; empty if its record ends before they were built."""
    found = record.fields.get("data")
    return found if isinstance(found, Mapping) else {}


def _fits(record: RunRecord, node: Mapping[str, Any]) -> bool:
    """Whether a run's data are of the kind and of a source that the settings `node` ask for."""
    source = recorded(record).get("source")
    return _setting(record, "_target_") == node["_target_"] and node.get("source", source) in ("auto", source)


def _setting(record: RunRecord, name: str) -> str | None:
    value = _node(record).get(name)
    return value if isinstance(value, str) else None


def _node(record: RunRecord) -> Mapping[str, Any]:
    node = record.fields.get("config", {}).get("data")
    return node if isinstance(node, Mapping) else {}
