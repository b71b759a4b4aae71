"""Random features: a random hidden layer that is never trained (Rahimi and Recht 2007; Belkin et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_d2l.nets.description import described
from lightning_d2l.nets.mlp import activation_layer


@described
class RandomFeatures(nn.Module):
    """A linear layer on `num_features` random features phi(V x), with V ~ N(0, 1 / num_inputs).

    Flattens X (n, ...) to (n, num_inputs); returns (n, num_outputs). V is a buffer: saved, and not trained. The output
    is linear in the trained parameters, so a squared loss has an exact solution.
    """

    V: Tensor

    def __init__(self, num_inputs: int, num_outputs: int, num_features: int = 1000, activation: str = "relu") -> None:
        super().__init__()
        self.register_buffer("V", torch.randn(num_features, num_inputs) / num_inputs**0.5)
        self.activation = activation_layer(activation)
        self.linear = nn.Linear(num_features, num_outputs, bias=False)

    def features(self, x: Tensor) -> Tensor:
        """The random features (n, num_features) of X."""
        phi: Tensor = self.activation(x.flatten(1) @ self.V.T)
        return phi

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.linear(self.features(x))
        return output
