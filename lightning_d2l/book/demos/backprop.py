"""Backpropagation by hand compared with autograd, and the computational graph (d2l 4.7)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional

from lightning_d2l.book.computational_graph import computational_graph
from lightning_d2l.book.demos import Demo
from lightning_d2l.scratch.backpropagation import ACTIVATIONS, LOSSES, OneHiddenLayer


def autograd(net: OneHiddenLayer, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """dJ/dW1 and dJ/dW2 by autograd, through torch's losses, with samples as rows."""
    W1, W2 = net.W1.clone().requires_grad_(), net.W2.clone().requires_grad_()
    o = functional.linear(getattr(torch, net.activation)(functional.linear(x.T, W1)), W2)
    if net.loss == "squared":
        loss = functional.mse_loss(o, y.T, reduction="sum") / (2 * len(o))
    else:
        loss = functional.cross_entropy(o, y.T)
    penalty = net.weight_decay / 2 * (W1.square().sum() + W2.square().sum())
    dJ_dW1, dJ_dW2 = torch.autograd.grad(loss + penalty, (W1, W2))
    return dJ_dW1, dJ_dW2


def finite_differences(net: OneHiddenLayer, x: Tensor, y: Tensor, W: Tensor, step: float = 1e-5) -> Tensor:
    """(J(W + step) - J(W - step)) / (2 step) for each entry of W, one of the weights of `net`."""
    gradient = torch.zeros_like(W)
    for index in itertools.product(*map(range, W.shape)):
        value = W[index].item()
        W[index] = value + step
        above = net.forward(x, y).J
        W[index] = value - step
        below = net.forward(x, y).J
        W[index] = value
        gradient[index] = (above - below) / (2 * step)
    return gradient


def run(seed: int, d: int = 4, h: int = 5, q: int = 3, n: int = 6) -> Demo:
    rng = torch.Generator().manual_seed(seed)
    lines, worst = [], [0.0, 0.0, 0.0]
    for activation, loss in itertools.product(ACTIVATIONS, LOSSES):
        W1, W2, x, y = (
            torch.randn(shape, generator=rng, dtype=torch.float64) for shape in ((h, d), (q, h), (d, n), (q, n))
        )
        if loss == "cross_entropy":
            y = functional.one_hot(y.argmax(0), q).double().T
        net = OneHiddenLayer(W1, W2, 0.1, activation, loss)
        found = net.backward(x, y, net.forward(x, y))
        expected = autograd(net, x, y)
        numeric = finite_differences(net, x, y, W1), finite_differences(net, x, y, W2)
        differences = [
            _largest(found.dJ_dW1 - expected[0]),
            _largest(found.dJ_dW2 - expected[1]),
            max(_largest(found.dJ_dW1 - numeric[0]), _largest(found.dJ_dW2 - numeric[1])),
        ]
        lines.append(
            f"  {activation:8} {loss:14} {differences[0]:>18.1e} {differences[1]:12.1e} {differences[2]:13.1e}"
        )
        worst = [max(pair) for pair in zip(worst, differences, strict=True)]
    text = (
        f"One hidden layer, o = W2 phi(W1 x), x in R^{d}, {h} hidden units, o in R^{q}, mean\n"
        f"loss L of {n} samples, J = L + lambda/2 (|W1|^2 + |W2|^2). Largest differences of\n"
        "the gradients written out by hand (lightning_d2l/scratch/backpropagation.py)\n"
        "                           autograd, dJ/dW1       dJ/dW2  finite diff.\n"
        + "\n".join(lines)
        + "\nThe difference from autograd is rounding. Finite differences (step 1e-5) have a\n"
        "rounding error of about 1e-15 / 1e-5, and an error of order step^2.\n"
        "dJ/dW2 = dJ/do h^T + lambda W2 needs h, dJ/dW1 = dJ/dz x^T + lambda W1 needs x,\n"
        "and dJ/dz = dJ/dh * phi'(z) needs z: the values of the forward pass are\n"
        "kept until the backward pass, so training takes more memory than prediction."
    )
    names = ["max difference to autograd, dJ/dW1", "max difference to autograd, dJ/dW2"]
    names.append("max difference to finite differences")
    return Demo(text, dict(zip(names, worst, strict=True)), {"computational_graph": computational_graph()})


def _largest(difference: Tensor) -> float:
    return difference.abs().max().item()
