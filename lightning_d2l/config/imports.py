"""Importing torch and Lightning while the garbage collector rests."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from lightning_d2l.config.garbage import without_collection

LARGE = ("torch", "pytorch_lightning")


class Imports(MetaPathFinder):
    """A finder of `LARGE` modules that imports them without garbage collection.

    They are half a million objects, none of them garbage. The collector would look at them again and again, at a
    quarter of the time of the import, and in a sweep afterwards too.
    """

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module as it would be found on the path; None, so that others look, for all but `LARGE` ones."""
        spec = PathFinder.find_spec(name, path, target) if name in LARGE else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def at_rest(module: ModuleType) -> None:
            outermost = gc.isenabled()
            with without_collection():
                execute(module)
                if outermost:
                    gc.freeze()

        spec.loader.exec_module = at_rest  # type: ignore[method-assign]
        return spec


def faster() -> None:
    """Let the modules that are imported from now on in this process be imported without garbage collection.

    It is for programs of this package: in a notebook what is there before may be garbage, which has to be found.
    """
    if not any(isinstance(finder, Imports) for finder in sys.meta_path):
        sys.meta_path.insert(0, Imports())
