"""The private names of torch that the engine uses: a failure here names what has changed."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from lightning_d2l.compat_torch import (
    RESHAPES,
    StaysFloat64,
    count_optimizer_step,
    fake_value,
    join_scheduler_states,
    record_operations,
    scheduler_state,
    tree_map,
    use_positional_arguments,
)


def gradient(weight: Tensor, x: Tensor) -> list[Tensor]:
    def loss(weight: Tensor, x: Tensor) -> Tensor:
        return (x @ weight.reshape(3, 1)).square().mean()

    return [vmap(grad(loss))(weight, x)]


def test_make_fx_records_tensor_operations_with_gradients_and_vmap():
    weight, x = torch.randn(4, 3), torch.randn(4, 5, 3)
    module = record_operations(gradient, weight, x)
    use_positional_arguments(module)
    other = torch.randn(4, 3), torch.randn(4, 5, 3)
    (found,), (expected,) = module.forward(*other), gradient(*other)
    torch.testing.assert_close(found, expected)


def test_node_meta_val_has_the_shape_of_the_result():
    module = record_operations(gradient, torch.randn(4, 3), torch.randn(4, 5, 3))
    values = [fake_value(node) for node in module.graph.nodes if node.op == "call_function"]
    assert values
    assert all(isinstance(value, Tensor) for value in values)
    assert fake_value(list(module.graph.nodes)[-1]) is None


def test_reshapes_are_operations_of_aten():
    assert [str(each) for each in RESHAPES] == ["aten.expand.default", "aten.view.default", "aten._unsafe_view.default"]


def test_tree_map_reaches_every_leaf():
    tree = {"a": [torch.ones(1), 2], "b": (torch.ones(2),)}
    assert tree_map(lambda v: v * 3 if isinstance(v, int) else v.sum().item(), tree) == {"a": [1.0, 6], "b": (2.0,)}


@pytest.mark.parametrize("convert", [nn.Module.float, nn.Module.half, lambda module: module.to(torch.bfloat16)])
def test_conversions_go_through_apply_and_leave_float64_buffers(convert):
    inside = StaysFloat64()
    inside.register_buffer("b", torch.tensor([1 / 3], dtype=torch.float64))
    convert(nn.Sequential(inside, nn.Linear(1, 1)))
    assert inside.b.dtype == torch.float64
    assert inside.b.item() == 1 / 3


def test_buffers_that_stay_float64_follow_to_another_device():
    inside = StaysFloat64()
    inside.register_buffer("b", torch.ones(1, dtype=torch.float64))
    nn.Sequential(inside, nn.Linear(1, 1)).to("meta")
    assert inside.b.device.type == "meta"
    assert inside.b.dtype == torch.float64


def test_a_schedulers_state_has_a_number_for_each_group_under_two_names():
    def state(*rates: float) -> dict[str, Any]:
        optimizer = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": rate} for rate in rates], lr=0.0)
        count_optimizer_step(optimizer)
        first = torch.optim.lr_scheduler.LinearLR(optimizer, 0.5, total_iters=2)
        second = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
        scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [first, second], [2])
        with warnings.catch_warnings(action="error"):  # of a scheduler without a step of the optimizer
            for _ in range(3):
                scheduler.step()
        return scheduler.state_dict()

    both = state(0.1, 0.3)
    assert join_scheduler_states([state(0.1), state(0.3)]) == both
    assert scheduler_state(both, 1, 1) == state(0.3)
    assert scheduler_state(both, 1, 2) == state(0.3, 0.3)
