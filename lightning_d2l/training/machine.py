"""Checks that depend on this machine: its accelerator, what Lightning accepts here, and the data on its disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.registry import FASHION_MNIST
from lightning_d2l.config.trainer import changed, wrong

# Settings of the Trainer that it never refuses, with these values.
ACCEPTED: dict[str, Any] = {"accelerator": ("auto", "cpu", "gpu", "cuda", "mps"), "precision": ("32-true", "64-true")}


def check_accelerator(config: Mapping[str, Any], *, elsewhere: bool = False) -> None:
    """Raise RequestError on an accelerator that is not there, and on settings that Lightning refuses.

    A run that trains `elsewhere`, on a node of a cluster, may ask for an accelerator that this machine lacks.
    """
    settings = config["trainer"]
    name = settings["accelerator"]
    lacks = False
    if name in ("gpu", "cuda", "mps"):
        import torch

        lacks = not (torch.backends.mps.is_available() if name == "mps" else torch.cuda.is_available())
        if lacks and not elsewhere:
            raise RequestError(f"trainer.accelerator={name}: this machine has none; must be auto or cpu here")
    asked = changed(settings)
    if any(name != "max_epochs" and value not in ACCEPTED.get(name, ()) for name, value in asked.items()):
        from lightning_d2l.training.trainer import check_trainer

        if refused := wrong(settings):
            raise RequestError(refused)
        if not lacks:
            check_trainer(config)


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
