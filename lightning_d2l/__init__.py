"""Linear networks and multilayer perceptrons as experiments: Lightning trains, Hydra composes, TensorBoard shows."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_d2l.__main__ import main
    from lightning_d2l.plugins import register

__version__ = "0.2.0"
__all__ = ["main", "register"]
_MODULES = {"main": "__main__", "register": "plugins"}


def __getattr__(name: str) -> Any:
    """The public names, imported where they are used first."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
