"""Images in folders, against torchvision's ImageFolder; and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from lightning_d2l import cli
from lightning_d2l.config.check import RequestError
from lightning_d2l.data.image_folder import ImageFolderData
from lightning_d2l.training.images import read_image
from tests.runs import run_here

RUN = ["data=image_folder", "model=mlp", "trainer.max_epochs=1", "trainer.accelerator=cpu", "logger=none"]


def fill(folder, classes=("ant", "bee", "cat"), n=10, size=(8, 6), mode="RGB", first=0):
    """Folders of random images; those of a class have a brightness of their own."""
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(first, first + n):
            levels = np.random.default_rng([number, i]).integers(0, 80, (*size[::-1], 3)) + 80 * (number % 3)
            Image.fromarray(levels.astype(np.uint8)).convert(mode).save(folder / name / f"{i:03}.png")
    return folder


def read(path, **settings) -> ImageFolderData:
    data = ImageFolderData(str(path), batch_size=4, **settings)
    data.setup()
    return data


def rows(data, split: str) -> list[bytes]:
    return [image.numpy().tobytes() for image in data.splits[split][0]]


def reference(path) -> dict[bytes, int]:
    """The pixels of each image as torchvision reads it, and its class."""
    return {np.asarray(image).transpose(2, 0, 1).tobytes(): y for image, y in ImageFolder(str(path))}


def test_one_folder_is_split_and_loses_nothing(tmp_path):
    data, known = read(fill(tmp_path)), reference(tmp_path)
    found = {
        row: int(y) for split in data.splits for row, y in zip(rows(data, split), data.splits[split][1], strict=True)
    }
    assert found == known
    assert sum(len(y) for _, y in data.splits.values()) == 30
    assert {split: y.bincount().tolist() for split, (_, y) in data.splits.items()} == {
        "train": [7, 7, 7], "val": [1, 1, 1], "test": [2, 2, 2]
    }  # fmt: skip
    assert data.class_names == tuple(ImageFolder(str(tmp_path)).classes)
    assert rows(read(tmp_path, seed=1), "test") != rows(data, "test")
    assert rows(read(tmp_path, val_size=6), "test") == rows(data, "test")


def test_each_class_keeps_its_share(tmp_path):
    fill(fill(tmp_path, n=40), ("ant",), n=120, first=40)
    splits = read(tmp_path, val_size=0.1, test_size=48).splits
    assert [y.bincount().tolist() for _, y in (splits["test"], splits["val"])] == [
        pytest.approx(shares, abs=1) for shares in ([32, 8, 8], [16, 4, 4])
    ]


def test_folders_of_splits_are_used(tmp_path):
    for split, n in (("train", 6), ("validation", 2), ("test", 3)):
        fill(tmp_path / split, n=n, first=100 * n)
    data = read(tmp_path, val_size=0.5)
    for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        assert set(rows(data, split)) == reference(tmp_path / name).keys()
    shutil.rmtree(tmp_path / "validation")
    assert {split: len(y) for split, (_, y) in read(tmp_path, val_size=3).splits.items()} == {
        "train": 15, "val": 3, "test": 9,
    }  # fmt: skip


@pytest.mark.parametrize(("stored", "mode", "channels"), [
    ("L", "auto", 1), ("RGB", "auto", 3), ("RGB", "grey", 1), ("L", "rgb", 3), ("P", "auto", 3),
])  # fmt: skip
def test_channels(stored, mode, channels, tmp_path):
    x = read(fill(tmp_path, mode=stored), mode=mode).splits["train"][0]
    assert x.shape[1:] == (channels, 6, 8)
    assert x.dtype == torch.uint8
    if stored == "L" and channels == 3:
        assert torch.equal(x[:, 0], x[:, 2])


def test_grey_images_stored_in_colour_are_grey_unless_one_has_a_colour(tmp_path):
    fill(tmp_path, mode="L")
    for file in tmp_path.glob("*/00*.png"):
        Image.open(file).convert("RGB").save(file)
    assert read(tmp_path).splits["train"][0].shape[1] == 1
    Image.new("RGB", (8, 6), (255, 0, 0)).save(tmp_path / "ant" / "red.png")
    assert read(tmp_path).splits["train"][0].shape[1] == 3


def test_photos_are_turned_upright_and_transparent_ones_laid_over_black(tmp_path):
    fill(tmp_path, size=(8, 8))
    exif = Image.Exif()
    exif[274] = 6
    turned = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    turned.save(tmp_path / "ant" / "turned.png", exif=exif)
    Image.new("RGBA", (8, 8), (200, 100, 50, 0)).save(tmp_path / "bee" / "clear.png")
    data = read(tmp_path)
    found = {row for split in data.splits for row in rows(data, split)}
    assert np.asarray(turned.transpose(Image.Transpose.ROTATE_270)).transpose(2, 0, 1).tobytes() in found
    assert bytes(192) in found
    assert read_image(tmp_path / "ant" / "turned.png", data)[0][0].numpy().tobytes() in found


def test_unequal_sizes_need_a_size(tmp_path):
    fill(fill(tmp_path), ("bee",), n=1, size=(5, 9), first=50)
    with pytest.raises(RequestError, match=r"data\.size=null: .*000\.png has 8 x 6 pixels and .*050\.png 5 x 9"):
        read(tmp_path)
    assert read(tmp_path, size=4).splits["train"][0].shape[1:] == (3, 4, 4)
    assert read(tmp_path, size=[6, 8]).splits["train"][0].shape[1:] == (3, 6, 8)


def test_a_broken_file_is_named_or_skipped(tmp_path):
    fill(tmp_path / "images")
    broken = tmp_path / "images" / "bee" / "004.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(RequestError, match=r"004\.png: a damaged image.*\n.*data\.on_error=skip"):
        read(tmp_path / "images")
    words = [*RUN, f"data.path={tmp_path / 'images'}", "data.on_error=skip"]
    assert run_here(tmp_path / "run", *words) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["shape"] == [3, 6, 8]
    log = (tmp_path / "run" / "train.log").read_text()
    assert "1 of 30 image files skipped" in " ".join(log.split())


def one_class(folder):
    fill(folder, ("ant",))
    return folder, "holds one class, ant"


def empty(folder):
    folder.mkdir()
    return folder, "holds no image"


def no_folders(folder):
    fill(folder)
    return folder / "ant", "holds images and no folders"


def an_empty_class(folder):
    (fill(folder) / "dog").mkdir()
    return folder, "the folder dog holds no image"


def a_file(folder):
    fill(folder)
    return folder / "ant" / "000.png", "a file; must be a folder"


def nothing(folder):
    return folder, "can't be read"


def a_class_of_test_alone(folder):
    fill(folder / "train")
    fill(folder / "test", ("ant", "dog"))
    return folder, "test has the class dog, which train has not"


@pytest.mark.parametrize("made", [one_class, empty, no_folders, an_empty_class, a_file, nothing, a_class_of_test_alone])
def test_what_is_no_folder_of_classes_is_refused(made, tmp_path):
    path, words = made(tmp_path / "images")
    with pytest.raises(RequestError, match=words) as refused:
        read(path)
    assert str(refused.value).startswith(f"data.path={path}: ")
    assert "\n" not in str(refused.value)


def test_too_many_pixels_are_refused_before_they_are_read(tmp_path, monkeypatch):
    from lightning_d2l.data import image_folder

    monkeypatch.setattr(image_folder, "LARGEST_DATA", 1000)
    with pytest.raises(RequestError, match=r"data\.size=null: 30 images of 8 x 6 pixels do not fit into memory"):
        read(fill(tmp_path))


def test_a_run_is_used_without_its_images_and_measured_where_they_are_now(tmp_path, capsys):
    fill(tmp_path / "images")
    words = [*RUN, f"data.path={tmp_path / 'images'}", "data.standardize=true", "data.augment=[flip,crop]"]
    assert run_here(tmp_path / "run", *words) == 0
    (tmp_path / "images").rename(tmp_path / "moved")
    capsys.readouterr()
    image = tmp_path / "moved" / "ant" / "003.png"
    assert cli.main(["predict", str(tmp_path / "run"), str(image), "--format", "json"]) == 0
    probabilities = json.loads(capsys.readouterr().out)[0]["probabilities"]
    assert probabilities.keys() == {"ant", "bee", "cat"}
    assert cli.main(["evaluate", str(tmp_path / "run")]) == 2
    assert "give data.path=FOLDER" in capsys.readouterr().err
    assert cli.main(["evaluate", str(tmp_path / "run"), f"data.path={tmp_path / 'moved'}", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())["metrics"]["final"]
    assert found["final"]["loss/test"] == pytest.approx(recorded["loss/test"], rel=1e-6)
    assert cli.main(["export", str(tmp_path / "run"), "--as", "state_dict"]) == 0
    *_, code = capsys.readouterr().out.split("to load it:")
    scope: dict = {}
    exec("\n".join(line.removeprefix("  ") for line in code.splitlines()), scope)
    pixels = torch.from_numpy(np.asarray(Image.open(image)).transpose(2, 0, 1)[None] / 255).float()
    loaded = scope["net"].eval()(pixels).softmax(1)[0].tolist()
    assert loaded == pytest.approx([*probabilities.values()], rel=1e-4)
