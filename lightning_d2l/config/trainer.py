"""The settings of the node `trainer`."""

from lightning_d2l.config.rules import FLAG, NOT_NEGATIVE, Setting, choice, list_of, whole

TRAINER: dict[str, Setting] = {
    "max_epochs": whole(1, 10**9),
    "log_every_n_epochs": whole(1, 10**9),
    "evaluate": list_of(choice("train", "val", "test"), min_length=0),
    "precision": choice("32-true", "64-true"),
    "accelerator": choice("auto", "cpu", "gpu", "mps"),
    "engine": choice("auto", "fast", "lightning"),
    "save_predictions": FLAG,
    "checkpoint_every_n_seconds": NOT_NEGATIVE,
}
