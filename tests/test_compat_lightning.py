"""The private names of Lightning that this package uses: a failure here names what has changed."""

import logging
import signal
from datetime import timedelta

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint, EarlyStopping, ModelCheckpoint, ModelSummary, Timer
from pytorch_lightning.loggers import WandbLogger
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


class Logs(Plain):
    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val", self.layer.weight.sum())

    def on_train_epoch_end(self) -> None:
        self.log("train", self.layer.weight.sum())


def test_validate_now_measures_the_weights_at_the_end_of_an_epoch_and_changes_nothing_else():
    class Late(Checkpoint):
        def __init__(self) -> None:
            self.found: list[dict[str, float]] = []

        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            assert trainer.training
            compat_lightning.validate_now(trainer)
            assert trainer.training
            assert pl_module.training
            self.found.append({name: value.item() for name, value in trainer.callback_metrics.items()})

    late, module, plain = Late(), Logs(), Logs()
    plain.load_state_dict(module.state_dict())
    used = pl.Trainer(
        max_epochs=3, logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        callbacks=[late], num_sanity_val_steps=0, check_val_every_n_epoch=9,
    )  # fmt: skip
    used.fit(module, loader(), loader())
    trainer(3).fit(plain, loader())
    assert torch.equal(module.layer.weight, plain.layer.weight)
    assert len(late.found) == 3
    assert all(found["val"] == found["train"] for found in late.found)


def test_ends_here_and_within_epoch_know_where_training_by_steps_ends():
    class Steps(Callback):
        def __init__(self) -> None:
            self.seen: list[tuple[int, bool, bool]] = []

        def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            compat_lightning.hold_back_steps(trainer, -1)

        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            compat_lightning.hold_back_steps(trainer, 3)

        def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
            within = compat_lightning.within_epoch(compat_lightning.loop_states(trainer))
            self.seen.append((trainer.global_step, compat_lightning.ends_here(trainer), within))

    steps = Steps()
    used = trainer(9, steps)
    used.fit(Plain(), loader())
    assert steps.seen == [(1, False, True), (2, False, True), (3, True, True)]
    assert used.global_step == 3
    assert not compat_lightning.within_epoch(compat_lightning.loop_states(used))


def test_ends_here_where_a_callback_stops_unless_there_are_epochs_to_come():
    class Stops(Callback):
        def __init__(self) -> None:
            self.seen: list[bool] = []

        def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
            trainer.should_stop = True
            self.seen.append(compat_lightning.ends_here(trainer))

    stops = Stops()
    used = trainer(9, stops)
    used.fit_loop.min_epochs = 1
    used.fit(Plain(), loader())
    assert stops.seen == [False, False]


@pytest.mark.parametrize(("value", "stops"), [(1.0, False), (2.0, True)])
def test_stopping_decision_is_that_of_patience_and_is_remembered(value, stops):
    stopper = EarlyStopping("loss", patience=1)
    assert compat_lightning.stopping_decision(stopper, torch.tensor(1.5))[0] is False
    assert compat_lightning.stopping_decision(stopper, torch.tensor(value))[0] is stops
    assert stopper.state_dict()["best_score"] == min(1.5, value)


def test_callbacks_that_act_at_the_ends_of_epochs_alone():
    acts = compat_lightning.acts_at_epoch_ends
    assert acts(EarlyStopping("loss"))
    assert not acts(EarlyStopping("loss", check_on_train_epoch_end=False))
    assert acts(ModelCheckpoint(every_n_epochs=2))
    assert not acts(ModelCheckpoint(every_n_train_steps=2))
    assert not acts(ModelCheckpoint(train_time_interval=timedelta(seconds=1)))
    assert not acts(ModelCheckpoint(save_on_train_epoch_end=False))
    assert acts(Timer())
    assert acts(Timer("00:00:00:01", interval="epoch"))
    assert not acts(Timer("00:00:00:01", interval="step"))


def test_summary_table_has_the_layers_and_their_parameters():
    shown: list[str] = []

    class Summary(ModelSummary):
        @staticmethod
        def summarize(*args, **kwargs):
            shown.append(compat_lightning.summary_table(*args, **kwargs))

    trainer(1, Summary()).fit(Plain(), loader())
    assert "| layer | Linear | 3" in shown[0]


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


def test_without_anonymous_wandb_is_started_with_all_other_arguments(tmp_path):
    pytest.importorskip("wandb")
    logger = WandbLogger(name="a", save_dir=tmp_path, project="b")
    before = dict(logger._wandb_init)
    assert before.pop("anonymous", ...) is None
    compat_lightning.without_anonymous(logger)
    assert logger._wandb_init == before
    assert before["name"] == "a"


def test_a_trainer_that_leaves_signals_installs_no_handler_and_puts_none_back():
    class Watch(Callback):
        def on_train_start(self, trainer, pl_module):
            seen.append(signal.getsignal(signal.SIGTERM))
            signal.signal(signal.SIGTERM, other)

    def mine(number, frame): ...

    def other(number, frame): ...

    seen: list[object] = []
    before = signal.signal(signal.SIGTERM, mine)
    try:
        plain, left = trainer(1, Watch()), trainer(1, Watch())
        compat_lightning.leave_signals(left)
        plain.fit(Plain(), loader())
        assert seen[-1] is not mine
        assert signal.getsignal(signal.SIGTERM) is mine
        left.fit(Plain(), loader())
        assert seen[-1] is mine
        assert signal.getsignal(signal.SIGTERM) is other
    finally:
        signal.signal(signal.SIGTERM, before)
