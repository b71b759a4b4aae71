"""A Ray cluster: the one at an address, or one that is started on this computer; and what its nodes can give."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import logging
import os
import re
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lightning_d2l.compat_ray import silence
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.text import cut

OLDEST = (2, 52)  # that has token authentication
PATIENCE = 5.0  # seconds until an address counts as one without a cluster
STORE = 2**27  # bytes of the object store of a local Ray, in which next to nothing lies
# The first bytes of a client of gRPC, and what the fourth byte of a server's answer is (RFC 9113, section 3.4).
PREFACE, SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]), 4
# A local Ray listens on 127.0.0.1 alone, as Ray does by itself where it knows no clusters, and reports to nobody.
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
_ours: list[bool] = []  # whether the connection that this file has made is to a local Ray


@dataclass(frozen=True)
class Need:
    """What a chunk needs of the node that trains it, as Ray's options of a task."""

    num_cpus: float
    num_gpus: float
    resources: Mapping[str, float]

    @property
    def by_name(self) -> dict[str, float]:
        """The amount by the name that Ray's nodes have for it."""
        return {
            name: amount
            for name, amount in {"CPU": self.num_cpus, "GPU": self.num_gpus, **self.resources}.items()
            if amount
        }

    def options(self) -> dict[str, Any]:
        """Ray's options of a task. The driver asks again for a chunk that is lost, as with any executor, not Ray."""
        given = {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus, "max_retries": 0}
        return {**given, "resources": dict(self.resources)} if self.resources else given


def connect(address: str | None) -> bool:
    """Connect to the cluster at an address, by default that of RAY_ADDRESS, or start a local Ray if there is none.

    Returns whether all workers are on this computer. A connection that this process has already is used as it is.

    Raises RequestError, in a few seconds, if Ray is not installed, or there is no cluster.
    """
    _require_installed()
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        return any(_ours)
    place = address or os.environ.get("RAY_ADDRESS") or "local"
    what = f"hydra.launcher.address={address}" if address else f"RAY_ADDRESS={place}"
    if place == "local":
        _start()
        return True
    if place != "auto":
        _require_answer(place, what)
    _init(what, address=place)
    _ours.append(False)
    return False


def disconnect() -> None:
    """End the connection, and the local Ray if there is one; one that the user's program had before is kept."""
    if _ours:
        sys.modules["ray"].shutdown()
    _ours.clear()


def _require_installed() -> None:
    if importlib.util.find_spec("ray") is None:
        raise RequestError("hydra/launcher=ray: Ray is not installed: pip install 'lightning_d2l[ray]'")
    version = importlib.metadata.version("ray")
    if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise RequestError(f"hydra/launcher=ray: Ray {version} is too old; must be {oldest} or later")


def _require_answer(place: str, what: str) -> None:
    """Raise RequestError unless a server of gRPC answers; Ray itself takes minutes to say so."""
    host, _, port = place.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise RequestError(f"{what}: must be HOST:PORT, ray://HOST:PORT, auto or local")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE) as connection:
            if os.environ.get("RAY_USE_TLS", "0").lower() not in ("0", "", "false"):
                return
            connection.settimeout(PATIENCE)
            connection.sendall(PREFACE)
            answer = connection.recv(9)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{what}: no Ray cluster answers there ({reason})") from error
    if len(answer) < 4 or answer[3] != SETTINGS:
        raise RequestError(f"{what}: what answers there is no Ray cluster")


def _start() -> None:
    """Start a local Ray that other users of this computer can't use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    paths = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    if "RAY_AUTH_MODE" in os.environ or "ray" in sys.modules:  # which reads them when it is imported
        token = {}
    with _environment({**ALONE, **paths, **token}):
        _init("hydra/launcher=ray", address="local", num_cpus=cores, include_dashboard=False, object_store_memory=STORE)
    _ours.append(True)


def _init(what: str, **settings: Any) -> None:
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        with _handlers_kept(), _without_stderr():
            import ray

            silence()
            ray.init(**settings, **quiet)
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RequestError(cut(f"{what}: Ray can't be used: {reason}", 300)) from error


def nodes(need: Need) -> dict[str, int]:
    """How many chunks each living node can train at once, by the node's id; only those that can train one."""
    import ray

    found = {}
    for node in ray.nodes():
        if node["Alive"]:
            given = node["Resources"]
            at_once = min(int(given.get(name, 0.0) / amount + 1e-9) for name, amount in need.by_name.items())
            if at_once:
                found[node["NodeID"]] = at_once
    return found


def nodes_of(host: str) -> list[str]:
    """The ids of the living nodes on a computer."""
    import ray

    return [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeManagerHostname"] == host]


def lacking(need: Need) -> str:
    """Why no node can train a chunk, for a message."""
    import ray

    living = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    keys = {"CPU": "num_cpus", "GPU": "num_gpus"}
    for name, amount in need.by_name.items():
        most = max((given.get(name, 0.0) for given in living), default=0.0)
        if most < amount:
            key = keys.get(name, f"resources.{name}")
            return f"hydra.launcher.{key}={amount:g}: no node has so much; the most on one of {len(living)} is {most:g}"
    asked = ", ".join(f"{amount:g} {name}" for name, amount in need.by_name.items())
    return f"hydra/launcher=ray: no node has {asked} at once"


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what the part of Ray that is not Python writes to this process's stderr: each try to connect."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, ValueError):  # there is none
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Keep this program's handlers of signals, of which Ray replaces that of SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
