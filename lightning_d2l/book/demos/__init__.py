"""Demos: what the chapters show without training a model. `lightning-d2l demo ID` runs the module of that name.

A demo is a module with `run(seed) -> Demo`; the ID has hyphens where the module's name has underscores. This file
imports no torch, so that the list and a misspelt ID are answered at once.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lightning_d2l.config.check import RequestError, nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEMOS = {
    "vectorization": "add two vectors: a Python loop against one tensor operation (3.1.2)",
    "fashion-mnist-loading": "one pass over 60,000 images in minibatches (3.5.2)",
    "softmax-overflow": "logits that overflow exp, and LogSumExp (3.7.2)",
    "affine-collapse": "layers without an activation are one matrix (4.1.1)",
    "activations": "ReLU, pReLU, sigmoid, tanh and their gradients (4.1.2)",
    "matrix-product": "a product of 101 random matrices explodes (4.8.1)",
    "variance-by-depth": "signals and gradients through 50 layers (4.8)",
    "symmetry": "hidden units that start equal stay equal (4.8.1)",
}
"""What each demo shows, with the book's section, by ID."""


@dataclass
class Demo:
    """What a demo found: the `text` that is printed (80 columns), its `numbers` by name, its pictures by name."""

    text: str
    numbers: dict[str, float]
    figures: dict[str, Figure] = field(default_factory=dict)


def run_demo(name: str, seed: int = 0) -> Demo:
    """Run the demo `name` with the random numbers of `seed`; raises RequestError if there is none of that name."""
    if name not in DEMOS:
        raise RequestError(f"demo {name}: unknown{nearest(name, list(DEMOS))} (allowed: {', '.join(DEMOS)})")
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    demo: Demo = module.run(seed)
    return demo
