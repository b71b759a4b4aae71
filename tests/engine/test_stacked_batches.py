"""Minibatches of many runs at once against those that each run's own Batches give."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from lightning_d2l.data.batches import Batch, Batches, as_input
from lightning_d2l.engine import batches
from lightning_d2l.engine.batches import StackedBatches, StackedSplit

CPU = torch.device("cpu")
sizes = st.integers(1, 40)
# Which data set each of up to six members has: all the same, some the same, each its own.
sharing = st.lists(st.integers(0, 2), min_size=1, max_size=6) | st.permutations(range(5))


def samples(n: int, shape: tuple[int, ...], seed: int, pixels: bool = False) -> Batch:
    random = torch.Generator().manual_seed(seed)
    x = torch.randint(256, (n, *shape), generator=random, dtype=torch.uint8)
    y = torch.randint(10, (n,), generator=random)
    return (x, y) if pixels else (x.double().log1p(), torch.randn(n, 1, generator=random, dtype=torch.float64))


def assert_as_alone(members: list[Batch], batch_size: int, epoch: int, width: int, dtype: torch.dtype) -> None:
    """Every member's training batches and whole split are its own, with zeros behind features that are too few."""
    split = StackedSplit(members, dtype, CPU, width)
    seeds = [7 * member % 4 for member in range(len(members))]  # some members have the same order
    together = StackedBatches(split, batch_size, seeds)
    together.set_epoch(epoch)
    batches = list(together)
    for member, (x, raw) in enumerate(members):
        y = raw.to(dtype) if raw.is_floating_point() else raw
        alone = Batches(x, y, batch_size, dtype, seeds[member])
        alone.set_epoch(epoch)
        expected = list(alone)
        assert len(batches) == len(expected) == len(together)
        for (mine, targets), (own, own_targets) in zip(batches, expected, strict=True):
            assert mine.dtype == dtype
            assert torch.equal(mine[member], functional.pad(own, (0, width - own.shape[-1])))
            assert torch.equal(targets[member], own_targets)
        parts = [(x if split.shared else x[member], y[member]) for x, y in split.batches()]
        whole, targets = (torch.cat(part) for part in zip(*parts, strict=True))
        assert torch.equal(whole, functional.pad(as_input(x, dtype), (0, width - x.shape[-1])))
        assert torch.equal(targets, y)


@given(which=sharing, n=sizes, batch_size=sizes, epoch=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_features_come_as_in_a_run_alone(which, n, batch_size, epoch):
    drawn = [samples(n, (3,), seed) for seed in range(6)]
    assert_as_alone([drawn[data] for data in which], batch_size, epoch, 3, torch.float64)


@given(degrees=st.lists(st.integers(1, 9), min_size=1, max_size=5), n=sizes, batch_size=sizes)
@settings(max_examples=40, deadline=None)
def test_features_that_are_too_few_are_followed_by_zeros(degrees, n, batch_size):
    members = [samples(n, (d,), seed) for seed, d in enumerate(degrees)]
    assert_as_alone(members, batch_size, 3, max(degrees), torch.float32)


@pytest.mark.parametrize("shape", [(4, 4), (2, 5), (5, 2), (1, 4, 3), (6,)], ids=str)
@given(which=sharing, n=sizes, batch_size=sizes)
@settings(max_examples=10, deadline=None)
def test_images_of_any_shape_are_scaled_and_classes_stay_whole_numbers(shape, which, n, batch_size):
    drawn = [samples(n, shape, seed, pixels=True) for seed in range(6)]
    assert_as_alone([drawn[data] for data in which], batch_size, 0, shape[-1], torch.float32)


@pytest.mark.parametrize("pixels", [False, True], ids=["features", "images"])
@pytest.mark.parametrize("which", [[0, 0, 0], [0, 1, 0], [0, 1, 2]], ids=["shared", "shared by some", "each its own"])
def test_pieces_of_any_size_are_the_same_samples(which, pixels, monkeypatch):
    monkeypatch.setattr(batches, "EPOCH_BYTES", 0)  # a minibatch at a time
    monkeypatch.setattr(batches, "EVALUATION_NUMBERS", 60)
    drawn = [samples(23, (2, 3), seed, pixels) for seed in range(3)]
    members = [drawn[data] for data in which]
    assert_as_alone(members, 5, 2, 3, torch.float64)
    assert len(list(StackedSplit(members, torch.float64, CPU, 3).batches())) > 1


def test_members_that_share_tensors_hold_them_once():
    first, second = samples(50, (8,), 0), samples(50, (8,), 1)
    shared = StackedSplit([first] * 20, torch.float64, CPU, 8)
    assert shared.shared
    assert shared.x.data_ptr() == first[0].data_ptr()
    assert len(StackedSplit([first, second] * 10, torch.float64, CPU).x) == 100
