"""The private and unstable names of torch that this package uses; seen in torch 2.9 to 2.15.

tests/test_compat_torch.py fails by name when one of them changes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx  # records the tensor operations of a function; "experimental"
from torch.fx.graph import CodeGen  # the plain code generator: positional arguments, no pytrees
from torch.optim import Optimizer
from torch.utils._pytree import tree_map  # applies a function to every leaf of nested containers

# Operations that only change a tensor's shape; `_unsafe_view` is what autograd makes of a reshape.
# Values of a scheduler's state that have a number for each group of parameters, and the states of schedulers in it.
OF_GROUPS, NESTED = ("base_lrs", "_last_lr"), "_schedulers"
_aten: Any = torch.ops.aten
RESHAPES = (_aten.expand.default, _aten.view.default, _aten._unsafe_view.default)

__all__ = [
    "RESHAPES", "StaysFloat64", "count_optimizer_step", "fake_value", "join_scheduler_states", "record_operations",
    "scheduler_state", "tree_map", "use_positional_arguments",
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


def scheduler_state(state: Mapping[str, Any], number: int, groups: int) -> dict[str, Any]:
    """A copy of a scheduler's state in which `groups` groups of parameters have what group `number` has."""
    found = {k: [v[number]] * groups if k in OF_GROUPS else copy.deepcopy(v) for k, v in state.items() if k != NESTED}
    nested = [scheduler_state(each, number, groups) for each in state.get(NESTED, ())]
    return found | ({NESTED: nested} if nested else {})


def join_scheduler_states(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The state of a scheduler whose groups have each what the first group of one of the `states` has."""
    found = scheduler_state(states[0], 0, 1) | {k: [s[k][0] for s in states] for k in OF_GROUPS if k in states[0]}
    nested = [join_scheduler_states(each) for each in zip(*(s.get(NESTED, ()) for s in states), strict=True)]
    return found | ({NESTED: nested} if nested else {})
