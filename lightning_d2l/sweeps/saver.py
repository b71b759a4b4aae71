"""When the members of a group have their checkpoints written."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from lightning_d2l.engine.ensemble import Ensemble

SHARE_OF_TIME = 10  # checkpoints are written when training took this many times as long as the last writing
SECONDS_A_MEMBER = 2e-3  # initial estimate of the time to write one, replaced by the first measurement


class Saver(Checkpoint):
    """Writes the members' checkpoints at logging points, in no more than a tenth of the time."""

    def __init__(self, ensemble: Ensemble, save: Callable[[], None], interval: float) -> None:
        self.ensemble, self.save, self.interval = ensemble, save, interval
        self.last, self.cost = time.monotonic(), SECONDS_A_MEMBER * len(ensemble.members)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        began = time.monotonic()
        due = began - self.last >= max(self.interval, SHARE_OF_TIME * self.cost)
        if due and trainer.current_epoch + 1 in self.ensemble.memory.points:
            self.save()
            self.last = time.monotonic()
            self.cost = self.last - began
