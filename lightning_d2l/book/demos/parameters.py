"""Access to parameters, their initialisation, and parameters that layers share (d2l 5.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_d2l.book.demos import Demo
from lightning_d2l.data.streams import stream
from lightning_d2l.nets.blocks import TiedMLP
from lightning_d2l.nets.initialisation import Init, initialise

SCHEMES: dict[str, Init] = {
    "normal": {"name": "normal", "std": 0.01},
    "constant": {"name": "constant", "value": 1.0},
    "xavier_uniform": "xavier_uniform",
    "thresholded_uniform": "thresholded_uniform",
}


def run(seed: int) -> Demo:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("demo", seed, 0))
        access, access_numbers = reach()
        schemes, scheme_numbers = schemes_compared()
        shared, shared_numbers = sharing()
    text = "\n".join([*access, "", *schemes, "", *shared])
    return Demo(text, {**access_numbers, **scheme_numbers, **shared_numbers})


def reach() -> tuple[list[str], dict[str, float]]:
    """Access by index, name and state_dict, and gradients before and after the backward pass."""
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    output = net(torch.rand(2, 4))
    before = sum(p.grad is not None for p in net.parameters())
    output.sum().backward()
    after = sum(p.grad is not None for p in net.parameters())
    named = dict(net.named_parameters())
    index, state = net[2].bias, net.state_dict()["2.bias"]
    same = index is named["2.bias"] and isinstance(index, Tensor) and state.data_ptr() == index.data_ptr()
    lines = ["net = Sequential(Linear(4, 8), ReLU(), Linear(8, 1)):"]
    lines += [f"  {name:<10}{tuple(p.shape)}" for name, p in named.items()]
    lines += [
        f'  net[2].bias, the parameter "2.bias" and state_dict()["2.bias"]: {"one tensor" if same else "differ"}',
        f"  gradients: {before} of {len(named)} before backward(), {after} after",
    ]
    numbers = {f"size {d} of {name}": float(size) for name, p in named.items() for d, size in enumerate(p.shape)}
    return lines, {**numbers, "gradients before backward": before, "gradients after backward": after}


def schemes_compared() -> tuple[list[str], dict[str, float]]:
    """Statistics of the weights of a Linear(4, 8) for each initialisation."""
    lines = [
        f"Weights of Linear(4, 8), initialised:\n  {'scheme':<22}{'mean':>10}{'std':>10}{'min |w|':>10}{'max |w|':>10}"
    ]
    numbers: dict[str, float] = {}
    for name, init in SCHEMES.items():
        layer = nn.Linear(4, 8)
        initialise(layer, init)
        weight = layer.weight.detach()
        size = weight.abs()
        facts = [weight.mean(), weight.std(), size.min(), size.max()]
        lines.append(f"  {name:<22}" + "".join(f"{fact.item():>10.4f}" for fact in facts))
        numbers |= {f"largest |w|, {name}": size.max().item()}
        if name == "thresholded_uniform":
            numbers |= {f"smallest |w| above 0, {name}": size[size > 0].min().item()}
    lines.append("  thresholded_uniform: U(-10, 10), 0 where |w| < 5; all biases are 0")
    return lines, numbers


def sharing() -> tuple[list[str], dict[str, float]]:
    """One Linear(8, 8) used twice: one tensor, whose gradient is the sum of the gradients of two separate layers."""
    tied = TiedMLP(4, 1)
    untied = nn.Sequential(*(nn.Linear(m.in_features, m.out_features) if isinstance(m, nn.Linear) else m for m in tied))
    untied.load_state_dict(tied.state_dict())
    x, y = torch.rand(6, 4), torch.rand(6, 1)
    for net in (tied, untied):
        functional.mse_loss(net(x), y).backward()  # type: ignore[no-untyped-call]
    first, second = (layer.weight.grad for layer in (untied[3], untied[5]))
    shared = tied[3].weight
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    assert isinstance(shared, nn.Parameter)
    assert shared.grad is not None
    error = (shared.grad - first - second).norm() / shared.grad.norm()
    shared.data[0, 0] = 100
    difference = (tied[3].weight - tied[5].weight).abs().max()  # type: ignore[operator]
    count, untied_count = (sum(p.numel() for p in net.parameters()) for net in (tied, untied))
    lines = [
        "One Linear(8, 8) in two places of 4-8-8-8-1:",
        f"  parameters                                      {count} instead of {untied_count}",
        f"  after net[3].weight[0, 0] = 100: largest difference of net[5].weight: {difference:.0f}",
        f"  norm of the gradients of two equal layers       {first.norm():.4f} and {second.norm():.4f}",
        f"  norm of their sum, and of the shared gradient   {(first + second).norm():.4f} and {shared.grad.norm():.4f}",
    ]
    numbers = {"difference of tied weights": difference.item(), "relative error of the summed gradient": error.item()}
    return lines, {**numbers, "parameters, tied": count, "parameters, untied": untied_count}
