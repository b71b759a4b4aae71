"""What the benchmarks share: measurements made in turn, whole programs, and results that a page can be made of."""

import functools
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
TRAIN = str(ROOT / "train.py")

Pairs = list[tuple[float, float]]
"""What was measured, each beside the mean of the yardstick's two measurements around it."""


WATCH = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(status, time.perf_counter() - began, usage.ru_maxrss / 1024)
"""


def whole_command(*command: str) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of a Python program, run in a folder that is removed afterwards.

    A small process starts it, since the peak that the system tells of is never below that of the parent.
    """
    with tempfile.TemporaryDirectory() as folder:
        watch = [sys.executable, "-IS", "-c", WATCH, sys.executable, *command]
        status, seconds, mebibytes = subprocess.run(
            watch, cwd=folder, stdout=subprocess.PIPE, check=True, text=True
        ).stdout.split()
    assert status == "0", " ".join(command)
    return float(seconds), float(mebibytes)


def in_turn(yardstick: Callable[[], float], others: Mapping[str, Callable[[], float]], pairs: int) -> dict[str, Pairs]:
    """Measure each of the others between two measurements of the yardstick, which cancels a steady drift."""
    found: dict[str, Pairs] = {name: [] for name in others}
    before = yardstick()
    for _ in range(pairs):
        values = {name: measure() for name, measure in others.items()}
        after = yardstick()
        for name, value in values.items():
            found[name].append((value, (before + after) / 2))
        before = after
    return found


def spread(values: Sequence[float]) -> str:
    """The median, with the least and the greatest where there are several."""
    median = number(statistics.median(values))
    return median if len(values) == 1 else f"{median} [{number(min(values))}, {number(max(values))}]"


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}" if value else "0"


class Results:
    """The tables of one program, printed as they come and kept in `folder`, for `benchmarks/page.py`."""

    RATIO = ("measured", "seconds", "beside", "seconds", "ratio", "n")

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.tables: dict[str, dict[str, list[list[str]]]] = {}

    def row(self, table: str, head: Sequence[str], *cells: str) -> None:
        """Add a row to a table and write what is known so far."""
        if table not in self.tables:
            self.tables[table] = {"rows": [list(head)]}
            print(f"\n{table}: {' | '.join(head)}")
        self.tables[table]["rows"].append(list(cells))
        print("  " + " | ".join(cells), flush=True)
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / f"{table}.json").write_text(json.dumps(self.tables[table]["rows"], indent=2))

    def ratio(self, table: str, first: str, second: str, pairs: Pairs) -> None:
        """Add the medians of two things measured in turn, and of their ratios, with the spread."""
        a, b = (list(column) for column in zip(*pairs, strict=True))
        ratios = [x / y for x, y in pairs]
        self.row(table, self.RATIO, first, spread(a), second, spread(b), spread(ratios), str(len(pairs)))

    def machine(self) -> None:
        """Add what it was measured on."""
        head = ("", "")
        for what, value in machine().items():
            self.row("machine", head, what, value)


def machine() -> dict[str, str]:
    """Processor, cores, threads and versions."""
    names = [line.partition(":")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    kibibytes = [int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ("torch", "pytorch-lightning", "hydra-core", "tensorboard", "numpy")
    return {
        "measured": time.strftime("%B %Y"),
        "processor": f"{names[0].strip() if names else platform.processor()}, {cores} cores",
        "memory": f"{kibibytes[0] / 2**20:.0f} GiB" if kibibytes else "unknown",
        "threads of torch": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
    }


@functools.cache
def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
