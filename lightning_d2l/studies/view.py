"""What of a folder TensorBoard shows first: the folder that it reads, and the query of its address."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.escape import terminal
from lightning_d2l.config.program import tool_words
from lightning_d2l.studies.collect import MARKERS, OUTPUTS
from lightning_d2l.training.record import RUN_FILE

EVENTS = "events.out.tfevents"
SUMMARY = "summary"
SETTINGS = "settings"  # in that folder
PORT = 6006  # TensorBoard's own
PAGE = "/view"
MOST_TICKED = 40
"""Of more runs TensorBoard ticks none at first on its pages of images, texts and histograms."""
MOST_SHOWN = 500
"""Of more runs its page Time Series ticks none, whatever the filter."""
MOST_FOLDERS = 100_000  # looked at
MOST_BESIDE = 1000  # folders that are looked at beside a run


@dataclass(frozen=True)
class View:
    """The folder that TensorBoard reads, the filter of its runs, a regular expression or empty, and what they are."""

    logdir: Path
    runs: str
    words: str

    @property
    def query(self) -> str:
        """The query of the address: the filter of runs if there is one, and no smoothing, which moves curves."""
        shown = [f"runFilter={quote(self.runs, safe='()!?/$')}"] if self.runs else []
        return "&".join([*shown, "smoothing=0"])

    @property
    def path(self) -> str:
        """The path and query of the address."""
        return f"{PAGE}?{self.query}"


def view_of(folder: Path) -> View:
    """What to show of a run, of a sweep, or of a folder with several; raises RequestError if it holds no events."""
    if not folder.is_dir():
        raise RequestError(f"{folder}: no such folder; it must be that of a run, of a sweep, or one with several")
    found = [*islice(_folders(folder), MOST_SHOWN + 1)]
    if not found:
        raise RequestError(
            f"{folder}: holds no events for TensorBoard; runs write them with logger=tensorboard, and "
            f"{shlex.join([*tool_words('report'), terminal(str(folder))])} writes those of a sweep"
        )
    number = f"more than {MOST_SHOWN}" if len(found) > MOST_SHOWN else f"{len(found)}"
    has_summary = folder / SUMMARY in found or any((folder / SUMMARY).glob(f"{EVENTS}*"))
    has_settings = (folder / SUMMARY / SETTINGS).is_dir()
    if (folder / RUN_FILE).exists():
        return _of_run(folder.resolve())
    if not has_summary:
        ticked = "" if len(found) <= MOST_TICKED else "; it ticks none of so many on some pages"
        return View(folder, "", f"{number} runs{ticked}")
    if len(found) > MOST_SHOWN:
        return View(folder / SUMMARY, f"^(?!{SETTINGS})" if has_settings else "", "the summary of the sweep")
    if len(found) > MOST_TICKED:
        without = f"(?!/{SETTINGS})" if has_settings else ""
        return View(folder, f"^{SUMMARY}{without}", f"the summary; clear the filter for all {number} runs")
    return View(folder, "", "the runs and the summary of the sweep")


def _of_run(folder: Path) -> View:
    """A run among those beside it, if these are few.

    It then has a name, without which the page HParams does not find the metrics of its splits.
    """
    beside = [*islice(os.walk(folder.parent), MOST_BESIDE + 1)]
    shown = sum(any(EVENTS in name for name in names) for _, _, names in beside)
    if len(beside) > MOST_BESIDE or shown > MOST_SHOWN:
        return View(folder, "", "a run")
    return View(folder.parent, f"^{re.escape(folder.name)}(/|$)", "a run; clear the filter for those beside it")


def command(folder: Path) -> str:
    """The command that shows a folder."""
    return shlex.join([*tool_words("board"), str(folder)])


def address(folder: Path) -> str:
    """Where that command shows it, if no other program has TensorBoard's port; raises RequestError as `view_of`."""
    return f"http://localhost:{PORT}{view_of(folder).path}"


def newest() -> Path:
    """The folder below outputs/ whose run or sweep was written last, of those with events unless none has any.

    Raises RequestError if there is no run and no sweep.
    """
    marks: dict[Path, int] = {}
    for at, folders, names in os.walk(OUTPUTS):
        kept = [name for name in (*MARKERS, RUN_FILE) if name in names]
        if kept:
            folders.clear()  # the runs of a sweep are shown with it
            try:
                marks[Path(at)] = max((Path(at) / name).stat().st_mtime_ns for name in kept)
            except OSError:  # it is being deleted
                continue
    if not marks:
        raise RequestError(f"latest: no run and no sweep below {OUTPUTS}; name a folder")
    found = sorted(marks, key=lambda folder: marks[folder], reverse=True)
    return next((folder for folder in found if any(_folders(folder))), found[0])


def _folders(folder: Path) -> Iterator[Path]:
    """The folders with events: those that TensorBoard takes for runs."""
    for at, folders, names in islice(os.walk(folder), MOST_FOLDERS):
        folders.sort()
        if any(EVENTS in name for name in names):
            yield Path(at)
