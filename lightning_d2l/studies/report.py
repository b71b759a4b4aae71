"""The report of a sweep: tables, figure, Markdown, HTML and a summary for TensorBoard."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.escape import terminal
from lightning_d2l.config.garbage import without_collection
from lightning_d2l.config.lines import LOG, fill
from lightning_d2l.config.text import cut
from lightning_d2l.studies import board, ending, figure, sides, tables, trials
from lightning_d2l.studies.document import document, render
from lightning_d2l.studies.findings import Findings, find
from lightning_d2l.studies.interactive import content as interactive_parts
from lightning_d2l.studies.interactive import is_wanted
from lightning_d2l.studies.interactive_fits import Fitted
from lightning_d2l.studies.picture import picture_of
from lightning_d2l.studies.study import Study
from lightning_d2l.training.files import replacing

T = TypeVar("T")
TABLES = {"results": tables.results, "summary": tables.summary}
FITS = "fits.png"
FIGURE_OF_FITS = "figure of the fitted functions"
PAGES = {"markdown": "report.md", "html": "report.html"}
# Equal figures give equal files; a person's matplotlibrc starts no LaTeX.
SETTINGS: Any = {"svg.hashsalt": "lightning_d2l", "text.usetex": False}


@dataclass
class Report:
    """Findings, and the files that show them: results, summary, markdown, html, png, svg, fits, tensorboard.

    Without a figure, or a summary for TensorBoard, that could not be made `findings.failures` says why.
    """

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
            "verdict": found.verdict or None,
            "next": findings.next or None,
            "x": study.x or None,
            "curves": list(study.curves),
            "select": study.select,
            "best": found.best and found.best.as_dict(),
            "runner_up": found.runner_up and found.runner_up.as_dict(),
            "diagnosis": found.diagnosis,
            "warnings": findings.warnings,
            "counts": findings.counts,
            "stopped": findings.stopped or None,
            "pruned": next((each.as_dict() for each in findings.pruned), None),
            "points": [point.as_dict() for point in findings.points],
            "runs": [*tables.results(findings)],
            "unfinished": [
                {"run": run.name, "status": run.state, "error": run.fields.get("error")} for run in findings.unfinished
            ],
            "unreadable": {str(path): reason for path, reason in findings.unreadable.items()},
            "data": findings.data,
            "versions": findings.versions,
            "commands": findings.commands,
            "paths": {name: str(path) for name, path in self.paths.items()},
        }


def report(
    folders: Sequence[Path],
    into: Path | None = None,
    *,
    interactive: bool | None = None,
    fitted: Callable[[Findings], Fitted | None] | None = None,
) -> Report:
    """Write the report of one sweep, or a comparison of several, into a folder; returns it.

    By default `into` is the folder of the sweep, or outputs/reports/TIME for several. `write` explains the others.
    Raises RequestError if there is nothing to report on, or the folder can't be written.
    """
    interactive = is_wanted(interactive)
    findings = find(folders)
    if into is None:
        several = Path("outputs/reports") / time.strftime("%Y-%m-%d_%H-%M-%S")
        into = findings.sweeps[0].folder if len(findings.sweeps) == 1 else several
    return write(findings, into, interactive=interactive, fitted=fitted)


@without_collection()
def write(
    findings: Findings,
    into: Path,
    *,
    interactive: bool | None = None,
    fitted: Callable[[Findings], Fitted | None] | None = None,
) -> Report:
    """Write the report of findings into a folder; raises RequestError if it can't be written.

    The page is `interactive` by default if plotly is installed. `fitted` finds the functions of one variable that the
    runs have fitted, of which there is a figure, and in an interactive page a slider. A figure or a summary for
    TensorBoard that can't be made is left out, with a warning.
    """
    touched = is_wanted(interactive)
    findings.failures.clear()
    drawn = _drawn(findings)
    png, svg, caption = drawn or (None, None, None)
    fits = _attempted(findings, FIGURE_OF_FITS, lambda: fitted(findings)) if fitted else None
    beside = _attempted(findings, FIGURE_OF_FITS, lambda: _beside(findings, fits)) if fits else None
    try:
        paths = {kind: into / f"{kind}.csv" for kind in TABLES}
        for kind, path in paths.items():
            with replacing(path) as file:
                tables.write_csv(file, TABLES[kind](findings))
        figures = {"figure": (png, caption or "")} if png else {}
        figures |= {"fits": beside} if beside else {}
        summarised = _attempted(findings, "summary for TensorBoard", lambda: board.write(findings, figures, into))
        live = _live(findings, fits) if touched and drawn else None
        blocks = document(findings, caption, beside and beside[1])
        content: dict[str, Any] = {
            "title": findings.study.question,
            "blocks": blocks,
            "svg": _inline(svg),
            "fits": _embedded(beside[0]) if beside else "",
            "live": live,
        }
        for kind, name in PAGES.items():
            paths[kind] = _write(into / name, render(f"{name}.j2", **content))
        made = {"png": ("figure.png", png), "svg": ("figure.svg", svg), "fits": (FITS, beside and beside[0])}
        for kind, (name, picture) in made.items():
            if picture is not None:
                paths[kind] = _write(into / name, picture)
            else:  # an earlier figure shows other numbers
                with suppress(OSError):
                    (into / name).unlink()
    except OSError as error:
        raise RequestError(f"--into={into}: the report can't be written ({error.strerror})") from error
    return Report(findings, paths | ({"tensorboard": summarised} if summarised else {}))


def _write(path: Path, content: bytes | str) -> Path:
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return path


def _attempted(findings: Findings, what: str, make: Callable[[], T]) -> T | None:
    """What `make` returns, or None, with a line among the failures: the rest of a report is worth more than a part."""
    try:
        return make()
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "")
        findings.failures.append(f"There is no {what}: {cut(f'{type(error).__name__}: {reason}', 200)}.")
        return None


def _drawn(findings: Findings) -> tuple[bytes, bytes, str] | None:
    """The figure as PNG and SVG and its caption, without theory if that can't be drawn; None if nothing can."""
    study = findings.study
    what = f"theory ({study.theory}) in the figure" if study.theory else "figure"
    made = _attempted(findings, what, lambda: _pictures(findings, study))
    if made is None and study.theory:
        plain = dataclasses.replace(study, theory=None)
        made = _attempted(findings, "figure", lambda: _pictures(findings, plain))
    return made


def _beside(findings: Findings, fits: Fitted) -> tuple[bytes, str] | None:
    """The figure of the fitted functions side by side as PNG, and its caption; None if there are no such functions."""
    with warnings.catch_warnings(), np.errstate(all="ignore"), matplotlib.rc_context(SETTINGS):
        warnings.simplefilter("ignore")
        found = sides.draw(findings.study, findings.points, fits)
        return found and (_rendered(found[0], "png"), found[1])


def _live(findings: Findings, fits: Fitted | None) -> dict[str, Any] | None:
    """The interactive parts of the page, without theory if that can't be drawn."""
    study = findings.study
    if any("theory" in line for line in findings.failures):  # it could not be drawn in the figure either
        study = dataclasses.replace(study, theory=None)

    def made() -> dict[str, Any] | None:
        with np.errstate(all="ignore"):
            points, thinned = trials.thinned(study, findings.points, findings.runs)
            runs = [run for point in points for run in point.runs] if thinned else findings.runs
            drawn = picture_of(study, points, runs)
            caption = " ".join(filter(None, [thinned, drawn.caption]))
            return interactive_parts(findings, dataclasses.replace(drawn, caption=caption), fits)

    return _attempted(findings, "interactive figure", made)


def _pictures(findings: Findings, study: Study) -> tuple[bytes, bytes, str]:
    drawn, caption = picture(findings, study)
    with warnings.catch_warnings(), np.errstate(all="ignore"), matplotlib.rc_context(SETTINGS):
        warnings.simplefilter("ignore")
        return _rendered(drawn, "png"), _rendered(drawn, "svg"), caption


def picture(findings: Findings, study: Study) -> tuple[Figure, str]:
    """The figure of findings, its layout computed once for all files, and its caption."""
    # Numbers that overflow and letters that a font lacks cost a part of the picture, not a line on the console.
    with warnings.catch_warnings(), np.errstate(all="ignore"), matplotlib.rc_context(SETTINGS):
        warnings.simplefilter("ignore")
        drawn, caption = figure.draw(study, findings.points, findings.runs)
        if layout := drawn.get_layout_engine():
            layout.execute(drawn)
        drawn.set_layout_engine("none")
    return drawn, caption


def _rendered(drawn: Figure, form: str) -> bytes:
    """A figure that is laid out, as PNG or SVG: the file that `savefig` makes, which draws once more for the layout."""
    file = io.BytesIO()
    if form == "svg":
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(drawn).print_svg(file, metadata=nothing)  # type: ignore[no-untyped-call]
    else:
        FigureCanvasAgg(drawn).print_png(file)  # type: ignore[no-untyped-call]
    return file.getvalue()


def _inline(svg: bytes | None) -> str:
    """A figure for a page: without its XML prologue, and without comments, which repeat its texts."""
    text = re.sub(r"^.*?(?=<svg)", "", (svg or b"").decode(), count=1, flags=re.DOTALL)
    return re.sub(r" *<!--.*?-->\n?", "", text, flags=re.DOTALL).strip()


def _embedded(png: bytes) -> str:
    """A picture for a page as the address of an image, in 256 colours, which take a third of the place."""
    from PIL import Image

    small = io.BytesIO()
    coloured = Image.open(io.BytesIO(png)).convert("RGB")
    coloured.quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(small, "PNG")
    return f"data:image/png;base64,{base64.b64encode(small.getvalue()).decode()}"


@without_collection()
def text(made: Report, width: int = LOG) -> str:
    """The report on the console, in lines of at most `width` columns, except for paths and long names."""
    findings = made.findings
    blocks = [ending.question(findings, width), [tables.text(findings, width, "summary.csv")]]
    counted = " ".join(filter(None, [f"{findings.counted}.", findings.stopped]))
    blocks += [ending.told(findings, width), [fill(counted, min(width, LOG))], ending.lost(findings)]
    blocks += [[terminal(f"{kind:<14}{path}") for kind, path in made.paths.items()], ending.ahead(findings)]
    return "\n\n".join("\n".join(block) for block in blocks if block)
