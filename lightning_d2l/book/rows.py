"""The rows of `lightning-d2l reproduce`, as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from lightning_d2l.config.lines import fill
from lightning_d2l.config.text import finite


@dataclass(frozen=True)
class Row:
    """What was published, computed and predicted of a number, and ours over `n` seeds.

    Ours are `mean`, standard deviation `std` and `median`. `verdict` is that on the published number; where nothing was
    published, that on theory or on what was `computed`. `source` says which: "published", "theory" or "computed".
    `standard_error` and `published_error` are those of the two medians and `z` their difference in both; of quantities
    on a `scale` "log" they are relative, and the `margin` is a factor.
    """

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
    theory_verdict: str
    source: str
    computed: float | None
    computed_band: tuple[float, float] | None
    median: float | None
    standard_error: float | None
    published_error: float | None
    z: float | None
    margin: float | None
    scale: str


COLUMNS = ("experiment", "quantity", "published", "margin", "ours", "verdict", "theory", "theory's verdict", "computed")


def cells(row: Row) -> tuple[str, ...]:
    """The cells of a row as text, in the order of COLUMNS."""
    published = "" if row.published is None else f"{with_range(row.published, row.band)} ({row.published_runs})"
    margin = "" if row.margin is None else f"x {row.margin:g}" if row.scale == "log" else f"± {number(row.margin)}"
    ours = "" if row.median is None else number(row.median)
    if row.std and row.mean is not None:
        ours += f"; {number(row.mean)} ± {number(row.std, 2)}"
    if row.n:
        ours += f" ({row.n})"
    theory = row.theory_verdict if row.source == "published" else ""
    computed = with_range(row.computed, row.computed_band)
    return row.experiment, row.quantity, published, margin, ours, row.verdict, number(row.theory), theory, computed


def with_range(value: float | None, band: tuple[float, float] | None) -> str:
    """A number and a range behind it."""
    return f"{number(value)} [{number(band[0])}, {number(band[1])}]".strip() if band else number(value)


def number(value: float | None, digits: int = 4) -> str:
    """`value` to a number of significant digits, with an exponent where it is small; from 1,000 on as an integer."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 1e-3:
        return f"{value:,.0f}" if 1000 <= value < 1e9 else f"{value:.{digits}g}"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def as_text(rows: Sequence[Row]) -> str:
    """Two to four lines for each quantity, at most 80 columns wide; the number of runs is in parentheses."""
    lines = []
    for previous, row in zip([None, *rows], rows, strict=False):
        experiment, quantity, published, margin, ours, words, theory, of_theory, computed = cells(row)
        if previous is None or previous.experiment != row.experiment:
            lines.append(experiment)
        lines.append(f"  {quantity:40}{words}")
        facts = {"book": published, "ours": ours, "margin": margin}
        others = {"computed": computed, "theory": f"{theory}, {of_theory}" if of_theory else theory}
        for line in (facts, others):
            text = "  ".join(f"{name} {value}".replace(" ", "\0") for name, value in line.items() if value)
            lines += fill(text, first="    ", rest="    ").replace("\0", " ").splitlines() if text else []
    return "\n".join(lines)


def as_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    table = [COLUMNS, ("---",) * len(COLUMNS), *map(cells, rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table)


def as_csv(rows: Sequence[Row]) -> str:
    """A CSV table with a column for each field, and two for each range."""
    text = io.StringIO()
    table = [asdict(row) for row in rows]
    for line in table:
        for name in ("band", "computed_band"):
            line[f"{name}_low"], line[f"{name}_high"] = line.pop(name) or (None, None)
    writer = csv.DictWriter(text, list(table[0]) if table else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue().rstrip()


def as_json(rows: Sequence[Row]) -> str:
    """A JSON list of objects; what is not a finite number is null."""
    return json.dumps(finite([asdict(row) for row in rows]), indent=2, allow_nan=False)


FORMATS = {"text": as_text, "markdown": as_markdown, "csv": as_csv, "json": as_json}
