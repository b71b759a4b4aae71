"""The weight of a fully connected layer as a sum of Kronecker products, with 1/n of the parameters (d2l 3.4.3)."""

from __future__ import annotations

import torch

from lightning_d2l.book.demos import Demo
from lightning_d2l.data.streams import stream
from lightning_d2l.nets.phm import PHMLinear

INPUTS, OUTPUTS = 784, 256


def run(seed: int) -> Demo:
    numbers: dict[str, float] = {}
    lines = [
        f"A layer {INPUTS} -> {OUTPUTS} whose weight H is the sum of n Kronecker products of",
        f"A_i (n x n) and S_i ({OUTPUTS}/n x {INPUTS}/n), Zhang et al. (2021):",
        f"  {'n':>3}{'numbers in H':>14}{'in A':>8}{'in S':>10}{'weights':>10}{'of n = 1':>10}{'error of H':>13}",
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("demo", seed, 0))
        layers = [PHMLinear(INPUTS, OUTPUTS, n, bias=False) for n in (1, 2, 4, 8, 16)]
    for layer in layers:
        in_a = 0 if layer.A is None else layer.A.numel()
        weights = sum(p.numel() for p in layer.parameters())
        error = largest_error(layer)
        share = weights / (INPUTS * OUTPUTS)
        lines.append(
            f"  {layer.n:>3}{layer.weight.numel():>14,}{in_a:>8,}{layer.S.numel():>10,}"
            f"{weights:>10,}{share:>10.1%}{error:>13.1e}"
        )
        numbers |= {f"weights n={layer.n}": float(weights), f"error of H n={layer.n}": error}
    lines += ["error of H: its largest difference from the sum computed by torch.kron", "n = 1 is a plain layer"]
    return Demo("\n".join(lines), numbers)


@torch.no_grad()
def largest_error(layer: PHMLinear) -> float:
    """The largest difference of the layer's weight from the sum of Kronecker products by torch.kron."""
    factors = torch.ones(1, 1, 1) if layer.A is None else layer.A
    by_kron = torch.stack([torch.kron(a, s) for a, s in zip(factors, layer.S, strict=True)]).sum(0)
    return float((layer.weight - by_kron).abs().max())
