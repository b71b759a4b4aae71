"""A run's events as TensorBoard reads them: its charts, and the same whether logged one by one or written at once."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG, parse_session_start_info_plugin_data
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch import nn

from lightning_d2l.training.files import MetricsFile
from lightning_d2l.training.hparams import shown
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.tensorboard import TensorBoard, write_events
from tests.runs import run_here

HPARAMS = {"model": "MLP", "seed": 3, "optimizer.lr": 0.1, "nesterov": True, "model.num_hiddens": "[64,32]"}
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


def page(folder: Path) -> tuple[Context, str]:
    """The backend of the page HParams for the runs below a folder."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    return Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(folder)))), ""


def hparams_page(folder: Path) -> tuple[dict[str, bool], dict[str, dict[str, object]]]:
    """Whether the values of each key differ, and the rows by name, as the page HParams has them."""
    context, experiment = page(folder)
    metadata = context.hparams_metadata(RequestContext(), experiment)
    found = context.experiment_from_metadata(RequestContext(), experiment, False, metadata, [])
    starts = {run: parse_session_start_info_plugin_data(tags[SESSION_START_INFO_TAG]) for run, tags in metadata.items()}
    rows = {
        start.group_name or run: {key: getattr(v, str(v.WhichOneof("kind"))) for key, v in start.hparams.items()}
        for run, start in starts.items()
    }
    return {info.name: info.differs for info in found.hparam_infos}, rows


def metrics_of_page(folder: Path) -> set[tuple[str, str]]:
    """The tag and the split of each metric of the page HParams."""
    context, experiment = page(folder)
    metadata = context.hparams_metadata(RequestContext(), experiment)
    found = context.experiment_from_metadata(RequestContext(), experiment, True, metadata, [])
    return {(info.name.tag, info.name.group) for info in found.metric_infos}


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
    assert hparams(at_once) == ("", HPARAMS)  # a row is named by its folder, and equal names would share a row

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


def test_the_splits_of_a_single_run_are_runs_of_tensorboard_that_share_a_chart(tmp_path):
    """TensorBoard colours by run. What was logged before an interruption is there once."""
    small = ["model=mlp", "data.source=generated", "data.n_train=64", "data.val_size=64", "model.num_hiddens=[4,4]"]
    words = [*small, "gradients=true", "trainer.accelerator=cpu", "trainer.max_epochs=7"]
    assert run_here(tmp_path / "run", *words, part_of_sweep=False) == 0
    runs = {run: scalars(tmp_path / run) for run in EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Runs()}
    splits = {"train_running", "train", "val", "test"}
    assert runs.keys() == {"run", *(f"run/{split}" for split in splits)}
    assert all(set(runs[f"run/{split}"]) == {"loss", "acc"} for split in splits)
    assert set(runs["run"]) == {"norm/weights", "gradient/first", "gradient/last"}
    rows, final = MetricsFile(tmp_path / "run").rows(), RunRecord.read(tmp_path / "run").fields["metrics"]["final"]
    for split in ("train_running", "val"):
        expected = [(row["epoch"], np.float32(row[f"loss/{split}"])) for row in rows]
        assert scalars(tmp_path / "run" / split)["loss"] == expected
        assert expected[0][0] == 1
    for split in ("train", "test"):
        assert scalars(tmp_path / "run" / split)["acc"] == [(7, np.float32(final[f"acc/{split}"]))]

    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"histograms": 0}).Reload()
    layers = [f"{layer} {part}" for layer in ("hidden 1", "hidden 2", "output") for part in ("weight", "bias")]
    assert set(events.Tags()["histograms"]) == {
        f"{what}/{name}" for what in ("weights", "gradients") for name in layers
    }
    for tag in ("weights/hidden 1 weight", "gradients/output bias"):
        assert [each.step for each in events.Histograms(tag)] == [1, 6, 7]
    text = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in ("configuration", "data")}
    assert "    model.num_hiddens=[4,4]\n" in text["configuration"]
    assert "fashion\\_mnist (generated), SHA-256 " in text["data"]


def test_a_resumed_run_hides_what_its_splits_logged_after_the_last_row(tmp_path):
    rows = [{"epoch": i, "step": i, "loss/val": 1 / i, "loss/train": 2 / i} for i in (1, 2, 3)]
    for history in ([], rows[:2]):
        board = TensorBoard(graph=False, histograms_every_n_epochs=0, figures=False)
        board.apart = True
        board.open(tmp_path, HPARAMS, ("loss",), history)
        for row in rows[len(history) :]:
            board.log_metrics(
                {name: row[name] / (1 + len(history)) for name in ("loss/train", "loss/val")}, row["epoch"]
            )
        board.close()
    assert scalars(tmp_path / "val") == {"loss": [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 9))]}
    assert scalars(tmp_path / "train") == {"loss": [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 9))]}
    assert not scalars(tmp_path)


class Untraceable(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_tracing():
            raise RuntimeError("not to be traced\nat all")
        return x


def test_a_network_without_a_graph_can_be_trained(tmp_path, capfd, caplog):
    board = TensorBoard(graph=None, histograms_every_n_epochs=0, figures=False)
    board.open(tmp_path, HPARAMS, ("loss",), [])
    board.add_graph(net := Untraceable(), torch.zeros(1, 2))
    board.close()
    assert net.training
    assert caplog.messages == ["no graph for TensorBoard: not to be traced"]
    assert "No graph saved" not in "".join(capfd.readouterr())


def test_what_a_custom_module_logs_at_any_step_is_at_that_step(tmp_path):
    """Where Lightning's own logger has it; in a single run beside the values of the other splits."""
    found = [(step, np.float32(1 / (1 + step))) for step in range(6)]
    for apart in (False, True):
        board = TensorBoard(graph=False, histograms_every_n_epochs=0, figures=False)
        board.by_step, board.apart = True, apart
        board.open(tmp_path / str(apart), HPARAMS, (), [])
        for step in range(6):
            board.log_metrics({"train_loss_step": 1 / (1 + step), "epoch": step // 3}, step)
        board.log_metrics({"val_loss": 0.5, "g_loss": 2.0, "epoch": 1}, 5)
        board.close()
    assert scalars(tmp_path / "False") == {"train_loss_step": found, "val_loss": [(5, 0.5)], "g_loss": [(5, 2.0)]}
    assert scalars(tmp_path / "True" / "train") == {"loss_step": found}
    assert scalars(tmp_path / "True" / "val") == {"loss": [(5, 0.5)]}
    assert scalars(tmp_path / "True") == {"g_loss": [(5, 2.0)]}


def test_the_page_hparams_tells_single_runs_apart_by_every_key_that_one_of_them_sets(tmp_path):
    small = ["model=polynomial_regression", "data.n_train=20", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    runs = {
        "plain": [],
        "adam": ["optimizer=adam", "seed=123456"],
        "other": ["seed=123457", "model.dropout=0.1", "callbacks=[early_stopping]", "trainer.gradient_clip_val=1"],
    }
    for name, words in runs.items():
        assert run_here(tmp_path / name, *small, *words, part_of_sweep=False) == 0
    infos, rows = hparams_page(tmp_path)
    differ = {"optimizer", "optimizer.lr", "seed", "model.dropout", "trainer.gradient_clip_val"}
    assert differ <= {name for name, differs in infos.items() if differs}
    assert rows.keys() == runs.keys()  # each has a row
    for name, expected in {
        "plain": ("SGD", 0.0, "null"),
        "adam": ("Adam", 0.0, "null"),
        "other": ("SGD", 0.1, 1.0),
    }.items():
        keys = ("optimizer", "model.dropout", "trainer.gradient_clip_val")
        assert tuple(rows[name][key] for key in keys) == expected
    assert rows["adam"]["seed"] != rows["other"]["seed"]  # the page shows five digits of a number
    assert {("loss", "train"), ("loss", "val"), ("loss", "test")} <= metrics_of_page(tmp_path)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3), (0.1, 0.1), (True, True), (None, "null"), ([256], 256), ([64, 32], "[64,32]"), (100000, 100000),
        (123456, "123456"), (float("inf"), "inf"), ("a\x1bb", "a\\x1bb"),
    ],
)  # fmt: skip
def test_a_value_of_the_page_hparams(value, expected):
    assert shown(value) == expected
    assert type(shown(value)) is type(expected)


def test_long_values_that_differ_at_their_ends_look_different():
    long = [0.1] * 200
    assert shown([*long, 1]) != shown([*long, 2])
    assert len(shown([*long, 1])) == 100
