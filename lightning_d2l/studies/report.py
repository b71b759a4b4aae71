"""From a sweep's folder to its report: tables, figure, Markdown, HTML, TensorBoard."""

from __future__ import annotations

import io
import math
import re
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
from lightning_d2l.studies.document import Block, Code, Heading, Paragraph, Picture, Table, html_page, markdown
from lightning_d2l.studies.findings import Findings, find
from lightning_d2l.studies.labels import columns, settings, words
from lightning_d2l.studies.points import Point, best_first
from lightning_d2l.studies.statistics import Estimate
from lightning_d2l.training.files import replacing

MOST_ROWS = 100
"""Longer tables show the best settings; summary.csv has them all."""


@dataclass
class Report:
    """What was found, and the files that say so: results, summary, markdown, html, png, svg, tensorboard."""

    findings: Findings
    caption: str
    paths: dict[str, Path]

    @property
    def answer(self) -> str:
        """The study's answer in a sentence or two."""
        return self.findings.answer.text

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values; None where there is no number."""
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
                {"run": r.name, "status": r.status, "error": r.record.get("error")} for r in findings.unfinished
            ],
            "unreadable": {str(path): reason for path, reason in findings.unreadable.items()},
            "data": findings.data(),
            "versions": findings.versions(),
            "commands": findings.commands(),
            "paths": {name: str(path) for name, path in self.paths.items()},
        }


def report(folders: Sequence[Path], into: Path | None = None) -> Report:
    """Write the report of one sweep, or of several compared, into a folder; returns it.

    `into` is the sweep's own folder by default, or outputs/reports/TIME for several. Raises RequestError if there is
    nothing to report on, or the folder can't be written.
    """
    findings = find(folders)
    if into is None:
        several = Path("outputs/reports") / time.strftime("%Y-%m-%d_%H-%M-%S")
        into = findings.sweeps[0].folder if len(findings.sweeps) == 1 else several
    return write(findings, into)


def write(findings: Findings, into: Path) -> Report:
    """Write the report of what was found into a folder; raises RequestError if it can't be written."""
    drawn, caption = figure.draw(findings.study, findings.points, findings.runs)
    drawn.draw_without_rendering()  # lays it out, which need not be done again for each of the two files
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
    """The report's text: question, answer, figure, table, what to beware of, and where it all came from."""
    study, found = findings.study, findings.answer
    blocks: list[Block] = [Heading(study.question, 1), Paragraph(found.text, "lead")]
    blocks += [Paragraph(warning, "warning") for warning in [*_about_data(findings), *found.warnings]]
    blocks += [picture]
    if found.diagnosis:
        blocks += [Heading("Underfitting or overfitting"), *(Paragraph(f"{line}.") for line in found.diagnosis)]
        blocks += [Paragraph(_rule())]
    blocks += [Heading("Settings"), _table(findings)]
    if len(findings.points) > MOST_ROWS:
        blocks += [Paragraph(f"The {MOST_ROWS} best of {len(findings.points)} settings; summary.csv has them all.")]
    for each in findings.sweeps:
        if shares := each.facts.get("importance"):
            rows = [[key, f"{share:.0%}"] for key, share in sorted(shares.items(), key=lambda item: -item[1])]
            said = "Each setting's share in what tells good trials from the others (PED-ANOVA, Watanabe et al. 2023)."
            blocks += [Heading("Importance of the settings"), Paragraph(said), Table(["setting", "share"], rows)]
    blocks += [Heading("Runs"), Paragraph(f"{counts(findings)}. Together they took {duration(findings.seconds())}.")]
    if findings.unfinished:
        rows = [[run.name, run.status, _reason(run.record)] for run in findings.unfinished]
        blocks += [Table(["run", "status", "reason"], rows)]
    if findings.unreadable:
        rows = [[str(path), reason] for path, reason in findings.unreadable.items()]
        blocks += [Paragraph("Left out, since they can't be read:"), Table(["file", "reason"], rows)]
    if differing := findings.fixed_differences():
        header = ["setting", *(sweep.label for sweep in findings.sweeps)]
        rows = [[key, *values] for key, values in differing.items()]
        blocks += [Heading("What differs between the sweeps beside what they vary"), Table(header, rows)]
    blocks += [Heading("Data"), _data(findings)]
    versions = findings.versions()
    blocks += [Heading("Versions"), Table(["package", "version"], [[*item] for item in versions.items()])]
    blocks += [Heading("To repeat it"), *(Code(command) for command in findings.commands())]
    return blocks


def text(made: Report) -> str:
    """What the console shows of a report: lines of at most 80 columns but for paths and long names."""
    findings, found = made.findings, made.findings.answer
    said = [findings.study.question, found.text, *(f"{line}." for line in found.diagnosis[:8])]
    said += ["The other curves' diagnoses are in summary.csv."] if len(found.diagnosis) > 8 else []
    said += [f"beware: {warning}" for warning in [*_about_data(findings), *found.warnings]]
    paragraphs = [_wrapped(paragraph) for paragraph in said]
    metric = findings.study.select
    shown = best_first(metric, findings.points)[:10]
    if len(shown) > 1:
        rows = [
            [settings(p.setting), _short(p.estimates[metric]), p.diagnosis.short if p.diagnosis else ""] for p in shown
        ]
        paragraphs.append(columns([["best first", metric, ""], *rows]))
    paragraphs.append(f"{counts(findings)}.")
    lost = [f"  {run.name}: {_reason(run.record)}" for run in findings.unfinished]
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
        n = f"{point.count('completed')}" + (
            f" of {len(point.runs)}" if point.count("completed") < len(point.runs) else ""
        )
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
        f"Well fitted: the held-out loss is at most {TOLERANCE:.0%} above the floor, which is the noise's variance "
        "where it is known, else the lowest held-out loss reached here. Otherwise the larger of two parts names it: "
        "train - floor is underfitting, held-out - train is overfitting. ~ and (or ...) mark a border that lies within "
        "the uncertainty."
    )


def _about_data(findings: Findings) -> list[str]:
    """A warning where drawn garments stand in for Fashion-MNIST."""
    if any(each["source"] == "generated" for each in findings.data()):
        return ["Measured on generated garments, not on Fashion-MNIST."]
    return []


def _data(findings: Findings) -> Table:
    found = findings.data()
    rows = [[d["name"], d["source"], d["checksum"][:16], str(d["runs"])] for d in found[:10]]
    if len(found) > 10:
        rows.append([f"and {len(found) - 10} more", "", "", str(sum(d["runs"] for d in found[10:]))])
    return Table(["data", "source", "checksum", "runs"], rows)


def _reason(record: Any) -> str:
    lines = str(record.get("error") or "no reason was recorded").strip().splitlines()
    return lines[0][:300] if lines else ""


def _wrapped(paragraph: str) -> str:
    import textwrap

    return textwrap.fill(paragraph, 80, break_long_words=False, break_on_hyphens=False)


def _point(point: Point | None) -> dict[str, Any] | None:
    if point is None:
        return None
    metrics = {}
    for name, e in point.estimates.items():
        std, low, high = (None if math.isnan(value) else value for value in (e.std, e.low, e.high))
        metrics[name] = {"mean": e.mean, "std": std, "ci_low": low, "ci_high": high, "method": e.method, "n": e.n}
    return {
        "setting": point.setting,
        "metrics": metrics,
        "diagnosis": point.diagnosis.name if point.diagnosis else None,
        "or_else": point.diagnosis.or_else if point.diagnosis else None,
    }


def _rendered(drawn: Figure, form: str) -> bytes:
    file = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type")) if form == "svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "lightning_d2l"}):  # the same figure is the same file
        drawn.savefig(file, format=form, metadata=nothing)
    return file.getvalue()


def _inline(svg: bytes) -> str:
    """An SVG without the XML prologue, to stand inside HTML."""
    return re.sub(r"^.*?(?=<svg)", "", svg.decode(), count=1, flags=re.DOTALL).strip()
