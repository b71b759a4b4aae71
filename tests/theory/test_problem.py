import pytest

from lightning_d2l.theory.problem import initial_std, split_size


def test_sizes_of_splits():
    target = "lightning_d2l.data.fashion_mnist.FashionMNISTData"
    images = {"_target_": target, "n_train": None, "val_size": 10_000, "folds": None}
    assert [split_size(images, split) for split in ("train", "val", "test")] == [50_000, 10_000, 10_000]
    of_other_data = {**images, "_target_": "lightning_d2l.data.image_folder.ImageFolderData"}
    assert [split_size(of_other_data, split) for split in ("train", "val", "test")] == [None, 10_000, None]
    folds = {"n_train": 100, "n_val": 7, "n_test": 30, "folds": 5}
    assert [split_size(folds, split) for split in ("train", "val", "test")] == [80, 20, 30]


@pytest.mark.parametrize(
    ("model", "std"),
    [
        ({"std": 0.1}, 0.1),
        ({"init": "zeros"}, 0),
        ({"init": "normal"}, 0.01),
        ({"init": {"name": "normal", "std": 1.0}}, 1),
        ({"init": {"name": "xavier_normal", "std": 1.0}}, None),
    ],
)
def test_initial_weights(model, std):
    assert initial_std({"model": model}) == std
