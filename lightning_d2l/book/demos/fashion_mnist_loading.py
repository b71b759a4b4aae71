"""One pass over Fashion-MNIST's 60,000 training images in minibatches, from memory (d2l 3.5)."""

from __future__ import annotations

import os
import statistics
import time

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import pad

from lightning_d2l.book.demos import Demo
from lightning_d2l.data.batches import Batches
from lightning_d2l.data.fashion_mnist import FashionMNISTData
from lightning_d2l.data.streams import generator

PUBLISHED_SECONDS = 3.37
"""The book's time for one pass with 4 worker processes (3.5.2), on another machine."""


def run(seed: int, source: str = "auto", passes: int = 7) -> Demo:
    data = FashionMNISTData(
        root=os.environ.get("LIGHTNING_D2L_DATA"), source=source, batch_size=256, val_size=0, n_train=None,
        resize=None, label_noise=0.0, seed=0,
    )  # fmt: skip
    data.setup()
    x, y = data.splits["train"]
    batches = Batches(x, y, data.batch_size, torch.float32, shuffle_seed=seed)
    seconds = statistics.median(seconds_a_pass(batches, passes))
    official = data.source == "official"
    text = (
        f"One pass over {len(x):,} shuffled training images, {len(batches)} minibatches of {data.batch_size}:\n"
        f"  tensors in memory, no workers  {seconds:.3f} s (median of {passes} passes)\n"
        f"  the book, 4 worker processes   {PUBLISHED_SECONDS:.2f} s (on another machine)\n"
        "Images stay bytes in memory. A minibatch is one indexing operation and one\n"
        "conversion to [0, 1]; a DataLoader decodes the images one by one in Python.\n"
        + (
            "The images are the official Fashion-MNIST files."
            if official
            else "THE IMAGES ARE GENERATED GARMENTS, NOT FASHION-MNIST. The time of a pass does\n"
            "not depend on what they show."
        )
    )
    figure = a_few_of_each_class(x, y, data.class_names, seed)
    figure.suptitle(
        "Fashion-MNIST, training images" if official else "GENERATED GARMENTS, not Fashion-MNIST",
        x=0.02,
        ha="left",
        fontsize=11,
    )
    return Demo(text, {"seconds a pass": seconds, "official": float(official)}, {"images": figure})


def seconds_a_pass(batches: Batches, passes: int) -> list[float]:
    """The seconds of each of `passes` epochs, after one warm-up epoch."""
    seconds = []
    for epoch in range(passes + 1):
        batches.set_epoch(epoch)
        began = time.perf_counter()
        for _ in batches:
            pass
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


def a_few_of_each_class(x: Tensor, y: Tensor, names: tuple[str, ...], seed: int, few: int = 5) -> Figure:
    """Random images of x (n, 1, 28, 28), with one column for each class of y (n,)."""
    order = torch.randperm(len(y), generator=generator("demo", seed))
    columns = [torch.cat([*pad(x[order[y[order] == c][:few], 0], (2, 2, 2, 2))]) for c in range(len(names))]
    figure = Figure(figsize=(9, 4.9), dpi=120, layout="constrained")
    panel = figure.subplots()
    panel.imshow(torch.cat(columns, 1).numpy(), cmap="gray_r", interpolation="nearest")
    side = x.shape[-1] + 4
    panel.set_xticks([side * (c + 0.5) for c in range(len(names))], names, fontsize=9)
    panel.xaxis.tick_top()
    panel.tick_params(length=0)
    panel.set_yticks([])
    panel.spines[:].set_visible(False)
    return figure
