"""What data of images in classes have in common: what is held out, label noise, standardising and augmenting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_d2l.config.check import RequestError
from lightning_d2l.data.base import TensorDataModule, is_images
from lightning_d2l.data.splitting import balanced_order, number_of
from lightning_d2l.data.streams import generator

IMAGE_INPUTS = "lightning_d2l.nets.images.ImageInputs"
PIXELS_AT_ONCE = 2**22  # that are counted at once


class ImageData(TensorDataModule):
    """Images x (n, channels, height, width) uint8, in classes y (n,).

    With `standardize` each channel has mean 0 and standard deviation 1 over the training images. `augment` is "none",
    "flip", "crop", or a list of the last two: what is done at random to each training image (nets/images.py).
    """

    task = "classification"

    def __init__(self, *, standardize: bool = False, augment: str | Sequence[str] = "none", **settings: Any) -> None:
        super().__init__(**settings)
        self.standardize, self.augment = standardize, augment
        self._clean: Tensor | None = None  # the training labels before label noise

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        if self._clean is not None:
            noisy = self.splits["train"][1]
            self.wrong_labels = (noisy != self._clean).float().mean().item()
        if self.transform is None:
            self.transform = image_transform(self.splits["train"][0], self.standardize, self.augment)

    def held_out(
        self, x: Tensor, y: Tensor, val_size: float, n_train: int | None, label_noise: float, *, shares: bool = False
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """The splits "train" and "val" of training images, balanced over the classes or, with `shares`, as they are.

        A smaller `n_train` is a subset of a larger one, and does not change the validation images. Raises RequestError
        if there are too few images.
        """
        splits, held = {}, 0 if self.folds else number_of(val_size, len(x))
        if held + (n_train or 1) > len(x):
            key = f"data.n_train={n_train}" if n_train and held < len(x) else f"data.val_size={val_size}"
            raise RequestError(
                f"{key}: must be at most {max(len(x) - (held if n_train else 1), 0)} for {len(x):,} images"
            )
        if held or n_train:
            order = balanced_order(y, generator("data/validation split", self.seed), proportional=shares)
            val, kept = order[:held], order[held:][:n_train].sort().values
            if held:
                splits["val"] = x[val], y[val]
            x, y = x[kept], y[kept]
        random = generator("data/label noise", self.seed)
        splits["train"] = x, randomise(y, label_noise, len(self.class_names), random)
        self._clean = y
        return splits

    def hold_out_fold(self) -> dict[str, Tensor]:
        """As for other data; the fold has its labels without noise, which is for training alone."""
        rows, (x, y) = super().hold_out_fold(), self.splits["val"]
        if self._clean is not None:
            y, self._clean = self._clean[rows["val"]], self._clean[rows["train"]]
        self.splits["val"] = x, y
        return rows


def image_transform(x: Tensor, standardize: bool, augment: str | Sequence[str]) -> dict[str, Any] | None:
    """The description of what stands in front of a network for training images x, None for nothing.

    Raises RequestError if x are no images.
    """
    augment = [name for name in ([augment] if isinstance(augment, str) else augment) if name != "none"]
    if not standardize and not augment:
        return None
    if not is_images(x):
        key = "data.standardize=true" if standardize else f"data.augment={augment[0]}"
        raise RequestError(f"{key}: must be for images (n, channels, height, width) of uint8, not for {tuple(x.shape)}")
    mean, std = channel_moments(x) if standardize else (None, None)
    return {"_target_": IMAGE_INPUTS, "mean": mean, "std": std, "augment": augment}


def channel_moments(x: Tensor) -> tuple[list[float], list[float]]:
    """The mean and the standard deviation of each channel of images (n, c, h, w) of uint8, of pixels in [0, 1].

    The standard deviation of a channel of one level is 1.
    """
    counts = torch.zeros(x.shape[1], 256, dtype=torch.int64)
    for part in torch.split(x, max(1, PIXELS_AT_ONCE // x[0].numel())):
        for channel, pixels in enumerate(part.unbind(1)):
            counts[channel] += torch.bincount(pixels.flatten().int(), minlength=256)
    shares, levels = counts / counts.sum(1, keepdim=True).double(), torch.arange(256, dtype=torch.float64) / 255
    mean = shares @ levels
    std = (shares * (levels - mean[:, None]).square()).sum(1).sqrt()
    return mean.tolist(), torch.where(std > 0, std, 1.0).tolist()


def randomise(y: Tensor, fraction: float, num_classes: int, random: torch.Generator) -> Tensor:
    """A copy of y (n,) in which round(fraction * n) labels, chosen at random, are uniformly random classes.

    One in `num_classes` of these is the right class again: of 10 classes, a fraction of 0.3 makes 27 % wrong.
    """
    chosen = torch.randperm(len(y), generator=random)[: round(fraction * len(y))]
    replaced = y.clone()
    replaced[chosen] = torch.randint(num_classes, (len(chosen),), generator=random)
    return replaced


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (n, channels, h, w) of uint8, resized to a height and a width."""
    from torchvision.transforms.v2.functional import resize

    return torch.cat([resize(part, list(size), antialias=True) for part in torch.split(x, 4096)])
