"""Independent random streams: each has a name, so that no two of them ever share a key."""

from __future__ import annotations

import hashlib

import torch


def stream(name: str, seed: int, *numbers: int) -> int:
    """The seed, in [0, 2^63), of the stream `name` of `seed`; `numbers` tell further streams of one name apart.

    Names of a run begin with "run/" and hang on its `seed`, those of a data set begin with "data/" and hang on its
    `data.seed`. The key is hashed as text (SHA-256), in which different names and numbers can't spell the same key.
    """
    key = " ".join([name, str(seed), *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def generator(name: str, seed: int, *numbers: int) -> torch.Generator:
    """A generator on the CPU for the stream `name` of `seed`."""
    return torch.Generator().manual_seed(stream(name, seed, *numbers))
