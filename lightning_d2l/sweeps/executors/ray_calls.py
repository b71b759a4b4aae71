"""Calls of the functions of `ray_task` on the nodes of a cluster."""

from __future__ import annotations

import functools
from typing import Any

from lightning_d2l import __version__


@functools.cache
def remote(name: str) -> Any:
    """A function of `ray_task` as Ray's, for which workers are kept as long as it is the same.

    It is sent by value, so that a worker without this package can say so.
    """
    import ray

    version = __version__

    def task(*given: Any) -> Any:
        import importlib
        import socket

        try:
            there = importlib.import_module("lightning_d2l").__version__
        except ImportError as error:
            return {"refused": f"the worker on {socket.gethostname()} has no lightning_d2l ({error}); install it there"}
        if there != version:
            here = f"the worker on {socket.gethostname()} has lightning_d2l {there}, and this is {version}"
            return {"refused": f"{here}; install one version for all"}
        return getattr(importlib.import_module("lightning_d2l.sweeps.executors.ray_task"), name)(*given)

    task.__name__ = task.__qualname__ = f"lightning_d2l_{name}"
    return ray.remote(task)


def on(node: str, name: str, *given: Any) -> Any:
    """A function of `ray_task` on a node, whatever else runs there."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    place = NodeAffinitySchedulingStrategy(node, soft=False)
    return remote(name).options(num_cpus=0, max_retries=0, scheduling_strategy=place).remote(*given)
