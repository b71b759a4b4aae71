"""A group takes no more memory than there is: cut by an estimate, and halved where that was wrong."""

from pathlib import Path

import pytest
import torch

from lightning_d2l import app
from lightning_d2l.sweeps import memory
from lightning_d2l.sweeps.folder import read_sweep
from lightning_d2l.sweeps.group import Group, member_of
from lightning_d2l.sweeps.memory import bytes_of_member, free_bytes, out_of_memory
from lightning_d2l.training.build import build
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec
from tests.runs import POLYNOMIAL, config

WORDS = [*POLYNOMIAL, "data.n_train=30", "data.n_val=10", "data.n_test=10", "trainer.max_epochs=2"]


def sweep(folder: Path, *words: str) -> int:
    return app.main(["-m", *WORDS, *words, f"hydra.sweep.dir={folder}"])


def statuses(folder: Path) -> list[str]:
    return [RunRecord.read(folder / job["folder"]).status for job in read_sweep(folder)["jobs"]]


def need(*words: str) -> int:
    return bytes_of_member(member_of(build(RunSpec(config(*WORDS, *words), Path("run"), number=0))))


@pytest.fixture
def sizes(monkeypatch) -> list[int]:
    """The sizes of the groups that began to train."""
    began: list[int] = []
    working = Group.train

    def train(self: Group) -> None:
        began.append(len(self.runs))
        working(self)

    monkeypatch.setattr(Group, "train", train)
    return began


def test_a_group_is_cut_to_its_share_of_the_free_memory(sizes, tmp_path, monkeypatch):
    room = need()
    monkeypatch.setattr(memory, "free_bytes", lambda accelerator: int(3.5 * room / 0.8))
    assert sweep(tmp_path / "s", "seed=range(8)", "hydra.launcher.memory=0.8") == 0
    assert sizes == [3, 3, 2]
    assert statuses(tmp_path / "s") == ["completed"] * 8


def test_a_member_that_is_larger_than_what_is_free_is_tried_alone(sizes, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda accelerator: 1)
    assert sweep(tmp_path / "s", "seed=1,2") == 0
    assert sizes == [1, 1]


def test_a_group_that_does_not_fit_is_halved(sizes, tmp_path, monkeypatch, capsys):
    began = Group.train  # which counts

    def train(self: Group) -> None:
        began(self)
        if len(self.runs) > 2:  # at its end: what was written before must not harm
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried ...")

    monkeypatch.setattr(Group, "train", train)
    assert sweep(tmp_path / "s", "seed=range(7)") == 0
    assert sizes == [7, 3, 2, 4, 2, 2]  # and what is left of the three, one, is no group
    assert statuses(tmp_path / "s") == ["completed"] * 7
    assert "7 runs at once do not fit into memory: half as many" in capsys.readouterr().out


def test_the_estimate_grows_with_what_a_member_has():
    small = need()
    assert need("data.n_train=1030") - small == 1000 * (4 + 1) * 8  # samples, in float64
    net = ["model=mlp", "data=polynomial"]
    narrow, wide, adam = (need(*net, *words) for words in (
        ["model.num_hiddens=[8]"], ["model.num_hiddens=[1000]"], ["model.num_hiddens=[1000]", "optimizer=adam"],
    ))  # fmt: skip
    parameters = 1000 * (4 + 1 + 1) + 1
    assert wide - narrow > 6 * 4 * (parameters - 8 * 6 - 1)
    assert adam - wide >= 2 * 4 * parameters


def test_the_estimate_leaves_a_member_as_it_was():
    settings = config(*WORDS, "model=mlp", "data=polynomial", "model.dropout=0.5", "optimizer=adam")
    member = member_of(build(RunSpec(settings, Path("run"), number=0)))
    weights, noise = [p.detach().clone() for p in member.parameters], member.noise.get_state()
    bytes_of_member(member)
    assert all(torch.equal(p, before) for p, before in zip(member.parameters, weights, strict=True))
    assert torch.equal(member.noise.get_state(), noise)
    assert not member.optimizer.state


def test_a_containers_limit_counts(tmp_path, monkeypatch):
    total = free_bytes("cpu")
    files = {"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 4000 kB\n", "/sys/fs/cgroup/memory.current": "1000\n"}
    monkeypatch.setattr(Path, "read_text", lambda path: files[str(path)])
    for limit, expected in (("max\n", 4000 * 1024), ("3000\n", 2000), ("9999999999\n", 4000 * 1024)):
        files["/sys/fs/cgroup/memory.max"] = limit
        assert free_bytes("cpu") == expected
    assert total > 0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_an_error_of_memory_is_known(error, expected):
    assert out_of_memory(error) == expected
