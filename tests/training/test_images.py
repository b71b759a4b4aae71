"""Image files of every kind as inputs: the pixels that the network gets, and the notes."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as transforms

from lightning_d2l.config.check import RequestError
from lightning_d2l.data import image_file
from lightning_d2l.data.fashion_mnist import FashionMNISTData
from lightning_d2l.training import images
from lightning_d2l.training.images import read_image

ALPHA = "transparent: laid over the background of the training images"


def data(**changed) -> FashionMNISTData:
    settings = {"root": None, "source": "generated", "val_size": 0, "n_train": None, "resize": None}
    module = FashionMNISTData(**{**settings, "label_noise": 0.0, "batch_size": 1, **changed})
    module.splits = {"train": module.no_samples()}
    return module


def garment() -> np.ndarray:
    """A light shape with grey levels of every size on black, asymmetric in both directions."""
    levels = np.zeros((28, 28), np.uint8)
    levels[4:24, 6:20] = np.linspace(60, 255, 20 * 14).reshape(20, 14)
    levels[6:10, 20:25] = 180
    return levels


SHAPE = garment()
INSIDE = np.where(SHAPE > 0, 255, 0).astype(np.uint8)


def read(path, **changed) -> tuple[np.ndarray, str]:
    x, note = read_image(path, data(**changed))
    assert (x.dtype, *x.shape[:2]) == (torch.uint8, 1, 1)
    return x[0, 0].numpy(), note


def written(tmp_path, image, name="image.png", **settings):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(tmp_path / name, **settings)
    return tmp_path / name


def test_grey_levels_of_eight_bits_are_taken_as_they_are(tmp_path):
    pixels, note = read(written(tmp_path, SHAPE))
    assert np.array_equal(pixels, SHAPE)
    assert note == ""


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.gif", "a.webp", "a.tif", "a.ppm", "a.jp2"])
@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_grey_images_in_colour_modes_are_the_same(name, mode, tmp_path):
    if (name, mode) in {("a.ppm", "P"), ("a.jp2", "P"), ("a.webp", "P")}:
        pytest.skip("the format has no palette")
    lossless = {"lossless": True} if name == "a.webp" else {}
    pixels, note = read(written(tmp_path, Image.fromarray(SHAPE).convert(mode), name, **lossless))
    assert np.abs(pixels.astype(int) - SHAPE).max() <= (0 if mode != "P" else 4)
    assert note == ""


def test_colours_have_the_brightness_that_torchvision_gives_them(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8) // 2
    pixels, _ = read(written(tmp_path, colours))
    expected = transforms.rgb_to_grayscale(torch.from_numpy(colours).permute(2, 0, 1))[0].numpy()
    assert np.abs(pixels.astype(int) - expected).max() <= 1


DEEP = {
    "16 bits": (SHAPE.astype(np.uint16) * 257, "65535"),
    "12 bits in 16": (SHAPE.astype(np.uint16) * 16 + 15, "4095"),
    "8 bits in 16": (SHAPE.astype(np.uint16), "255"),
    "32 bits": (SHAPE.astype(np.int32) * (2**23 + 2**15), str(2.0**31 - 1)),
    "24 bits in 32": (SHAPE.astype(np.int32) * 65793, "1.67772e+07"),
    "16 bits in 32": (SHAPE.astype(np.int32) * 257, "65535"),
    "fractions": (SHAPE.astype(np.float32) / 255, "1"),
    "levels as fractions": (SHAPE.astype(np.float32), "255"),
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_images_are_scaled_with_a_note(kind, tmp_path):
    values, top = DEEP[kind]
    pixels, note = read(written(tmp_path, values, "image.tif"))
    tolerance = 1 if kind in ("12 bits in 16",) else 0
    assert np.abs(pixels.astype(int) - SHAPE).max() <= tolerance
    assert note == f"scaled from 0 .. {float(top):g} to 8 bits"


def test_twenty_thousand_of_sixteen_bits_is_seventy_eight(tmp_path):
    values = np.where(SHAPE > 0, 20_000, 0).astype(np.uint16)
    for name in ("image.png", "image.tif", "image.jp2"):
        pixels, note = read(written(tmp_path, values, name))
        assert np.array_equal(pixels, np.where(SHAPE > 0, 78, 0))
        assert "scaled from 0 .. 65535 to 8 bits" in note


def test_a_portable_map_is_scaled_by_its_header(tmp_path):
    (tmp_path / "image.pgm").write_bytes(b"P5 28 28 1000\n" + (SHAPE * (1000 / 255)).astype(">u2").tobytes())
    pixels, _ = read(tmp_path / "image.pgm")
    assert np.abs(pixels.astype(int) - SHAPE).max() <= 1


@pytest.mark.parametrize("scale", [1000.0, 1e-4, 3e5, 1e9])
@pytest.mark.parametrize("shift", [0.0, -0.5])
def test_other_ranges_are_stretched(scale, shift, tmp_path):
    values = ((SHAPE / 255 + shift) * scale).astype(np.float32)
    pixels, note = read(written(tmp_path, values, "image.tif"))
    if shift or scale in (1e-4, 3e5, 1e9):
        assert np.abs(pixels.astype(int) - SHAPE).max() <= 1
    assert "to 8 bits" in note


def tiff(values: np.ndarray, photometric: int, sample_format: int, order: str = "<") -> bytes:
    """A TIFF file of one strip, which Pillow can't write: big-endian, unsigned 32 bits, white is zero."""
    height, width = values.shape
    bits = values.dtype.itemsize * 8
    body = values.astype(values.dtype.newbyteorder(order)).tobytes()
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8)]
    tags += [(277, 3, 1), (278, 4, height), (279, 4, len(body)), (339, 3, sample_format)]
    file = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(body)) + body
    file += struct.pack(f"{order}H", len(tags))
    for tag, kind, value in tags:
        packed = struct.pack(f"{order}I", value) if kind == 4 else struct.pack(f"{order}HH", value, 0)
        file += struct.pack(f"{order}HHI", tag, kind, 1) + packed
    return file + struct.pack(f"{order}I", 0)


@pytest.mark.parametrize(
    ("kind", "photometric", "sample_format", "order"),
    [
        (np.uint16, 1, 1, ">"),
        (np.uint16, 0, 1, "<"),
        (np.uint32, 1, 1, "<"),
        (np.int32, 1, 2, ">"),
        (np.uint8, 0, 1, "<"),
    ],
)
def test_tiff_files_of_other_kinds(kind, photometric, sample_format, order, tmp_path):
    top = {np.uint8: 255, np.uint16: 65535, np.uint32: 2**32 - 1, np.int32: 2**24 - 1}[kind]
    values = np.rint(SHAPE / 255 * top)
    (tmp_path / "image.tif").write_bytes(
        tiff((values if photometric else top - values).astype(kind), photometric, sample_format, order)
    )
    pixels, _ = read(tmp_path / "image.tif")
    assert np.abs(pixels.astype(int) - SHAPE).max() <= 1


def with_alpha(levels, alpha, mode="RGBA") -> Image.Image:
    bands = [Image.fromarray(band) for band in ((levels,) * 3 if mode == "RGBA" else (levels,))]
    return Image.merge(mode, [*bands, Image.fromarray(alpha)])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_light_object_on_transparency_lies_on_black(mode, tmp_path):
    beneath = np.where(SHAPE > 0, SHAPE, 255).astype(np.uint8)  # white where nothing is to be seen
    pixels, note = read(written(tmp_path, with_alpha(beneath, INSIDE, mode)))
    assert np.array_equal(pixels, SHAPE)
    assert note == ALPHA


def test_white_with_the_object_in_the_alpha_channel(tmp_path):
    pixels, note = read(written(tmp_path, with_alpha(np.full_like(SHAPE, 255), SHAPE)))
    assert np.array_equal(pixels, SHAPE)
    assert note == ALPHA


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("beneath", [0, 255])
def test_black_ink_on_transparency_is_seen(mode, beneath, tmp_path):
    levels = np.where(SHAPE > 0, 0, beneath).astype(np.uint8)
    pixels, note = read(written(tmp_path, with_alpha(levels, SHAPE, mode)))
    assert np.array_equal(pixels, SHAPE)
    assert note == f"{ALPHA}; inverted: it would vanish on the background"


def test_dark_grey_that_can_be_seen_is_left(tmp_path):
    pixels, note = read(written(tmp_path, with_alpha(np.full_like(SHAPE, 100), INSIDE)))
    assert np.array_equal(pixels, np.where(SHAPE > 0, 100, 0))
    assert note == ALPHA


def test_a_palette_and_single_colours_that_are_transparent(tmp_path):
    image = Image.fromarray(np.where(SHAPE > 0, 1, 0).astype(np.uint8), "L").convert("P")
    image.putpalette([255, 255, 255, 200, 200, 200])
    path = written(tmp_path, image, "palette.png", transparency=0)
    assert np.array_equal(read(path)[0], np.where(SHAPE > 0, 200, 0))
    path = written(tmp_path, image, "palette.gif", transparency=0)
    assert np.array_equal(read(path)[0], np.where(SHAPE > 0, 200, 0))
    levels = np.where(SHAPE > 0, SHAPE, 255).astype(np.uint8)
    levels[levels == 255] = np.where(SHAPE[levels == 255] > 0, 254, 255)
    for mode in ("L", "RGB"):
        clear = 255 if mode == "L" else (255, 255, 255)
        path = written(tmp_path, Image.fromarray(levels).convert(mode), f"{mode}.png", transparency=clear)
        assert np.abs(read(path)[0].astype(int) - SHAPE).max() <= 1
    deep = levels.astype(np.uint16) * 257
    path = written(tmp_path, deep, "deep.png", transparency=65535)
    pixels, note = read(path)
    assert np.abs(pixels.astype(int) - SHAPE).max() <= 1
    assert ALPHA in note


def test_opaque_alpha_is_no_transparency(tmp_path):
    pixels, note = read(written(tmp_path, with_alpha(SHAPE, np.full_like(SHAPE, 255))))
    assert (pixels.tolist(), note) == (SHAPE.tolist(), "")


def test_nothing_but_transparency(tmp_path):
    pixels, note = read(written(tmp_path, with_alpha(SHAPE, np.zeros_like(SHAPE))))
    assert pixels.max() == 0
    assert "nothing in it" in note


def test_one_bit_cmyk_ycbcr_lab_and_hsv(tmp_path):
    for mode, name in (("1", "a.png"), ("1", "a.tif"), ("CMYK", "b.tif"), ("YCbCr", "c.tif"), ("LAB", "d.tif")):
        grey = Image.fromarray(INSIDE).convert("L" if mode == "LAB" else "RGB")
        if mode == "LAB":
            middle = Image.new("L", grey.size, 128)
            image = Image.merge("LAB", (grey, middle, middle))
        else:
            image = grey.convert(mode)
        pixels, note = read(written(tmp_path, image, name))
        assert np.abs(pixels.astype(int) - INSIDE).max() <= 2, mode
        assert note.startswith("unlike the training images: its contrast"), mode  # only black and white
    pixels, _ = read(written(tmp_path, Image.fromarray(SHAPE).convert("CMYK"), "e.jpg", quality=100))
    assert np.abs(pixels.astype(int) - SHAPE).mean() < 3


def test_a_light_background_is_inverted(tmp_path):
    pixels, note = read(written(tmp_path, 255 - SHAPE))
    assert (pixels.tolist(), note) == (SHAPE.tolist(), "inverted: its background is light")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["image.jpg", "image.png", "image.tif", "image.webp"])
def test_photos_are_turned_upright(orientation, name, tmp_path):
    sideways = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    image = Image.fromarray(SHAPE)
    image = image if sideways is None else image.transpose(sideways)
    exif = Image.Exif()
    exif[image_file.ORIENTATION] = orientation
    settings = {"image.jpg": {"quality": 100}, "image.webp": {"lossless": True}}.get(name, {})
    pixels, note = read(written(tmp_path, image.convert("RGB"), name, exif=exif, **settings))
    assert np.abs(pixels.astype(int) - SHAPE).mean() < 1
    assert note == ("turned upright, as its EXIF data say" if orientation > 1 else "")


@pytest.mark.parametrize(("height", "width"), [(420, 280), (280, 420), (29, 28), (56, 7)])
@pytest.mark.parametrize("light", [False, True])
def test_images_that_are_not_square_are_padded(height, width, light, tmp_path):
    levels = np.zeros((height, width), np.uint8)
    levels[height // 4 : height // 2, width // 4 : width // 2] = 200
    levels[height // 2 : -height // 5, width // 3 : width // 2] = 120
    longest = max(height, width)
    square = np.zeros((longest, longest), np.uint8)
    top, left = (longest - height) // 2, (longest - width) // 2
    square[top : top + height, left : left + width] = levels
    pixels, note = read(written(tmp_path, 255 - levels if light else levels))
    expected = transforms.resize(torch.from_numpy(square)[None], [28, 28], antialias=True)[0].numpy()
    assert np.abs(pixels.astype(int) - expected).max() <= 2
    assert f"padded to a square, from {width} x {height}" in note
    assert ("inverted" in note) == light


def test_a_very_long_image_takes_little_memory(tmp_path):
    levels = np.zeros((4, 60_000), np.uint8)
    levels[1:3, 20_000:40_000] = 255
    pixels, note = read(written(tmp_path, levels))
    assert pixels.shape == (28, 28)
    assert "from 60000 x 4" in note


@pytest.mark.parametrize("level", [0, 90, 255])
@pytest.mark.parametrize("size", [(1, 1), (28, 28), (40, 300)])
def test_one_colour_is_nothing(level, size, tmp_path):
    _, note = read(written(tmp_path, Image.new("L", size, level)))
    assert "nothing in it: one colour" in note


def test_noise_on_a_blank_page_is_nothing(tmp_path):
    page = np.random.default_rng(0).normal(250, 2, (300, 300)).clip(0, 255).astype(np.uint8)
    assert "nothing in it" in read(written(tmp_path, page))[1]


def test_images_unlike_the_training_images_are_noted(tmp_path):
    bright = np.full((28, 28), 240, np.uint8)
    bright[0], bright[-1], bright[:, 0], bright[:, -1] = 0, 0, 0, 0
    grey = np.where(SHAPE > 0, 255, 100).astype(np.uint8)
    faint = np.where(SHAPE > 0, 40, 10).astype(np.uint8)
    for levels, words in ((bright, "mean brightness"), (grey, "its background"), (faint, "its contrast")):
        assert words in read(written(tmp_path, levels))[1]


def test_the_training_images_are_not_unlike_themselves(official_root):
    from lightning_d2l.data.download import official_folder, read_official

    x, _ = read_official(official_folder(official_root, "official")[0], "test")
    described = data()
    strange = sum(bool(images._unusual(image, described)) for image in x[:2000])
    assert strange <= 0.005 * 2000
    assert not any(images._border(image) > 127 for image in x)  # none of them is taken for inverted


def test_official_images_saved_as_files_are_read_back_unchanged(official_root, tmp_path):
    from lightning_d2l.data.download import official_folder, read_official

    x, _ = read_official(official_folder(official_root, "official")[0], "test")
    for number, image in enumerate(x[:50]):
        pixels, _ = read(written(tmp_path, image, f"{number}.png"))
        assert np.array_equal(pixels, image)


def test_the_first_of_several_frames_or_pages(tmp_path):
    pages = [Image.fromarray(SHAPE), Image.fromarray(255 - SHAPE)]
    for name in ("a.gif", "a.tif", "a.png", "a.webp"):
        more = {"lossless": True} if name == "a.webp" else {}
        pages[0].convert("RGB" if name == "a.webp" else "L").save(
            tmp_path / name, save_all=True, append_images=pages[1:], **more
        )
        pixels, note = read(tmp_path / name)
        assert np.abs(pixels.astype(int) - SHAPE).max() <= 2
        assert note == "the first of several pictures in the file"


def test_other_sides(tmp_path):
    path = written(tmp_path, SHAPE)
    pixels, note = read(path, resize=14)
    expected = transforms.resize(torch.from_numpy(SHAPE)[None], [14, 14], antialias=True)[0].numpy()
    assert np.abs(pixels.astype(int) - expected).max() <= 2
    assert note == ""
    assert "enlarged, from 28 x 28" in read(path, resize=56)[1]


def png_header(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunk(*each) for each in chunks) + chunk(b"IEND", b"")


def encoded(name: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(SHAPE).resize((200, 200)).save(file, name)
    return file.getvalue()


def damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 8]) + content[middle + 8 :]


BAD = {
    "a bomb": png_header(20_000, 20_000, (b"IDAT", zlib.compress(bytes(1000)))),
    "just too large": png_header(8001, 8000, (b"IDAT", zlib.compress(bytes(1000)))),
    "a huge claim": png_header(2**31 - 1, 2**31 - 1, (b"IDAT", b"")),
    "no pixels": png_header(0, 0, (b"IDAT", b"")),
    "empty": b"",
    "text": b"not an image\n",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
    "a damaged PNG": damaged(encoded("PNG")),
    "half a PNG": encoded("PNG")[:200],
    "half a JPEG": encoded("JPEG")[:400],
    "half a TIFF": encoded("TIFF")[:20_000],
    "half a GIF": encoded("GIF")[:900],
    "half a WEBP": encoded("WEBP")[:200],
    "half a JPEG 2000": encoded("JPEG2000")[:60],
    "a text bomb": png_header(
        28, 28, (b"zTXt", b"a\0\0" + zlib.compress(bytes(2**28))), (b"IDAT", zlib.compress(bytes(28 * 29)))
    ),
    "a TIFF of NaN": tiff(np.full((28, 28), np.nan, np.float32), 1, 3),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_image_is_refused_by_its_name(kind, tmp_path, capfd):
    path = tmp_path / "picture.png"
    path.write_bytes(BAD[kind])
    with pytest.raises(RequestError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert len(str(refused.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path), None])
def test_what_is_no_file_is_refused_by_its_name(put, tmp_path):
    path = tmp_path / "picture.png"
    if put:
        put(path)
    with pytest.raises(RequestError, match=r"picture\.png"):
        read(path)


def test_a_huge_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(image_file, "LARGEST_FILE", 1000)
    with pytest.raises(RequestError, match=r"picture\.tif: larger than 1,000 bytes"):
        read(written(tmp_path, SHAPE.repeat(2, 0), "picture.tif"))


def test_bytes_at_random_are_images_or_refused(tmp_path):
    random = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "PPM", "JPEG2000"):
        content = encoded(kind)
        for _ in range(40):
            changed = bytearray(content)
            for place in random.integers(0, min(len(content), 400), random.integers(1, 6)):
                changed[place] = random.integers(256)
            (tmp_path / "image").write_bytes(bytes(changed[: random.integers(1, len(content) + 1)]))
            try:
                pixels, _ = read(tmp_path / "image")
            except RequestError:
                continue
            assert pixels.shape == (28, 28)
