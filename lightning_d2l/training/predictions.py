"""The outputs of a network, and predictions.csv."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from lightning_d2l.config.escape import terminal
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.batches import as_input
from lightning_d2l.data.synthetic import RegressionData
from lightning_d2l.training.files import replacing

if TYPE_CHECKING:
    from lightning_d2l.data.table import TableData


SAMPLES_AT_ONCE = 1024  # of a convolution's activations


@dataclass
class Prediction:
    """An input, its output, and a note on how the input was read."""

    name: str
    x: Tensor
    output: Tensor
    note: str = ""

    def as_json(self, classes: Sequence[str]) -> dict[str, object]:
        """Plain values: a probability for each class, or the numbers that are predicted where there are no classes."""
        if self._is_of(classes):
            by_class = dict(zip(classes, probabilities(self.output).tolist(), strict=True))
            return {"input": self.name, "probabilities": by_class, "note": self.note}
        return {"input": self.name, "prediction": self.output.tolist(), "note": self.note}

    def as_text(self, classes: Sequence[str]) -> str:
        """A line: the three most probable classes, or the numbers that are predicted."""
        note, name = f"   ({self.note})" if self.note else "", terminal(self.name)
        if not self._is_of(classes):
            return f"{name:<20} {'  '.join(f'{v:.6g}' for v in self.output.flatten().tolist()):<12}{note}"
        found = probabilities(self.output)
        best = found.argsort(descending=True)[:3].tolist()
        return f"{name:<15} " + "  ".join(f"{classes[i]} {float(found[i]):.1%}" for i in best) + note

    def _is_of(self, classes: Sequence[str]) -> bool:
        """Whether the output has a number for each class; a custom module's, such as an autoencoder's, may not."""
        return bool(classes) and self.output.shape == (len(classes),)


def probabilities(output: Tensor) -> Tensor:
    """The probabilities of classes (..., num_classes) of logits, or of outputs that are probabilities already."""
    sums = output.double().sum(-1)
    already = bool((output >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
    return output if already else output.softmax(-1)


@torch.no_grad()
def outputs(net: nn.Module, x: Tensor) -> Tensor:
    """The outputs (n, num_outputs) of a network in evaluation mode for x (n, ...), moved to the CPU."""
    like = next(net.parameters())
    net.eval()
    numbers = x.is_floating_point() or x.dtype == torch.uint8  # other whole numbers may be indices
    parts = (part.to(like.device) for part in torch.split(x, SAMPLES_AT_ONCE))
    return torch.cat([net(as_input(part, like.dtype) if numbers else part).cpu() for part in parts])


def in_own_unit(data: TensorDataModule, y: Tensor) -> Tensor:
    """Outputs or targets (n, 1) in the unit of the data's target, of which a table may train on the logarithm."""
    return y if data.preprocessing is None else cast("TableData", data).in_own_unit(y)


def save_predictions(path: Path, data: TensorDataModule, net: nn.Module) -> None:
    """Write a CSV of the test samples with the target y, the true function (generated data only) and each output."""
    x, y = data.samples(data.split_names[-1])
    columns = {"y": in_own_unit(data, y).reshape(len(y))}
    if isinstance(data, RegressionData):
        columns["true"] = data.true_function(data.inputs["test"])[:, 0]
    columns |= {f"output_{i}": output for i, output in enumerate(in_own_unit(data, outputs(net, x)).T)}
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    with replacing(path) as file:
        file.write("".join(",".join(map(str, row)) + "\n" for row in [tuple(columns), *rows]).encode())
