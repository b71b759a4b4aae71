"""The settings of each logger, by `_target_`."""

from lightning_d2l.config.rules import FLAG, Settings, whole

TENSORBOARD = "lightning_d2l.training.tensorboard.TensorBoard"
LOGGERS: dict[str, Settings] = {
    TENSORBOARD: Settings({"graph": FLAG, "histograms_every_n_epochs": whole(0), "figures": FLAG})
}
