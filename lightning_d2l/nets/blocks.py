"""Custom layers and blocks, and parameters that layers share (d2l 5.1, 5.2.3)."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_d2l.nets.description import described
from lightning_d2l.nets.initialisation import Init, initialise


@described
class MLPBlock(nn.Module):
    """The multilayer perceptron as a block: two layers as attributes, applied in `forward` (d2l 5.1.1).

    Flattens X (n, ...) to (n, num_inputs); returns (n, num_outputs).
    """

    def __init__(self, num_inputs: int, num_outputs: int, num_hiddens: int = 256, init: Init = "default") -> None:
        super().__init__()
        self.hidden = nn.Linear(num_inputs, num_hiddens)
        self.out = nn.Linear(num_hiddens, num_outputs)
        initialise(self, init, "relu")

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.out(functional.relu(self.hidden(x.flatten(1))))
        return output


class MySequential(nn.Module):
    """Apply modules in order, as nn.Sequential does (d2l 5.1.2).

    `add_module` registers each module, so that its parameters are found, saved and moved to a device. Parameters of
    modules in a plain list are not.
    """

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        for index, block in enumerate(blocks):
            self.add_module(str(index), block)

    def forward(self, x: Tensor) -> Tensor:
        for block in self._modules.values():  # children() would skip the second use of a block
            assert block is not None
            x = block(x)
        return x


@described
class MySequentialMLP(MySequential):
    """The multilayer perceptron as a MySequential of num_inputs, num_hiddens and num_outputs units (d2l 5.1.2)."""

    def __init__(self, num_inputs: int, num_outputs: int, num_hiddens: int = 256, init: Init = "default") -> None:
        hidden, out = nn.Linear(num_inputs, num_hiddens), nn.Linear(num_hiddens, num_outputs)
        super().__init__(nn.Flatten(), hidden, nn.ReLU(), out)
        initialise(self, init, "relu")


@described
class NestedMLP(nn.Module):
    """Nested blocks: `net`, a sequence of hidden layers with ReLU, followed by a linear layer (d2l 5.1.3).

    Flattens X (n, ...) to (n, num_inputs); returns (n, num_outputs). `num_hiddens` is a list with the width of each
    hidden layer.
    """

    def __init__(
        self, num_inputs: int, num_outputs: int, num_hiddens: list[int] | None = None, init: Init = "default"
    ) -> None:
        super().__init__()
        widths = [num_inputs, *([64, 32] if num_hiddens is None else num_hiddens)]
        layers = [MySequential(nn.Linear(n_in, n_out), nn.ReLU()) for n_in, n_out in itertools.pairwise(widths)]
        self.net = MySequential(nn.Flatten(), *layers)
        self.linear = nn.Linear(widths[-1], num_outputs)
        initialise(self, init, "relu")

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.linear(self.net(x))
        return output


@described
class FixedHiddenMLP(nn.Module):
    """A constant layer between two uses of one linear layer, and control flow in `forward` (d2l 5.1.3).

    The output is halved until the sum of its absolute values is at most 1, and then summed. As in the book, the
    sums are over the whole batch X (n, num_inputs), and the result is a scalar. With `per_sample` they are over each
    sample, and the result is (n, 1). Infinite and NaN outputs are not halved.

    The linear layer has `num_hiddens` outputs; the constant weight (num_hiddens, num_inputs), drawn from U(0, 1), maps
    them back to its inputs. The constant is a buffer: saved and moved with the parameters, and not trained.

    Raises ValueError unless num_outputs is 1.
    """

    rand_weight: Tensor

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int = 1,
        num_hiddens: int = 20,
        per_sample: bool = False,
        init: Init = "default",
    ) -> None:
        super().__init__()
        if num_outputs != 1:
            raise ValueError(f"num_outputs={num_outputs}: must be 1, for the outputs are summed")
        self.per_sample = per_sample
        self.register_buffer("rand_weight", torch.rand(num_hiddens, num_inputs))
        self.linear = nn.Linear(num_inputs, num_hiddens)
        initialise(self, init, "relu")

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu(self.linear(x.flatten(1)) @ self.rand_weight + 1)
        output: Tensor = self.linear(hidden)
        dims = (1,) if self.per_sample else (0, 1)
        while (too_large := self._too_large(output, dims)).any():
            output = torch.where(too_large, output / 2, output)
        return output.sum(1, keepdim=True) if self.per_sample else output.sum()

    @staticmethod
    def _too_large(output: Tensor, dims: tuple[int, ...]) -> Tensor:
        size = output.detach().abs()
        return (size.sum(dims, keepdim=True) > 1) & (size.amax(dims, keepdim=True) < math.inf)


@described
class TiedMLP(nn.Sequential):
    """A multilayer perceptron with one linear layer in two places (d2l 5.2.3).

    The weight of that layer is one tensor with two names, and its gradient is the sum over both uses. Flattens
    X (n, ...) to (n, num_inputs); returns (n, num_outputs). The book's network is 4-8-8-8-1.
    """

    def __init__(self, num_inputs: int, num_outputs: int, num_hiddens: int = 8, init: Init = "default") -> None:
        first, shared = nn.Linear(num_inputs, num_hiddens), nn.Linear(num_hiddens, num_hiddens)
        hidden = [first, nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU()]
        super().__init__(nn.Flatten(), *hidden, nn.Linear(num_hiddens, num_outputs))
        initialise(self, init, "relu")
