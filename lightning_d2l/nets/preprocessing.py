"""From raw columns of a table to features: standardised numbers, one-hot categories, indicators of missing values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_d2l.compat_torch import StaysFloat64


class TableInputs(StaysFloat64):
    """Features (n, num_features) of raw rows (n, number of columns), both float64; NaN means missing.

    Each of the `columns` is a mapping with its "name", whether it has an indicator of "missing" values, and
    - of a numeric column its "mean" and "scale": the feature is (x - mean) / scale, and 0 where x is missing;
    - of a column of categories their names, "categories": a raw value is the index of its category, and any other
      number, such as -1, is an unknown category, for which all its features are 0.

    The features are the numbers, then the categories, then the indicators, each in the order of the columns. The
    statistics are the buffers `mean` (p,) and `scale` (p,) of the p numeric columns.

    `target` describes what a network predicts from the features: its "name", the names of its "classes", or of a number
    whether its logarithm is predicted ("log"), after which "mean" and "scale" standardise it.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, columns: Sequence[Mapping[str, Any]], target: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.columns = [dict(column) for column in columns]
        self.target = {"name": "y", "classes": [], "log": False, "mean": 0.0, "scale": 1.0, **(target or {})}
        numbers = [i for i, column in enumerate(self.columns) if "categories" not in column]
        hot = [(i, code) for i, c in enumerate(self.columns) for code, _ in enumerate(c.get("categories", ()))]
        indicated = [i for i, column in enumerate(self.columns) if column["missing"]]
        for name in ("mean", "scale"):
            values = [float(self.columns[i][name]) for i in numbers]
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))
        # No buffers: the settings tell them. Tensors, since a number in an ONNX model has the digits of float32 alone.
        self._moments = torch.tensor([float(self.target["mean"]), float(self.target["scale"])], dtype=torch.float64)
        self._numbers, self._indicated = torch.tensor(numbers).long(), torch.tensor(indicated).long()
        self._hot = torch.tensor([i for i, _ in hot]).long(), torch.tensor([code for _, code in hot]).double()

    @property
    def num_features(self) -> int:
        return len(self._numbers) + len(self._hot[0]) + len(self._indicated)

    @property
    def feature_names(self) -> list[str]:
        """The names of the features: "area", "district=north", "area is missing"."""
        numbers = [column["name"] for column in self.columns if "categories" not in column]
        hot = [f"{column['name']}={name}" for column in self.columns for name in column.get("categories", ())]
        return [*numbers, *hot, *(f"{column['name']} is missing" for column in self.columns if column["missing"])]

    def forward(self, raw: Tensor) -> Tensor:
        raw = raw.to(self.mean.device, torch.float64)
        parts, (column, code) = [], (t.to(raw.device) for t in self._hot)
        if len(self._numbers):
            numbers = (
                raw if len(self._numbers) == len(self.columns) else raw.index_select(1, self._numbers.to(raw.device))
            )
            standardised = (numbers - self.mean).div(self.scale)
            parts.append(torch.where(standardised.isnan(), 0.0, standardised))
        if len(column):
            parts.append((raw.index_select(1, column) == code).to(raw.dtype))
        if len(self._indicated):
            parts.append(raw.index_select(1, self._indicated.to(raw.device)).isnan().to(raw.dtype))
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]

    def of_target(self, y: Tensor) -> Tensor:
        """What the network is trained to predict for targets (n, 1) in their own unit."""
        y = y.log() if self.target["log"] else y
        return (y - self._moments[0]) / self._moments[1] if self._standardised else y

    def in_own_unit(self, output: Tensor) -> Tensor:
        """The target in its own unit for outputs (n, 1) of the network; logits of classes stay as they are."""
        if self._standardised:
            mean, scale = self._moments.to(output.device, output.dtype)
            output = output * scale + mean
        return output.exp() if self.target["log"] else output

    @property
    def _standardised(self) -> bool:
        return (self.target["mean"], self.target["scale"]) != (0.0, 1.0)
