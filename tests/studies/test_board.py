"""`lightning-d2l board`: what TensorBoard shows of a folder, its address, and its server."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from lightning_d2l import cli
from lightning_d2l.studies import board, served, view
from lightning_d2l.studies.findings import find
from lightning_d2l.training.tensorboard import write_events
from tests import chromium
from tests.studies.records import write_sweep

SHARE = {"loss/train": 0.5, "loss/val": 1.0}


def sweep(folder: Path, runs: int) -> Path:
    """A sweep over three degrees with events and a summary."""
    axes = {"data.degree": [1, 2, 3], "seed": range(runs // 3)}
    write_sweep(folder, axes, lambda degree, seed: {name: value * degree + seed for name, value in SHARE.items()})
    for run in folder.glob("*/run.json"):
        write_events(run.parent, {"data.degree": 1}, ("loss",), [{"epoch": 1, "step": 1, **SHARE}], {}, 1)
    board.write(find([folder]), {}, folder)
    return folder


def test_a_sweep_of_more_runs_than_tensorboard_ticks_shows_its_summary(tmp_path):
    few, many = (view.view_of(sweep(tmp_path / str(n), n)) for n in (12, 60))
    assert (few.logdir, few.query) == (tmp_path / "12", "smoothing=0")
    assert (many.logdir, many.query) == (tmp_path / "60", "runFilter=%5Esummary&smoothing=0")


def test_a_sweep_of_more_runs_than_tensorboard_shows_is_read_as_its_summary(tmp_path, monkeypatch):
    monkeypatch.setattr(view, "MOST_SHOWN", 50)
    monkeypatch.setattr(board, "MOST_SHOWN", 50)
    found = view.view_of(folder := sweep(tmp_path / "s", 60))
    assert (found.logdir, parse_qs(found.query)["runFilter"]) == (folder / "summary", ["^(?!settings)"])
    assert len([*(folder / "summary" / "settings").iterdir()]) == 3


def test_a_run_is_shown_among_the_few_beside_it_under_its_name(tmp_path, monkeypatch):
    folder = sweep(tmp_path / "s", 12)
    found = view.view_of(run := next(path.parent for path in folder.glob("*/run.json")))
    assert (found.logdir, parse_qs(found.query)["runFilter"]) == (folder, [f"^{re.escape(run.name)}(/|$)"])
    monkeypatch.setattr(view, "MOST_BESIDE", 5)
    assert view.view_of(run).logdir == run


def test_latest_is_the_newest_run_or_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("outputs/old/run.json", "outputs/s/a/run.json", "outputs/s/sweep.json")):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("{}")
        os.utime(name, (number, number))
    assert view.newest() == Path("outputs/s")
    os.utime("outputs/old/run.json", (9, 9))
    assert view.newest() == Path("outputs/old")
    Path("outputs/s/a/events.out.tfevents.1").touch()  # such as fast_dev_run, the newest has none
    assert view.newest() == Path("outputs/s")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing"], "error: missing: no such folder; it must be that of a run, of a sweep, or one with several"),
        (["empty"], "error: empty: holds no events for TensorBoard; runs write them with logger=tensorboard, and "
                    "lightning-d2l report empty writes those of a sweep"),
        ([], "error: latest: no run and no sweep below outputs; name a folder"),
        (["run", "--port=70000"], "error: --port=70000: must be a whole number from 0 to 65535"),
        (["run", "--port=TAKEN"], "error: --port=TAKEN: already in use; without --port a free one is taken"),
        (["run", "--host=no.such.host.invalid"], "error: --host=no.such.host.invalid: can't be listened at ("),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_can_not_be_shown_is_told_in_a_line(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    write_events(Path("run"), {}, ("loss",), [{"epoch": 1, "step": 1, **SHARE}], {}, 1)
    with socket.create_server(("localhost", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert cli.main(["board", *(word.replace("TAKEN", port) for word in words)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(said.replace("TAKEN", port))
    assert len(error.splitlines()) == 1


def test_without_tensorboard_a_line_says_so(tmp_path, monkeypatch, capsys):
    write_events(tmp_path, {}, ("loss",), [{"epoch": 1, "step": 1, **SHARE}], {}, 1)
    monkeypatch.setitem(sys.modules, "tensorboard.program", None)
    monkeypatch.delattr("tensorboard.program", raising=False)
    assert cli.main(["board", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: board: tensorboard is not installed: pip install tensorboard\n"


@pytest.mark.apart
@pytest.mark.slow
def test_board_prints_its_address_answers_there_and_ends_by_ctrl_c(tmp_path):
    folder = sweep(tmp_path / "s", 12)
    command = [sys.executable, "-m", "lightning_d2l.cli", "board", str(folder), "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stdout.readline().rstrip("\n") for _ in range(3)]
            assert lines[0] == f"TensorBoard shows {folder}: the runs and the summary of the sweep"
            assert lines[2] == "Ctrl-C ends it."
            url = urlsplit(lines[1])
            with urllib.request.urlopen(lines[1], timeout=60) as page:
                assert b'"smoothing=0"' in page.read()
            with urllib.request.urlopen(f"http://{url.netloc}/data/runs", timeout=60) as page:
                assert isinstance(json.load(page), list)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            assert process.stderr.read() == ""
        finally:
            process.kill()


@pytest.mark.apart
@pytest.mark.slow
@pytest.mark.skipif(bool(chromium.missing()), reason=chromium.missing())
def test_the_address_shows_the_summary_unsmoothed_and_whole_in_a_browser(tmp_path):
    found = view.view_of(sweep(tmp_path / "s", 60))
    url = served.start(found, "localhost", 0)
    with chromium.browser() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(url.rstrip("/") + found.path)
        page.wait_for_selector("scalar-card", timeout=60_000)
        names = page.locator("runs-data-table tb-data-table-content-row").all_inner_texts()
        assert [name.split()[0] for name in names] == ["summary", "summary/train", "summary/val"]
        assert page.locator("runs-data-table mat-checkbox input:checked").count() >= 3
        assert page.locator("input.slider-input").first.input_value() == "0"
        assert not page.locator("mat-checkbox", has_text="Ignore outliers").locator("input").is_checked()
        page.goto(url.rstrip("/") + found.path + "#text")
        page.wait_for_selector("tf-text-loader", timeout=60_000)  # of more than 40 runs none would be ticked
        query = parse_qs(urlsplit(page.url).query)
        assert (query["runFilter"], query["smoothing"]) == (["^summary"], ["0"])
