"""What sweeps cost with `hydra/launcher=vectorized`, beside the plain launchers and loops written by hand.

    LIGHTNING_D2L_DATA=... python benchmarks/sweeps.py [stock capacity stopping parts mlp members growth memory]
    LIGHTNING_D2L_DATA=... python benchmarks/sweeps.py --runs 100000 [OVERRIDES]     lean records, beside a stock job
    LIGHTNING_D2L_DATA=... python benchmarks/sweeps.py --device gpu                  every model and study on a GPU

Whole programs are run as a person runs them, with every file they write. What is compared is measured in turn: quoted
are medians, and ratios to the mean of the two measurements around. `benchmarks/page.py` makes docs/performance.md of
what `--out FOLDER` keeps.
"""

import argparse
import functools
import importlib.util
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import inside
import on_gpu
import torch
from batched import Samples, train
from large import beside_stock, large
from measure import TRAIN, Results, in_turn, number, spread, whole_command

from lightning_d2l.engine.ensemble import Ensemble
from lightning_d2l.engine.members import stacked

SEQUENTIAL, BASIC, JOBLIB, VECTORIZED = (
    f"hydra/launcher={name}" for name in ("sequential", "basic", "joblib", "vectorized")
)
HERE = Path(__file__).parent


def seconds(*overrides: str) -> float:
    """Of the whole program."""
    return whole_command(TRAIN, *overrides)[0]


def parts(*overrides: str, look: Callable[..., Callable[[], None] | None] | None = None) -> dict[str, list[float]]:
    """Seconds of the parts of a sweep in this process, which prints nothing."""
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        clock = inside.Clock("hydra", time.perf_counter(), time.process_time())
        return inside.run([*overrides, f"hydra.sweep.dir={folder}/sweep"], clock, look)


def fit(*overrides: str) -> float:
    """Seconds that a sweep trains and evaluates, in this process."""
    return parts(*overrides)["fit"][0]


class Capacity:
    """`study=capacity` by SGD: degrees times seeds, evaluated every 20 epochs, with TensorBoard's events."""

    def __init__(self, quick: bool) -> None:
        self.degrees, self.seeds = (5, 4) if quick else (20, 20)
        self.epochs = 40 if quick else 400
        self.members = self.degrees * self.seeds

    def overrides(self, degrees: str, seeds: str) -> list[str]:
        """The study's command with these degrees and seeds."""
        return [
            *("study=capacity", f"data.degree={degrees}", "optimizer=sgd", f"seed={seeds}", "logger=tensorboard"),
            *(f"trainer.max_epochs={self.epochs}", "trainer.log_every_n_epochs=20"),
        ]

    def all(self, times: int = 1) -> list[str]:
        """All runs, with so many times as many seeds."""
        return self.overrides(f"range({self.degrees})", f"range({self.seeds * times})")

    def plain(self, launcher: str) -> float:
        """Seconds of all runs with a plain launcher, from programs of 12 and of 2 of these runs.

        Their difference is the time of ten; what the shorter has beside its two is counted once.
        """
        degrees = sorted({round(i * (self.degrees - 1) / 5) for i in range(6)})
        seeds = f"{self.seeds // 4},{3 * self.seeds // 4}"
        few = seconds(*self.overrides(str(degrees[len(degrees) // 2]), seeds), launcher)
        more = seconds(*self.overrides(",".join(map(str, degrees)), seeds), launcher)
        each = (more - few) / (2 * len(degrees) - 2)
        return few + (self.members - 2) * each


class ByHand:
    """The hand-written loop over the runs that a sweep trained, whose result must be the sweep's."""

    def __init__(self, members: int) -> None:
        self.members = members
        self.start = self.trained = torch.empty(0)
        self.splits: dict[str, Samples] = {}
        self.settings: dict[str, object] = {}

    def look(self, module: Ensemble) -> Callable[[], None]:
        """Take the samples and first weights of the members, and afterwards their last."""
        (stack,), members = module.stack, module.members
        assert len(members) == self.members, "memory was too small for all of them at once"
        self.start = stack.clone()
        width = stack.shape[-1]
        for split in ("train", "val", "test"):
            xs, ys = zip(*(member.data.splits[split] for member in members), strict=True)
            self.splits[split] = stacked(xs)[..., :width].contiguous(), torch.stack(ys)
        self.settings = {
            "shuffle_seeds": [member.data.shuffle_seed for member in members],
            "lr": members[0].optimizer.param_groups[0]["lr"],
            "batch_size": members[0].data.batch_size,
            "points": module.logging_points,
        }

        def after() -> None:
            self.trained = stack.clone()

        return after

    def seconds(self) -> float:
        """Of the loop; raises AssertionError if its weights are not those of the sweep."""
        began = time.perf_counter()
        w, _ = train(self.splits, self.start, **self.settings)  # type: ignore[arg-type]
        took = time.perf_counter() - began
        torch.testing.assert_close(w, self.trained, rtol=1e-9, atol=1e-12)
        return took


def capacity(results: Results, quick: bool, pairs: int) -> None:
    """Whole programs beside the plain launchers, training beside the hand-written loop, five times as many members."""
    study, name = Capacity(quick), "capacity"
    whole = functools.partial(seconds, *study.all())
    vectorized, estimated = f"`vectorized`, {study.members} runs", f"{study.members} runs, estimated"
    sequential = functools.partial(study.plain, SEQUENTIAL)
    results.ratio(name, f"`sequential`, {estimated}", vectorized, in_turn(whole, {"": sequential}, pairs)[""])
    slow: dict[str, Callable[[], float]] = {
        "basic": functools.partial(study.plain, BASIC),
        "many": lambda: seconds(*study.all(5)) / 5,
    }
    measured = in_turn(whole, slow, 1)
    results.ratio(name, f"Hydra's own `basic`, {estimated}", vectorized, measured["basic"])
    results.ratio(name, f"`vectorized`, {5 * study.members:,} runs, a fifth of its time", vectorized, measured["many"])

    loop = ByHand(study.members)
    training = functools.partial(parts, *study.all(), look=loop.look)
    training()
    measured = in_turn(loop.seconds, {"fit": lambda: training()["fit"][0]}, pairs)
    results.ratio(name, f"`vectorized`, training part of {study.members} runs", "hand-written loop", measured["fit"])


def stopping(results: Results, quick: bool, pairs: int) -> None:
    """The same sweep with early stopping that looks at each logging point and never stops, beside without."""
    study = Capacity(quick)
    never = ["callbacks=early_stopping", f"callbacks.early_stopping.patience={study.epochs}"]
    stops = functools.partial(seconds, *study.all(), *never)
    measured = in_turn(functools.partial(seconds, *study.all()), {"stops": stops}, pairs)
    results.ratio("stopping", f"`vectorized`, {study.members} runs with early stopping", "without", measured["stops"])


def parts_of(results: Results, quick: bool, pairs: int) -> None:
    """Where the time of the same sweep goes."""
    study = Capacity(quick)
    rounds = [child(study.all()) for _ in range(pairs)]
    head = ("part", "ms a run, clock", "ms a run, processor", "n")
    for part, words in inside.PARTS.items():
        of_clock, of_processor = ([1e3 * r[part][i] / study.members for r in rounds] for i in (0, 1))
        results.row("parts", head, words, spread(of_clock), spread(of_processor), str(pairs))


def child(overrides: list[str]) -> dict[str, list[float]]:
    """The parts of a sweep in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        whole_command(str(HERE / "inside.py"), f"{folder}/parts.json", *overrides)
        return json.loads(Path(folder, "parts.json").read_text())  # type: ignore[no-any-return]


def members(results: Results, quick: bool, pairs: int) -> None:
    """Whole programs by the number of members; a plain launcher is not waited for beyond 64."""
    launchers = ["sequential", "joblib", "vectorized"]
    if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None:
        print("joblib is left out: pip install hydra-joblib-launcher")
        launchers.remove("joblib")
    head = ("runs", *(f"`{name}`, s" for name in launchers), "n")
    command = ["-m", "model=polynomial_regression", "data.seed=${seed}", f"trainer.max_epochs={20 if quick else 100}"]
    command += ["trainer.accelerator=cpu"]

    def measured(name: str, size: int) -> str:
        if size > 64 and name != "vectorized":
            return ""
        return number(seconds(*command, f"seed=range({size})", f"hydra/launcher={name}"))

    for size in (1, 4, 16) if quick else (1, 4, 16, 64, 256, 1024):
        results.row("members", head, f"{size:,}", *(measured(name, size) for name in launchers), "1")


def growth(results: Results, quick: bool, pairs: int) -> None:
    """The training part of vectorized sweeps as one of their sizes grows four times, and four times again."""
    epochs = 20 if quick else 100
    polynomial = ["-m", "model=polynomial_regression", "data.degree=19", "data.seed=${seed}", "logger=none"]
    polynomial += [f"trainer.max_epochs={epochs}", "trainer.accelerator=cpu"]
    mlp = ["-m", "model=mlp", "seed=range(10)", "logger=none", "data.val_size=2000", "trainer.max_epochs=1"]
    mlp += ["trainer.accelerator=cpu"]
    axes: dict[str, list[tuple[int, list[str]]]] = {
        "members, of polynomials": [(m, [*polynomial, f"seed=range({m})"]) for m in (25, 100, 400)],
        "samples of each of 25 polynomials": [
            (n, [*polynomial, "seed=range(25)", f"data.n_train={n}"]) for n in (100, 400, 1600)
        ],
        "hidden units of each of 10 MLPs": [
            (h, [*mlp, "data.n_train=2000", f"model.num_hiddens=[{h}]"]) for h in (64, 256, 1024)
        ],
        "images of each of 10 MLPs": [(n, [*mlp, f"data.n_train={n}"]) for n in (1000, 4000, 16000)],
    }
    head = ("what grows", "size", "training, s", "times the size before", "n")
    for what, sizes in axes.items():
        before = 0.0
        fit(*sizes[0][1])
        for size, overrides in sizes[:2] if quick else sizes:
            taken = [fit(*overrides) for _ in range(pairs)]
            now = statistics.median(taken)
            times = number(now / before) if before else ""
            results.row("growth", head, what, f"{size:,}", spread(taken), times, str(pairs))
            before = now


def mlp_command(quick: bool, number_of: int = 20) -> list[str]:
    epochs = 1 if quick else 3
    few = ["data.n_train=2000", f"trainer.max_epochs={epochs}", "trainer.accelerator=cpu"]
    return ["-m", "model=mlp", f"seed=range({number_of})", *few]


def mlp(results: Results, quick: bool, pairs: int) -> None:
    """Twenty MLPs on 2,000 images: whole programs and training parts."""
    command = mlp_command(quick, 4 if quick else 20)
    others = {"whole program": lambda: seconds(*command, SEQUENTIAL)}
    measured = in_turn(lambda: seconds(*command), others, pairs)["whole program"]
    results.ratio("mlp", "`sequential`, whole program", "`vectorized`", measured)
    fit(*command)
    measured = in_turn(lambda: fit(*command), {"fit": lambda: fit(*command, SEQUENTIAL)}, pairs)["fit"]
    results.ratio("mlp", "`sequential`, training part", "`vectorized`", measured)


def memory(results: Results, quick: bool, pairs: int) -> None:
    """Peak memory of twenty MLPs beside what they need and the process itself."""
    needs: list[float] = []

    def look(module: Ensemble) -> Callable[[], None]:
        def after() -> None:
            state = [v for values in module.optimizer.state() for v in values.values() if isinstance(v, torch.Tensor)]
            data = module.members[0].data
            x, y = (t[: data.batch_size] for t in data.splits["train"])
            batch = x.numel() * module.stack[0].element_size() + y.nbytes  # pixels become floating-point numbers
            needs.append((sum(t.nbytes for t in [*module.stack, *state]) + batch * len(module.members)) / 2**20)

        return after

    few, many = (mlp_command(quick, number_of) for number_of in (2, 20))
    parts(*many, look=look)
    need = sum(needs)
    head = ("peak of resident memory", "MiB", "n")
    idle = [whole_command("-c", "import lightning_d2l.sweeps.group")[1] for _ in range(pairs)]
    two, twenty = ([whole_command(TRAIN, *command)[1] for _ in range(pairs)] for command in (few, many))
    rows = {
        "parameters, optimizer states and batches of 20 members": [need],
        "a process that imports what a sweep imports, and ends": idle,
        "sweep of 2 members": two,
        "sweep of 20 members": twenty,
    }
    for what, mebibytes in rows.items():
        results.row("memory", head, what, spread(mebibytes), str(len(mebibytes)))
    ratios = {
        "20 members / (process that imports + what 20 need)": (idle, need),
        "20 members / (2 members + what 18 more need)": (two, 0.9 * need),
    }
    for what, (before, more) in ratios.items():
        values = [peak / (own + more) for own, peak in zip(before, twenty, strict=True)]
        results.row("memory", head, f"ratio: {what}", spread(values), str(pairs))


def gpu(results: Results, quick: bool, pairs: int) -> None:
    """Every model and study beside the processor; 256 MLPs on all images, at once and one after another."""
    if not torch.cuda.is_available():
        print("no GPU: left out")
        return
    number_of, epochs = (8, 1) if quick else (256, 10)
    command = ["-m", "model=mlp", f"trainer.max_epochs={epochs}", "trainer.accelerator=gpu"]

    def sequential() -> float:
        """From programs of 4 and of 2 runs."""
        few, more = (seconds(*command, f"seed=range({k})", SEQUENTIAL) for k in (2, 4))
        return few + (number_of - 2) * (more - few) / 2

    def whole() -> float:
        return seconds(*command, f"seed=range({number_of})")

    results.row("gpu_machine", ("", ""), "GPU", torch.cuda.get_device_name())
    on_gpu.compare(results, quick, "gpu", [])
    measured = in_turn(whole, {"plain": sequential}, pairs)["plain"]
    results.ratio("gpu", f"`sequential`, {number_of} runs, estimated", "`vectorized`", measured)


PARTS = {
    "stock": beside_stock,
    "capacity": capacity,
    "stopping": stopping,
    "parts": parts_of,
    "mlp": mlp,
    "members": members,
    "growth": growth,
    "memory": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="all, unless some are named; with --runs further overrides")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu", help="gpu: nothing but what a GPU is for")
    parser.add_argument("--runs", type=int, help="nothing but a sweep of so many runs with lean records")
    parser.add_argument("--pairs", type=int, default=3, help="how often each thing is measured")
    parser.add_argument("--quick", action="store_true", help="try the programs: small sweeps, each measured once")
    parser.add_argument("--out", type=Path, help="a folder for the results")
    args = parser.parse_args()
    if args.runs is None and (unknown := [name for name in args.parts if name not in PARTS]):
        parser.error(f"{unknown[0]}: must be one of {', '.join(PARTS)}")
    if "LIGHTNING_D2L_DATA" not in os.environ:
        parser.error("LIGHTNING_D2L_DATA: must be the folder of the official Fashion-MNIST")
    os.environ["LIGHTNING_D2L_DATA"] = str(Path(os.environ["LIGHTNING_D2L_DATA"]).resolve())
    results, pairs = Results(args.out), 1 if args.quick else args.pairs
    if args.device == "gpu":
        gpu(results, args.quick, pairs)
        return
    results.machine()
    if args.runs is not None:
        large(results, args.quick, args.runs, args.parts)
        return
    for name in args.parts or PARTS:
        began = time.perf_counter()
        PARTS[name](results, args.quick, pairs)
        print(f"{name} took {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
