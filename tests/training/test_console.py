"""What is printed of a run and what its log says: whole, in lines of at most 80 columns."""

import logging

import pytest

from lightning_d2l.training.console import log_to, table, write_log
from lightning_d2l.training.files import MetricsFile
from tests.runs import run_here

log = logging.getLogger("lightning_d2l.test")


def test_the_lines_of_many_metrics_keep_to_80_columns_and_say_them_all(tmp_path, capsys):
    words = ["data.source=generated", "data.n_train=200", "data.val_size=100", "trainer.max_epochs=12"]
    words += ["model=mlp", "trainer.evaluate=[train,val,test]", "logger=none", "trainer.accelerator=cpu"]
    folder = tmp_path / "run"
    assert run_here(folder, *words, part_of_sweep=False) == 0
    printed, logged = capsys.readouterr().out, (folder / "train.log").read_text()
    for text in (printed, logged):
        assert max(len(line) for line in text.splitlines()) <= 80
        for row in MetricsFile(folder).rows():
            said = text.partition(f"epoch {row['epoch']}/12 ")[2].partition("epoch ")[0]
            for name in ("loss/train", "loss/val", "loss/test", "acc/train", "acc/val", "acc/test"):
                assert f"{name} {row[name]:.4g}" in said
            assert " samples/s" in said


ITEM = "loss/x 0.1"


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        ("short", ["short"]),
        ("\n".join(["two lines", "x" * 9]), ["two lines", "x" * 9]),
        (
            "epoch 1/9  " + "  ".join([ITEM] * 8),
            ["epoch 1/9  " + "  ".join([ITEM] * 5), " " * 11 + "  ".join([ITEM] * 3)],
        ),
        ("word " * 19 + "word", ["word " * 15 + "word", "  word word word word"]),
        ("run folder  /" + "x" * 90, ["run folder  /" + "x" * 90]),
        ("use it      lightning-d2l predict " + "x" * 60, ["use it      lightning-d2l predict " + "x" * 60]),
        ("to resume: python train.py " + "seed=1 " * 20, ["to resume: python train.py " + "seed=1 " * 20]),
        ("Traceback\n" + "x = 1; " * 20, ["Traceback", "x = 1; " * 20]),
    ],
)
def test_lines_are_broken_between_items_or_words(message, lines, tmp_path, capsys):
    with log_to(tmp_path, verbose=False):
        log.info(message)
    assert capsys.readouterr().out.splitlines() == lines
    logged = (tmp_path / "train.log").read_text()
    assert logged.split() == [logged.split()[0], logged.split()[1], logged.split()[2], *message.split()]
    write_log(tmp_path, [message])
    assert (tmp_path / "train.log").read_text().split()[3:] == logged.split()[3:]


def test_the_table_fits_a_terminal():
    metrics = {"epoch": 3, "step": 9, "loss/train": 1234.5678, "loss/val": 0.00012345, "acc/test": 0.87654}
    lines = table({"final": metrics, "best": metrics}).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["train", "val", "test"]
    assert lines[1].split() == ["final", "loss", "1235", "1.234e-04"]
    assert lines[2].split() == ["final", "acc", "0.8765"]
