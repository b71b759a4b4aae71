"""A sweep as an object: its records, and the report that follows from them."""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_d2l.api.finished import Folder, Run, hashable, path_of
from lightning_d2l.api.library import library_call
from lightning_d2l.config.check import RequestError
from lightning_d2l.studies.lean import LeanRecord
from lightning_d2l.training.record import RUN_FILE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from lightning_d2l.studies.findings import Findings

MOST_ROWS = 60  # of a table in a notebook


class Results:
    """What the records of sweeps say: read anew by each property, so that a sweep that runs can be looked at."""

    def __init__(self, *folders: Folder) -> None:
        self.folders = [Path(folder) for folder in folders]

    @property
    def _findings(self) -> Findings:
        from lightning_d2l.studies.findings import find

        return find(self.folders)

    @property
    @library_call
    def answer(self) -> str:
        """The answer to the question of the study, in a sentence or two."""
        return self._findings.answer.text

    @property
    @library_call
    def verdict(self) -> str:
        """ "yes", "no" or "undecided", or "" where the question is not one for yes or no."""
        return self._findings.answer.verdict

    @property
    @library_call
    def results(self) -> pd.DataFrame:
        """A row a run: run, status, each varied setting, each metric of the last weights, and the diagnosis."""
        return _results(self._findings)

    @property
    @library_call
    def summary(self) -> pd.DataFrame:
        """A row for each setting and metric: mean, median, the 95 % interval, and how many runs of which design.

        `value` is the mean or the median, as `statistic` says, and the interval from `ci_low` to `ci_high` is its own.
        """
        from lightning_d2l.studies import tables

        return _table(tables.summary(self._findings))

    @property
    @library_call
    def runs(self) -> list[Run]:
        """The runs, in the order of the jobs. Those of lean records have metrics and history, and no weights."""
        return [Run(run.folder, lean=run if isinstance(run, LeanRecord) else None) for run in self._findings.runs]

    @library_call
    def figure(self) -> Figure:
        """The figure of the report: means or medians with intervals, single runs, theory. It is returned, not shown."""
        from lightning_d2l.api.notebook import show_figures

        show_figures()
        return _figure(self._findings)

    def _repr_html_(self) -> str:
        from lightning_d2l.api.notebook import inline

        try:
            findings = self._findings
        except RequestError as error:
            return f"<p>{html.escape(str(error))}</p>"
        table = _results(findings).to_html(max_rows=MOST_ROWS, index=False, float_format=lambda v: f"{v:.4g}")
        texts = [findings.study.question, findings.answer.text, findings.counted]
        words = "".join(f"<p>{html.escape(text)}</p>" for text in texts)
        return f"<div>{words}{inline(_figure(findings), 'figure of the sweep')}{table}</div>"


class Report(Results):
    """A report on sweeps, and the files that it wrote.

    Attributes
    ----------
    paths : dict of str to Path
        The files: results, summary, markdown, html, png, svg, tensorboard.
    """

    def __init__(self, folders: list[Path], paths: dict[str, Path]) -> None:
        super().__init__(*folders)
        self.paths = paths

    def __repr__(self) -> str:
        return f"Report({str(self.paths['html'])!r}): {self.answer}"


class Sweep(Results):
    """The runs of a sweep in its folder. `sweep`, `study` and `load_sweep` return it.

    Attributes
    ----------
    folder : Path
        Where the sweep was recorded.
    """

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder)
        self.folder = self.folders[0]

    @property
    @library_call
    def record(self) -> dict[str, Any]:
        """What sweep.json holds."""
        from lightning_d2l.sweeps.folder import read_sweep

        return read_sweep(self.folder)

    @property
    @library_call
    def status(self) -> str:
        """ "completed" if every run has ended, "stopped", or "running"."""
        return str(self.record["status"])

    @library_call
    def report(self, into: Folder | None = None, interactive: bool | None = None) -> Report:
        """Write the report: tables, figure, Markdown, HTML, and a summary for TensorBoard.

        Parameters
        ----------
        into : path, optional
            The folder for the files, by default that of the sweep.
        interactive : bool, optional
            Whether the page answers when touched, by default if plotly is installed.
        """
        return _report([self.folder], into, interactive)

    def __repr__(self) -> str:
        try:
            findings = self._findings
        except RequestError as error:
            return f"Sweep({str(self.folder)!r}): {error}"
        return f"Sweep({str(self.folder)!r}, {findings.counted}): {findings.answer.text}"


@library_call
def load_sweep(folder: Folder) -> Sweep:
    """The sweep that was recorded in a folder.

    Parameters
    ----------
    folder : path or "latest"
        The folder with the sweep.json; "latest" is the newest sweep below outputs/.

    Returns
    -------
    Sweep

    Raises
    ------
    RequestError
        If there is no sweep.

    Examples
    --------
    >>> import lightning_d2l as d2l
    >>> sweep = d2l.sweep("model=polynomial_regression", "trainer.max_epochs=1", seed=(0, 1), verbose=False)
    >>> d2l.load_sweep("latest").folder == sweep.folder.resolve().relative_to(sweep.folder.cwd())
    True
    """
    from lightning_d2l.studies.collect import OUTPUTS, collect, newest_sweep

    found = newest_sweep(OUTPUTS) if str(folder) == "latest" else path_of("folder", folder)
    if (found / RUN_FILE).is_file():
        raise RequestError(f"{folder}: holds a run; lightning_d2l.load_run reads it")
    collect([found])
    return Sweep(found)


@library_call
def report(*folders: Folder, into: Folder | None = None, interactive: bool | None = None) -> Report:
    """Write the report of a sweep or a run, or a comparison of several.

    Parameters
    ----------
    *folders : path or "latest"
        The folders of the sweeps or runs.
    into : path, optional
        The folder for the files: by default that of the sweep, or outputs/reports/TIME for several.
    interactive : bool, optional
        Whether the page answers when touched, by default if plotly is installed.

    Returns
    -------
    Report
        With `answer`, `results`, `summary`, `figure()` and the `paths` of the files.

    Raises
    ------
    RequestError
        If there is nothing to report on, the folder can't be written, or `interactive` is True without plotly.

    Examples
    --------
    >>> import lightning_d2l as d2l
    >>> sweep = d2l.sweep("model=polynomial_regression", "trainer.max_epochs=1", seed=(0, 1), verbose=False)
    >>> sorted(d2l.report(sweep.folder).paths)
    ['html', 'markdown', 'png', 'results', 'summary', 'svg', 'tensorboard']
    """
    if not folders:
        raise RequestError("report: must have a folder, or latest")
    return _report([path_of("report", folder) for folder in folders], into, interactive)


def _report(folders: list[Path], into: Folder | None, interactive: bool | None) -> Report:
    from lightning_d2l.studies.report import report as write
    from lightning_d2l.sweeps.fitted import fitted

    made = write(folders, None if into is None else path_of("into", into), interactive=interactive, fitted=fitted)
    return Report([sweep.folder for sweep in made.findings.sweeps], made.paths)


def _results(findings: Findings) -> pd.DataFrame:
    from lightning_d2l.studies import tables

    return _table(tables.results(findings))


def _table(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([{key: hashable(value) for key, value in row.items()} for row in rows])


def _figure(findings: Findings) -> Figure:
    from lightning_d2l.studies.report import picture

    return picture(findings, findings.study)[0]
