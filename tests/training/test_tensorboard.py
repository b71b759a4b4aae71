"""A run's events as TensorBoard reads them: its charts, and the same whether logged one by one or written at once."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch import nn

from lightning_d2l.training.files import MetricsFile
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.tensorboard import TensorBoard, write_events
from tests.runs import run_here

HPARAMS = {"model": "MLP", "seed": 3, "optimizer.lr": 0.1, "nesterov": True, "model.num_hiddens": [64, 32]}
NAMES = ("loss/train", "loss/val", "acc/train", "acc/val", "norm/weights", "gradient/first", "gradient/last")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def charts(folder: Path) -> dict[str, str]:
    """The tags of each chart by its title."""
    (event,) = EventAccumulator(str(folder)).Reload().Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    return {chart.title: chart.multiline.tag[0] for category in layout.category for chart in category.chart}


def hparams(folder: Path) -> tuple[str, dict[str, object]]:
    """The group of a run and its hyperparameters."""
    metadata = EventAccumulator(str(folder)).Reload().SummaryMetadata("_hparams_/session_start_info")
    start = HParamsPluginData.FromString(metadata.plugin_data.content).session_start_info
    values = {key: getattr(value, str(value.WhichOneof("kind"))) for key, value in start.hparams.items()}
    return start.group_name, values


def log(folder: Path, rows: list[dict[str, float]], test: dict[str, float]) -> None:
    board = TensorBoard(graph=True, histograms_every_n_epochs=5, figures=True)
    board.open(folder, HPARAMS, ("loss", "acc"), [])
    for row in rows:
        board.log_metrics({name: row[name] for name in NAMES}, int(row["epoch"]))
    board.log_metrics(test, 400)
    board.close()


def test_events_written_at_once_are_those_of_the_logger(tmp_path):
    values = np.random.default_rng(0).lognormal(0, 30, (21, len(NAMES))).clip(1e-30, 1e30)
    rows = [
        {"epoch": max(20 * i, 1), "step": 200 * i} | dict(zip(NAMES, map(float, values[i]), strict=True))
        for i in range(21)
    ]
    test = {"loss/test": 1 / 7, "acc/test": 1.0, "norm/weights": 43.3}
    one_by_one, at_once = tmp_path / "1" / "member", tmp_path / "2" / "member"
    log(one_by_one, rows, test)
    write_events(at_once, HPARAMS, ("loss", "acc"), rows, test, 400)

    assert len(list(at_once.iterdir())) == 1
    assert scalars(at_once) == scalars(one_by_one)
    assert scalars(at_once)["loss/val"] == [(row["epoch"], np.float32(row["loss/val"])) for row in rows]
    assert charts(at_once) == charts(one_by_one)
    assert hparams(at_once) == hparams(one_by_one)
    assert hparams(at_once) == ("member", HPARAMS | {"model.num_hiddens": "[64, 32]"})

    interrupted = tmp_path / "3" / "member"
    log(interrupted, rows[:5], {})
    write_events(interrupted, HPARAMS, ("loss", "acc"), rows, test, 400)
    assert len(list(interrupted.iterdir())) == 2
    assert scalars(interrupted) == scalars(one_by_one)


@pytest.mark.parametrize("words", [["information=true"], ["gradients=true", "penalty.l1=1e-3"]], ids=" ".join)
def test_each_scalar_of_a_run_is_on_one_chart_and_each_row_of_its_metrics_is_there(words, tmp_path):
    small = ["model=mlp", "data.source=generated", "data.n_train=64", "data.val_size=64", "model.num_hiddens=4"]
    assert run_here(tmp_path, *small, "trainer.max_epochs=3", "trainer.accelerator=cpu", *words) == 0
    found, patterns = scalars(tmp_path), charts(tmp_path).values()
    for tag in found:
        assert sum(bool(re.match(pattern, tag)) for pattern in patterns) == 1
    assert all(any(re.match(pattern, tag) for tag in found) for pattern in patterns)
    for row in MetricsFile(tmp_path).rows():
        for name in row.keys() - {"epoch", "step"}:
            assert (row["epoch"], np.float32(row[name])) in found[name]
    final = RunRecord.read(tmp_path).fields["metrics"]["final"]
    assert found["loss/test"] == [(3, np.float32(final["loss/test"]))]


class Untraceable(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_tracing():
            raise RuntimeError("not to be traced\nat all")
        return x


def test_a_network_without_a_graph_can_be_trained(tmp_path, capfd, caplog):
    board = TensorBoard(graph=True, histograms_every_n_epochs=0, figures=False)
    board.open(tmp_path, HPARAMS, ("loss",), [])
    board.watch(net := Untraceable(), torch.zeros(1, 2))
    board.close()
    assert net.training
    assert caplog.messages == ["no graph for TensorBoard: not to be traced"]
    assert "No graph saved" not in "".join(capfd.readouterr())


def test_what_a_custom_module_logs_at_any_step_is_at_that_step(tmp_path):
    """Where Lightning's own logger has it."""
    board = TensorBoard(graph=False, histograms_every_n_epochs=0, figures=False)
    board.by_step = True
    board.open(tmp_path, HPARAMS, (), [])
    for step in range(6):
        board.log_metrics({"train_loss_step": 1 / (1 + step), "epoch": step // 3}, step)
    board.close()
    assert scalars(tmp_path) == {"train_loss_step": [(step, np.float32(1 / (1 + step))) for step in range(6)]}
