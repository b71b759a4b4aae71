"""Image files of every kind, read as grey levels or colours of eight bits: upright, with their opacity apart."""

from __future__ import annotations

import io
import stat
import warnings
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from lightning_d2l.config.check import RequestError

FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM", "JPEG2000", "AVIF")  # none of them runs a program
LARGEST_FILE, MOST_PIXELS = 128 * 2**20, 64_000_000
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


def open_image(file: Path, mode: str | None = "L") -> tuple[Image.Image, Image.Image | None, list[str]]:
    """The upright image in a mode, "L" (grey levels) or "RGB", its opacity or None, and notes on what was done.

    Without a mode that of the file: "RGB" if its kind of image can have colours.

    Raises RequestError, which names the file, if it is no image of at most `MOST_PIXELS` in one of `FORMATS`.
    """
    content = _content(file)
    try:
        with warnings.catch_warnings(action="ignore"):
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _check_size(file, image)
                image.verify()  # the checksums of a PNG, after which it has to be opened again
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                turned = image.getexif().get(ORIENTATION) in UPRIGHT  # asked again below: Pillow turns a TIFF itself
                image.load()
                notes = ["the first of several pictures in the file"] * getattr(image, "is_animated", False)
                levels, alpha = _levels(image, mode or mode_of(image), notes)
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


def _content(file: Path) -> bytes:
    """The content of a regular file; raises RequestError if it is none, is too large or can't be read."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise RequestError(f"{file}: not a regular file; must be an image")
        if status.st_size > LARGEST_FILE:
            raise RequestError(f"{file}: larger than {LARGEST_FILE:,} bytes; must be an image")
        return file.read_bytes()
    except OSError as error:
        raise RequestError(f"{file}: can't be read ({error.strerror})") from error


def mode_of(image: Image.Image) -> str:
    """The mode in which an image loses nothing but depth: "RGB" if its kind has colours, else "L"."""
    grey = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")
    return "L" if grey else "RGB"


def _check_size(file: Path, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise RequestError(f"{file}: {width} x {height} pixels are too many: must be at most {MOST_PIXELS:,}")


def _levels(image: Image.Image, mode: str, notes: list[str]) -> tuple[Image.Image, Image.Image | None]:
    """Levels of 8 bits in a mode and the opacity, None where an image has none; adds notes."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        clear = image.info.get("transparency")
        alpha = None if clear is None else Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
        return Image.fromarray(_scaled(values, image, notes)).convert(mode), alpha
    if image.mode == "LAB" and mode == "L":
        return image.getchannel("L"), None
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return cast(Image.Image, ImageCms.profileToProfile(image, *profiles, outputMode="RGB")), None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        return image.convert(mode), alpha if alpha.getextrema() != (255, 255) else None
    return (image if image.mode in ("L", "1") else image.convert("RGB")).convert(mode), None


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


def read_pixels(file: Path, mode: str | None, size: tuple[int, int] | None) -> tuple[NDArray[np.uint8], list[str]]:
    """The pixels (channels, height, width) of an image file, resized to `size` (height, width), and notes.

    A transparent image is laid over black. Without a mode an image whose colours are all grey has one channel.

    Raises RequestError as `open_image` does.
    """
    image, alpha, notes = open_image(file, mode)
    if alpha is not None:
        image = Image.composite(image, Image.new(image.mode, image.size), alpha)
        notes.append("transparent: laid over black")
    if size and size != image.size[::-1]:
        notes.append(f"resized, from {image.size[0]} x {image.size[1]}")
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    grey = mode is None and len(pixels) == 3 and (pixels == pixels[:1]).all()
    return np.ascontiguousarray(pixels[:1] if grey else pixels), notes
