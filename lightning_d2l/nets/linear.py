"""Linear regression and softmax regression (d2l 3.1 to 3.7)."""

from __future__ import annotations

from torch import nn

from lightning_d2l.nets.initialisation import Init, initialise


class LinearRegression(nn.Sequential):
    """y = X w + b for X (n, num_inputs); returns (n, num_outputs) (d2l 3.3)."""

    def __init__(self, num_inputs: int, num_outputs: int = 1, bias: bool = True, init: Init = "default") -> None:
        super().__init__(nn.Linear(num_inputs, num_outputs, bias=bias))
        initialise(self, init)


class SoftmaxRegression(nn.Sequential):
    """Logits o = X W + b, (n, num_outputs), for images or features X (n, ...) (d2l 3.7).

    The softmax itself belongs to the loss, which needs its logarithm in a form that does not overflow.
    """

    def __init__(self, num_inputs: int, num_outputs: int, init: Init = "default") -> None:
        super().__init__(nn.Flatten(), nn.Linear(num_inputs, num_outputs))
        initialise(self, init)
