"""Demos: parts of the chapters that train no model. `lightning-d2l demo ID` runs the module of that name.

A demo is a module with `run(seed) -> Demo`; the ID has hyphens where the module's name has underscores. This file
does not import torch, so that the list and the message for an unknown ID are fast.
"""

from __future__ import annotations

import importlib
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lightning_d2l.config.check import RequestError, nearest
from lightning_d2l.config.options import CONF
from lightning_d2l.config.program import train_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEMOS = {
    "vectorization": "adding vectors in a loop, and vectorized (3.1.2)",
    "maximum-likelihood": "least squares is maximum likelihood (3.1.3)",
    "phm": "a layer with 1/n of the parameters (3.4.3)",
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
    "dropout-ridge": "dropped inputs equal weighted ridge regression (4.6)",
    "backprop": "gradients by hand; the computational graph (4.7)",
    "variance-by-depth": "signals and gradients through 50 layers (4.8)",
    "matrix-product": "a product of 101 random matrices explodes (4.8.1)",
    "symmetry": "hidden units that start equal stay equal (4.8.1)",
    "xavier": "variance and bound of Xavier initialisation (4.8.2)",
    "blocks": "blocks of layers; what is saved and moved (5.1)",
    "parameters": "access, initialise and share parameters (5.2)",
}
"""A description of each demo, with the book's section, by ID."""


@dataclass
class Demo:
    """The result of a demo: the printed `text` (at most 80 columns), its `numbers` by name, its figures by name."""

    text: str
    numbers: dict[str, float]
    figures: dict[str, Figure] = field(default_factory=dict)


def run_demo(name: str, seed: int = 0) -> Demo:
    """Run the demo `name` with the given seed; raises RequestError if it does not exist."""
    if (CONF / "experiment" / f"{name}.yaml").exists() and name not in DEMOS:
        command = shlex.join([*train_words(), f"experiment={name}"])
        raise RequestError(f"demo {name}: this is an experiment; run {command}")
    if name not in DEMOS:
        raise RequestError(f"demo {name}: unknown{nearest(name, list(DEMOS))} (allowed: {', '.join(DEMOS)})")
    import matplotlib

    from lightning_d2l.training.panels import PAPER  # matplotlib, afterthechecks

    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    with matplotlib.rc_context(PAPER):
        demo: Demo = module.run(seed)
    return demo
