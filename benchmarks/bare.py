"""The yardstick: the MLP of the book, 10 epochs, in a bare PyTorch loop over tensors in memory.

    python benchmarks/bare.py DATA_ROOT

It imports pytorch_lightning, as the product does, and uses nothing of it.
"""

import gzip
import sys
import time
from pathlib import Path

import numpy as np
import pytorch_lightning  # noqa: F401
import torch
from torch import nn
from torch.nn import functional


def read(root: str, prefix: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (n, 784) in [0, 1] and classes (n,) of the official files."""
    folder = Path(root) / "FashionMNIST" / "raw"
    with gzip.open(folder / f"{prefix}-images-idx3-ubyte.gz") as file:
        x = torch.from_numpy(np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784).astype(np.float32) / 255)
    with gzip.open(folder / f"{prefix}-labels-idx1-ubyte.gz") as file:
        y = torch.from_numpy(np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64))
    return x, y


def network() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    for layer in (net[0], net[2]):
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)
    return net


def epoch(net: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, batch: int = 256) -> None:
    order = torch.randperm(len(x))
    for start in range(0, len(x), batch):
        rows = order[start : start + batch]
        loss = functional.cross_entropy(net(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    x, y = read(sys.argv[1], "train")
    test_x, test_y = read(sys.argv[1], "t10k")
    x, y = x[:50_000], y[:50_000]
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    began = time.perf_counter()
    for _ in range(10):
        epoch(net, optimizer, x, y)
    with torch.no_grad():
        accuracy = (net(test_x).argmax(1) == test_y).float().mean()
    print(f"test accuracy {accuracy:.4f}, training {time.perf_counter() - began:.2f} s")
