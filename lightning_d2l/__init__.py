"""Linear networks and multilayer perceptrons as experiments: Lightning trains, Hydra composes, TensorBoard shows."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_d2l.__main__ import main
    from lightning_d2l.plugins import register

__version__ = "0.2.0"
__all__ = ["main", "register"]


def __getattr__(name: str) -> Any:
    """The public names, imported where they are used first."""
    if name == "main":
        from lightning_d2l.__main__ import main

        return main
    if name == "register":
        from lightning_d2l.plugins import register

        return register
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
