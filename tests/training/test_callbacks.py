"""Each callback through a run as a person asks for it: what it leaves on the disk, and how it is resumed and rerun."""

import shutil
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.tuner.tuning import Tuner
from torch.optim.swa_utils import AveragedModel

from lightning_d2l import app, cli
from lightning_d2l.config.check import RequestError
from lightning_d2l.modules.callbacks import EarlyStopping, GradientNorm
from lightning_d2l.training.build import build
from lightning_d2l.training.checkpoint import load_checkpoint
from lightning_d2l.training.files import MetricsFile
from lightning_d2l.training.fit import run
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec
from tests.runs import POLYNOMIAL, config

pytestmark = pytest.mark.usefixtures("without_figures")
SMALL = [
    *POLYNOMIAL, "data.n_train=20", "data.n_val=10", "data.n_test=10", "trainer.max_epochs=6",
    "trainer.log_every_n_epochs=1", "trainer.precision=64-true",
]  # fmt: skip


def trained(folder: Path, *words: str, code: int = 0) -> RunRecord:
    assert app.main([*SMALL, *words, f"hydra.run.dir={folder}"]) == code
    return RunRecord.read(folder)


def rows(folder: Path) -> list[dict[str, float]]:
    return MetricsFile(folder).rows()


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_checkpoint(folder / f"checkpoints/{name}.ckpt")["state_dict"]
    return found


def assert_same_weights(found: Path, expected: Path) -> None:
    for name, value in weights(expected).items():
        assert torch.equal(weights(found)[name], value), name


@pytest.mark.parametrize("engine", ["auto", "lightning"])
def test_a_run_stops_at_a_logging_point_by_each_loop_and_keeps_its_best_weights(engine, tmp_path, capsys):
    stopping = ["callbacks=early_stopping", "callbacks.early_stopping.min_delta=1e9", f"trainer.engine={engine}"]
    run = tmp_path / "run"
    words = [*stopping, "callbacks.early_stopping.patience=2", "trainer.max_epochs=20", "trainer.log_every_n_epochs=3"]
    record = trained(run, *words)
    assert [row["epoch"] for row in rows(run)] == [1, 3, 6]
    reason = "loss/val did not improve by more than 1e+09 for 2 logging points"
    stopped = {"epoch": 6, "reason": reason, "by": "early_stopping"}
    assert record.status == "completed"
    assert record.fields["stopped"] == stopped
    assert load_checkpoint(run / "checkpoints/best.ckpt")["epoch"] == record.fields["metrics"]["best"]["epoch"] - 1
    assert " ".join(f"stopped early after epoch 6: {reason} (early_stopping)".split()) in " ".join(
        capsys.readouterr().out.split()
    )
    before = weights(run)
    assert app.main([*SMALL, *words, f"resume={run}"]) == 0  # which trains no more, and says so
    assert "stopped early after epoch 6" in capsys.readouterr().out
    assert RunRecord.read(run).fields["stopped"] == stopped
    assert all(torch.equal(value, before[name]) for name, value in weights(run).items())
    assert app.main([*SMALL, *words, "callbacks.early_stopping.patience=30", f"resume={run}"]) == 0
    assert RunRecord.read(run).fields["stopped"] is None
    trained(tmp_path / "whole", *stopping, *words[-2:], "callbacks.early_stopping.patience=30")
    assert rows(run) == rows(tmp_path / "whole")
    assert_same_weights(run, tmp_path / "whole")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["callbacks=early_stopping", "callbacks.early_stopping.monitor=loss/vall"], "did you mean loss/val?"),
        (["callbacks=early_stopping", "callbacks.early_stopping.monitor=lr"], "loss/train, loss/val, norm/weights"),
        (["callbacks=early_stopping", "data.n_val=0"], "monitor=loss/val: must be a metric of the run: loss/train"),
        (["callbacks=model_checkpoint", "callbacks.model_checkpoint.monitor=acc/val"], "loss/train, loss/val"),
        (["callbacks=lr_finder", "optimizer=exact"], "optimizer that takes steps"),
        (["callbacks=lr_finder", "callbacks.lr_finder.num_training_steps=5"], "no learning rate was found in 5 steps"),
        (["callbacks=lr_finder", "callbacks.lr_finder.max_lr=1e-9"], "must be below max_lr"),
        (["callbacks=batch_size_finder", "callbacks.batch_size_finder.batch_arg_name=size"], "has a setting size"),
        (["callbacks=device_stats"], "must come with a logger"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(words, named, tmp_path, capsys):
    assert app.main([*SMALL, *words, f"hydra.run.dir={tmp_path}/run"]) == 2
    error = capsys.readouterr().err
    assert named in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


class Own(pl.LightningModule):
    """A module as a person may have written it, which names its metrics in Lightning's usual way."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(num_inputs, num_outputs)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.layer(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", torch.nn.functional.mse_loss(self.layer(x), y))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class StopsIn(pl.Callback):
    """A person's own callback."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch + 1 == self.epochs


@pytest.fixture
def registered(monkeypatch):
    from lightning_d2l.config import registry
    from lightning_d2l.config.rules import ANYTHING

    for name, table, made in (("Own", registry.MODELS, Own), ("StopsIn", registry.CALLBACKS, StopsIn)):
        monkeypatch.setitem(table, name, ANYTHING)
        monkeypatch.setitem(registry.OBJECTS, name, made)


@pytest.mark.parametrize("monitor", ["val_loss", "loss/val"])
def test_a_custom_module_stops_by_its_own_name_of_a_metric_and_by_ours(monitor, registered, tmp_path):
    words = ["callbacks=early_stopping", "callbacks.early_stopping.min_delta=1e9"]

    def done(folder: Path, monitor: str) -> int:
        own = config(*SMALL, *words, f"callbacks.early_stopping.monitor={monitor}")
        return run(RunSpec({**own, "model": {"_target_": "Own"}, "optimizer": None}, folder))

    assert done(tmp_path / "run", monitor) == 0
    assert RunRecord.read(tmp_path / "run").fields["stopped"]["epoch"] == 4
    assert done(tmp_path / "no", "val_los") == 2
    error = RunRecord.read(tmp_path / "no").fields["error"]
    assert error.endswith("must be a metric that the module logs: train_loss, val_loss; did you mean val_loss?")


def test_a_registered_callback_trains_by_lightnings_loop_and_may_stop_the_run(registered, tmp_path, capsys):
    record = trained(tmp_path / "run", "+callbacks.mine={_target_: StopsIn, epochs: 3}")
    assert record.fields["stopped"] == {"epoch": 3, "reason": "trainer.should_stop was set", "by": "mine"}
    assert "Lightning's own loop trains: the callback StopsIn needs it" in capsys.readouterr().out
    assert len(rows(tmp_path / "run")) == 3


def test_metrics_of_other_callbacks_can_be_monitored():
    words = ["callbacks=[early_stopping,gradient_norm,lr_monitor]", "callbacks.early_stopping.monitor=gradient/total"]
    built = build(RunSpec(config(*SMALL, *words), Path("nowhere")))
    assert [type(callback) for callback in built.callbacks][:2] == [EarlyStopping, GradientNorm]
    with pytest.raises(RequestError, match=r"loss/train, loss/val, norm/weights$"):
        build(RunSpec(config(*SMALL, words[0].replace(",gradient_norm,lr_monitor", ""), words[1]), Path("nowhere")))


@pytest.mark.parametrize("clipped", [False, True])
def test_the_norm_of_all_gradients_is_that_of_torch_before_any_clipping(clipped, tmp_path):
    words = ["callbacks=gradient_norm", "data.batch_size=20", "trainer.max_epochs=2"]
    trained(tmp_path / "run", *words, *["trainer.gradient_clip_val=0.01"] * clipped)
    built = build(RunSpec(config(*SMALL, *words), tmp_path / "none"))
    found = []
    optimizer = built.module.configure_optimizers()
    for _ in range(2):
        optimizer.zero_grad()
        loss, _ = built.module.objective(built.data.splits["train"])
        loss.backward()
        found.append(torch.nn.utils.clip_grad_norm_(built.module.parameters(), 0.01 if clipped else 1e9).item())
        optimizer.step()
    assert [row["gradient/total"] for row in rows(tmp_path / "run")] == pytest.approx(found, rel=1e-12)


def test_lr_monitor_logs_a_constant_rate_and_the_rates_by_lightnings_names(tmp_path):
    mlp = ["model=mlp", "data=polynomial", "model.num_hiddens=[3]", "optimizer=sgd", "optimizer.lr=0.01"]
    trained(tmp_path / "run", "callbacks=lr_monitor", "logger=csv", *mlp, "optimizer.weight_decay=0.1")
    assert [row["lr"] for row in rows(tmp_path / "run")] == [0.01] * 6
    assert not any("lr-" in name for name in rows(tmp_path / "run")[0])
    text = "".join(path.read_text() for path in (tmp_path / "run").rglob("*.csv") if path.name == "metrics.csv")
    assert "lr-SGD/pg1" in text


def test_model_summary_is_in_the_log_and_shows_the_layers_of_the_network(tmp_path):
    words = ["callbacks=model_summary", "callbacks.model_summary.max_depth=2", "trainer.max_epochs=1"]
    trained(tmp_path / "run", *words)
    log = (tmp_path / "run/train.log").read_text()
    assert "| net | LinearRegression |" in " ".join(log.split())
    assert "4 Trainable params" in " ".join(log.split())


@pytest.mark.parametrize("engine", ["auto", "lightning"])
def test_further_checkpoints_are_kept_below_the_run_and_hold_plain_values(engine, tmp_path):
    words = ["callbacks=model_checkpoint", "callbacks.model_checkpoint.save_top_k=2", f"trainer.engine={engine}"]
    words += ["callbacks.model_checkpoint.monitor=loss/train", "'callbacks.model_checkpoint.filename=\"{epoch}\"'"]
    words = [word.strip("'") for word in words]
    run = tmp_path / "run"
    trained(run, *words, "trainer.checkpoint_every_n_seconds=1000")
    losses = {row["epoch"]: row["loss/train"] for row in rows(run)}
    best = sorted(losses, key=lambda epoch: losses[epoch])[:2]
    kept = run / "checkpoints/kept"
    assert sorted(path.name for path in kept.iterdir()) == sorted(f"epoch={epoch - 1}.ckpt" for epoch in best)
    for path in kept.iterdir():
        assert load_checkpoint(path)["state_dict"].keys() == weights(run).keys()


def test_a_timer_stops_a_run_and_counts_earlier_attempts(tmp_path, capsys):
    timer = ["callbacks=timer", "callbacks.timer.duration={seconds: 0.3}", "trainer.max_epochs=1000000"]
    record = trained(tmp_path / "run", *timer)
    stopped = record.fields["stopped"]
    assert (stopped["by"], stopped["epoch"]) == ("timer", rows(tmp_path / "run")[-1]["epoch"])
    assert stopped["reason"] == "the time of {'seconds': 0.3} is over"
    end = len(rows(tmp_path / "run"))
    assert app.main([*SMALL, *timer, f"resume={tmp_path}/run"]) == 0
    assert len(rows(tmp_path / "run")) == end
    assert app.main([*SMALL, *timer, "callbacks.timer.duration={seconds: 0.6}", f"resume={tmp_path}/run"]) == 0
    assert len(rows(tmp_path / "run")) > end


SWA = [
    "callbacks=stochastic_weight_averaging", "callbacks.stochastic_weight_averaging.swa_lrs=0.01",
    "callbacks.stochastic_weight_averaging.swa_epoch_start=3",
    "callbacks.stochastic_weight_averaging.annealing_epochs=1",
]  # fmt: skip


def test_averaged_weights_are_those_of_torch_and_are_measured_and_saved(tmp_path):
    run = tmp_path / "run"
    record = trained(run, *SWA)
    built = build(RunSpec(config(*SMALL), tmp_path / "none"))
    average, optimizer = AveragedModel(built.module), built.module.configure_optimizers()
    batches = built.data.training_batches(torch.device("cpu"), torch.float64, built.data.shuffle_seed)
    for epoch in range(6):
        if epoch >= 2:  # at the start of the third epoch and of each later one
            average.update_parameters(built.module)
        batches.set_epoch(epoch)
        for batch in batches:
            optimizer.zero_grad()
            built.module.objective(batch)[0].backward()
            optimizer.step()
    for name, value in weights(run).items():
        assert torch.allclose(value, dict(average.module.state_dict())[name], rtol=1e-9), name
    final = record.fields["metrics"]["final"]
    x, y = built.data.splits["val"]
    assert final["loss/val"] == pytest.approx((average.module(x) - y).square().mean().item(), rel=1e-9)
    assert rows(run)[-1]["loss/val"] == final["loss/val"]
    assert cli.main(["evaluate", str(run)]) == 0


def test_a_run_that_is_averaged_resumes_to_the_same_weights(tmp_path, monkeypatch):
    from lightning_d2l.training.recorder import Recorder

    trained(tmp_path / "whole", *SWA)

    class Killed(BaseException):
        pass

    working = Recorder.on_train_epoch_end

    def killed(self: Recorder, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        working(self, trainer, module)
        if trainer.current_epoch == 3:
            raise Killed

    monkeypatch.setattr(Recorder, "on_train_epoch_end", killed)
    with pytest.raises(Killed):
        trained(tmp_path / "run", *SWA, "trainer.checkpoint_every_n_seconds=0")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert app.main([*SMALL, *SWA, "trainer.checkpoint_every_n_seconds=0", f"resume={tmp_path}/run"]) == 0
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")


def test_a_rate_that_is_found_is_recorded_used_by_resume_and_rerun_and_is_lightnings(tmp_path, capsys):
    words = ["callbacks=lr_finder", "callbacks.lr_finder.num_training_steps=40"]
    record = trained(tmp_path / "run", *words)
    assert list(record.fields["found"]) == ["optimizer.lr"]
    found = record.fields["found"]["optimizer.lr"]
    assert "lr_finder optimizer.lr = " in " ".join(capsys.readouterr().out.split())
    built = build(RunSpec(config(*SMALL), tmp_path / "none"))
    trainer = pl.Trainer(
        accelerator="cpu", precision="64-true", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, max_epochs=1000, default_root_dir=tmp_path / "none",
    )  # fmt: skip
    result = Tuner(trainer).lr_find(built.module, datamodule=built.data, num_training=40, update_attr=False)
    assert result is not None
    assert found == result.suggestion()
    trained(tmp_path / "given", f"optimizer.lr={found!r}")
    assert rows(tmp_path / "run") == rows(tmp_path / "given")
    assert_same_weights(tmp_path / "run", tmp_path / "given")
    shutil.copytree(tmp_path / "run", tmp_path / "longer")
    assert app.main([*SMALL, *words, "trainer.max_epochs=9", f"resume={tmp_path}/longer"]) == 0
    trained(tmp_path / "nine", f"optimizer.lr={found!r}", "trainer.max_epochs=9")
    assert rows(tmp_path / "longer") == rows(tmp_path / "nine")
    record.update(found={"optimizer.lr": found / 2})  # as on another machine
    (tmp_path / "none").mkdir(exist_ok=True)
    assert cli.main(["rerun", str(tmp_path / "run"), "--into", str(tmp_path / "again")]) == 1
    assert RunRecord.read(tmp_path / "again").fields["found"] == {"optimizer.lr": found / 2}


def test_a_batch_size_that_is_found_is_that_of_the_run(tmp_path):
    words = ["callbacks=[batch_size_finder,lr_finder]", "callbacks.batch_size_finder.max_val=16"]
    record = trained(tmp_path / "run", *words, "callbacks.lr_finder.update_attr=false")
    assert record.fields["found"] == {"data.batch_size": 16}
    trained(tmp_path / "given", "data.batch_size=16")
    assert rows(tmp_path / "run") == rows(tmp_path / "given")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == sorted(
        p.name for p in (tmp_path / "given").iterdir()
    )


def test_device_stats_say_what_they_need(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lightning_d2l.training.callbacks.RequirementCache", lambda name: False)
    words = ["callbacks=device_stats", "logger=csv", f"hydra.run.dir={tmp_path}/refused"]
    assert app.main([*SMALL, *words]) == 2
    said = "callbacks.device_stats: needs psutil to measure the processor; pip install psutil"
    assert said in capsys.readouterr().err
    assert not (tmp_path / "refused").exists()
