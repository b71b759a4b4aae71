"""The settings of data that are images, and of data of the user's own, by `_target_`."""

from lightning_d2l.config.rules import (
    COUNT,
    FLAG,
    FRACTION,
    NULL,
    SEED,
    TEXT,
    Rule,
    Setting,
    Settings,
    choice,
    either,
    one_or_list,
    real,
    whole,
)

IMAGE_FOLDER = "lightning_d2l.data.image_folder.ImageFolderData"
TORCHVISION = "lightning_d2l.data.torchvision.TorchvisionData"

DATASETS = ("MNIST", "KMNIST", "QMNIST", "EMNIST", "CIFAR10", "CIFAR100", "SVHN")
EMNIST_SUBSETS = ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")

INPUTS: dict[str, Setting] = {"standardize": FLAG, "augment": one_or_list(choice("none", "flip", "crop"))}
"""Settings of all images, which older records do not have."""

PATH = Rule("a folder that holds a folder a class", TEXT.accepts)
SIZE = Rule("a fraction below 1, or a number of samples,", either(FRACTION, whole(0)).accepts)
_SIDE = whole(1, 4096)
_SIZE = Rule(
    "a side in pixels from 1 to 4096, or [height, width], or null",
    lambda v: v is None or _SIDE.accepts(v) or (isinstance(v, list) and len(v) == 2 and all(map(_SIDE.accepts, v))),
)
_LOADED = {"batch_size": COUNT, "seed": SEED, "folds": either(whole(2), NULL), "fold": either(whole(0), NULL)}
_TRAINING = {"val_size": SIZE, "n_train": either(COUNT, NULL), "label_noise": real("[0, 1]"), **_LOADED, **INPUTS}
IMAGE_DATA: dict[str, Settings] = {
    IMAGE_FOLDER: Settings(
        {
            "path": PATH,
            "mode": choice("auto", "grey", "rgb"),
            "size": _SIZE,
            "test_size": SIZE,
            "on_error": choice("stop", "skip"),
            **_TRAINING,
        }
    ),
    TORCHVISION: Settings(
        {
            "dataset": choice(*DATASETS),
            "subset": either(choice(*EMNIST_SUBSETS), NULL),
            "root": either(TEXT, NULL),
            "size": _SIZE,
            **_TRAINING,
        }
    ),
}
