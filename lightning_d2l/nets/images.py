"""What stands in front of a network for images: standardising, and random flips and crops in training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

AUGMENTATIONS = ("flip", "crop")


class ImageInputs(nn.Module):
    """Images X (n, channels, height, width) in [0, 1], augmented in training, then standardised by channel.

    `augment` names what is done at random to each image in training mode: "flip" mirrors it left to right with
    probability 1/2; "crop" moves it by up to an eighth of its height and width, with black where it came from. Both
    draw from torch's global generator of the device. `mean` and `std` have a number a channel, of pixels in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        augment: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if unknown := set(augment) - set(AUGMENTATIONS):
            raise ValueError(f"augment={sorted(unknown)[0]}: must be of {', '.join(AUGMENTATIONS)}")
        self.augment, self.standardize = tuple(augment), mean is not None and std is not None
        if mean is not None and std is not None:
            self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
            self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and "flip" in self.augment:
            x = flipped(x)
        if self.training and "crop" in self.augment:
            x = cropped(x)
        return (x - self.mean) / self.std if self.standardize else x


def flipped(x: Tensor) -> Tensor:
    """Images (n, c, h, w), each mirrored left to right with probability 1/2."""
    mirrored = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
    return torch.where(mirrored, x.flip(-1), x)


def cropped(x: Tensor) -> Tensor:
    """Images (n, c, h, w), each a random part of its size of the image with a border of zeros, an eighth wide."""
    n, c, h, w = x.shape
    down, across = -(-h // 8), -(-w // 8)
    padded = functional.pad(x, (across, across, down, down))
    top = torch.randint(2 * down + 1, (n, 1), device=x.device)
    left = torch.randint(2 * across + 1, (n, 1), device=x.device)
    rows, columns = (torch.arange(size, device=x.device) for size in (h, w))
    number, channel = torch.arange(n, device=x.device), torch.arange(c, device=x.device)
    return padded[
        number[:, None, None, None],
        channel[None, :, None, None],
        (top + rows)[:, None, :, None],
        (left + columns)[:, None, None, :],
    ]
