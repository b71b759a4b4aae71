"""Independent random streams: each has a name, so that no two of them ever share a key."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def stream(name: str, seed: int, *numbers: int) -> int:
    """The seed, in [0, 2^63), of the stream `name` of `seed`; `numbers` tell further streams of one name apart.

    Names of a run begin with "run/" and hang on its `seed`, those of a data set begin with "data/" and hang on its
    `data.seed`. The key is hashed as text (SHA-256), in which different names and numbers can't spell the same key;
    numpy's SeedSequence would pad the words of 2**32 + s and of the pair (s, 1) to the same key. torch's generator on
    the CPU takes the low 32 bits of a seed: of 1,000 streams two coincide by chance once in 9,000 times, of 100,000
    about one pair does.
    """
    key = " ".join([name, str(seed), *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def generator(name: str, seed: int, *numbers: int) -> torch.Generator:
    """A generator on the CPU for the stream `name` of `seed`."""
    return torch.Generator().manual_seed(stream(name, seed, *numbers))


def shuffled(n: int, seed: int) -> np.ndarray:
    """A random order (n,) of n rows, for folds: that of scikit-learn's KFold(shuffle=True, random_state=seed).

    It takes a seed below 2**32. A larger one is given to numpy as its words of 32 bits, so that no two seeds share an
    order.
    """
    words = seed if seed < 2**32 else [seed % 2**32, seed >> 32]
    return np.random.RandomState(words).permutation(n)
