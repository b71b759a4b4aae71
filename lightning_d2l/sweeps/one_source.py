"""One source of Fashion-MNIST for all workers of a sweep: the one that the driver has."""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.registry import FASHION_MNIST
from lightning_d2l.data.download import official_folder
from lightning_d2l.training.spec import RunSpec


def settle_source(jobs: Iterable[RunSpec]) -> list[str | None]:
    """Replace data.source=auto in jobs by what is here: official, with missing files downloaded, or generated.

    So no two workers of a sweep use different data. Returns each data.root below which official files are needed.
    Raises RequestError if official files are altered, or required and can't be downloaded.
    """
    official: dict[str | None, bool] = {}
    settled: dict[int, tuple[Mapping[str, Any], dict[str, Any]]] = {}  # by the id of a node that jobs share
    for job in jobs:
        data = job.config["data"]
        if data["_target_"] != FASHION_MNIST or data["source"] == "generated":
            continue
        root = data["root"]
        if root not in official:
            official[root] = official_folder(root, data["source"])[0] is not None
        if data["source"] == "auto":
            source = "official" if official[root] else "generated"
            _, node = settled.setdefault(id(data), (data, {**data, "source": source}))
            job.config = {**job.config, "data": node}
    return [root for root, there in official.items() if there]


def require_official(roots: Sequence[str | None]) -> None:
    """Raise RequestError, one line, unless this worker has official files below each data.root or downloads them."""
    for root in roots:
        try:
            _found(root)
        except RequestError as error:
            reason = str(error).partition("\n")[0]
            raise RequestError(
                f"the worker on {socket.gethostname()} has other data than the driver: {reason}"
            ) from error


@functools.cache
def _found(root: str | None) -> None:
    official_folder(root, "official")
