"""Run the book's experiments over several seeds, and compare with the published numbers and with theory."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from scipy import stats

from lightning_d2l.book.demos import run_demo
from lightning_d2l.book.published import EXPERIMENTS, Experiment, Quantity, require_known
from lightning_d2l.config import registry
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.compose import compose_checked, plain
from lightning_d2l.config.text import finite
from lightning_d2l.data.download import MD5, data_root
from lightning_d2l.data.synthetic import RegressionData
from lightning_d2l.studies.statistics import estimate
from lightning_d2l.training.build import build_data
from lightning_d2l.training.checkpoint import load_checkpoint
from lightning_d2l.training.files import LAST, MetricsFile
from lightning_d2l.training.fit import run
from lightning_d2l.training.lock import hold
from lightning_d2l.training.record import RunRecord, versions
from lightning_d2l.training.spec import RunSpec

MISSING = "not run: official data missing"


@dataclass(frozen=True)
class Row:
    """A published number, and ours: `mean` and standard deviation `std` over `n` seeds."""

    experiment: str
    quantity: str
    published: float | None
    band: tuple[float, float] | None
    theory: float | None
    mean: float | None
    std: float | None
    n: int
    verdict: str
    published_runs: int


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
            print(f"{experiment.id}: {number} runs {' '.join(experiment.overrides)}", file=sys.stderr, flush=True)
            outcomes = [_outcome(experiment, seed, into) for seed in range(number)]
            for quantity in experiment.quantities:
                values = [outcome[quantity.key] for outcome in outcomes]
                yield _row(experiment, quantity, values, verdict(quantity, values))


def _create(into: Path) -> None:
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"--into={into}: cannot be written ({error.strerror})") from error


def verdict(quantity: Quantity, values: Sequence[float]) -> str:
    """Compare the values of several seeds with a published number.

    "reproduced": the mean is in the published band or, without a band, the published number is in the 95 % prediction
    interval of one more run (Student's t). Otherwise "equals theory": the mean differs from theory by at most its 95 %
    confidence interval plus the accuracy of the formula. Otherwise "differs".
    """
    if not all(map(math.isfinite, values)):
        return "differs"
    (mean, std), n = _mean_and_std(values), len(values)
    spread = stats.t.ppf(0.975, n - 1) * std if n > 1 else 0.0
    if quantity.band:
        inside = quantity.band[0] <= mean <= quantity.band[1]
    else:
        inside = quantity.published is not None and quantity.theory is None
        inside = inside and abs(mean - (quantity.published or 0.0)) <= spread * math.sqrt(1 + 1 / n)
    if inside:
        return "reproduced"
    if quantity.theory is not None:
        allowed = spread / math.sqrt(n) + quantity.accuracy * (abs(quantity.theory) or 1.0)
        if abs(mean - quantity.theory) <= allowed:
            return "equals theory"
    return "differs"


def _row(experiment: Experiment, quantity: Quantity, values: Sequence[float], words: str) -> Row:
    found = _mean_and_std(values) if values else (None, None)
    mean, std = found[0], found[1] if len(values) > 1 else None
    facts = (quantity.published, quantity.band, quantity.theory, mean, std, len(values), words, quantity.runs)
    return Row(experiment.id, quantity.name, *facts)


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
    return plain(compose_checked(_overrides(experiment, seed)))


def _official_data() -> bool:
    root = data_root(compose_checked([]).data.root)
    return all((root / "FashionMNIST" / "raw" / name).exists() for name in MD5)


def _outcome(experiment: Experiment, seed: int, into: Path) -> dict[str, float]:
    """The numbers of one run, by `Quantity.key`."""
    if experiment.demo:
        return run_demo(experiment.demo, seed).numbers
    config = _config(experiment, seed)
    folder = into / experiment.id / ",".join([*experiment.overrides, f"seed={seed}"])
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
    rows = {int(row["epoch"]): row for row in MetricsFile(folder).rows()}
    numbers = {f"{name}@{epoch}": value for epoch, row in rows.items() for name, value in row.items()}
    numbers |= RunRecord.read(folder).fields["metrics"]["final"]
    if any(quantity.key not in numbers for quantity in quantities):
        weight, *bias = (v.flatten().double() for v in load_checkpoint(folder / LAST)["state_dict"].values())
        data = build_data(config)
        assert isinstance(data, RegressionData)
        numbers |= {f"w[{i}]": float(w) for i, w in enumerate(weight)}
        if len(data.w) == len(weight):
            numbers["|w error|"] = float((weight - data.w[:, 0]).abs().mean())
        if bias:
            numbers["|b error|"] = float(torch.abs(bias[0] - data.b).mean())
    return numbers


COLUMNS = ("experiment", "quantity", "published", "theory", "ours", "verdict")


def cells(row: Row) -> tuple[str, ...]:
    """The cells of a row as text, in the order of COLUMNS."""
    published = "" if row.published is None else number(row.published)
    if row.band:
        published += f" [{number(row.band[0])}, {number(row.band[1])}]"
    if row.published is not None:
        published += f" ({row.published_runs})"
    ours = "" if row.mean is None else number(row.mean)
    if row.std:
        ours += f" ± {number(row.std, 2)}"
    if row.n:
        ours += f" ({row.n})"
    return row.experiment, row.quantity, published.strip(), number(row.theory), ours, row.verdict


def number(value: float | None, digits: int = 4) -> str:
    """`value` to a number of significant digits, with an exponent where it is small; from 1,000 on as an integer."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 1e-3:
        return f"{value:,.0f}" if 1000 <= value < 1e9 else f"{value:.{digits}g}"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def as_text(rows: Sequence[Row]) -> str:
    """Two lines for each quantity, at most 80 columns wide; the number of runs is in parentheses."""
    lines = []
    for previous, row in zip([None, *rows], rows, strict=False):
        experiment, quantity, published, theory, ours, words = cells(row)
        if previous is None or previous.experiment != row.experiment:
            lines.append(experiment)
        facts = {"book": published, "theory": theory, "ours": ours}
        lines.append(f"  {quantity:40}{words}")
        lines.append("    " + "  ".join(f"{name} {value}" for name, value in facts.items() if value))
    return "\n".join(lines)


def as_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    table = [COLUMNS, ("---",) * len(COLUMNS), *map(cells, rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table)


def provenance(into: Path) -> str:
    """Date, data and versions of the runs below a folder, in Markdown."""
    records = [RunRecord.read(path.parent).fields for path in sorted(into.glob("*/*/run.json"))]
    found = [data for record in records if (data := record.get("data"))]
    data = {(each["name"], each["source"], each["checksum"]) for each in found if each["source"] != "synthetic"}
    lines = [f"Measured on {date.today().isoformat()}."]
    lines += [f"Data: {name}, {source}, SHA-256 {checksum}." for name, source, checksum in sorted(data)]
    return "\n".join([*lines, "Versions: " + ", ".join(f"{k} {v}" for k, v in versions().items()) + "."])


def as_csv(rows: Sequence[Row]) -> str:
    """A CSV table with a column for each field, and two for the band."""
    text = io.StringIO()
    table = [{**asdict(row), "band": None} for row in rows]
    for line, row in zip(table, rows, strict=True):
        del line["band"]
        line["band_low"], line["band_high"] = row.band or (None, None)
    writer = csv.DictWriter(text, list(table[0]) if table else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue().rstrip()


def as_json(rows: Sequence[Row]) -> str:
    """A JSON list of objects; what is not a finite number is null."""
    return json.dumps(finite([asdict(row) for row in rows]), indent=2, allow_nan=False)


FORMATS = {"text": as_text, "markdown": as_markdown, "csv": as_csv, "json": as_json}
