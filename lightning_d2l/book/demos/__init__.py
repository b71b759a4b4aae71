"""Demos: what the chapters show without training a model. `lightning-d2l demo ID` runs the module of that name.

A demo is a module with `run(seed) -> Demo`; the ID has hyphens where the module's name has underscores. This file
imports no torch, so that the list and a misspelt ID are answered at once.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lightning_d2l.config.check import RequestError, nearest
from lightning_d2l.config.compose import CONF

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEMOS = {
    "vectorization": "adding vectors in a Python loop, and at once (3.1.2)",
    "maximum-likelihood": "normal noise makes least squares most likely (3.1.3)",
    "phm": "a layer with an n-th of the parameters (3.4.3)",
    "information": "surprisal, entropy, cross-entropy, KL (3.4.7)",
    "fashion-mnist-loading": "one pass over 60,000 images in minibatches (3.5.2)",
    "softmax-overflow": "logits that overflow exp, and LogSumExp (3.7.2)",
    "affine-collapse": "layers without an activation are one matrix (4.1.1)",
    "activations": "ReLU, pReLU, sigmoid, tanh and their gradients (4.1.2)",
    "kfold": "five folds choose a polynomial's degree (4.4.2)",
    "weight-decay-theory": "one step, the null space, the ridge solution (4.5)",
    "l1-l2": "L1 makes weights zero, L2 makes them small (4.5)",
    "input-noise": "noisy inputs equal ridge regression (4.5, 4.6.1)",
    "dropout": "a 2 x 8 tensor; mean kept, variance grows (4.6)",
    "dropout-ridge": "dropped inputs equal a weighted ridge (4.6)",
    "backprop": "gradients by hand; the computational graph (4.7)",
    "variance-by-depth": "signals and gradients through 50 layers (4.8)",
    "matrix-product": "a product of 101 random matrices explodes (4.8.1)",
    "symmetry": "hidden units that start equal stay equal (4.8.1)",
    "xavier": "variance and bound of Xavier initialisation (4.8.2)",
    "blocks": "blocks of layers, and what they save and move (5.1)",
    "parameters": "reaching, initialising and sharing parameters (5.2)",
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
    if (CONF / "experiment" / f"{name}.yaml").exists() and name not in DEMOS:
        raise RequestError(f"demo {name}: an experiment that is trained; see python train.py experiment={name}")
    if name not in DEMOS:
        raise RequestError(f"demo {name}: unknown{nearest(name, list(DEMOS))} (allowed: {', '.join(DEMOS)})")
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    demo: Demo = module.run(seed)
    return demo
