"""Networks that remember their constructor arguments, so that a checkpoint can rebuild them."""

from __future__ import annotations

import functools
import inspect
from typing import Any, TypeVar

from torch import nn

Net = TypeVar("Net", bound=type[nn.Module])


def described(cls: Net) -> Net:
    """A class decorator: each instance keeps its arguments as `description`, `{"_target_": class, **arguments}`."""
    init = cls.__init__
    signature = inspect.signature(init)

    @functools.wraps(init)
    def remember(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        _, *arguments = bound.arguments.items()
        # Private, so that comparisons of two layers' public attributes skip it.
        self._description = {"_target_": f"{cls.__module__}.{cls.__qualname__}", **dict(arguments)}  # type: ignore[assignment]

    cls.__init__ = remember  # type: ignore[method-assign]
    return cls


def description_of(net: nn.Module) -> dict[str, Any] | None:
    """The description of a network, or None if its class is not `described`."""
    found: dict[str, Any] | None = getattr(net, "_description", None)
    return found
