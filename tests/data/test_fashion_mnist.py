import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_d2l.data import fashion_mnist
from lightning_d2l.data.fashion_mnist import FashionMNISTData
from lightning_d2l.data.images import randomise, resized
from lightning_d2l.data.splitting import balanced_order

SETTINGS = {
    "root": None, "source": "generated", "batch_size": 16, "val_size": 100, "n_train": None, "resize": None,
    "label_noise": 0.0, "seed": 0,
}  # fmt: skip


@pytest.fixture
def few_garments(monkeypatch):
    """Numbered noise images in place of the 70,000: what a split holds can be told from the pixels."""

    def numbered(split: str):
        n = {"train": 1000, "test": 200}[split]
        images = np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)
        return images, (np.arange(n) % 10).astype(np.uint8)

    monkeypatch.setattr(fashion_mnist, "generated_garments", numbered)


def data(**changed) -> FashionMNISTData:
    module = FashionMNISTData(**{**SETTINGS, **changed})
    module.setup()
    return module


def rows(split) -> set[bytes]:
    return {image.numpy().tobytes() for image in split[0]}


def test_splits_do_not_leak_and_lose_nothing(few_garments):
    splits = data().splits
    assert {name: len(y) for name, (_, y) in splits.items()} == {"train": 900, "val": 100, "test": 200}
    assert not rows(splits["train"]) & rows(splits["val"])
    assert rows(splits["train"]) | rows(splits["val"]) == rows(data(val_size=0).splits["train"])
    assert splits["val"][1].bincount().tolist() == [10] * 10


def test_subsets_are_balanced_nested_and_leave_validation_alone(few_garments):
    small, large = data(n_train=50).splits, data(n_train=300).splits
    assert small["train"][1].bincount().tolist() == [5] * 10
    assert rows(small["train"]) < rows(large["train"])
    assert rows(small["val"]) == rows(large["val"])
    assert rows(data(seed=1).splits["val"]) != rows(small["val"])


def test_label_noise_touches_training_labels_alone(few_garments):
    clean, noisy = data().splits, data(label_noise=0.5).splits
    changed = (clean["train"][1] != noisy["train"][1]).float().mean()
    assert changed == pytest.approx(0.5 * 0.9, abs=0.06)
    assert torch.equal(clean["val"][1], noisy["val"][1])
    assert torch.equal(clean["test"][1], noisy["test"][1])


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=80), seed=st.integers(0, 100))
@settings(max_examples=50)
def test_every_prefix_of_a_balanced_order_is_balanced(labels, seed):
    y = torch.tensor(labels)
    order = balanced_order(y, torch.Generator().manual_seed(seed))
    assert sorted(order.tolist()) == list(range(len(labels)))
    left = y.bincount(minlength=5)
    for stop in range(1, len(labels) + 1):
        counts = y[order[:stop]].bincount(minlength=5)
        # a class falls more than one behind the fullest only when it has no more samples
        assert all(counts[c] >= counts.max() - 1 or counts[c] == left[c] for c in range(5))


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_randomise_draws_uniform_classes(fraction):
    y = torch.zeros(20_000, dtype=torch.long)
    noisy = randomise(y, fraction, 10, torch.Generator().manual_seed(0))
    shares = noisy.bincount(minlength=10) / len(y)
    assert shares[1:].tolist() == pytest.approx([fraction / 10] * 9, abs=0.01)


def test_resize_keeps_the_mean_brightness():
    images = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    smaller = resized(images, (14, 14))
    assert smaller.shape == (5, 1, 14, 14)
    assert smaller.dtype == torch.uint8
    torch.testing.assert_close(smaller.float().mean((2, 3)), images.float().mean((2, 3)), rtol=0.05, atol=0)


def test_official_files_equal_torchvisions_reading(official_root, tmp_path):
    import gzip
    from pathlib import Path

    from torchvision.datasets import FashionMNIST

    raw = tmp_path / "FashionMNIST" / "raw"  # torchvision wants the files unpacked beside the archives
    raw.mkdir(parents=True)
    for archive in (Path(official_root) / "FashionMNIST" / "raw").glob("t10k*.gz"):
        (raw / archive.stem).write_bytes(gzip.decompress(archive.read_bytes()))
        (raw / archive.stem.replace("t10k", "train")).write_bytes(b"")  # only the test split is read
    reference = FashionMNIST(str(tmp_path), train=False)
    x, y = data(root=official_root, source="official", val_size=10_000).splits["test"]
    assert torch.equal(x[:, 0], reference.data)
    assert torch.equal(y, reference.targets)


def test_a_fold_has_its_labels_without_noise_and_the_wrong_ones_are_counted(few_garments):
    clean, noisy = (data(label_noise=noise, folds=5, fold=1) for noise in (0.0, 0.5))
    for split in ("val", "test"):
        assert torch.equal(clean.splits[split][1], noisy.splits[split][1])
    changed = (clean.splits["train"][1] != noisy.splits["train"][1]).float().mean()
    assert changed == pytest.approx(0.5 * 0.9, abs=0.06)
    assert noisy.wrong_labels == pytest.approx(changed)
    assert clean.wrong_labels == 0
