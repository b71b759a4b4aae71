"""Linear networks and multilayer perceptrons as experiments: Lightning trains, Hydra composes, TensorBoard shows."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_d2l.__main__ import main
    from lightning_d2l.api import (
        Run,
        RunFailed,
        Sweep,
        fit,
        load_run,
        load_sweep,
        report,
        runs,
        study,
        sweep,
        train,
    )
    from lightning_d2l.config.check import RequestError
    from lightning_d2l.plugins import register

__version__ = "0.2.0"
__all__ = [
    "RequestError", "Run", "RunFailed", "Sweep", "fit", "load_run", "load_sweep", "main", "register", "report", "runs",
    "study", "sweep", "train",
]  # fmt: skip
_MODULES = dict.fromkeys(__all__, "api") | {"RequestError": "config.check", "main": "__main__", "register": "plugins"}


def __getattr__(name: str) -> Any:
    """The public names, imported where they are used first."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
