"""What a large table costs: reading it beside pandas, and an epoch on it beside a bare loop.

    python benchmarks/table.py [--rows 1000000] [--columns 20] [--pairs 3] [--out FOLDER]

The file has numeric columns of 17 digits and a target. "Ready" means split, encoded and with its checksum. Everything
is measured in turn; ratios are to the mean of the two neighbours.
"""

import argparse
import functools
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from measure import Results, in_turn, whole_command
from single_run import product
from torch import nn
from torch.nn import functional

from lightning_d2l.data.table import TableData

READ = "import sys, pandas; pandas.read_csv(sys.argv[1])"
READY = (
    "import sys; from lightning_d2l.data.table import TableData\n"
    "data = TableData(sys.argv[1], 'y', batch_size=256); data.setup(); data.identity()"
)


def write(path: Path, rows: int, columns: int) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, columns))
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(columns)])
    frame["y"] = x @ random.normal(size=columns) + random.normal(size=rows)
    frame.to_csv(path, index=False)


def by_pandas(path: Path) -> float:
    began = time.perf_counter()
    pd.read_csv(path)
    return time.perf_counter() - began


def ready(path: Path) -> float:
    began = time.perf_counter()
    data = TableData(str(path), "y", batch_size=256)
    data.setup()
    data.identity()
    return time.perf_counter() - began


def bare(x: torch.Tensor, y: torch.Tensor, epochs: int) -> float:
    """Seconds an epoch of linear regression in a bare loop."""
    net = nn.Linear(x.shape[1], 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.03)
    began = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x), 256):
            rows = order[start : start + 256]
            loss = functional.mse_loss(net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (time.perf_counter() - began) / epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=3, help="how often each thing is measured")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a folder for the results")
    args = parser.parse_args()
    results = Results(args.out)
    results.machine()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write(path, args.rows, args.columns)
        reading = functools.partial(by_pandas, path)
        found = in_turn(reading, {"ready": functools.partial(ready, path)}, args.pairs)["ready"]
        results.ratio("table", "table read and ready", "pandas.read_csv", found)
        data = TableData(str(path), "y", batch_size=256)
        data.setup()
        x, y = (t.float() for t in data.splits["train"])
        settings = ["model=linear_regression", "logger=none", "data=csv", f"data.path={path}", "data.target=y"]
        settings += ["data.batch_size=256", "trainer.evaluate=[]"]
        epoch = functools.partial(product, args.epochs, *settings)
        found = in_turn(functools.partial(bare, x, y, args.epochs), {"epoch": epoch}, args.pairs)["epoch"]
        results.ratio("table", "linear regression, epoch", "bare loop", found)
        memory = [whole_command("-c", code, str(path))[1] for code in (READ, READY)]
        head = ("peak memory", "MiB")
        results.row("memory", head, "pandas.read_csv", f"{memory[0]:,.0f}")
        results.row("memory", head, "table read and ready", f"{memory[1]:,.0f}")


if __name__ == "__main__":
    main()
