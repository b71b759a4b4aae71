"""The document of a report: blocks of text, tables and a figure, which templates write as Markdown and as a page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lightning_d2l.config.escape import markdown, terminal
from lightning_d2l.config.text import cut, duration
from lightning_d2l.studies.diagnosis import TOLERANCE
from lightning_d2l.studies.findings import Findings
from lightning_d2l.studies.labels import LONGEST, words
from lightning_d2l.studies.points import best_first, summarised
from lightning_d2l.studies.trials import is_search

MOST_ROWS = 100
"""Longer tables show the best settings only."""
MOST_DATA = 10
MOST_CURVES = 8
"""The diagnoses of more curves are counted; the table of settings has each."""
RULE = (
    "Not learnt: no better than the trivial predictor, which knows the training targets alone. Well fitted: the "
    f"held-out loss is at most {TOLERANCE:.0%} above the reference, which is the noise of generated data or what "
    "study.reference names; best here: the same against the lowest loss of the report, where no reference is known. "
    "Otherwise the larger part decides: train - reference means underfitting, held-out - train means overfitting. "
    "~ and (or ...) mark uncertain diagnoses."
)


@dataclass(frozen=True)
class Block:
    """A block of a document: title, heading, lead, warning, paragraph, code, picture, fits (their captions) or
    table.

    A table has rows of cells below a header; `best` is the number of the row to highlight.
    """

    kind: str
    text: str = ""
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    best: int | None = None


def table(header: Sequence[str], rows: Sequence[Sequence[str]], best: int | None = None) -> Block:
    return Block("table", "", header, rows, best)


def render(template: str, **values: object) -> bytes:
    """The text of a template beside this file; in HTML, values are escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # needed for reports only

    environment = Environment(
        loader=PackageLoader(__package__, ""),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        finalize=_without_controls if template.endswith(".html.j2") else None,
    )
    environment.filters |= {"plain": markdown, "fenced": _fenced}
    return environment.get_template(template).render(values).encode()


def _without_controls(value: object) -> object:
    """Text of a page without control and bidi characters; markup, which is no plain text, as it is."""
    return terminal(value, keep="\n") if type(value) is str else value


def _fenced(text: str) -> str:
    """A block of code in Markdown, which text within can't end."""
    fence = "`" * (1 + max((len(ticks) for ticks in re.findall("`+", text)), default=2))
    return "\n".join([fence, terminal(text, keep="\n"), fence])


def document(findings: Findings, caption: str | None, of_fits: str | None = None) -> list[Block]:
    """The content of the report: question, answer, warnings, figures, tables, and the origin of the data.

    Without a figure, or one of fitted functions, `caption` or `of_fits` is None.
    """
    study, found = findings.study, findings.answer
    blocks = [Block("title", study.question), Block("lead", found.text)]
    blocks += [Block("warning", warning) for warning in findings.warnings]
    blocks += [Block("paragraph", "What to run next:"), Block("code", findings.next)] if findings.next else []
    blocks += [] if caption is None else [Block("picture", caption)]
    blocks += [] if of_fits is None else [Block("fits", of_fits)]
    if found.diagnosis:
        lines = [*_diagnoses(findings), RULE]
        blocks += [Block("heading", "Underfitting or overfitting"), *(Block("paragraph", line) for line in lines)]
    blocks += [Block("heading", "Settings"), _settings(findings)]
    if len(findings.points) > MOST_ROWS:
        more = f"The {MOST_ROWS} best of {len(findings.points)} settings; summary.csv has them all."
        blocks += [Block("paragraph", more)]
    for sweep in findings.sweeps:
        if shares := sweep.fields.get("importance"):
            rows = [[key, f"{share:.0%}"] for key, share in sorted(shares.items(), key=lambda item: -item[1])]
            text = "The share of each setting in what makes trials good (PED-ANOVA, Watanabe et al. 2023)."
            blocks += [Block("heading", "Importance of the settings"), Block("paragraph", text)]
            blocks += [table(["setting", "share"], rows)]
    together = f"{findings.counted}. Together they took {duration(findings.seconds)}."
    blocks += [Block("heading", "Runs"), Block("paragraph", " ".join(filter(None, [together, findings.stopped])))]
    for each in findings.pruned:
        rows = [
            [
                str(r.number),
                str(r.epoch),
                str(r.runs),
                str(r.pruned),
                str(r.survivors),
                cut("; ".join(r.settings), LONGEST),
            ]
            for r in each.rungs
        ]
        blocks += [Block("heading", "Rungs"), Block("paragraph", f"{each}.")]
        blocks += [table(["rung", "epoch", "runs in", "pruned", "survivors", "settings pruned"], rows)]
    if findings.unfinished:
        rows = [[run.name, run.state, reason] for run, reason in findings.unfinished.items()]
        blocks += [table(["run", "status", "reason"], _first(rows))]
    if findings.unreadable:
        rows = [[str(path), reason] for path, reason in findings.unreadable.items()]
        blocks += [
            Block("paragraph", "Files that can't be read and are left out:"),
            table(["file", "reason"], _first(rows)),
        ]
    if differing := findings.fixed_differences():
        header = ["setting", *(sweep.label for sweep in findings.sweeps)]
        rows = [[key, *(cut(value, LONGEST) for value in values)] for key, values in differing.items()]
        blocks += [Block("heading", "Other settings that differ between the sweeps"), table(header, _first(rows))]
    data = findings.data
    rows = [[d["name"], d["source"], d["checksum"][:16], str(d["runs"])] for d in data[:MOST_DATA]]
    if more_data := data[MOST_DATA:]:
        rows.append([f"and {len(more_data)} more", "", "", str(sum(d["runs"] for d in more_data))])
    blocks += [Block("heading", "Data"), table(["data", "source", "checksum", "runs"], rows)]
    versions = [[*item] for item in findings.versions.items()]
    blocks += [Block("heading", "Versions"), table(["package", "version"], versions)]
    return [*blocks, Block("heading", "Command"), *(Block("code", command) for command in findings.commands)]


def _first(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """The first rows of a table, and how many more there are."""
    more = [[f"and {len(rows) - MOST_ROWS} more", *([""] * (len(rows[0]) - 1))]] if len(rows) > MOST_ROWS else []
    return [*rows[:MOST_ROWS], *more]


def _diagnoses(findings: Findings) -> list[str]:
    """A sentence for each curve, or, for a search and for many curves, one that counts the settings."""
    found = [point.diagnosis.name for point in findings.points if point.diagnosis]
    searched = is_search(findings.study, findings.points, findings.runs)
    if len(findings.answer.diagnosis) <= MOST_CURVES and not searched:
        return [f"{line}." for line in findings.answer.diagnosis]
    counted = ", ".join(f"{n} {name}" for name, n in Counter(found).most_common())
    return [f"Of {len(found)} settings: {counted}. The table of settings has the diagnosis of each."]


def _settings(findings: Findings) -> Block:
    """A row for each setting, best first in a search; the best ones if there are more than MOST_ROWS."""
    study, points = findings.study, findings.points
    if is_search(study, points, findings.runs) or len(points) > MOST_ROWS:
        ranked = best_first(study.select, points)
        there = {id(point) for point in ranked}
        points = [*ranked, *(point for point in points if id(point) not in there)][:MOST_ROWS]
    metrics = dict.fromkeys([*study.metrics, study.select])
    header = [*study.keys, *(f"{summarised(metric, points)} [95 % interval]" for metric in metrics), "n", "diagnosis"]
    rows = []
    for point in points:
        completed, started = point.count("completed"), len(point.runs)
        n = f"{completed} of {started}" if completed < started else f"{completed}"
        cells = [point.estimates[name].short if name in point.estimates else "" for name in metrics]
        diagnosed = point.diagnosis.described if point.diagnosis else ""
        rows.append([*(cut(words(k, point.setting[k]), LONGEST) for k in study.keys), *cells, n, diagnosed])
    best = next((i for i, point in enumerate(points) if point is findings.marked), None)
    return table(header, rows, best)
