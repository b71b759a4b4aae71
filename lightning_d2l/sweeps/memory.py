"""The memory that a member of a group takes, measured on one of them, and the memory that is free."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from lightning_d2l.data.batches import as_batch
from lightning_d2l.engine.ensemble import Ensemble
from lightning_d2l.engine.exact import Exact
from lightning_d2l.engine.members import Member

COPIES = 5  # of the parameters: the member's own, the stack's, the gradient, at the last and at the best point


def bytes_of_member(member: Member) -> int:
    """The memory of one more member: its samples, their outputs, its parameters, and the tensors of a step."""
    parameters = sum(p.nbytes for p in member.parameters)
    samples = sum(t.nbytes for split in member.data.splits.values() for t in split)
    step = 0
    if not isinstance(member.optimizer, Exact):
        like = next(member.module.parameters())
        x, y = (t[None, : member.data.batch_size] for t in member.data.splits["train"])
        batch = as_batch((x, y), like.dtype)
        stack, before = Ensemble([member], [1]), member.noise.get_state()
        stack.configure_optimizers()
        step = stack.bytes_of_step(batch)
        member.noise.set_state(before)
    return COPIES * parameters + samples + step


def free_bytes(accelerator: str) -> int:
    """The free memory of the device that this accelerator names; in a container at most what its limit leaves."""
    if accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        return min(free, int(limit) - int((group / "memory.current").read_text())) if limit != "max" else free
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if hasattr(os, "sysconf") else 2**32


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that there was too little memory."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
    )
