"""The multilayer perceptron (d2l 4.1 to 4.3, with dropout 4.6)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from lightning_d2l.config import registry
from lightning_d2l.nets.description import described
from lightning_d2l.nets.initialisation import Init, initialise
from lightning_d2l.nets.noise import GaussianNoise

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "prelu": nn.PReLU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}


def activation_layer(name: str) -> nn.Module:
    """The layer of an activation's name: one of ACTIVATIONS, or one that a plugin registered."""
    registered = registry.ACTIVATIONS.get(name)
    if registered is not None and not isinstance(registered, type):
        return Function(registered)
    made: nn.Module = (registered or ACTIVATIONS[name])()
    return made


class Function(nn.Module):
    """A function of a tensor as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return getattr(self.function, "__name__", "")


@described
class MLP(nn.Sequential):
    """A multilayer perceptron: each hidden layer is followed by an activation, and by dropout where it is above 0.

    Flattens X (n, ...) to (n, num_inputs); returns (n, num_outputs). `num_hiddens` is one width, or a list with the
    width of each hidden layer. With `num_layers` there are that many hidden layers of the first width; with
    `num_layers=0` the network is linear. `dropout` is one probability in [0, 1), or a list with one for each hidden
    layer. In training, normal noise of standard deviation `input_noise` is added to the inputs.
    """

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        num_hiddens: int | list[int] = 256,
        activation: str = "relu",
        dropout: float | list[float] = 0.0,
        input_noise: float = 0.0,
        init: Init = "default",
        num_layers: int | None = None,
    ) -> None:
        widths = [num_hiddens] if isinstance(num_hiddens, int) else list(num_hiddens)
        if num_layers is not None:
            widths = widths[:1] * num_layers
        rates = dropout if isinstance(dropout, list) else [dropout] * len(widths)
        layers: list[nn.Module] = [nn.Flatten(), *([GaussianNoise(input_noise)] if input_noise else [])]
        for n_in, n_out, p in zip([num_inputs, *widths], widths, rates, strict=False):
            layers += [nn.Linear(n_in, n_out), activation_layer(activation)]
            if p > 0:
                layers.append(nn.Dropout(p))
        super().__init__(*layers, nn.Linear([num_inputs, *widths][-1], num_outputs))
        initialise(self, init, activation)
