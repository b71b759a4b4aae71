"""Metrics of a split: means over its samples, and metrics of all its outputs together."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.functional import mean_absolute_error, mean_squared_error
from torchmetrics.functional.classification import (
    multiclass_auroc,
    multiclass_calibration_error,
    multiclass_f1_score,
)
from torchmetrics.utilities.data import dim_zero_cat

from lightning_d2l.config.metrics import is_top_k

Number = TypeVar("Number", Tensor, float)
WholeSplit = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""A function from all outputs and targets of a split to metrics by name."""


class SplitMetrics(Metric):
    """Means over samples of several quantities, each the mean of a batch, summed in float64 (float32 on MPS).

    `update` takes scalars by name, and the outputs and targets that they are the means of; `compute` returns the means
    over all batches, and in a distributed run over all processes. With `whole`, all outputs are kept, and `compute`
    returns its metrics of them too.
    """

    full_state_update = False
    total: Tensor
    count: Tensor
    outputs: list[Tensor]
    targets: list[Tensor]

    def __init__(self, whole: WholeSplit | None = None) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()
        self.whole = whole
        for state in ("total", "count"):
            self.add_state(state, torch.zeros(()), dist_reduce_fx="sum")
        for state in ("outputs", "targets"):
            self.add_state(state, [], dist_reduce_fx="cat")

    def update(self, means: Mapping[str, Tensor], output: Tensor, y: Tensor) -> None:
        self.names, n = tuple(means), len(y)
        values = torch.stack([value.detach() for value in means.values()])
        dtype = torch.float32 if values.device.type == "mps" else torch.float64
        counted = n * values.to(dtype) if n else torch.zeros_like(values, dtype=dtype)  # the mean of none is nan
        self.total = self.total.to(values.device) + counted
        self.count = self.count.to(values.device, dtype) + n
        if self.whole:
            self.outputs.append(output.detach())
            self.targets.append(y)

    def compute(self) -> dict[str, Tensor]:
        means = dict(zip(self.names, (self.total / self.count).unbind(), strict=True))
        return means | dict(self.whole(*self.kept())) if self.whole else means

    def kept(self) -> tuple[Tensor, Tensor]:
        """All outputs and targets so far."""
        return dim_zero_cat(self.outputs), dim_zero_cat(self.targets)


def r2(output: Tensor, y: Tensor) -> Tensor:
    """The coefficient of determination, the mean over outputs, as scikit-learn's r2_score.

    Of targets that are all the same it is 0, or 1 where they are predicted exactly; of one sample not a number.
    """
    if len(y) < 2:
        return y.new_full((), torch.nan)
    # torchmetrics takes sums of squares below 1e-4 for 0.
    rest, spread = (output - y).square().sum(0), (y - y.mean(0)).square().sum(0)
    constant = torch.where(rest > 0, 0.0, 1.0).to(rest.dtype)
    return torch.where(spread > 0, 1 - rest / torch.where(spread > 0, spread, 1.0), constant).mean()


def brier(output: Tensor, y: Tensor) -> Tensor:
    """The mean squared error of the probabilities, summed over classes; of two classes it is that of one of them."""
    p = output.softmax(1)
    squares = (p - functional.one_hot(y, p.shape[1]).to(p.dtype)).square().sum(1)
    return squares.mean() / (2 if p.shape[1] == 2 else 1)


def auroc(output: Tensor, y: Tensor) -> Tensor:
    """The area under the ROC curve of each class against the rest, the mean over the classes that occur.

    Not a number where only one class occurs, as it is then not defined.
    """
    num_classes = output.shape[1]
    counts = torch.bincount(y, minlength=num_classes)
    present = (counts > 0) & (counts < len(y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes without samples
        found = multiclass_auroc(output.softmax(1), y, num_classes, average="none", validate_args=False)
    return torch.as_tensor(found)[present].mean()


def f1(output: Tensor, y: Tensor) -> Tensor:
    """The F1 score of each class, the mean over the classes that occur or are predicted."""
    return multiclass_f1_score(output, y, output.shape[1], average="macro", validate_args=False)


def ece(output: Tensor, y: Tensor) -> Tensor:
    """The expected calibration error of the predicted class, in 15 bins of its probability (Guo et al. 2017)."""
    return multiclass_calibration_error(output.softmax(1), y, output.shape[1], n_bins=15, validate_args=False)


MAPPED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "rmse": lambda output, y: mean_squared_error(output, y, squared=False),
    "mae": mean_absolute_error,
    "r2": r2,
    "brier": brier,
}
"""Metrics of outputs and targets of a split that torch.vmap maps over members; topK is one of them too."""
ONE_BY_ONE = {"auroc": auroc, "f1": f1, "ece": ece}
"""Others, which sort and count, and are computed member by member."""


def mapped(names: Iterable[str], output: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Those of `names` that are mapped over members."""
    found = {name: MAPPED[name](output, y) for name in names if name in MAPPED}
    return found | {name: top_k(int(name[3:]), output, y) for name in names if is_top_k(name)}


def one_by_one(names: Iterable[str], output: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Those of `names` that are computed member by member."""
    return {name: ONE_BY_ONE[name](output, y).to(output.dtype) for name in names if name in ONE_BY_ONE}


def one_by_one_of_each(names: Sequence[str], outputs: Tensor, ys: Tensor) -> dict[str, list[float]]:
    """The same of each of M members, from outputs (M, n, num_outputs) and classes (M, n)."""
    return {name: [ONE_BY_ONE[name](precise(o), y).item() for o, y in zip(outputs, ys, strict=True)] for name in names}


def precise(output: Tensor) -> Tensor:
    """Outputs in the type in which metrics are computed."""
    return output.to(torch.float32 if output.device.type == "mps" else torch.float64)


def top_k(k: int, output: Tensor, y: Tensor) -> Tensor:
    """The share of samples whose class is among the k of the largest logits."""
    return (output.topk(k, 1).indices == y[:, None]).any(1).to(output.dtype).mean()


def defined(metrics: Mapping[str, Number], names: Sequence[str] | None = None) -> dict[str, Number]:
    """Metrics without those that are not a number because they are not defined; with `names`, only those are looked at.

    A loss that is not a number means that a run has diverged, but an AUROC that it has met one class.
    """
    if names is not None and not names:
        return dict(metrics)
    chosen = metrics if names is None else set(names)
    looked_at = (k for k in metrics if names is None or k.partition("/")[0] in chosen)
    undefined = {k for k in looked_at if math.isnan(metrics[k])}
    return {k: v for k, v in metrics.items() if k not in undefined}
