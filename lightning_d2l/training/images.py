"""Image files as inputs of a network that was trained on images: converted by what they are, with notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageChops
from torch import Tensor

from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.image_file import open_image, read_pixels

LARGEST_SIDE = 8192  # a longer image is made smaller before it is padded
VISIBLE, EMPTY = 64, 16  # differences of grey levels that can be seen, and that are none


def read_image(file: Path, data: TensorDataModule) -> tuple[Tensor, str]:
    """An image file as one of the data's images, (1, channels, height, width) of uint8, and notes.

    It is read as the images of a folder are, scaled to 8 bits and resized. Where the data have a usual brightness, as
    Fashion-MNIST has, it is a drawing on their background: transparent images are laid over it, others are padded to a
    square with it, and an image on a light background is inverted where that of the data is dark. The notes say what
    was done and what is unusual.

    Raises RequestError if the file is no image of at most `MOST_PIXELS` in one of `FORMATS`.
    """
    channels, side, width = data.samples("train", 1)[0].shape[1:]
    if not data.usual:
        pixels, notes = read_pixels(file, "L" if channels == 1 else "RGB", (side, width))
        return torch.tensor(pixels)[None], "; ".join(notes)
    ink, alpha, notes = open_image(file, "L")
    size = ink.size
    backdrop = Image.new("L", size, data.background)

    def over(levels: Image.Image) -> Image.Image:
        return levels if alpha is None else Image.composite(levels, backdrop, alpha)

    def contrast(image: Image.Image) -> int:
        levels = np.asarray(image)
        return max(int(levels.max()) - data.background, data.background - int(levels.min()))

    shown, inverted = over(ink), over(ImageChops.invert(ink))
    light = abs(_border(np.asarray(_resized(shown, side))) - data.background) > 127
    vanishes = alpha is not None and contrast(shown) < VISIBLE <= contrast(inverted)
    if alpha is not None:
        notes.append("transparent: laid over the background of the training images")
    if light or vanishes:
        shown = inverted
        notes.append("inverted: its background is light" if light else "inverted: it would vanish on the background")
    if size[0] != size[1]:
        notes.append(f"padded to a square, from {size[0]} x {size[1]}")
    if max(size) < side:
        notes.append(f"enlarged, from {size[0]} x {size[1]}")
    pixels = np.asarray(_resized(_padded(shown, data.background), side))
    few = np.asarray(_resized(shown, side))  # without the padding
    if int(few.max()) - int(few.min()) < EMPTY:
        notes.append("nothing in it: one colour")
    elif side >= 14:  # the usual ranges are those of 28 x 28 pixels
        notes += _unusual(pixels, data)
    return torch.tensor(pixels)[None, None], "; ".join(notes)


def _padded(image: Image.Image, background: int) -> Image.Image:
    """An image in the middle of a square of the background."""
    longest = max(image.size)
    if longest > LARGEST_SIDE:
        width, height = (max(1, round(n * LARGEST_SIDE / longest)) for n in image.size)
        image, longest = image.resize((width, height), Image.Resampling.BILINEAR), LARGEST_SIDE
    square = Image.new("L", (longest, longest), background)
    width, height = image.size
    square.paste(image, ((longest - width) // 2, (longest - height) // 2))
    return square


def _resized(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side), Image.Resampling.BILINEAR)


def _border(pixels: NDArray[np.uint8]) -> float:
    """The mean of the outermost pixels."""
    return float(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).mean())


def _unusual(pixels: NDArray[np.uint8], data: TensorDataModule) -> list[str]:
    """How an image (side, side) differs from the data's training images."""
    found = {"mean": pixels.mean() / 255, "std": pixels.std() / 255, "border": _border(pixels) / 255}
    words = {"mean": "its mean brightness", "std": "its contrast (standard deviation)", "border": "its background"}
    return [
        f"unlike the training images: {words[name]} is {found[name]:.2f}, theirs {low:.2g} to {high:.2g}"
        for name, (low, high) in data.usual.items()
        if not low <= found[name] <= high
    ]
