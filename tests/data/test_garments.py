"""Facts about the synthetic garments: form, repeatability, ink and difficulty."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from lightning_d2l.data.garments import draw_garments


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread for torch: with more, such small steps wait for each other whenever a core is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("num_samples", [0, 7, 1003])
def test_images_are_bytes_and_classes_are_balanced(num_samples: int) -> None:
    images, labels = draw_garments(num_samples, seed=0)
    assert images.shape == (num_samples, 28, 28)
    assert images.dtype == np.uint8
    assert labels.shape == (num_samples,)
    assert labels.dtype == np.uint8
    counts = np.bincount(labels, minlength=10)
    assert len(counts) == 10
    assert np.ptp(counts) <= 1


def test_order_is_shuffled() -> None:
    _, labels = draw_garments(1000, seed=0)
    assert 50 < np.count_nonzero(labels[1:] == labels[:-1]) < 150


def test_same_arguments_give_the_same_images() -> None:
    first, second = draw_garments(5000, seed=3), draw_garments(5000, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("num_samples", "seed"), [(500, 1), (501, 0)])
def test_another_seed_or_size_shares_no_image(num_samples: int, seed: int) -> None:
    images, _ = draw_garments(500, seed=0)
    others, _ = draw_garments(num_samples, seed)
    assert not {image.tobytes() for image in images} & {image.tobytes() for image in others}


def test_every_image_shows_a_garment_on_black() -> None:
    images, _ = draw_garments(5000, seed=0)
    assert (np.count_nonzero(images > 25, axis=(1, 2)) > 40).all()
    assert (np.count_nonzero(images == 0, axis=(1, 2)) > 150).all()
    assert (images.max(axis=(1, 2)) > 50).all()
    assert ((images == 255).mean(axis=(1, 2)) < 0.5).all()


def test_every_class_varies() -> None:
    images, labels = draw_garments(2000, seed=0)
    for label in range(10):
        members = images[labels == label].astype(np.float32)
        assert members.std(axis=0).max() > 40
        assert members.mean(axis=(1, 2)).std() > 5


@pytest.mark.usefixtures("one_thread")
def test_a_linear_classifier_learns_and_a_hidden_layer_does_better() -> None:
    (images, labels), (test_images, test_labels) = draw_garments(4000, seed=0), draw_garments(4000, seed=1)
    inputs, test_inputs = (torch.from_numpy(i).flatten(1).float() / 255 for i in (images, test_images))
    targets, test_targets = torch.from_numpy(labels).long(), torch.from_numpy(test_labels).long()

    def accuracy(model: nn.Module) -> float:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(20):
            for batch in torch.randperm(len(inputs)).view(-1, 100):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs[batch]), targets[batch]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        return float((model(test_inputs).argmax(1) == test_targets).float().mean())

    torch.manual_seed(0)
    linear = accuracy(nn.Linear(784, 10))
    hidden = accuracy(nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10)))
    assert 0.6 < linear < 0.85
    assert linear + 0.03 < hidden < 0.97
