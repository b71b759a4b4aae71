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
from lightning_d2l.studies import board, figure, tables
from lightning_d2l.studies.document import document, render
from lightning_d2l.studies.findings import Findings, find
from lightning_d2l.studies.labels import columns, settings
from lightning_d2l.studies.points import best_first
from lightning_d2l.training.files import replacing


@dataclass
class Report:
    """Findings, and the files that show them: results, summary, markdown, html, png, svg, tensorboard."""

    findings: Findings
    paths: dict[str, Path]

    @property
    def answer(self) -> str:
        """The answer to the study's question, in a sentence or two."""
        return self.findings.answer.text

    def as_json(self) -> dict[str, Any]:
        """The report as plain values; missing numbers are None."""
        findings, study, found = self.findings, self.findings.study, self.findings.answer
        return {
            "folders": [str(sweep.folder) for sweep in findings.sweeps],
            "study": study.name or None,
            "question": study.question,
            "answer": self.answer,
            "x": study.x or None,
            "curves": list(study.curves),
            "select": study.select,
            "best": found.best and found.best.as_dict(),
            "runner_up": found.runner_up and found.runner_up.as_dict(),
            "diagnosis": found.diagnosis,
            "warnings": found.warnings,
            "counts": findings.counts,
            "points": [point.as_dict() for point in findings.points],
            "runs": tables.results(findings),
            "unfinished": [
                {"run": run.name, "status": run.status, "error": run.fields.get("error")} for run in findings.unfinished
            ],
            "unreadable": {str(path): reason for path, reason in findings.unreadable.items()},
            "data": findings.data,
            "versions": findings.versions,
            "commands": findings.commands,
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
    inline = re.sub(r"^.*?(?=<svg)", "", svg.decode(), count=1, flags=re.DOTALL).strip()  # without its XML prologue
    content = {"title": findings.study.question, "blocks": document(findings, caption), "svg": inline}
    files = {
        "results": ("results.csv", tables.csv_text(tables.results(findings)).encode()),
        "summary": ("summary.csv", tables.csv_text(tables.summary(findings)).encode()),
        "markdown": ("report.md", render("report.md.j2", **content)),
        "html": ("report.html", render("report.html.j2", **content)),
        "png": ("figure.png", png),
        "svg": ("figure.svg", svg),
    }
    try:
        for name, written in files.values():
            with replacing(into / name) as file:
                file.write(written)
        folder = board.write(findings, png, caption, into)
    except OSError as error:
        raise RequestError(f"--into={into}: the report can't be written ({error.strerror})") from error
    return Report(findings, {**{kind: into / name for kind, (name, _) in files.items()}, "tensorboard": folder})


def text(made: Report) -> str:
    """The report on the console: at most 80 columns, except for paths and long names."""
    findings, found = made.findings, made.findings.answer
    lines = [findings.study.question, found.text, *(f"{line}." for line in found.diagnosis[:8])]
    lines += ["The diagnoses of the other curves are in summary.csv."] if len(found.diagnosis) > 8 else []
    lines += [f"warning: {warning}" for warning in findings.warnings]
    paragraphs = [textwrap.fill(line, 80, break_long_words=False, break_on_hyphens=False) for line in lines]
    metric = findings.study.select
    shown = best_first(metric, findings.points)[:10]
    if len(shown) > 1:
        cells = [(settings(p.setting), p.estimates[metric].short, p.diagnosis) for p in shown]
        rows = [[setting, value, diagnosis.short if diagnosis else ""] for setting, value, diagnosis in cells]
        paragraphs.append(columns([["best first", metric, ""], *rows]))
    paragraphs.append(f"{findings.counted}.")
    lost = [f"  {run.name}: {reason}" for run, reason in findings.unfinished.items()]
    lost += [f"  {path}: {reason}" for path, reason in findings.unreadable.items()]
    paragraphs.append("\n".join([*lost[:10], *([f"  ... and {len(lost) - 10} more"] if len(lost) > 10 else [])]))
    paragraphs.append("\n".join(f"{kind:<12}{path}" for kind, path in made.paths.items()))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _rendered(drawn: Figure, form: str) -> bytes:
    file = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type")) if form == "svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "lightning_d2l"}):  # equal figures give equal files
        drawn.savefig(file, format=form, metadata=nothing)
    return file.getvalue()
