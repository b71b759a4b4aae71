"""Run the book's experiments over several seeds, and compare with the published numbers and with theory."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from lightning_d2l.book.comparison import Comparison, compare
from lightning_d2l.book.demos import run_demo
from lightning_d2l.book.published import EXPERIMENTS, require_known
from lightning_d2l.book.quantity import Experiment, Quantity
from lightning_d2l.book.rows import FORMATS, Row, as_json
from lightning_d2l.config import registry
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.compose import compose_checked, plain
from lightning_d2l.data.download import MD5, data_root
from lightning_d2l.data.synthetic import RegressionData
from lightning_d2l.studies.statistics import estimate
from lightning_d2l.sweeps.group import Group, member_of
from lightning_d2l.sweeps.lean import Lean
from lightning_d2l.sweeps.progress import SweepProgress
from lightning_d2l.training import console
from lightning_d2l.training.build import build, build_data
from lightning_d2l.training.checkpoint import load_checkpoint
from lightning_d2l.training.files import LAST
from lightning_d2l.training.fit import run
from lightning_d2l.training.lock import hold
from lightning_d2l.training.record import RUN_FILE, RunRecord, versions
from lightning_d2l.training.signals import Stopped, signals_stop_the_run
from lightning_d2l.training.spec import RunSpec

__all__ = ["FORMATS", "as_json", "provenance", "reproduce", "verdict"]

MISSING = "not run: official data missing"


def reproduce(ids: Sequence[str], into: Path, seeds: int | None = None) -> Iterator[Row]:
    """Run the experiments `ids` (empty: all) in folders below `into`, and compare their numbers.

    `seeds` overrides the number of seeds. Finished runs of the same configuration and versions are reused.

    Raises RequestError for an unknown ID, and if another process holds the folder, before anything runs.
    """
    require_known(ids)
    with contextlib.ExitStack() as held:
        for experiment in EXPERIMENTS:
            if ids and experiment.id not in ids:
                continue
            if needs_fashion_mnist(experiment) and not _official_data():
                yield from (_row(experiment, quantity, [], MISSING) for quantity in experiment.quantities)
                continue
            if not experiment.demo:
                _create(into)
                held.enter_context(hold(into, f"--into={into}"))
            number = seeds or experiment.seeds
            runs = f"{number} run{'s' * (number != 1)}"
            print(" ".join([f"{experiment.id}: {runs}", *experiment.overrides]), file=sys.stderr, flush=True)
            if not experiment.demo and not needs_fashion_mnist(experiment):
                _train_together(experiment, range(number), into)
            outcomes = [_outcome(experiment, seed, into) for seed in range(number)]
            for quantity in experiment.quantities:
                values = [outcome[quantity.key] for outcome in outcomes]
                yield _row(experiment, quantity, values)


def _create(into: Path) -> None:
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"--into={into}: cannot be written ({error.strerror})") from error


def verdict(quantity: Quantity, values: Sequence[float]) -> str:
    """What is said of the values of several seeds; see comparison.py."""
    return compare(quantity, values).verdict


def _row(experiment: Experiment, quantity: Quantity, values: Sequence[float], words: str = "") -> Row:
    """The row of a quantity; `words` replace the verdict, of values that could not be measured."""
    found = _mean_and_std(values) if values else (None, None)
    mean, std = found[0], found[1] if len(values) > 1 else None
    compared = compare(quantity, values) if values else Comparison(words, "")
    margin = quantity.margin if quantity.source == "published" else None
    return Row(
        experiment.id,
        quantity.name,
        quantity.published,
        quantity.band,
        quantity.theory,
        mean,
        std,
        len(values),
        words or compared.verdict,
        quantity.runs,
        compared.theory_verdict,
        quantity.source,
        quantity.computed,
        quantity.computed_band,
        compared.median,
        compared.error,
        compared.published_error,
        compared.z,
        margin,
        "log" if quantity.log else "linear",
    )


def _mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and the standard deviation of at least two values; not numbers where a value is not finite."""
    if not all(map(math.isfinite, values)):
        return math.nan, math.nan
    try:
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    except OverflowError:
        found = estimate(values)
        return found.mean, found.std


def needs_fashion_mnist(experiment: Experiment) -> bool:
    """Whether an experiment uses the images of Fashion-MNIST."""
    if experiment.demo:
        return experiment.official_data
    return _config(experiment, 0)["data"]["_target_"] in registry.CLASSIFICATION_DATA


def _overrides(experiment: Experiment, seed: int) -> list[str]:
    """The overrides of one run; its seed is also the seed of the data."""
    own = [f"experiment={experiment.id}", *experiment.overrides]
    return [*own, "logger=none", f"seed={seed}", f"data.seed={seed}"]


def _config(experiment: Experiment, seed: int) -> dict[str, Any]:
    found = _config_of_seed_0(experiment)  # composing takes longer than training
    return {**found, "seed": seed, "data": {**found["data"], "seed": seed}}


@functools.cache
def _config_of_seed_0(experiment: Experiment) -> dict[str, Any]:
    return plain(compose_checked(_overrides(experiment, 0)))


def _official_data() -> bool:
    root = data_root(compose_checked([]).data.root)
    return all((root / "FashionMNIST" / "raw" / name).exists() for name in MD5)


def _folder(experiment: Experiment, seed: int, into: Path) -> Path:
    return into / experiment.id / ",".join([*experiment.overrides, f"seed={seed}"])


def _train_together(experiment: Experiment, seeds: Iterable[int], into: Path) -> None:
    """Train the runs that have no folder yet as one batch of models; what is left of them, `_outcome` trains."""
    folders = {seed: folder for seed in seeds if not (folder := _folder(experiment, seed, into)).exists()}
    if len(folders) < 2:
        return
    pairs = []
    for seed, folder in folders.items():
        folder.mkdir(parents=True)
        spec = RunSpec(_config(experiment, seed), folder, _overrides(experiment, seed), number=0)
        built = build(spec)
        pairs.append((built, member_of(built)))
    console.quiet()
    try:
        with signals_stop_the_run(), contextlib.redirect_stdout(io.StringIO()):
            Group(pairs, SweepProgress(0), Lean(into)).train()
    except Stopped as stop:
        raise SystemExit(128 + stop.signum) from None


def _outcome(experiment: Experiment, seed: int, into: Path) -> dict[str, float]:
    """The numbers of one run, by `Quantity.key`."""
    if experiment.demo:
        return run_demo(experiment.demo, seed).numbers
    config = _config(experiment, seed)
    folder = _folder(experiment, seed, into)
    if (folder / RUN_FILE).exists() and (there := RunRecord.read(folder)).state == "diverged":
        raise RequestError(f"{folder}: {there.error}; --seeds={seed} leaves it out")
    if not _done(folder, config):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            code = run(RunSpec(config, folder, _overrides(experiment, seed), number=0))
        if code > 128:
            raise SystemExit(code)
        if code:
            raise RequestError(f"{folder}: {printed.getvalue().strip().splitlines()[-2]}")
    return _numbers(folder, config, experiment.quantities)


def _done(folder: Path, config: dict[str, Any]) -> bool:
    if not (folder / "run.json").exists():
        return False
    record = RunRecord.read(folder).fields
    same = record["config"] == config and record.get("versions") == versions()
    # Where official data are needed they are there; no mean is over these and generated ones of an earlier time.
    return record["status"] == "completed" and same and (record.get("data") or {}).get("source") != "generated"


def _numbers(folder: Path, config: dict[str, Any], quantities: Iterable[Quantity]) -> dict[str, float]:
    record = RunRecord.read(folder)
    rows = {int(row["epoch"]): row for row in record.history}
    numbers = {f"{name}@{epoch}": value for epoch, row in rows.items() for name, value in row.items()}
    numbers |= record.fields["metrics"]["final"]
    if any(quantity.key not in numbers for quantity in quantities):
        weight, *bias = (v.flatten().double() for v in load_checkpoint(folder / LAST)["state_dict"].values())
        data = build_data(config)
        assert isinstance(data, RegressionData)
        numbers |= {f"w[{i}]": float(w) for i, w in enumerate(weight)}
        if len(data.w) == len(weight):  # the book prints the errors one by one
            numbers["|w error|"] = float(torch.abs(weight[0] - data.w[0, 0]))
        if bias:
            numbers["|b error|"] = float(torch.abs(bias[0] - data.b).mean())
    return numbers


def provenance(into: Path) -> str:
    """Date, data and versions of the runs below a folder, in Markdown."""
    records = [RunRecord.read(path.parent).fields for path in sorted(into.glob("*/*/run.json"))]
    found = [data for record in records if (data := record.get("data"))]
    data = {(each["name"], each["source"], each["checksum"]) for each in found if each["source"] != "synthetic"}
    lines = [f"Measured on {date.today().isoformat()}."]
    lines += [f"Data: {name}, {source}, SHA-256 {checksum}." for name, source, checksum in sorted(data)]
    return "\n".join([*lines, "Versions: " + ", ".join(f"{k} {v}" for k, v in versions().items()) + "."])
