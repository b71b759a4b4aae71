"""No two random streams of a run and its data set share a key, whatever their seeds."""

import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lightning_d2l
from lightning_d2l.data import streams
from lightning_d2l.data.base import fold_rows
from lightning_d2l.data.streams import generator, stream
from tests.runs import run_here

seeds = st.integers(0, 2**63 - 1)
keys = st.tuples(st.sampled_from(["run/initialisation", "run/noise", "data/train", "epoch"]), seeds, st.lists(seeds))


@given(first=keys, second=keys)
def test_different_keys_are_different_streams(first, second):
    (name, seed, numbers), (other, other_seed, others) = first, second
    same = stream(name, seed, *numbers) == stream(other, other_seed, *others)
    assert same == (first == second)
    assert 0 <= stream(name, seed, *numbers) < 2**63


def test_numbers_of_other_lengths_do_not_meet():
    """2**32 + s and the pair (s, 1) are the same words of 32 bits."""
    assert stream("run/noise", 2**32 + 5) != stream("run/noise", 5, 1)
    assert stream("run/noise", 1, 23) != stream("run/noise", 12, 3)


def test_a_generator_is_seeded_by_its_stream():
    expected = torch.randn(3, generator=torch.Generator().manual_seed(stream("data/train", 3, 1)))
    assert torch.equal(torch.randn(3, generator=generator("data/train", 3, 1)), expected)


@pytest.mark.parametrize(
    "words",
    [
        ["model=mlp", "data.source=generated", "data.n_train=50", "data.val_size=30", "data.label_noise=0.1",
         "model.dropout=0.5", "model.num_hiddens=[8]"],
        ["model=polynomial_regression", "model.dropout=0.5", "data.n_train=30"],
    ],
)  # fmt: skip
def test_the_streams_of_a_run_are_different_though_its_seeds_are_equal(words, tmp_path, monkeypatch):
    drawn: list[tuple[object, ...]] = []
    real = stream

    def recorded(name: str, seed: int, *numbers: int) -> int:
        drawn.append((name, seed, *numbers))
        return real(name, seed, *numbers)

    monkeypatch.setattr(streams, "stream", recorded)
    for module in ("training.build", "training.fit"):
        monkeypatch.setattr(f"lightning_d2l.{module}.stream", recorded)
    small = ["logger=none", "trainer.accelerator=cpu", "trainer.max_epochs=2", "seed=3", "data.seed=3"]
    assert run_here(tmp_path / "run", *words, *small) == 0
    names = {str(name) for name, *_ in drawn}
    assert {"run/initialisation", "run/shuffling", "run/noise", "epoch"} < names
    assert {name for name in names if name.startswith("data/")}
    states = {real(*key) for key in drawn}
    assert len(states) == len({*drawn})
    assert len({key for key in drawn if key[0] == "epoch"}) == 2


def test_every_name_stands_in_one_place_of_the_code():
    package = Path(lightning_d2l.__file__).parent
    text = "\n".join(path.read_text() for path in package.glob("**/*.py") if "book" not in path.parts)
    found = re.findall(r'generator\(f?"([^"]+)"', text) + re.findall(r'"(run/[a-z]+)"', text)
    assert len(found) >= 8
    assert {name for name in found if found.count(name) > 1} == {"epoch"}  # of a single run and of an ensemble's


def test_no_two_seeds_share_the_order_of_their_folds():
    """Modulo 2**32 the seeds s and 2**32 + s would."""
    seeds = [0, 1, 5, 2**32, 2**32 + 5, 2 * 2**32 + 5, 2**63 - 1]
    assert len({tuple(fold_rows(30, 4, 0, seed)["val"].tolist()) for seed in seeds}) == len(seeds)
