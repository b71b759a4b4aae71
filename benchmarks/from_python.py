"""What calls from Python cost beside the commands: the import, one run, and a second sweep in one process.

    OMP_NUM_THREADS=1 python benchmarks/from_python.py [import train sweep] [--pairs N] [--quick]

Processor seconds (user and system), so that another load on the machine changes little. Medians with the least and
the greatest; each is measured between two measurements of its yardstick. The goals: the import under 0.1 s, `train` at
most 1.05 times the command without its start, and the second `sweep` of 400 capacity runs at most 0.6 times its own.
"""

import argparse
import functools
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import chdir, redirect_stdout
from pathlib import Path

from measure import TRAIN, Results, in_turn, spread

POLYNOMIAL = ["model=polynomial_regression"]


def of_program(*arguments: str) -> float:
    """Processor seconds of a Python program, run in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([sys.executable, *arguments], cwd=folder, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, " ".join(arguments)
    return usage.ru_utime + usage.ru_stime


def in_this_process(call: Callable[[], object]) -> float:
    """Processor seconds of a call in this process, which prints nothing."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder), open(os.devnull, "w") as nowhere:
        with redirect_stdout(nowhere):
            gc.collect()
            began = time.process_time()
            call()
            took = time.process_time() - began
        shutil.rmtree("outputs", ignore_errors=True)
    return took


def imports(results: Results, pairs: int) -> None:
    """`import lightning_d2l`, beside a Python that imports nothing."""
    measured = in_turn(
        lambda: of_program("-c", "pass"), {"import": lambda: of_program("-c", "import lightning_d2l")}, pairs
    )["import"]
    extra = [with_import - without for with_import, without in measured]
    results.row("import", ("measured", "seconds", "n"), "import lightning_d2l", spread(extra), str(pairs))


def train(results: Results, pairs: int) -> None:
    """`d2l.train` on the polynomial, beside the command in the same process, whose start is over."""
    import lightning_d2l as d2l
    from lightning_d2l import app

    call, command = (lambda: d2l.train(*POLYNOMIAL)), (lambda: app.main(POLYNOMIAL))
    for warm in (call, command):
        in_this_process(warm)
    measured = in_turn(lambda: in_this_process(command), {"train": lambda: in_this_process(call)}, pairs)
    results.ratio("train", "d2l.train", "the command without its start", measured["train"])


def sweep(results: Results, pairs: int, quick: bool) -> None:
    """The second `d2l.sweep` of 400 capacity runs in one process, beside the whole command."""
    import lightning_d2l as d2l

    degrees, seeds, epochs = (5, 4, 40) if quick else (20, 20, 400)
    sgd = [
        *("study=capacity", f"data.degree=range({degrees})", "optimizer=sgd", f"seed=range({seeds})"),
        *("logger=tensorboard", f"trainer.max_epochs={epochs}", "trainer.log_every_n_epochs=20"),
    ]
    whole = ["study=capacity", f"seed=range({seeds // 2})", f"data.degree=range({degrees})"]
    first = in_this_process(lambda: d2l.sweep(*whole))
    results.row("first sweep", ("measured", "seconds"), "the first d2l.sweep, with its imports", spread([first]))
    for name, words in (("the study", whole), ("by SGD alone, with 20 logging points", sgd)):
        measured = in_turn(
            functools.partial(of_program, TRAIN, "-m", *words),
            {"sweep": functools.partial(in_this_process, functools.partial(d2l.sweep, *words))},
            pairs,
        )["sweep"]
        results.ratio(f"sweep, {name}", f"the second d2l.sweep of {degrees * seeds} runs", "the command", measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["import", "train", "sweep"])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="fewer runs, which are shorter")
    parser.add_argument("--out", type=Path, help="a folder for the tables")
    args = parser.parse_args()
    results = Results(args.out)
    if "import" in args.what:
        imports(results, args.pairs)
    if "train" in args.what:
        train(results, args.pairs)
    if "sweep" in args.what:
        sweep(results, args.pairs, args.quick)


if __name__ == "__main__":
    main()
