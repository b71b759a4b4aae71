"""Checks that depend on this machine: its accelerator, and the data on its disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.registry import FASHION_MNIST


def check_accelerator(config: Mapping[str, Any]) -> None:
    """Raise RequestError if the accelerator of a configuration is not available."""
    name = config["trainer"]["accelerator"]
    if name in ("gpu", "mps"):
        import torch

        if not (torch.cuda.is_available() if name == "gpu" else torch.backends.mps.is_available()):
            raise RequestError(f"trainer.accelerator={name}: this machine has none; must be auto or cpu here")


def uses_generated_garments(configs: Iterable[Mapping[str, Any]]) -> bool:
    """Whether any of the configurations uses generated garments instead of Fashion-MNIST.

    Downloads missing files. Raises RequestError if official files are required and can't be downloaded.
    """
    data = [config["data"] for config in configs if config["data"]["_target_"] == FASHION_MNIST]
    if not data:
        return False
    from lightning_d2l.data.download import official_folder

    folders = [official_folder(*where)[0] for where in {(d["root"], d["source"]) for d in data}]
    return None in folders
