"""The private names of Lightning that this package uses: a failure here names what has changed."""

import logging

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_d2l import compat_lightning


class Plain(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Manual(Plain):
    """Takes six steps in three epochs, of which Lightning sees one batch of one epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        compat_lightning.count_chunk(self.trainer, steps=6, epochs=3)


def loader() -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(torch.ones(4, 2)), batch_size=2)


def trainer(max_epochs: int, *callbacks: Callback) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=max_epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", callbacks=list(callbacks), num_sanity_val_steps=0,
    )  # fmt: skip


def one_batch() -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(torch.ones(2, 2)), batch_size=2)


def test_count_chunk_counts_steps_epochs_and_the_loggers_step():
    used = trainer(6)
    used.fit(Manual(), one_batch())
    assert (used.global_step, used.current_epoch) == (12, 6)
    assert used.fit_loop.epoch_loop._batches_that_stepped == 12


def test_loop_states_are_those_that_fit_continues_from():
    first = trainer(3)
    first.fit(Manual(), one_batch())
    loops = compat_lightning.loop_states(first)
    assert compat_lightning.finished_epochs(loops) == 3
    second = trainer(6)
    compat_lightning.continue_from(second, loops)
    second.fit(Manual(), one_batch())
    assert (second.global_step, second.current_epoch) == (12, 6)


def test_finished_epochs_needs_the_loops_of_a_checkpoint():
    with pytest.raises(KeyError):
        compat_lightning.finished_epochs({})


def test_a_module_knows_its_trainer_or_has_none():
    module, used = Plain(), trainer(1)
    assert compat_lightning.trainer_of(module) is None
    used.fit(module, loader())
    assert compat_lightning.trainer_of(module) is used


def test_validate_in_this_epoch_chooses_the_epochs_that_end_with_a_validation():
    class Chosen(Callback):
        def __init__(self) -> None:
            self.validated: list[int] = []

        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            compat_lightning.validate_in_this_epoch(trainer, trainer.current_epoch in (0, 3, 4))

        def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.validated.append(trainer.current_epoch)

    chosen = Chosen()
    trainer(6, chosen).fit(Plain(), loader(), loader())
    assert chosen.validated == [0, 3, 4]


class Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def test_notices_come_from_the_chatty_loggers(monkeypatch):
    heard = Heard()
    for name in compat_lightning.CHATTY_LOGGERS:
        monkeypatch.setattr(logging.getLogger(name), "filters", [])  # a run in this process may have silenced them
        monkeypatch.setattr(logging.getLogger(name), "handlers", [heard])
        monkeypatch.setattr(logging.getLogger(name), "level", logging.INFO)
    trainer(1).fit(Plain(), loader())
    assert any("GPU available" in message for message in heard.messages)
