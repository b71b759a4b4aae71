import itertools
import os
from pathlib import Path

import pytest
import torch

from lightning_d2l.config.check import RequestError
from lightning_d2l.training.checkpoint import AtomicCheckpointIO, load_checkpoint
from lightning_d2l.training.files import MetricsFile
from tests.runs import POLYNOMIAL, run_here


def test_young_checkpoints_wait_as_copies(tmp_path):
    weight = torch.zeros(3)
    io = AtomicCheckpointIO(interval=3600)
    io.flush()
    io.save_checkpoint({"state_dict": {"w": weight}}, tmp_path / "last.ckpt")
    weight += 1
    io.flush(even_if_young=False)
    assert not (tmp_path / "last.ckpt").exists()
    io.flush()
    assert load_checkpoint(tmp_path / "last.ckpt")["state_dict"]["w"].tolist() == [0, 0, 0]


def test_an_interrupted_save_keeps_what_waited(tmp_path, monkeypatch):
    io = AtomicCheckpointIO(interval=3600)
    io.save_checkpoint({"state_dict": {"w": torch.ones(1)}}, tmp_path / "last.ckpt")

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("lightning_d2l.training.checkpoint.tree_map", interrupted)
    with pytest.raises(KeyboardInterrupt):
        io.save_checkpoint({"state_dict": {"w": torch.zeros(1)}}, tmp_path / "last.ckpt")
    io.flush()
    assert load_checkpoint(tmp_path / "last.ckpt")["state_dict"]["w"].item() == 1


@pytest.mark.parametrize("kind", ["code", "text", "cut", "empty", "list"])
def test_what_is_no_plain_weights_file_is_not_loaded(kind, tmp_path):
    path = tmp_path / "last.ckpt"
    if kind == "code":

        class Evil:
            def __reduce__(self):
                return Path.touch, (tmp_path / "executed",)

        torch.save({"state_dict": Evil()}, path)
    elif kind == "list":
        torch.save([torch.zeros(2)], path)
    else:
        torch.save({"state_dict": {"w": torch.zeros(1000)}}, path)
        whole = path.read_bytes()
        path.write_bytes({"text": b"weights", "cut": whole[: len(whole) // 2], "empty": b""}[kind])
    with pytest.raises(RequestError, match=r"last\.ckpt"):
        load_checkpoint(path)
    assert not (tmp_path / "executed").exists()


def test_the_rows_are_on_the_disk_before_a_checkpoint_counts_on_them(tmp_path, monkeypatch):
    """With at most one further sync for each time that checkpoints are written."""
    done, synced, replaced, appended = [], os.fsync, os.replace, MetricsFile.append

    def fsync(descriptor):
        done.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        synced(descriptor)

    def replace(source, target):
        replaced(source, target)
        done.append(("replace", Path(target).name))

    def append(self, row):
        appended(self, row)
        done.append(("append", row["epoch"]))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(MetricsFile, "append", append)
    words = ["trainer.max_epochs=5", "trainer.log_every_n_epochs=1", "trainer.checkpoint_every_n_seconds=0"]
    assert run_here(tmp_path / "run", *POLYNOMIAL, "data.n_train=20", *words) == 0
    rows = [number for number, (what, _) in enumerate(done) if what == "append"]
    assert [done[number][1] for number in rows] == [2, 3, 4, 5]
    for start, end in itertools.pairwise([*rows, len(done)]):
        after = done[start:end]
        assert after.count(("sync", "metrics.csv")) == 1
        assert after.index(("sync", "metrics.csv")) < after.index(("replace", "last.ckpt"))
