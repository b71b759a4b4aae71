"""Dropout and noise of many members at once, each with its own probability and its own random stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lightning_d2l.nets.noise import GaussianNoise

STRENGTHS: dict[type[nn.Module], str] = {nn.Dropout: "p", GaussianNoise: "std"}
"""The layers that draw random numbers in training, with the setting of each that may differ between members."""


class Given(nn.Module):
    """Replaces such a layer in a network: in training it takes the random numbers from `values`."""

    def __init__(self, adds: bool) -> None:
        super().__init__()
        self.adds = adds
        self.values: Tensor | None = None  # in the shape of X
        self.shape: torch.Size | None = None  # of the last X

    def forward(self, x: Tensor) -> Tensor:
        self.shape = x.shape
        if self.values is None:
            return x
        return x + self.values if self.adds else x * self.values


class StackedNoise:
    """The random layers of M networks of one structure, `nets`; in `base`, one more, each becomes a `Given`.

    A member draws the numbers that its network would draw in a single run, in the same order, from its own generator.
    """

    def __init__(self, base: nn.Module, nets: Sequence[nn.Module], generators: Sequence[torch.Generator]) -> None:
        self.generators = generators
        self.layers: list[Given] = []
        self.strengths: list[list[float]] = []  # by layer and member
        # A layer that a network has in two places draws numbers for each.
        members = [dict(net.named_modules(remove_duplicate=False)) for net in nets]
        for name, layer in list(base.named_modules(remove_duplicate=False)):
            if type(layer) in STRENGTHS:
                given = Given(adds=isinstance(layer, GaussianNoise))
                parent, _, child = name.rpartition(".")
                setattr(base.get_submodule(parent), child, given)
                self.layers.append(given)
                self.strengths.append([getattr(layers[name], STRENGTHS[type(layer)]) for layers in members])

    def shapes(self, forward: Callable[[], object]) -> list[torch.Size]:
        """The shape in which each layer meets its input, found by a pass through the network."""
        order: list[Given] = []
        hooks = [layer.register_forward_pre_hook(lambda layer, _: order.append(layer)) for layer in self.layers]
        forward()
        for hook in hooks:
            hook.remove()
        if order != self.layers:
            raise ValueError("a random layer is used twice, or in another order than that of the network's layers")
        return [layer.shape for layer in self.layers if layer.shape is not None]

    def keep(self, numbers: Sequence[int]) -> None:
        """Draw for the members with these numbers alone from now on."""
        self.generators = [self.generators[number] for number in numbers]
        self.strengths = [[strengths[number] for number in numbers] for strengths in self.strengths]

    @contextmanager
    def given(self, values: Sequence[Tensor]) -> Iterator[None]:
        """A context in which the layers of `base` take these random numbers."""
        for layer, value in zip(self.layers, values, strict=True):
            layer.values = value
        try:
            yield
        finally:
            for layer in self.layers:
                layer.values = None

    def draw(self, shapes: Sequence[torch.Size], like: Tensor) -> list[Tensor]:
        """Random numbers (M, ...) for each layer: what dropout multiplies, and what noise adds."""
        if not shapes:
            return []
        drawn = [torch.empty(len(self.generators), *shape, dtype=like.dtype) for shape in shapes]
        for member, generator in enumerate(self.generators):
            for layer, values, strengths in zip(self.layers, drawn, self.strengths, strict=True):
                strength = strengths[member]
                if layer.adds:
                    values[member].normal_(generator=generator).mul_(strength)
                elif strength:
                    values[member].bernoulli_(1 - strength, generator=generator).div_(1 - strength)
                else:
                    values[member] = 1.0
        return [values.to(like.device) for values in drawn]  # drawn on the CPU, whose generators all devices share
