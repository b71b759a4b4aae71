"""Whether a chunk that trains at once fits into the memory of a worker: measured on one of its runs."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps.plan import CHUNK, groups, weights
from lightning_d2l.training.spec import RunSpec

TRIED = 3  # runs that are built, one of each of the largest structures
WORTH = 10_000_000  # weights of the runs of a chunk, below which chunks of the default size are not measured


def require_fits(jobs: Sequence[RunSpec], chunk_size: int, max_members: int, share: float) -> None:
    """Raise RequestError if runs of one structure in a chunk do not fit into this share of the free memory.

    The message says how many would. A run that can't be built or trains alone is left to its worker.
    """
    from lightning_d2l.sweeps.group import member_of
    from lightning_d2l.sweeps.memory import bytes_of_member, free_bytes
    from lightning_d2l.sweeps.structure import structure
    from lightning_d2l.training import console
    from lightning_d2l.training.build import build

    at_once = min(chunk_size, max_members)
    many = [group for group in groups(jobs) if len(group) > 1]
    many.sort(key=lambda group: -min(at_once, len(group)) * weights(group[0].config))
    for group in many[:TRIED]:
        if min(at_once, len(group)) * weights(group[0].config) < WORTH and at_once <= CHUNK:
            continue
        try:
            if not group[0].config["verbose"]:
                console.quiet()
            built = build(group[0])
            member = member_of(built)
            structure(built, member)
            need = max(1, bytes_of_member(member))
        except Exception:  # the run itself will say what is wrong, or trains alone
            continue
        free = free_bytes(group[0].config["trainer"]["accelerator"])
        fit, asked = int(share * free) // need, min(at_once, len(group))
        if fit < asked:
            raise RequestError(
                f"hydra.launcher.chunk_size={chunk_size}: {fit} runs like {group[0].name} fit into {share:.0%} of the "
                f"free memory, {free / 1e9:.1f} GB; must be at most that"
            )
