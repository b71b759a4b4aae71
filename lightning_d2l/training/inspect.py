"""The parameters and buffers of a trained network, by name (d2l 5.2.1)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from torch import Tensor

from lightning_d2l.config.check import RequestError, nearest
from lightning_d2l.config.text import number
from lightning_d2l.data.batches import as_batch
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.training.build import BuiltRun

NAME_WIDTH = 18  # longer names get a separate line, so that the table fits in 80 columns


@dataclasses.dataclass
class NamedTensor:
    """A parameter or buffer."""

    name: str
    kind: str  # "parameter" or "buffer"
    value: Tensor
    gradient: float | None  # the norm
    same_as: str | None  # an earlier name of the same tensor

    def facts(self) -> dict[str, Any]:
        """Shape, count, norm, mean, standard deviation (population, so 0 for one number) and gradient."""
        value = self.value.double()
        moments = {"norm": value.norm().item(), "mean": value.mean().item(), "std": value.std(correction=0).item()}
        facts = {"name": self.name, "kind": self.kind, "shape": list(value.shape), "count": value.numel()}
        return facts | moments | {"gradient": self.gradient, "same_as": self.same_as}


def tensors(built: BuiltRun) -> list[NamedTensor]:
    """Every parameter and buffer; a tied tensor is listed under each of its names.

    Gradients are of the objective on the first `batch_size` training samples, in evaluation mode (without dropout);
    there are none without samples.
    """
    module, data = built.module, built.data
    dtype = next(module.parameters()).dtype
    module.eval()
    module.zero_grad()
    if isinstance(module, SupervisedModule):  # a custom module has no objective
        x, y = data.samples("train", data.batch_size)
        if len(x):
            loss, _ = module.objective(as_batch((x, y), dtype))
            loss.backward()  # type: ignore[no-untyped-call]
    found: list[NamedTensor] = []
    first: dict[int, str] = {}
    kinds = {"parameter": module.named_parameters, "buffer": module.named_buffers}
    for kind, full_name, tensor in ((k, *item) for k, named in kinds.items() for item in named(remove_duplicate=False)):
        name = full_name.removeprefix("net.")
        earlier = first.setdefault(id(tensor), name)
        gradient = None if tensor.grad is None else tensor.grad.double().norm().item()
        found.append(NamedTensor(name, kind, tensor.detach(), gradient, None if earlier == name else earlier))
    return found


def find(items: list[NamedTensor], name: str) -> NamedTensor:
    """The parameter or buffer called `name`; raises RequestError if there is none."""
    names = [item.name for item in items]
    if name in names:
        return items[names.index(name)]
    raise RequestError(f"{name}: no such parameter or buffer{nearest(name, names)} (allowed: {', '.join(names)})")


def totals(items: list[NamedTensor]) -> dict[str, int]:
    """The counts of numbers in parameters and in buffers; tied tensors are counted once."""
    return {
        f"{kind}s": sum(item.value.numel() for item in items if item.kind == kind and item.same_as is None)
        for kind in ("parameter", "buffer")
    }


def table(items: list[NamedTensor]) -> str:
    """A table of `NamedTensor.facts`, at most 80 columns wide for shapes of up to two dimensions."""
    lines = [f"{'':{NAME_WIDTH}}{'shape':>12}{'count':>9}{'norm':>10}{'mean':>11}{'std':>10}{'gradient':>10}"]
    for item in items:
        facts = item.facts()
        shape = " x ".join(map(str, facts["shape"])) or "scalar"
        start = f"{item.name:{NAME_WIDTH}}" if len(item.name) < NAME_WIDTH else f"{item.name}\n{'':{NAME_WIDTH}}"
        if item.same_as is not None:
            lines.append(f"{start}{shape:>12}  the same tensor as {item.same_as}")
            continue
        gradient = "buffer" if item.kind == "buffer" else "none" if item.gradient is None else number(item.gradient)
        norm, mean, std = (number(facts[key]) for key in ("norm", "mean", "std"))
        lines.append(f"{start}{shape:>12}{facts['count']:>9,}{norm:>10}{mean:>11}{std:>10}{gradient:>10}")
    count = totals(items)
    lines.append(f"\n{count['parameters']:,} parameters, {count['buffers']:,} numbers in buffers")
    return "\n".join(lines)


def values(item: NamedTensor) -> str:
    """Name, shape and numbers; tensors of over 1,000 numbers are abbreviated as numpy does."""
    shape = " x ".join(map(str, item.value.shape)) or "scalar"
    numbers = np.array2string(item.value.cpu().numpy(), max_line_width=80, threshold=1000, precision=5)
    return f"{item.name}  {item.kind}  {shape}\n{numbers}"
