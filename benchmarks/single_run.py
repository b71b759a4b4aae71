"""What one run costs, as ratios to a bare PyTorch loop on the same machine in the same minutes.

    LIGHTNING_D2L_DATA=... python benchmarks/single_run.py [--pairs 3] [--quick] [--out FOLDER]

Everything is measured in turn, product and yardstick, product and yardstick; quoted are medians, and ratios to the
mean of the two neighbours. The product's epochs hold all that a run does: metrics, validation, TensorBoard, console,
checkpoints.
"""

import argparse
import functools
import gzip
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytorch_lightning as pl
import torch
from bare import epoch, network, read
from measure import TRAIN, Results, in_turn, whole_command
from torch import nn
from torch.nn import functional

from lightning_d2l.config.compose import compose_checked, plain
from lightning_d2l.training.fit import run
from lightning_d2l.training.spec import RunSpec

HERE = Path(__file__).parent


def product(epochs: int, *overrides: str) -> float:
    """Seconds an epoch of `trainer.fit`, which is timed inside a whole run."""
    seconds: list[float] = []
    fit = pl.Trainer.fit

    @functools.wraps(fit)
    def timed(*args: object, **kwargs: object) -> None:
        began = time.perf_counter()
        fit(*args, **kwargs)
        seconds.append(time.perf_counter() - began)

    pl.Trainer.fit = timed
    try:
        with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
            shown, sys.stdout = sys.stdout, nowhere
            try:
                config = plain(compose_checked([*overrides, f"trainer.max_epochs={epochs}", "trainer.accelerator=cpu"]))
                assert run(RunSpec(config, Path(folder) / "run")) == 0
            finally:
                sys.stdout = shown
    finally:
        pl.Trainer.fit = fit
    return seconds[0] / epochs


def bare_mlp(x: torch.Tensor, y: torch.Tensor, epochs: int) -> float:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    began = time.perf_counter()
    for _ in range(epochs):
        epoch(net, optimizer, x, y)
    return (time.perf_counter() - began) / epochs


def dataloader_mlp(root: str, epochs: int) -> float:
    """The same network fed by torchvision's dataset and a DataLoader."""
    from torchvision import datasets, transforms

    data = datasets.FashionMNIST(root, train=True, transform=transforms.ToTensor())
    subset = torch.utils.data.Subset(data, range(50_000))
    loader = torch.utils.data.DataLoader(subset, 256, shuffle=True)
    net = nn.Sequential(nn.Flatten(), *network())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    began = time.perf_counter()
    for _ in range(epochs):
        for x, y in loader:
            loss = functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (time.perf_counter() - began) / epochs


def bare_polynomial(epochs: int) -> float:
    x, y = torch.randn(100, 4), torch.randn(100, 1)
    net = nn.Linear(4, 1, bias=False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    began = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(100)
        for start in range(0, 100, 10):
            rows = order[start : start + 10]
            loss = functional.mse_loss(net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (time.perf_counter() - began) / epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3, help="how often each thing is measured")
    parser.add_argument("--quick", action="store_true", help="try the program: one epoch in place of ten, once")
    parser.add_argument("--out", type=Path, help="a folder for the results, for benchmarks/page.py")
    args = parser.parse_args()
    pairs, epochs = (1, 1) if args.quick else (args.pairs, 10)
    root = os.environ["LIGHTNING_D2L_DATA"] = str(Path(os.environ["LIGHTNING_D2L_DATA"]).resolve())
    results = Results(args.out)
    results.machine()

    def compare(name: str, beside: str, first: Callable[[], float], second: Callable[[], float]) -> None:
        if not args.quick:
            first()
        results.ratio("single", name, beside, in_turn(second, {name: first}, pairs)[name])

    x, y = (t[:50_000] for t in read(root, "train"))
    run_mlp = functools.partial(product, epochs, "model=mlp")
    compare("MLP, epoch", "bare loop", run_mlp, functools.partial(bare_mlp, x, y, epochs))
    polynomial = functools.partial(product, 400, "model=polynomial_regression")
    compare("polynomial, epoch", "bare loop", polynomial, functools.partial(bare_polynomial, 400))
    own_loop = "trainer.engine=lightning"
    slow_mlp = functools.partial(product, epochs, "model=mlp", own_loop)
    compare("MLP, epoch by Lightning's own loop", "bare loop", slow_mlp, functools.partial(bare_mlp, x, y, epochs))
    slow = functools.partial(product, 400, "model=polynomial_regression", own_loop)
    compare("polynomial, epoch by Lightning's own loop", "bare loop", slow, functools.partial(bare_polynomial, 400))
    with tempfile.TemporaryDirectory() as unpacked:  # torchvision wants the files unpacked
        raw = Path(unpacked) / "FashionMNIST" / "raw"
        raw.mkdir(parents=True)
        for archive in (Path(root) / "FashionMNIST" / "raw").glob("*.gz"):
            (raw / archive.stem).write_bytes(gzip.decompress(archive.read_bytes()))
        loader = functools.partial(dataloader_mlp, unpacked, 1)
        compare("DataLoader, epoch of the same MLP", "MLP, epoch", loader, run_mlp)
    memory: dict[str, list[float]] = {"product": [], "bare": []}

    def command(kind: str, *words: str) -> float:
        seconds, mebibytes = whole_command(*words)
        memory[kind].append(mebibytes)
        return seconds

    train = functools.partial(command, "product", TRAIN, "model=mlp", "trainer.accelerator=cpu")
    script = functools.partial(command, "bare", str(HERE / "bare.py"), root)
    compare("whole program, 10 epochs", "bare script", train, script)
    ours, theirs = (statistics.median(memory[kind]) for kind in ("product", "bare"))
    print(f"peak memory: {ours:.0f} MiB, of the bare script {theirs:.0f} MiB, ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
