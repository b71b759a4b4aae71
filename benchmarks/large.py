"""Sweeps of many runs beside a stock Hydra and Lightning job: time, memory, disk and files of whole programs."""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from measure import TRAIN, Results, number, spread, whole_command

STOCK = str(Path(__file__).parent / "stock.py")
DEGREES, EPOCHS, FEW = 20, 400, 2000

# Starts a program, adds up every half a second what its processes have in memory, and tells of all at its end.
WATCH = """
import os, resource, subprocess, sys, threading, time
from pathlib import Path
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, start_new_session=True)
peak, over = 0, threading.Event()
def look():
    global peak
    while not over.wait(0.5):
        pages = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            pages += int(fields[21]) * (int(fields[3]) == process.pid)
        peak = max(peak, pages * resource.getpagesize())
watch = threading.Thread(target=look)
watch.start()
status = process.wait()
wall = time.perf_counter() - began
over.set()
watch.join()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(status, wall, used.ru_utime + used.ru_stime, max(peak, used.ru_maxrss * 1024) / 2**20)
"""


@dataclass
class Program:
    """What a whole program took: seconds of the clock and of the processors, peak MiB of all its processes together."""

    wall: float
    processor: float
    memory: float
    disk: float  # MB of the files that it left, as the disk counts them
    files: int


def measured(*command: str) -> Program:
    """Run a Python program in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        watch = [sys.executable, "-IS", "-c", WATCH, sys.executable, *command]
        done = subprocess.run(watch, cwd=folder, stdout=subprocess.PIPE, check=True, text=True)
        status, wall, processor, memory = map(float, done.stdout.split())
        assert status == 0, " ".join(command)
        left = [path.lstat() for path in Path(folder).rglob("*")]
        return Program(wall, processor, memory, sum(s.st_blocks for s in left) * 512 / 1e6, len(left))


def stock_seconds(runs: int, *, every: int, quick: bool) -> float:
    """Seconds that a stock job would take for so many runs, from programs of 12 and of 2 of them.

    Their difference is the time of ten; what the shorter has beside its two is counted once.
    """
    settings = [f"log_every_n_epochs={every}", f"max_epochs={40 if quick else EPOCHS}"]
    few, more = (
        whole_command(STOCK, "-m", f"degree={degrees}", "seed=5,15", *settings)[0]
        for degrees in ("10", "0,4,8,11,15,19")
    )
    return few + (runs - 2) * (more - few) / 10


def study(runs: int, records: str, every: int, quick: bool) -> list[str]:
    """The command of `study=capacity` by SGD with so many runs."""
    return [
        *("study=capacity", f"data.degree=range({DEGREES})", "optimizer=sgd", f"seed=range({runs // DEGREES})"),
        *(f"trainer.max_epochs={40 if quick else EPOCHS}", f"trainer.log_every_n_epochs={every}"),
        f"sweep.records={records}",
    ]


def beside_stock(results: Results, quick: bool, pairs: int) -> None:
    """400 runs with full records as a whole program, beside a stock job's 400."""
    runs = 40 if quick else 400
    command = [*study(runs, "full", 20, quick), "logger=tensorboard"]
    before = whole_command(TRAIN, *command)[0]
    found = []
    for _ in range(pairs):
        stock = stock_seconds(runs, every=20, quick=quick)
        after = whole_command(TRAIN, *command)[0]
        found.append((stock, (before + after) / 2))
        before = after
    results.ratio(
        "stock", f"stock Hydra and Lightning job, {runs} runs, estimated", f"`vectorized`, {runs} runs", found
    )


def large(results: Results, quick: bool, runs: int, more: Sequence[str]) -> None:
    """So many runs with lean records beside 2,000 of them, and beside a stock job; `more` are further overrides."""
    few = min(FEW, runs // 5)
    head = ("runs, lean", "s, clock", "ms a run, clock", "ms a run, processor", "peak MiB", "MB on disk", "files", "n")

    def row(size: int) -> Program:
        program = measured(TRAIN, *study(size, "lean", 80, quick), *more)
        cells = [program.wall, 1e3 * program.wall / size, 1e3 * program.processor / size, program.memory, program.disk]
        results.row("large", head, f"{size:,}", *map(number, cells), f"{program.files:,}", "1")
        return program

    first, many, last = row(few), row(runs), row(few)
    each, alone = many.wall / runs, statistics.mean([first.wall, last.wall]) / few
    ratios = ("what", "ratio", "n")
    results.row("large_ratios", ratios, f"time a run of {runs:,} / of {few:,}, clock", number(each / alone), "1")
    each_cpu, alone_cpu = many.processor / runs, statistics.mean([first.processor, last.processor]) / few
    results.row("large_ratios", ratios, "the same, processor", number(each_cpu / alone_cpu), "1")
    stock = [stock_seconds(runs, every=80, quick=quick) / runs for _ in range(1 if quick else 3)]
    results.row(
        "large_ratios", ratios, f"time a run of a stock job / of {runs:,} runs", spread([s / each for s in stock]),
        str(len(stock)),
    )  # fmt: skip
