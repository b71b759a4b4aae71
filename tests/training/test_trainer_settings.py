"""Settings of Lightning's Trainer: a run gives what a plain Trainer gives with them, on the same module and data."""

import json
import time

import pytest
import pytorch_lightning as pl
import torch

from lightning_d2l import app
from lightning_d2l.data.streams import stream
from lightning_d2l.training.build import NOISE, build
from lightning_d2l.training.checkpoint import load_checkpoint
from lightning_d2l.training.files import BEST, LAST, MetricsFile
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec
from tests.runs import config, run_here

# Twelve minibatches an epoch.
WORDS = [
    "model=mlp", "data=polynomial", "data.n_train=48", "data.batch_size=4", "data.n_val=20", "data.n_test=20",
    "model.num_hiddens=[6]", "model.dropout=0.2", "optimizer.lr=0.02", "loss=null", "logger=none",
    "trainer.accelerator=cpu", "trainer.evaluate=[val]", "trainer.log_every_n_epochs=1",
]  # fmt: skip


def plain(tmp_path, words, **settings):
    """The Trainer and module after a training by Lightning alone."""
    built = build(RunSpec(config(*WORDS, *words), tmp_path / "plain"))
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, **settings,
    )  # fmt: skip
    torch.manual_seed(stream(NOISE, 0))
    trainer.fit(built.module, built.data)
    torch.use_deterministic_algorithms(False)
    return trainer, built.module


SETTINGS = {
    "clip by norm": ({"gradient_clip_val": 0.1, "max_epochs": 2}, []),
    "clip by value": ({"gradient_clip_val": 0.05, "gradient_clip_algorithm": "value", "max_epochs": 2}, []),
    "bf16-mixed": ({"precision": "bf16-mixed", "max_epochs": 2}, []),
    "16-mixed": ({"precision": "16-mixed", "max_epochs": 2}, []),  # which is bf16-mixed on a processor
    "bf16-true": ({"precision": "bf16-true", "max_epochs": 2}, []),
    "accumulate": ({"accumulate_grad_batches": 5, "max_epochs": 2}, []),
    "limits": ({"limit_train_batches": 0.5, "limit_val_batches": 1, "max_epochs": 3}, []),
    "overfit": ({"overfit_batches": 2, "max_epochs": 3}, []),
    "steps": ({"max_steps": 24}, ["trainer.max_epochs=null"]),
    "steps within an epoch": ({"max_steps": 17, "max_epochs": 5}, []),
    "validation within an epoch": ({"val_check_interval": 0.25, "max_epochs": 2}, []),
    "validation by batches of all epochs": ({"val_check_interval": 8, "check_val_every_n_epoch": None, "max_epochs": 2},
                                            []),
    "reload": ({"reload_dataloaders_every_n_epochs": 1, "max_epochs": 2}, []),
    "anomaly": ({"detect_anomaly": True, "max_epochs": 2, "deterministic": True, "benchmark": False}, []),
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_gives_what_a_plain_trainer_gives(name, tmp_path):
    settings, words = SETTINGS[name]
    given = [f"trainer.{key}={'null' if value is None else value}" for key, value in settings.items()]
    assert run_here(tmp_path / "run", *WORDS, *given, *words) == 0
    if words:
        settings = {**settings, "max_epochs": None}
    trainer, module = plain(tmp_path, [word for word in given if "precision" in word], **settings)
    last, rows = load_checkpoint(tmp_path / "run" / LAST), MetricsFile(tmp_path / "run").rows()
    assert last["global_step"] == rows[-1]["step"] == trainer.global_step
    assert rows[-1]["epoch"] == trainer.current_epoch
    for key, value in module.state_dict().items():
        torch.testing.assert_close(last["state_dict"][key], value, rtol=1e-5, atol=1e-6)
    running = "loss/train_running"
    assert rows[-1][running] == pytest.approx(trainer.callback_metrics[running].item(), rel=1e-5)
    if "max_steps" not in settings and rows[-1]["step"] % 8 == 0:  # the plain Trainer has validated at its end
        assert rows[-1]["loss/val"] == pytest.approx(trainer.callback_metrics["loss/val"].item(), rel=1e-5)
    assert not torch.are_deterministic_algorithms_enabled()


def validated(tmp_path, folder) -> float:
    """The validation loss of a run's last checkpoint, by Lightning alone."""
    built = build(RunSpec(config(*WORDS), tmp_path / "plain"))
    built.module.load_state_dict(load_checkpoint(folder / LAST)["state_dict"])
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    return trainer.validate(built.module, built.data, verbose=False)[0]["loss/val"]


@pytest.mark.parametrize("steps", [12, 17, 29, 36, 60])
def test_a_run_that_ends_by_steps_is_measured_at_its_end_and_resumes_to_the_same_bits(steps, tmp_path):
    """Also within an epoch, or after one that is no logging point."""
    words = [*WORDS, "trainer.max_epochs=null", "trainer.log_every_n_epochs=4"]
    assert run_here(tmp_path / "parts", *words, f"trainer.max_steps={steps}") == 0
    rows, last = MetricsFile(tmp_path / "parts").rows(), load_checkpoint(tmp_path / "parts" / LAST)
    assert (rows[-1]["epoch"], rows[-1]["step"]) == (-(-steps // 12), steps)
    assert last["global_step"] == steps
    assert rows[-1]["loss/val"] == pytest.approx(validated(tmp_path, tmp_path / "parts"), rel=1e-6)
    metrics = RunRecord.read(tmp_path / "parts").fields["metrics"]
    best = metrics["best"]
    assert load_checkpoint(tmp_path / "parts" / BEST)["global_step"] == best["step"]
    assert best["loss/val"] == min(row["loss/val"] for row in rows)
    assert app.main([*words, f"trainer.max_steps={steps}", f"resume={tmp_path / 'parts'}"]) == 0  # no step is left
    assert MetricsFile(tmp_path / "parts").rows() == rows
    assert RunRecord.read(tmp_path / "parts").fields["metrics"] == metrics

    assert app.main([*words, "trainer.max_steps=70", f"resume={tmp_path / 'parts'}"]) == 0
    assert run_here(tmp_path / "whole", *words, "trainer.max_steps=70") == 0
    whole, parts = (load_checkpoint(tmp_path / name / LAST) for name in ("whole", "parts"))
    assert whole["global_step"] == parts["global_step"] == 70
    assert all(torch.equal(value, parts["state_dict"][name]) for name, value in whole["state_dict"].items())
    there, here = (MetricsFile(tmp_path / name).rows() for name in ("whole", "parts"))
    assert [row for row in here if row["epoch"] in {row["epoch"] for row in there}] == there
    assert all(row["step"] % 12 == 0 for row in here[:-1])


def test_a_run_that_ends_by_time_says_so_and_resumes(tmp_path):
    words = [*WORDS, "trainer.max_epochs=-1"]
    began = time.monotonic()
    assert run_here(tmp_path / "run", *words, "trainer.max_time=00:00:00:01") == 0
    assert 1 < time.monotonic() - began < 60
    record, rows = RunRecord.read(tmp_path / "run"), MetricsFile(tmp_path / "run").rows()
    assert record.fields["stopped"]["by"] == "trainer.max_time"
    assert load_checkpoint(tmp_path / "run" / LAST)["global_step"] == rows[-1]["step"]
    assert app.main([*words, "trainer.max_time=00:00:00:02", f"resume={tmp_path / 'run'}"]) == 0
    assert MetricsFile(tmp_path / "run").rows()[-1]["step"] > rows[-1]["step"]


def test_a_fast_dev_run_is_completed_and_says_what_it_is(tmp_path, capsys):
    assert run_here(tmp_path / "run", *WORDS, "trainer.fast_dev_run=true", part_of_sweep=False) == 0
    record = RunRecord.read(tmp_path / "run")
    assert record.completed
    assert record.fields["metrics"]["final"]["step"] == 1
    assert "trainer.fast_dev_run: one minibatch of each split" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["trainer.enable_progress_bar=false"],
        ["trainer.log_every_n_steps=7"],
        ["trainer.min_epochs=1", "trainer.num_sanity_val_steps=2"],
        ["trainer.deterministic=true", "trainer.benchmark=false", "trainer.limit_test_batches=1"],
        ["trainer.check_val_every_n_epoch=2", "trainer.inference_mode=false"],
    ],
)
def test_what_means_nothing_to_the_fast_loop_leaves_it(words, tmp_path, capsys):
    assert run_here(tmp_path / "run", *WORDS, *words, "trainer.max_epochs=3", part_of_sweep=False) == 0
    assert "Lightning's own loop" not in capsys.readouterr().out
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trainer.gradient_clip_val=1", "trainer.gradient_clip_algorithm=much"], "`gradient_clip_algorithm` much is"),
        (["trainer.profiler=fast"], "profiler"),
        (["trainer.barebones=true"], "barebones=True"),
        (["trainer.strategy=dpp"], "dpp"),
        (["trainer.strategy=ddp_spawn", "trainer.devices=2"], "must be ddp"),
        (["trainer.max_time=soon"], "not a valid duration"),
        (["trainer.limit_val_batches=1.5"], "limit_val_batches"),
        (["trainer.limit_train_batches=0.01"], "limit_train_batches"),
        (["trainer.val_check_interval=50"], "val_check_interval"),
        (["trainer.num_nodes=2"], "trainer.num_nodes=2: must be 1"),
        (["trainer.devices=9999"], "trainer.devices=9999: must be at most"),
        (["trainer.max_steps=0"], "nothing would be trained"),
        (["trainer.engine=fast", "trainer.gradient_clip_val=1"], "trainer.gradient_clip_val=1 needs Lightning's own"),
        (["optimizer=exact", "model=linear_regression", "trainer.gradient_clip_val=1"], "takes no steps"),
    ],
)
def test_what_lightning_refuses_is_one_line_and_writes_nothing(words, said, tmp_path, capsys):
    given = ["logger=none", *words] if "model=linear_regression" in words else [*WORDS, *words]
    assert app.main([*given, f"hydra.run.dir={tmp_path / 'new' / 'run'}"]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert len(error.splitlines()) <= 2
    assert not (tmp_path / "new").exists()


def test_without_checkpoints_there_are_none_and_the_best_epoch_is_measured(tmp_path):
    words = [*WORDS, "trainer.max_epochs=4"]
    for name, flag in (("with", "null"), ("without", "false")):
        assert run_here(tmp_path / name, *words, f"trainer.enable_checkpointing={flag}") == 0
    there, here = (RunRecord.read(tmp_path / name).fields["metrics"] for name in ("with", "without"))
    assert there == here
    assert not (tmp_path / "without" / "checkpoints").exists()


def test_a_profiler_leaves_its_report_in_the_runs_folder(tmp_path):
    assert run_here(tmp_path / "run", *WORDS, "trainer.max_epochs=1", "trainer.profiler=simple") == 0
    (report,) = (tmp_path / "run").glob("fit-profile*.txt")
    assert "optimizer_step" in report.read_text()


def test_a_sweep_of_such_runs_trains_them_one_by_one_with_the_reason(tmp_path, capsys):
    words = [*WORDS, "trainer.max_epochs=1", "seed=0,1", "trainer.gradient_clip_val=0.1"]
    assert app.main(["-m", *words, f"hydra.sweep.dir={tmp_path / 'sweep'}"]) == 0
    assert "2 runs one by one: trainer.gradient_clip_val=0.1 needs Lightning's own loop" in capsys.readouterr().out
    runs = [json.loads(path.read_text()) for path in (tmp_path / "sweep").glob("*/run.json")]
    assert [run["status"] for run in runs] == ["completed", "completed"]


@pytest.mark.parametrize("preset", ["gpu", "ddp", "mps"])
def test_a_preset_for_a_device_that_is_not_there_says_so(preset, tmp_path, capsys):
    if torch.backends.mps.is_available() if preset == "mps" else torch.cuda.is_available():
        pytest.skip("the device is there")
    words = [word for word in WORDS if "accelerator" not in word]
    assert app.main([*words, f"trainer={preset}", f"hydra.run.dir={tmp_path / 'new'}"]) == 2
    name = "mps" if preset == "mps" else "gpu"
    assert f"trainer.accelerator={name}: this machine has none; must be auto or cpu here" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("preset", ["default", "fast_dev_run", "overfit", "limit", "profiler", "anomaly"])
def test_presets_for_debugging_train(preset, tmp_path):
    words = [word for word in WORDS if "trainer" not in word]
    assert run_here(tmp_path / "run", *words, f"debug={preset}", "verbose=false") == 0
    assert RunRecord.read(tmp_path / "run").completed
