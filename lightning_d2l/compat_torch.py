"""The private and unstable names of torch that this package uses; seen in torch 2.9 to 2.15.

tests/test_compat_torch.py fails by name when one of them changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx  # records the tensor operations of a function; "experimental"
from torch.fx.graph import CodeGen  # the plain code generator: positional arguments, no pytrees
from torch.optim import Optimizer
from torch.utils._pytree import tree_map  # applies a function to every leaf of nested containers

# Operations that only change a tensor's shape; `_unsafe_view` is what autograd makes of a reshape.
_aten: Any = torch.ops.aten
RESHAPES = (_aten.expand.default, _aten.view.default, _aten._unsafe_view.default)

__all__ = [
    "RESHAPES", "StaysFloat64", "count_optimizer_step", "fake_value", "record_operations", "tree_map",
    "use_positional_arguments",
]  # fmt: skip


def record_operations(function: Callable[..., list[Tensor]], *examples: Tensor) -> GraphModule:
    """The operations that a function does for tensors of the examples' shapes."""
    module: GraphModule = make_fx(function)(*examples)
    return module


def use_positional_arguments(module: GraphModule) -> None:
    """Generate the module's code anew, without pytrees in its signature."""
    module.graph.set_codegen(CodeGen())
    module.recompile()


def fake_value(node: Node) -> Any:
    """What a recorded operation computes, as a tensor without data (`node.meta["val"]`), or None."""
    return node.meta.get("val")


class StaysFloat64(nn.Module):
    """A module without parameters whose buffers follow it to another device and keep their types.

    `nn.Module._apply` does what .to(), .double() and .half() ask for. A device without float64 (MPS) leaves the buffers
    where they are.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> StaysFloat64:
        for name, buffer in self.named_buffers(recurse=False):
            device = fn(torch.empty(0, device=buffer.device)).device
            if device.type != "mps":
                self._buffers[name] = buffer.to(device)
        return self


def count_optimizer_step(optimizer: Optimizer) -> None:
    """Let schedulers know that steps are taken in an optimizer's place; they warn where `_opt_called` is missing."""
    optimizer._opt_called = True  # type: ignore[attr-defined]
