"""The report of a sweep: tables, figure, Markdown, HTML and a summary for TensorBoard."""

from __future__ import annotations

import io
import re
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.text import duration, number
from lightning_d2l.studies import board, figure, tables
from lightning_d2l.studies.diagnosis import TOLERANCE
from lightning_d2l.studies.document import Block, Picture, Table, Text, html_page, markdown
from lightning_d2l.studies.findings import Findings, find
from lightning_d2l.studies.labels import columns, settings, words
from lightning_d2l.studies.points import Point, best_first
from lightning_d2l.studies.statistics import Estimate
from lightning_d2l.training.files import replacing
from lightning_d2l.training.record import RunRecord

MOST_ROWS = 100
"""Longer tables show the best settings only."""


@dataclass
class Report:
    """Findings, and the files that show them: results, summary, markdown, html, png, svg, tensorboard."""

    findings: Findings
    caption: str
    paths: dict[str, Path]

    @property
    def answer(self) -> str:
        """The answer to the study's question, in a sentence or two."""
        return self.findings.answer.text

    def as_json(self) -> dict[str, Any]:
        """The report as plain values; missing numbers are None."""
        findings, study = self.findings, self.findings.study
        return {
            "folders": [str(sweep.folder) for sweep in findings.sweeps],
            "study": study.name or None,
            "question": study.question,
            "answer": self.answer,
            "x": study.x or None,
            "curves": list(study.curves),
            "select": study.select,
            "best": _point(findings.answer.best),
            "runner_up": _point(findings.answer.runner_up),
            "diagnosis": findings.answer.diagnosis,
            "warnings": findings.answer.warnings,
            "counts": findings.counts,
            "points": [_point(point) for point in findings.points],
            "runs": tables.results(findings),
            "unfinished": [
                {"run": run.name, "status": run.status, "error": run.fields.get("error")} for run in findings.unfinished
            ],
            "unreadable": {str(path): reason for path, reason in findings.unreadable.items()},
            "data": findings.data(),
            "versions": findings.versions(),
            "commands": findings.commands(),
            "paths": {name: str(path) for name, path in self.paths.items()},
        }


def report(folders: Sequence[Path], into: Path | None = None) -> Report:
    """Write the report of one sweep, or a comparison of several, into a folder; returns it.

    By default `into` is the folder of the sweep, or outputs/reports/TIME for several. Raises RequestError if there is
    nothing to report on, or the folder can't be written.
    """
    findings = find(folders)
    if into is None:
        several = Path("outputs/reports") / time.strftime("%Y-%m-%d_%H-%M-%S")
        into = findings.sweeps[0].folder if len(findings.sweeps) == 1 else several
    return write(findings, into)


def write(findings: Findings, into: Path) -> Report:
    """Write the report of findings into a folder; raises RequestError if it can't be written."""
    drawn, caption = figure.draw(findings.study, findings.points, findings.runs)
    drawn.draw_without_rendering()  # computes the layout once for both files
    drawn.set_layout_engine("none")
    png, svg = _rendered(drawn, "png"), _rendered(drawn, "svg")
    blocks = document(findings, Picture("figure.png", _inline(svg), findings.study.question, caption))
    title = findings.study.question
    files = {
        "results": ("results.csv", tables.csv_text(tables.results(findings)).encode()),
        "summary": ("summary.csv", tables.csv_text(tables.summary(findings)).encode()),
        "markdown": ("report.md", markdown(blocks).encode()),
        "html": ("report.html", html_page(title, blocks).encode()),
        "png": ("figure.png", png),
        "svg": ("figure.svg", svg),
    }
    try:
        for name, content in files.values():
            with replacing(into / name) as file:
                file.write(content)
        folder = board.write(findings, png, caption, into)
    except OSError as error:
        raise RequestError(f"--into={into}: the report can't be written ({error.strerror})") from error
    paths = {kind: into / name for kind, (name, _) in files.items()}
    return Report(findings, caption, {**paths, "tensorboard": folder})


def document(findings: Findings, picture: Picture) -> list[Block]:
    """The content of the report: question, answer, warnings, figure, tables, and the origin of the data."""
    study, found = findings.study, findings.answer
    blocks: list[Block] = [Text(study.question, "title"), Text(found.text, "lead")]
    blocks += [Text(warning, "warning") for warning in [*_about_data(findings), *found.warnings]]
    blocks += [picture]
    if found.diagnosis:
        blocks += [Text("Underfitting or overfitting", "heading"), *(Text(f"{line}.") for line in found.diagnosis)]
        blocks += [Text(_rule())]
    blocks += [Text("Settings", "heading"), _table(findings)]
    if len(findings.points) > MOST_ROWS:
        blocks += [Text(f"The {MOST_ROWS} best of {len(findings.points)} settings; summary.csv has them all.")]
    for each in findings.sweeps:
        if shares := each.fields.get("importance"):
            rows = [[key, f"{share:.0%}"] for key, share in sorted(shares.items(), key=lambda item: -item[1])]
            text = "The share of each setting in what makes trials good (PED-ANOVA, Watanabe et al. 2023)."
            blocks += [Text("Importance of the settings", "heading"), Text(text), Table(["setting", "share"], rows)]
    blocks += [Text("Runs", "heading"), Text(f"{counts(findings)}. Together they took {duration(findings.seconds())}.")]
    if findings.unfinished:
        rows = [[run.name, run.status, _reason(run)] for run in findings.unfinished]
        blocks += [Table(["run", "status", "reason"], rows)]
    if findings.unreadable:
        rows = [[str(path), reason] for path, reason in findings.unreadable.items()]
        blocks += [Text("Files that can't be read and are left out:"), Table(["file", "reason"], rows)]
    if differing := findings.fixed_differences():
        header = ["setting", *(sweep.label for sweep in findings.sweeps)]
        rows = [[key, *values] for key, values in differing.items()]
        blocks += [Text("Other settings that differ between the sweeps", "heading"), Table(header, rows)]
    blocks += [Text("Data", "heading"), _data(findings)]
    versions = findings.versions()
    blocks += [Text("Versions", "heading"), Table(["package", "version"], [[*item] for item in versions.items()])]
    blocks += [Text("Command", "heading"), *(Text(command, "code") for command in findings.commands())]
    return blocks


def text(made: Report) -> str:
    """The report on the console: at most 80 columns, except for paths and long names."""
    findings, found = made.findings, made.findings.answer
    lines = [findings.study.question, found.text, *(f"{line}." for line in found.diagnosis[:8])]
    lines += ["The diagnoses of the other curves are in summary.csv."] if len(found.diagnosis) > 8 else []
    lines += [f"warning: {warning}" for warning in [*_about_data(findings), *found.warnings]]
    paragraphs = [textwrap.fill(line, 80, break_long_words=False, break_on_hyphens=False) for line in lines]
    metric = findings.study.select
    shown = best_first(metric, findings.points)[:10]
    if len(shown) > 1:
        rows = [
            [settings(p.setting), _short(p.estimates[metric]), p.diagnosis.short if p.diagnosis else ""] for p in shown
        ]
        paragraphs.append(columns([["best first", metric, ""], *rows]))
    paragraphs.append(f"{counts(findings)}.")
    lost = [f"  {run.name}: {_reason(run)}" for run in findings.unfinished]
    lost += [f"  {path}: {reason}" for path, reason in findings.unreadable.items()]
    paragraphs += ["\n".join([*lost[:10], *([f"  ... and {len(lost) - 10} more"] if len(lost) > 10 else [])])]
    paragraphs.append("\n".join(f"{kind:<12}{path}" for kind, path in made.paths.items()))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def counts(findings: Findings) -> str:
    """`58 completed, 1 diverged, 1 missing`."""
    return ", ".join(f"{n} {name}" for name, n in findings.counts.items())


def _table(findings: Findings) -> Table:
    study, points = findings.study, findings.points
    if len(points) > MOST_ROWS:
        points = best_first(study.select, points)[:MOST_ROWS]
    metrics = list(dict.fromkeys([*study.metrics, study.select]))
    header = [*study.keys, *(f"{metric} [95 % interval]" for metric in metrics), "n", "diagnosis"]
    rows = []
    for point in points:
        completed, all_runs = point.count("completed"), len(point.runs)
        n = f"{completed} of {all_runs}" if completed < all_runs else f"{completed}"
        cells = [_short(point.estimates[m]) if m in point.estimates else "" for m in metrics]
        rows.append([*(words(k, point.setting[k]) for k in study.keys), *cells, n, str(point.diagnosis or "")])
    best = findings.answer.best
    return Table(header, rows, next((i for i, point in enumerate(points) if point is best), None))


def _short(estimate: Estimate) -> str:
    if estimate.n < 2:
        return number(estimate.mean)
    return f"{number(estimate.mean)} [{number(estimate.low)}, {number(estimate.high)}]"


def _rule() -> str:
    return (
        f"Well fitted: the held-out loss is at most {TOLERANCE:.0%} above the floor. The floor is the variance of the "
        "noise if it is known, else the lowest held-out loss reached here. Otherwise the larger of two parts decides: "
        "train - floor means underfitting, held-out - train means overfitting. ~ and (or ...) mark uncertain diagnoses."
    )


def _about_data(findings: Findings) -> list[str]:
    """A warning if the data are generated garments."""
    if any(each["source"] == "generated" for each in findings.data()):
        return ["Measured on generated garments, not on Fashion-MNIST."]
    return []


def _data(findings: Findings) -> Table:
    found = findings.data()
    rows = [[d["name"], d["source"], d["checksum"][:16], str(d["runs"])] for d in found[:10]]
    if len(found) > 10:
        rows.append([f"and {len(found) - 10} more", "", "", str(sum(d["runs"] for d in found[10:]))])
    return Table(["data", "source", "checksum", "runs"], rows)


def _reason(run: RunRecord) -> str:
    lines = str(run.fields.get("error") or "no reason was recorded").strip().splitlines()
    return lines[0][:300] if lines else ""


def _point(point: Point | None) -> dict[str, Any] | None:
    if point is None:
        return None
    return {
        "setting": point.setting,
        "metrics": {name: estimate.as_dict() for name, estimate in point.estimates.items()},
        "diagnosis": point.diagnosis.name if point.diagnosis else None,
        "or_else": point.diagnosis.or_else if point.diagnosis else None,
    }


def _rendered(drawn: Figure, form: str) -> bytes:
    file = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type")) if form == "svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "lightning_d2l"}):  # equal figures give equal files
        drawn.savefig(file, format=form, metadata=nothing)
    return file.getvalue()


def _inline(svg: bytes) -> str:
    """An SVG without its XML prologue, for HTML."""
    return re.sub(r"^.*?(?=<svg)", "", svg.decode(), count=1, flags=re.DOTALL).strip()
