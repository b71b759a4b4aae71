"""Private and undocumented names of tensorboard and torch.utils.tensorboard, used nowhere else.

Seen in tensorboard 2.21.0 with torch 2.8.0, 2.14.1 and 2.15.0; tests/test_compat_tensorboard.py tests each name.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import google_crc32c
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # an entry of an event file; the start of a session
from tensorboard.compat.proto.summary_pb2 import Summary  # what an event holds: scalars, images, layouts

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = [
    "Event",
    "EventFile",
    "SessionLog",
    "Summary",
    "add_summary",
    "hparams_summary",
    "image_summary",
    "layout_summary",
    "text_summary",
    "write_records",
]


def write_records(file: IO[bytes], events: Iterable[Event], wall_time: float) -> None:
    """Write an event file whole: its version, then the events, all at `wall_time` (seconds since 1970)."""
    for event in [Event(file_version="brain.Event:2"), *events]:
        event.wall_time = wall_time
        file.write(_framed(event.SerializeToString()))


class EventFile:
    """A new event file to which events are appended; each is in the file when `add` returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self.add(Event(file_version="brain.Event:2"))

    def add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._file.write(_framed(event.SerializeToString()))
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _framed(record: bytes) -> bytes:
    """A record of an event file (tensorflow/core/lib/io/record_writer.h): its length and bytes, each with a checksum.

    TensorBoard's own writer computes the checksums in Python, which takes a hundred times as long.
    """
    length = struct.pack("<Q", len(record))
    return length + _masked_crc(length) + record + _masked_crc(record)


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def image_summary(tag: str, png: bytes, metadata: Mapping[str, str] | None = None) -> Summary:
    """A PNG file as it is; SummaryWriter.add_image takes pixels alone and encodes them again."""
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # PNG's header chunk
    picture = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag=tag, image=picture, metadata=metadata)])


def text_summary(tag: str, text: str) -> Summary:
    """A text in Markdown, for the Text page, without torch."""
    from tensorboard.plugins.text.summary_v2 import text_pb

    return text_pb(tag, text)


def hparams_summary(values: Mapping[str, bool | int | float | str]) -> Summary:
    """The hyperparameters of a run, for the HParams page; SummaryWriter.add_hparams writes into a folder of its own.

    The row is named by the run's folder, since runs with equal names of a trial would share one row.
    """
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    return hparams_pb(dict(values), trial_id="")


def layout_summary(categories: Mapping[str, Mapping[str, str]]) -> Summary:
    """Charts of the Custom Scalars page by category and title, each with a regular expression for its tags."""
    from torch.utils.tensorboard.summary import custom_scalars

    charts: dict[str, Any] = {
        category: {title: ["Multiline", [tags]] for title, tags in titles.items()}
        for category, titles in categories.items()
    }
    return custom_scalars(charts)  # type: ignore[no-untyped-call]


def add_summary(writer: SummaryWriter, summary: Summary, step: int | None = None) -> None:
    """Write a summary of any kind; a SummaryWriter has public methods for scalars, histograms, pixels and graphs."""
    writer._get_file_writer().add_summary(summary, step)  # type: ignore[no-untyped-call]
