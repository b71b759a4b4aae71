"""Linear regression and softmax regression (d2l 3.1 to 3.7)."""

from __future__ import annotations

from torch import nn

from lightning_d2l.nets.description import described
from lightning_d2l.nets.initialisation import Init, initialise
from lightning_d2l.nets.noise import GaussianNoise


@described
class LinearRegression(nn.Sequential):
    """y = X w + b for X (n, num_inputs); returns (n, num_outputs) (d2l 3.3).

    In training, normal noise of standard deviation `input_noise` is added to the inputs (Bishop 1995), and each is
    then dropped with probability `dropout`. The expected squared loss over both is that of ridge regression.
    """

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int = 1,
        bias: bool = True,
        input_noise: float = 0.0,
        dropout: float = 0.0,
        init: Init = "default",
    ) -> None:
        noise = [GaussianNoise(input_noise)] if input_noise else []
        drop = [nn.Dropout(dropout)] if dropout else []
        super().__init__(*noise, *drop, nn.Linear(num_inputs, num_outputs, bias=bias))
        initialise(self, init)

    @property
    def input_noise(self) -> float:
        """The standard deviation of the noise."""
        return next((layer.std for layer in self if isinstance(layer, GaussianNoise)), 0.0)

    @property
    def dropout(self) -> float:
        """The probability with which an input is dropped."""
        return next((layer.p for layer in self if isinstance(layer, nn.Dropout)), 0.0)

    @property
    def linear(self) -> nn.Linear:
        """The linear layer, the only one with parameters."""
        layer = self[-1]
        assert isinstance(layer, nn.Linear)
        return layer


@described
class SoftmaxRegression(nn.Sequential):
    """Logits o = X W + b, (n, num_outputs), for images or features X (n, ...) (d2l 3.7).

    The softmax is part of the loss, which computes its logarithm without overflow.
    """

    def __init__(self, num_inputs: int, num_outputs: int, init: Init = "default") -> None:
        super().__init__(nn.Flatten(), nn.Linear(num_inputs, num_outputs))
        initialise(self, init)
