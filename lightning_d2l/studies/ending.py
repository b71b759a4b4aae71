"""What a sweep prints at its end, and `lightning-d2l report`: the table, the answer, the diagnosis and warnings."""

from __future__ import annotations

from collections import Counter

from lightning_d2l.config.escape import terminal
from lightning_d2l.config.lines import LOG, fill, shortened
from lightning_d2l.config.text import show
from lightning_d2l.studies.answer import places
from lightning_d2l.studies.diagnosis import NAMES
from lightning_d2l.studies.findings import Findings
from lightning_d2l.studies.labels import settings
from lightning_d2l.studies.points import series_of
from lightning_d2l.studies.tables import MOST_ROWS

MOST_CURVES = 4  # whose diagnosis is printed
MOST_WARNINGS = 6
MOST_LOST = 10  # runs and files
LONGEST = 2000  # characters of a sentence
INDENT = 14
"""Columns of the labels."""


def question(findings: Findings, width: int = LOG) -> list[str]:
    """The question of the study, as lines."""
    return fill(terminal(shortened(findings.study.question, LONGEST)), min(width, LOG)).splitlines()


def told(findings: Findings, width: int = LOG) -> list[str]:
    """The answer, the diagnosis of the curves that the table shows in part, and the warnings, as lines."""
    width = min(width, LOG)
    said = [fill(terminal(shortened(findings.answer.text, LONGEST)), width)]
    said += [labelled("diverging", line, width) for line in diverged(findings)]
    said += [labelled("diagnosis" * (not i), line, width) for i, line in enumerate(diagnoses(findings))]
    warnings = findings.warnings
    more = [f"{n} more; report.md has them"] if (n := len(warnings) - MOST_WARNINGS) > 0 else []
    for warning in [*warnings[:MOST_WARNINGS], *more]:
        said.append(fill(f"warning: {terminal(shortened(warning, LONGEST))}", width))
    return "\n".join(said).splitlines()


def ahead(findings: Findings) -> list[str]:
    """The command that would tell more, as a line, which no terminal must break; none if there is none."""
    return [terminal(f"{'run next':{INDENT}}{findings.next}")] if findings.next else []


def labelled(label: str, text: str, width: int = LOG) -> str:
    """A sentence behind its label, in lines of at most `width` columns."""
    return fill(shortened(terminal(text), LONGEST), width, first=label.ljust(INDENT), rest=" " * INDENT)


def diagnoses(findings: Findings) -> list[str]:
    """A line for each of the first curves; none where the table has the diagnosis of all settings.

    Where no curve has two points, as in a search, how often each diagnosis is made.
    """
    points, study = findings.points, findings.study
    if len(points) <= MOST_ROWS or not any(point.diagnosis for point in points):
        return []
    curves = series_of(study, points)
    if len(curves) == len(points):
        names = Counter(point.diagnosis.name for point in points if point.diagnosis)
        return [f"of {len(points)} settings {', '.join(f'{n} {name}' for name, n in names.most_common())}"]
    lines, curves = [], [curve for curve in curves if any(point.diagnosis for point in curve.points)]
    for curve in curves[:MOST_CURVES]:
        parts = [f"{name} {', '.join(at)}" for name in NAMES if (at := places(study.x, curve.points, name))]
        lines.append(f"{settings({**curve.setting})}: {'; '.join(parts)}" if curve.setting else "; ".join(parts))
    lines[0] = f"by {study.x}: {lines[0]}"
    more = [f"summary.csv has those of {len(curves) - MOST_CURVES} other curves"] if len(curves) > MOST_CURVES else []
    return [*lines, *more]


def diverged(findings: Findings) -> list[str]:
    """How many runs diverged and at which settings, in a line; no line if none did."""
    study, runs = findings.study, findings.runs
    if not (count := sum(run.state == "diverged" for run in runs)):
        return []
    places = []
    for series in series_of(study, findings.points):
        lost = [show(point.setting[study.x]) for point in series.points if study.x and point.count("diverged")]
        at = f"{study.x} {', '.join(lost)}" if lost else ""
        places += [f"{settings(series.setting)}, {at}" if series.setting else at] if at else []
    where = f": {'; '.join(places)}" if places else ""
    return [f"{count} of {len(runs)} runs{where}"[:300]]


def lost(findings: Findings) -> list[str]:
    """The first runs that failed or were interrupted, and files that can't be read, with the reasons."""
    found = [f"  {r.name}: {why}" for r, why in findings.unfinished.items() if r.state != "diverged"]
    found += [f"  {path}: {reason}" for path, reason in findings.unreadable.items()]
    more = [f"  ... and {len(found) - MOST_LOST} more"] if len(found) > MOST_LOST else []
    return [*map(terminal, found[:MOST_LOST]), *more]
