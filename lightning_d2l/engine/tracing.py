"""A function of tensors as the list of its tensor operations, to be run again without autograd or vmap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.graph import CodeGen

_aten: Any = torch.ops.aten
_RESHAPES = (_aten.expand.default, _aten.view.default, _aten._unsafe_view.default)


@dataclass(frozen=True)
class Program:
    """Tensor operations in a fixed order, for tensors of fixed shapes."""

    run: Callable[..., list[Tensor]]
    num_bytes: int  # of all that they compute, if nothing is freed on the way


def traced(function: Callable[..., list[Tensor]], *examples: Tensor, in_turn: bool = False) -> Program:
    """The operations that `function` does for tensors of the examples' shapes, gradients within it included.

    On small tensors most of the time of a step goes to autograd's and vmap's bookkeeping, which happens here once.
    Batches of matrices are multiplied at once, or `in_turn`, which rounds each product as for one model alone.
    """
    module: GraphModule = make_fx(function)(*examples)
    for node in list(module.graph.nodes):
        if node.target in _RESHAPES and _shape(node) == _shape(node.args[0]):
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)
    _add_biases_as_addmm(module.graph)
    for node in module.graph.nodes if in_turn else ():
        node.target = _IN_TURN.get(node.target, node.target)
    module.graph.eliminate_dead_code()
    module.graph.set_codegen(CodeGen())  # plain arguments, no trees of them
    module.recompile()
    made = [node.meta["val"] for node in module.graph.nodes if node.op == "call_function" and "val" in node.meta]
    return Program(module.forward, sum(value.nbytes for value in made if isinstance(value, Tensor)))


def _add_biases_as_addmm(graph: Graph) -> None:
    """Make one operation of what vmap makes of addmm, nn.Linear's: a product, a bias times 1, and their sum.

    It is quicker, and rounds as addmm does for one model.
    """
    for node in list(graph.nodes):
        if node.target != _aten.add.Tensor or not all(isinstance(summand, Node) for summand in node.args):
            continue
        bias, product = node.args
        scaled = bias.args[0] if bias.target in _RESHAPES else bias
        if (scaled.target, *scaled.args[1:]) == (_aten.mul.Scalar, 1) and product.target == _aten.bmm.default:
            scaled.replace_all_uses_with(scaled.args[0])
            with graph.inserting_before(node):
                fused = graph.call_function(_aten.baddbmm.default, (bias, *product.args))
            node.replace_all_uses_with(fused, propagate_meta=True)
            graph.erase_node(node)


def _in_turn(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A product of matrices, done for each of a batch of them after another."""

    def batched(*operands: Tensor) -> Tensor:
        *_, left, right = operands
        products = left.new_empty(*left.shape[:2], right.shape[2])
        for *one, product in zip(*(operand.unbind() for operand in (*operands, products)), strict=True):
            function(*one, out=product)
        return products

    return batched


_IN_TURN = {_aten.bmm.default: _in_turn(torch.mm), _aten.baddbmm.default: _in_turn(torch.addmm)}


def _shape(node: Node) -> torch.Size:
    shape: torch.Size = node.meta["val"].shape
    return shape
