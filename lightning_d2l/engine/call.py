"""A method of a module with other parameters than its own, as torch.func needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


def call_with(module: nn.Module, method: str, tensors: Sequence[Tensor], *args: Any) -> Any:
    """Call a method with `tensors` in place of the module's parameters and, behind them, its buffers."""
    wrapped = _Method(module, method)
    names = [name for named in (wrapped.named_parameters(), wrapped.named_buffers()) for name, _ in named]
    return functional_call(wrapped, dict(zip(names, tensors, strict=True)), args)


class _Method(nn.Module):
    """A method of a module as a module, which is what functional_call calls."""

    def __init__(self, module: nn.Module, name: str) -> None:
        super().__init__()
        self.module, self.name = module, name

    def forward(self, *args: Any) -> Any:
        return getattr(self.module, self.name)(*args)
