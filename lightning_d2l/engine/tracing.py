"""A function of tensors as the list of its tensor operations, which runs without autograd or vmap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

from lightning_d2l.compat_torch import RESHAPES, fake_value, record_operations, use_positional_arguments

_aten: Any = torch.ops.aten


@dataclass(frozen=True)
class Program:
    """Tensor operations in a fixed order, for tensors of fixed shapes."""

    run: Callable[..., list[Tensor]]
    num_bytes: int  # of all that they compute, if nothing is freed on the way


def traced(function: Callable[..., list[Tensor]], *examples: Tensor) -> Program:
    """The operations that `function` does for tensors of the examples' shapes, gradients within it included.

    Most of a step's time on small tensors goes to the bookkeeping of autograd and vmap, which happens here once.
    """
    module = record_operations(function, *examples)
    for node in list(module.graph.nodes):
        if node.target in RESHAPES and fake_value(node).shape == fake_value(node.args[0]).shape:
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)
    _fuse_bias_additions(module.graph)
    module.graph.eliminate_dead_code()
    use_positional_arguments(module)
    values = [fake_value(node) for node in module.graph.nodes if node.op == "call_function"]
    return Program(module.forward, sum(value.nbytes for value in values if isinstance(value, Tensor)))


def _fuse_bias_additions(graph: Graph) -> None:
    """Replace what vmap makes of nn.Linear, a batched product, a bias times 1 and their sum, by one fast `baddbmm`."""
    for node in list(graph.nodes):
        if node.target != _aten.add.Tensor or not all(isinstance(summand, Node) for summand in node.args):
            continue
        bias, product = node.args
        scaled = bias.args[0] if bias.target in RESHAPES else bias
        if (scaled.target, *scaled.args[1:]) == (_aten.mul.Scalar, 1) and product.target == _aten.bmm.default:
            scaled.replace_all_uses_with(scaled.args[0])
            with graph.inserting_before(node):
                fused = graph.call_function(_aten.baddbmm.default, (bias, *product.args))
            node.replace_all_uses_with(fused, propagate_meta=True)
            graph.erase_node(node)
