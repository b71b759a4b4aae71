"""The program of a run's processes from rank 1 on: it trains with rank 0, and writes and prints nothing."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from lightning_d2l.config.program import Program
from lightning_d2l.plugins import attach
from lightning_d2l.training import console
from lightning_d2l.training.build import build
from lightning_d2l.training.fit import fit
from lightning_d2l.training.ranks import Environment
from lightning_d2l.training.spec import RunSpec


def main() -> None:
    """Train as the rank that one line of JSON on standard input asks for; end when standard input does."""
    request: dict[str, Any] = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_rank_0, daemon=True).start()
    logging.getLogger().addHandler(logging.NullHandler())
    console.quiet()
    attach(Program.read(request["program"]))
    spec = request["spec"]
    run = RunSpec(**{**spec, "folder": Path(spec["folder"])})
    fit(build(run), lambda row: None, [], place=Environment(request["rank"], request["port"]))


def _end_with_rank_0() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
