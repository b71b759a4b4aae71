"""A second device for machines without one: its tensors are the CPU's, but meet only each other.

What is left on the wrong device fails here as on a GPU, and what is right gives the CPU's bits.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from pytorch_lightning.accelerators import Accelerator
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch.fx.experimental import proxy_tensor
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from lightning_d2l.training import trainer
from tests.forked import Forked

DEVICE = "second:0"
COPIES = ("aten::_to_copy", "aten::copy_", "aten::to")  # the operations that may lead from one device to the other
OPERATIONS: Counter[str] = Counter()  # that were done there, by name


class Elsewhere(torch.Tensor):
    """A tensor on the second device."""

    here: torch.Tensor

    def __new__(cls, here: torch.Tensor) -> "Elsewhere":
        tensor = torch.Tensor._make_wrapper_subclass(
            cls, here.size(), strides=here.stride(), dtype=here.dtype, device=DEVICE
        )
        tensor.here = here
        return tensor

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return call(operation, args, kwargs or {})

    def tolist(self) -> Any:
        return self.here.tolist()

    def __reduce_ex__(self, protocol):
        return self.here.detach().__reduce_ex__(protocol)  # a checkpoint is read on any device


def call(operation, args, kwargs):
    """Do an operation with tensors of the second device, or one that makes them."""
    leaves, name = tree_leaves((args, kwargs)), operation.name().split(".")[0]
    device = next((leaf for leaf in leaves if isinstance(leaf, torch.device)), torch.device(DEVICE))
    elsewhere = {id(leaf.here): leaf for leaf in leaves if isinstance(leaf, Elsewhere)}
    strangers = [t for t in leaves if isinstance(t, torch.Tensor) and not isinstance(t, Elsewhere) and t.dim()]
    if strangers and name not in COPIES:
        raise RuntimeError(f"{name}: tensors on two devices")
    OPERATIONS[name] += 1

    def cpu(leaf):
        if isinstance(leaf, Elsewhere):
            return leaf.here
        return torch.device("cpu") if isinstance(leaf, torch.device) else leaf

    def back(leaf):
        if id(leaf) in elsewhere:
            return elsewhere[id(leaf)]
        return Elsewhere(leaf) if isinstance(leaf, torch.Tensor) and device == torch.device(DEVICE) else leaf

    result = operation(*tree_map(cpu, args), **tree_map(cpu, kwargs))
    return args[0] if name == "aten::copy_" else tree_map(back, result)


class Made(TorchDispatchMode):
    """Takes the operations that lead to the second device from nowhere or from the CPU."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        from_there = any(isinstance(leaf, Elsewhere) for leaf in leaves)
        to_there = any(isinstance(leaf, torch.device) and leaf == torch.device(DEVICE) for leaf in leaves)
        return call(operation, args, kwargs) if to_there and not from_there else operation(*args, **kwargs)


class FromNumbers(TorchFunctionMode):
    """Takes those that torch does outside of its dispatcher."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.tensor and str(kwargs.get("device")) == DEVICE:
            return function(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)
        if function is torch.Tensor.new_tensor and isinstance(args[0], Elsewhere):
            return torch.tensor(*args[1:], dtype=args[0].dtype, **kwargs).to(DEVICE)
        return function(*args, **kwargs)


class SecondDevice(Accelerator):
    """What Lightning asks of it."""

    def setup_device(self, device): ...

    def get_device_stats(self, device):
        return {}

    def teardown(self): ...

    parse_devices = auto_device_count = is_available = name = staticmethod(lambda *args: 1)
    get_parallel_devices = staticmethod(lambda devices: [torch.device(DEVICE)])


def off_the_cpu(program: str) -> None:
    """Run a program in a process of its own, for torch counts devices once, at the first backpropagation."""
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch knows no devices written in Python")
    process = Forked(program=program)
    out, err = process.communicate()
    assert process.poll() == 0, out + err


@contextmanager
def second_device() -> Iterator[Counter[str]]:
    """Within, runs train on the second device; gives its operations, by name. Only in a program of `off_the_cpu`."""
    if "second" not in str(torch.device("privateuseone")):
        backend_registration._setup_privateuseone_for_python_backend("second")

    def devices(asked):
        strategy = SingleDeviceStrategy(accelerator=SecondDevice(), device=torch.device(DEVICE))
        return {"accelerator": "auto", "devices": "auto", "strategy": strategy}

    OPERATIONS.clear()
    with pytest.MonkeyPatch().context() as patch, Made(), FromNumbers():
        patch.setattr(trainer, "devices", devices)
        patch.setattr(proxy_tensor, "HANDLED_TYPES", (*proxy_tensor.HANDLED_TYPES, Elsewhere))
        yield OPERATIONS
