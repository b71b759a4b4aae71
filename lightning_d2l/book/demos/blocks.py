"""Blocks of layers, and which members of a block are trained, saved and moved (d2l 5.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_d2l.book.demos import Demo
from lightning_d2l.data.streams import stream
from lightning_d2l.nets.blocks import FixedHiddenMLP, MLPBlock, MySequential, NestedMLP


class Forgetful(nn.Module):
    """A layer and a constant that torch registers, and a layer and a constant that it does not."""

    buffer: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.attribute = nn.Linear(20, 20, bias=False)
        self.register_buffer("buffer", torch.rand(20, 20))
        self.plain_list = [nn.Linear(20, 20, bias=False)]
        self.plain_tensor = torch.rand(20, 20)


def run(seed: int) -> Demo:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("demo", seed, 0))
        x = torch.rand(2, 20)
        blocks = {
            "MLPBlock": MLPBlock(20, 10),
            "MySequential": MySequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 10)),
            "NestedMLP": NestedMLP(20, 10),
            "FixedHiddenMLP": FixedHiddenMLP(20),
            "chimera": MySequential(NestedMLP(20, 16), nn.Linear(16, 20), FixedHiddenMLP(20)),
        }
        forgetful = Forgetful()
    numbers: dict[str, float] = {}
    lines = ["Blocks of X = rand(2, 20):", f"  {'block':<16}{'layers':<36}{'output':>10}{'parameters':>14}"]
    layers = ("20-256-10", "20-256-10", "(20-64-32)-10", "20-20, constant, 20-20", "NestedMLP, 16-20, FixedHiddenMLP")
    for (name, block), description in zip(blocks.items(), layers, strict=True):
        output = block(x)
        count = sum(p.numel() for p in block.parameters())
        shape = f"{output.item():.4f}" if output.dim() == 0 else str(tuple(output.shape))
        lines.append(f"  {name:<16}{description:<36}{shape:>10}{count:>14,}")
        if output.dim() == 0:
            numbers |= {f"|{name}|": abs(output.item())}
        else:
            numbers |= {f"rows, {name}": float(output.shape[0]), f"columns, {name}": float(output.shape[1])}
    lines += [
        "The last two return a sum, halved until the absolute values sum to at most 1.",
        "",
        "What torch knows of the members of a block:",
        f"  {'member':<26}{'trained':>10}{'saved':>10}{'moved':>10}",
    ]
    for member, (trained, saved, moved) in known(forgetful).items():
        words = ("yes" if fact else "no" for fact in (trained, saved, moved))
        lines.append(f"  {member:<26}" + "".join(f"{word:>10}" for word in words))
        facts = {"trained": trained, "saved": saved, "moved": moved}
        numbers |= {f"{fact}, {member}": float(holds) for fact, holds in facts.items()}
    return Demo("\n".join(lines), numbers)


def known(block: Forgetful) -> dict[str, tuple[bool, bool, bool]]:
    """Whether each member's tensor is a parameter, is in the state_dict, and moves to another device with the block."""
    parameters, state = {id(p) for p in block.parameters()}, {v.data_ptr() for v in block.state_dict().values()}
    before = _members(block)
    trained_and_saved = {name: (id(v) in parameters, v.data_ptr() in state) for name, v in before.items()}
    moved = _members(block.to("meta"))
    return {name: (*facts, moved[name].is_meta) for name, facts in trained_and_saved.items()}


def _members(block: Forgetful) -> dict[str, Tensor]:
    return {
        "layer as an attribute": block.attribute.weight,
        "layer in a plain list": block.plain_list[0].weight,
        "constant as a buffer": block.buffer,
        "constant as an attribute": block.plain_tensor,
    }
