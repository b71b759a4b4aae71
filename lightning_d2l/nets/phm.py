"""Fully connected layers with 1/n of the parameters (Zhang et al. 2021, "Beyond fully-connected layers with
quaternions: parameterization of hypercomplex multiplications with 1/n parameters", ICLR)."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_d2l.nets.description import described
from lightning_d2l.nets.initialisation import Init, initialise
from lightning_d2l.nets.mlp import activation_layer


class PHMLinear(nn.Module):
    """y = H x + b with H the sum of n Kronecker products of A_i (n, n) and S_i (q/n, d/n) (their equation 4).

    For d = in_features and q = out_features, H has dq/n + n^3 parameters instead of dq. With n = 1 the only A would
    be a scalar factor, so there is no A, and the layer is nn.Linear with its weight named S.

    Raises ValueError unless n divides in_features and out_features.
    """

    def __init__(self, in_features: int, out_features: int, n: int, bias: bool = True) -> None:
        super().__init__()
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            if size % n:
                raise ValueError(f"{name}={size}: must be a multiple of n={n}")
        self.in_features, self.out_features, self.n = in_features, out_features, n
        self.S = nn.Parameter(torch.empty(n, out_features // n, in_features // n))
        self.A = nn.Parameter(torch.empty(n, n, n)) if n > 1 else None
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        # The same as nn.Linear: uniform within 1 / sqrt(in_features).
        self.fill_weight(lambda weight: nn.init.kaiming_uniform_(weight, a=5**0.5))
        if self.bias is not None:
            nn.init.uniform_(self.bias, -(in_features**-0.5), in_features**-0.5)

    @property
    def weight(self) -> Tensor:
        """H, (out_features, in_features)."""
        if self.A is None:
            return self.S[0]
        blocks = torch.einsum("iab,icd->acbd", self.A, self.S)
        return blocks.reshape(self.out_features, self.in_features)

    @torch.no_grad()
    def fill_weight(self, scheme: Callable[[Tensor], object]) -> None:
        """Give the entries of H the variance of a weight (out_features, in_features) that `scheme` fills.

        S takes its values from such a weight. Block (a, b) of H is sum_i A_i[a, b] S_i. The coefficients A_i[a, b] are
        a random vector of length 1, which keeps the variance.
        """
        weight = torch.empty(self.out_features, self.in_features)
        scheme(weight)
        self.S.copy_(weight.flatten()[: self.S.numel()].view_as(self.S))
        if self.A is not None:
            self.A.copy_(functional.normalize(torch.randn_like(self.A), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, n={self.n}, bias={self.bias is not None}"


@described
class PHMMLP(nn.Sequential):
    """A multilayer perceptron whose hidden layers are PHMLinear; the output layer is an nn.Linear.

    Flattens X (n, ...) to (n, num_inputs); returns (n, num_outputs). `num_hiddens` is one width, or a list with the
    width of each hidden layer. `n` must divide num_inputs and every width.
    """

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        num_hiddens: int | list[int] = 256,
        n: int = 4,
        activation: str = "relu",
        init: Init = "default",
    ) -> None:
        widths = [num_inputs, *([num_hiddens] if isinstance(num_hiddens, int) else num_hiddens)]
        layers: list[nn.Module] = [nn.Flatten()]
        for n_in, n_out in itertools.pairwise(widths):
            layers += [PHMLinear(n_in, n_out, n), activation_layer(activation)]
        super().__init__(*layers, nn.Linear(widths[-1], num_outputs))
        initialise(self, init, activation)
