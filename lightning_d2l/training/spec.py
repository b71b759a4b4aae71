"""What is asked of one run: plain data, which can be sent to another process or machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(eq=False)
class RunSpec:
    """A run to do: its resolved configuration, its folder, and the command that asked for it."""

    config: dict[str, Any]
    folder: Path
    overrides: list[str] = field(default_factory=list)
    command: str = ""
    number: int | None = None  # its place in its sweep, from 0, and None for a single run
    sweep: str = ""  # the id of its sweep, which sweep.json holds too
    silent: bool = False  # messages go to train.log alone
    found: dict[str, Any] = field(default_factory=dict)  # settings that were searched, by full key; `config` has them

    @property
    def name(self) -> str:
        """The name of the folder, which in a sweep says what varies."""
        return self.folder.name

    @property
    def part_of_sweep(self) -> bool:
        return self.number is not None

    @property
    def resuming(self) -> bool:
        return self.config["resume"] is not None
