"""A function of tensors as the list of its tensor operations, to be run again without autograd or vmap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.graph import CodeGen

_aten: Any = torch.ops.aten
_RESHAPES = (_aten.expand.default, _aten.view.default, _aten._unsafe_view.default)


@dataclass(frozen=True)
class Program:
    """Tensor operations in a fixed order, for tensors of fixed shapes."""

    run: Callable[..., list[Tensor]]
    num_bytes: int  # of all that they compute, if nothing is freed on the way


def traced(function: Callable[..., list[Tensor]], *examples: Tensor) -> Program:
    """The operations that `function` does for tensors of the examples' shapes, gradients within it included.

    On small tensors most of the time of a step goes to autograd's and vmap's bookkeeping, which happens here once.
    """
    module: GraphModule = make_fx(function)(*examples)
    for node in list(module.graph.nodes):
        if node.target in _RESHAPES and _shape(node) == _shape(node.args[0]):
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.graph.set_codegen(CodeGen())  # plain arguments, no trees of them
    module.recompile()
    made = [node.meta["val"] for node in module.graph.nodes if node.op == "call_function" and "val" in node.meta]
    return Program(module.forward, sum(value.nbytes for value in made if isinstance(value, Tensor)))


def _shape(node: Node) -> torch.Size:
    shape: torch.Size = node.meta["val"].shape
    return shape
