"""Each private name of tensorboard and torch.utils.tensorboard still does what compat_tensorboard.py uses it for.

What is written is read back by TensorBoard's own reader.
"""

import io
from pathlib import Path

import numpy as np
from matplotlib.image import imread, imsave
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import SummaryWriter

from lightning_d2l import compat_tensorboard as compat
from lightning_d2l.compat_tensorboard import Event, SessionLog, Summary

WALL_TIME = 1234567890.5


def scalar(step: int, value: float) -> Event:
    return Event(step=step, summary=Summary(value=[Summary.Value(tag="loss/val", simple_value=value)]))


def write(folder: Path, name: str, *events: Event) -> None:
    folder.mkdir(exist_ok=True)
    with (folder / f"events.out.tfevents.{name}").open("wb") as file:
        compat.write_records(file, events, WALL_TIME)


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


def summary(folder: Path, value: Summary) -> EventAccumulator:
    write(folder, "1", Event(summary=value))
    return read(folder)


def test_event_and_summary_make_a_file_that_tensorboard_reads_and_would_write(tmp_path):
    write(tmp_path, "1", scalar(1, 0.5), scalar(20, 0.25))
    theirs = io.BytesIO()
    for event in Event(file_version="brain.Event:2"), scalar(1, 0.5), scalar(20, 0.25):
        event.wall_time = WALL_TIME
        RecordWriter(theirs).write(event.SerializeToString())
    assert (tmp_path / "events.out.tfevents.1").read_bytes() == theirs.getvalue()
    events = read(tmp_path)
    assert [(e.wall_time, e.step, e.value) for e in events.Scalars("loss/val")] == [
        (WALL_TIME, 1, 0.5),
        (WALL_TIME, 20, 0.25),
    ]
    assert events.file_version == 2.0


def test_an_event_file_holds_an_event_when_it_was_added(tmp_path):
    file = compat.EventFile(tmp_path / "events.out.tfevents.1")
    for step in (1, 2):
        file.add(scalar(step, 0.5))
        assert [e.step for e in read(tmp_path).Scalars("loss/val")] == [*range(1, step + 1)]
    file.close()


def test_session_log_start_hides_later_steps_of_an_earlier_file(tmp_path):
    write(tmp_path, "1", *(scalar(step, 1.0) for step in (1, 2, 3)))
    write(tmp_path, "2", Event(step=2, session_log=SessionLog(status=SessionLog.START)), scalar(2, 0.5))
    assert [(e.step, e.value) for e in read(tmp_path).Scalars("loss/val")] == [(1, 1.0), (2, 0.5)]


def test_get_file_writer_of_a_summary_writer_writes_a_summary(tmp_path):
    writer = SummaryWriter(str(tmp_path))
    compat.add_summary(writer, scalar(0, 0.5).summary, 7)
    writer.close()
    assert [(e.step, e.value) for e in read(tmp_path).Scalars("loss/val")] == [(7, 0.5)]


def test_summary_image_holds_a_png_file_as_it_is(tmp_path):
    imsave(file := tmp_path / "figure.png", np.random.default_rng(0).random((4, 5, 3)))
    png = file.read_bytes()
    events = summary(tmp_path, compat.image_summary("figure", png, {"summary_description": "what it shows"}))
    (image,) = events.Images("figure")
    assert (image.width, image.height) == (5, 4)
    assert imread(file).shape[:2] == (4, 5)
    assert image.encoded_image_string == png
    assert events.SummaryMetadata("figure").summary_description == "what it shows"


def test_hparams_pb_holds_the_values_and_no_name_of_a_trial(tmp_path):
    values = {"model": "MLP", "optimizer.lr": 0.1, "nesterov": True, "seed": 3}
    events = summary(tmp_path, compat.hparams_summary(values))
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    start = HParamsPluginData.FromString(content).session_start_info
    assert start.group_name == ""  # the row has the name of the run
    assert {key: getattr(value, value.WhichOneof("kind")) for key, value in start.hparams.items()} == values


def test_custom_scalars_holds_the_pattern_of_each_chart(tmp_path):
    events = summary(tmp_path, compat.layout_summary({"splits": {"loss": "^loss/(train|val)$", "acc": "^acc/val$"}}))
    (event,) = events.Tensors("custom_scalars__config__")
    (category,) = Layout.FromString(event.tensor_proto.string_val[0]).category
    assert category.title == "splits"
    assert [(chart.title, list(chart.multiline.tag)) for chart in category.chart] == [
        ("loss", ["^loss/(train|val)$"]),
        ("acc", ["^acc/val$"]),
    ]
