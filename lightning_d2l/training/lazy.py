"""Layers such as nn.LazyLinear, which take their sizes from the first batch (d2l 6.4, second edition)."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from lightning_d2l.config.check import RequestError
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.batches import as_input
from lightning_d2l.modules.base import SupervisedModule


def give_sizes(module: pl.LightningModule, data: TensorDataModule) -> None:
    """Pass a training sample through a network that has lazy layers, so that each has its parameters.

    Raises RequestError if the network can't be called with a batch of inputs.
    """
    if not any(map(is_lazy, [*module.parameters(), *module.buffers()])):
        return
    net: nn.Module = module.net if isinstance(module, SupervisedModule) else module
    if isinstance(module, SupervisedModule) and module.transform:
        net = nn.Sequential(module.transform, net)
    x = as_input(data.samples("train", 1)[0], torch.float32)
    modes = [(layer, layer.training) for layer in net.modules()]  # a part may be in evaluation mode for good
    with torch.no_grad():
        try:
            net.eval()(x)
        except Exception as error:
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise RequestError(f"model: its lazy layers need forward(x), which fails: {reason[:200]}") from error
    for layer, training in modes:
        layer.training = training
    if left := [name for name, parameter in module.named_parameters() if is_lazy(parameter)]:
        raise RequestError(f"model: {left[0]} has no size yet after forward(x); must be used there, or not be lazy")
