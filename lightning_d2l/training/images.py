"""Image files as inputs of a network that was trained on grey images: converted by what they are, with notes."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageChops, UnidentifiedImageError
from torch import Tensor

from lightning_d2l.config.check import RequestError
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.training.files import read_bounded

FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM", "JPEG2000", "AVIF")  # none of them runs a program
LARGEST_FILE, MOST_PIXELS = 128 * 2**20, 64_000_000
LARGEST_SIDE = 8192  # a longer image is made smaller before it is padded
Turn = Image.Transpose
UPRIGHT = {
    2: Turn.FLIP_LEFT_RIGHT,
    3: Turn.ROTATE_180,
    4: Turn.FLIP_TOP_BOTTOM,
    5: Turn.TRANSPOSE,
    6: Turn.ROTATE_270,
    7: Turn.TRANSVERSE,
    8: Turn.ROTATE_90,
}
"""What turns an image upright, by its EXIF orientation."""
ORIENTATION, BITS, PHOTOMETRIC, SAMPLE_FORMAT = 274, 258, 262, 339  # tags of TIFF and EXIF
WHITE_IS_ZERO, UNSIGNED = 0, 1  # their values
DEPTHS = (8, 12, 16, 24, 31, 32)  # bits; 31 those of signed numbers of 32
VISIBLE, EMPTY = 64, 16  # differences of grey levels that can be seen, and that are none


def read_image(file: Path, data: TensorDataModule) -> tuple[Tensor, str]:
    """An image file as one of the data's images, (1, 1, side, side) of uint8, and notes on what was done and what is unusual.

    Deep images are scaled to 8 bits, transparent ones laid over the data's background, others padded to a square with
    it. An image on a light background, where that of the data is dark, is inverted.

    Raises RequestError if the file is no image of at most `MOST_PIXELS` in one of `FORMATS`.
    """
    side = data.splits["train"][0].shape[-1]
    ink, alpha, notes = _opened(file)
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


def _opened(file: Path) -> tuple[Image.Image, Image.Image | None, list[str]]:
    """The upright image as grey levels, its opacity or None, and notes."""
    try:
        content = read_bounded(file, LARGEST_FILE)
    except OSError as error:
        raise RequestError(f"{file}: can't be read ({error.strerror})") from error
    except ValueError as error:
        raise RequestError(f"{file}: {error}; must be an image") from error
    try:
        with warnings.catch_warnings(action="ignore"):
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _check_size(file, image)
                image.verify()  # the checksums of a PNG, after which it has to be opened again
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                turned = image.getexif().get(ORIENTATION) in UPRIGHT  # asked again below: Pillow turns a TIFF itself
                image.load()
                notes = ["the first of several pictures in the file"] * getattr(image, "is_animated", False)
                levels, alpha = _levels(image, notes)
                turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
                if turn is not None:
                    levels, alpha = levels.transpose(turn), alpha.transpose(turn) if alpha else None
                notes = ["turned upright, as its EXIF data say"] * (turned or turn is not None) + notes
                return levels, alpha, notes
    except RequestError:
        raise
    except UnidentifiedImageError:
        raise RequestError(f"{file}: not an image that can be read (a file of {', '.join(FORMATS)})") from None
    except Image.DecompressionBombError as error:
        raise RequestError(f"{file}: too large: must have at most {MOST_PIXELS:,} pixels") from error
    except Exception as error:  # decoders raise errors of every kind on damaged files
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise RequestError(f"{file}: a damaged image, or of a kind that can't be read ({reason})") from error


def _check_size(file: Path, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise RequestError(f"{file}: {width} x {height} pixels are too many: must be at most {MOST_PIXELS:,}")


def _levels(image: Image.Image, notes: list[str]) -> tuple[Image.Image, Image.Image | None]:
    """Grey levels of 8 bits and the opacity, None where an image has none; adds notes."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        clear = image.info.get("transparency")
        alpha = None if clear is None else Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
        return Image.fromarray(_scaled(values, image, notes)), alpha
    if image.mode == "LAB":
        return image.getchannel("L"), None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        return image.convert("L"), alpha if alpha.getextrema() != (255, 255) else None
    return (image if image.mode in ("L", "1") else image.convert("RGB")).convert("L"), None


def _scaled(values: NDArray[np.generic], image: Image.Image, notes: list[str]) -> NDArray[np.uint8]:
    """Levels of 8 bits of whole numbers of more bits, or of fractions.

    Whole numbers are divided by the highest value of the fewest of DEPTHS that hold them; fractions by 1, or by that of
    8 or 16 bits. Their own range is used where that leaves them nearly black, or where some are negative.
    """
    tags = getattr(image, "tag_v2", {})
    whole = image.mode != "F"
    bits = int(tags.get(BITS, (0,))[0]) if whole else 0
    if bits == 32 and tags.get(SAMPLE_FORMAT, (UNSIGNED,))[0] == UNSIGNED:
        values = values.view(np.uint32)  # Pillow has no unsigned type of 32 bits
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("some of its pixels are not finite numbers")
    tops = [2.0**n - 1 for n in DEPTHS] if whole else [1.0, 255.0, 65535.0]
    if image.format == "PPM" and whole:
        tops = [65535.0]  # Pillow scales by what the header says
    elif bits and bits not in (8, 16, 32):
        tops = [2.0**bits - 1]
    low, top = min(low, 0.0), next((top for top in tops if high <= top), high)
    if low < 0 or 0 < high < top / 16:
        top = high
    notes.append(f"scaled from {low:g} .. {top:g} to 8 bits")
    levels = np.empty(values.shape, np.uint8)
    for row, numbers in zip(levels, values, strict=True):  # one by one: an image of fractions takes much memory
        row[:] = np.rint((numbers.astype(np.float64) - low) * (255 / ((top - low) or 1)))
    return 255 - levels if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else levels


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
