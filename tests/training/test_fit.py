"""A run by either loop: what it says, how it resumes, and what its checkpoints are good for."""

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_d2l import app
from lightning_d2l.config.check import RequestError
from lightning_d2l.modules import RegressionModule
from lightning_d2l.training import figures, fit, record
from lightning_d2l.training.build import build
from lightning_d2l.training.checkpoint import load_checkpoint
from lightning_d2l.training.files import BEST, LAST, MetricsFile
from lightning_d2l.training.spec import RunSpec
from tests.runs import POLYNOMIAL, config, run_here

WORDS = [
    "model=mlp", "data=polynomial", "data.n_train=35", "model.num_hiddens=[8]", "model.dropout=0.4", "optimizer=adam",
    "optimizer.lr=0.01", "logger=none", "trainer.accelerator=cpu",
]  # fmt: skip


@pytest.mark.parametrize("engine", ["fast", "lightning"])
def test_a_run_resumes_bit_for_bit_by_the_same_loop(engine, tmp_path):
    words = [*WORDS, f"trainer.engine={engine}"]
    assert run_here(tmp_path / "whole", *words, "trainer.max_epochs=6") == 0
    assert run_here(tmp_path / "parts", *words, "trainer.max_epochs=3") == 0
    assert app.main([*words, "trainer.max_epochs=6", f"resume={tmp_path / 'parts'}"]) == 0
    first, second = (MetricsFile(tmp_path / name).rows() for name in ("whole", "parts"))
    assert first == second
    whole, parts = (load_checkpoint(tmp_path / name / LAST) for name in ("whole", "parts"))
    assert whole["global_step"] == parts["global_step"]
    assert all(torch.equal(value, parts["state_dict"][name]) for name, value in whole["state_dict"].items())


def test_another_loop_does_not_resume_a_run(tmp_path, capsys):
    assert run_here(tmp_path / "run", *WORDS, "trainer.max_epochs=2") == 0
    assert app.main([*WORDS, "trainer.max_epochs=4", "trainer.engine=lightning", f"resume={tmp_path / 'run'}"]) == 2
    assert "trainer.engine is auto there and lightning here" in capsys.readouterr().err


def test_checkpoints_of_runs_and_members_load_as_lightnings(tmp_path):
    """Without further arguments: the network is described in the checkpoint."""
    words = ["model=polynomial_regression", "data.n_train=30", "logger=none", "trainer.max_epochs=2"]
    assert app.main(["-m", *words, "seed=0,1", f"hydra.sweep.dir={tmp_path / 'sweep'}"]) == 0
    assert app.main([*words, "seed=1", f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    x = torch.randn(5, 4)
    outputs = []
    for folder in (tmp_path / "run", tmp_path / "sweep" / "seed=1"):
        for name in (LAST, BEST):
            module = RegressionModule.load_from_checkpoint(folder / name, weights_only=True)
            assert module.loss_name == "mse"
            outputs.append(module(x).detach())
    torch.testing.assert_close(outputs[0], outputs[2], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(outputs[1], outputs[3], rtol=1e-5, atol=1e-6)


class WithHook(RegressionModule):
    def on_train_batch_start(self, *args: object) -> None:
        """A hook that the fast loop would not call."""


def test_lightnings_own_loop_trains_what_needs_it_and_says_so(tmp_path, caplog):
    def built(engine: str) -> fit.BuiltRun:
        settings = config("model=polynomial_regression", "trainer.max_epochs=2", f"trainer.engine={engine}")
        made = build(RunSpec(settings, tmp_path / engine))
        made.module = WithHook(made.module.net)
        return made

    with caplog.at_level("INFO"):
        rows: list[dict[str, float]] = []
        assert fit.fit(built("auto"), rows.append, [])["epoch"] in (1, 2)
    assert "Lightning's own loop trains: WithHook.on_train_batch_start needs it" in caplog.messages
    assert rows[-1]["epoch"] == 2
    with pytest.raises(RequestError, match=r"trainer\.engine=fast: WithHook\.on_train_batch_start needs Lightning"):
        fit.fit(built("fast"), rows.append, [])


def test_a_run_is_recorded_once_at_its_end_and_a_signal_while_it_draws_leaves_it_complete(
    tmp_path, monkeypatch
) -> None:
    folder, written = tmp_path / "run", list[str]()
    write = record.write_json

    def counted(path: Path, fields: Mapping[str, Any], **how: bool) -> None:
        written.append(fields["status"])
        write(path, fields, **how)

    def stopped(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(record, "write_json", counted)
    monkeypatch.setattr(figures, "fitted_curve", stopped)
    words = [*POLYNOMIAL, "data.n_train=20", "trainer.max_epochs=2"]
    assert run_here(folder, *words, part_of_sweep=False) == 130
    assert written == ["running", "completed"]
    fields = json.loads((folder / "run.json").read_text())
    assert (fields["error"], "process" in fields, fields["seconds"] > 0) == (None, False, True)
    assert "stopped by SIGINT; the run is complete, but some of its figures" in (folder / "train.log").read_text()
