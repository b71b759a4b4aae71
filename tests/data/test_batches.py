import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from lightning_d2l.data.base import fold_rows
from lightning_d2l.data.batches import Batches, as_input

sizes = st.integers(1, 60)
seeds = st.integers(0, 2**63 - 1)


def loader(n: int, batch_size: int, seed: int | None = 0) -> Batches:
    x = torch.arange(n, dtype=torch.float32)[:, None]
    return Batches(x, x.clone(), batch_size, torch.float32, seed)


def order_of(batches: Batches) -> list[float]:
    return torch.cat([x for x, _ in batches]).flatten().tolist()


@given(n=sizes, batch_size=sizes, seed=seeds, epoch=st.integers(0, 10_000))
def test_every_sample_comes_once_an_epoch_and_the_last_batch_is_kept(n, batch_size, seed, epoch):
    batches = loader(n, batch_size, seed)
    batches.set_epoch(epoch)
    parts = list(batches)
    assert sorted(order_of(batches)) == list(range(n))
    assert [len(x) for x, _ in parts] == [batch_size] * (n // batch_size) + ([n % batch_size] if n % batch_size else [])
    assert len(parts) == len(batches)
    assert all(torch.equal(x, y) for x, y in parts)


@given(n=st.integers(20, 60), seed=seeds)
@settings(max_examples=25)
def test_order_is_a_function_of_seed_and_epoch(n, seed):
    first, second = loader(n, 7, seed), loader(n, 13, seed)
    second.set_epoch(1)
    second_epoch = order_of(second)
    second.set_epoch(0)
    assert order_of(first) == order_of(second) != second_epoch
    other = loader(n, 7, (seed + 1) % 2**63)
    assert order_of(other) != order_of(first)


def test_pixels_are_scaled_and_features_are_not():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert as_input(pixels, torch.float64).tolist() == [0, 0.2, 1]
    assert as_input(torch.tensor([51.0]), torch.float32).tolist() == [51]
    assert pixels.tolist() == [0, 51, 255]


@given(n=st.integers(2, 60), folds=st.integers(2, 12), seed=st.integers(0, 2**32 - 1))
def test_folds_are_those_of_scikit_learn(n, folds, seed):
    assume(folds <= n)
    oracle = KFold(folds, shuffle=True, random_state=seed).split(np.zeros(n))
    for fold, (train, val) in enumerate(oracle):
        rows = fold_rows(n, folds, fold, seed)
        assert rows["train"].tolist() == train.tolist()
        assert rows["val"].tolist() == val.tolist()
