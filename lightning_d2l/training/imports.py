"""Importing torch and Lightning while the garbage collector rests."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Import torch and Lightning in this block; the collector looks at none of their half a million objects.

    Otherwise it does so again and again, at a fifth of the time of the import, and in a sweep afterwards too. Where
    torch is imported already, as in a notebook, nothing changes: what is garbage there must be found.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
