"""What a notebook shows while runs train: a bar, and the curves so far, which stay when the notebook is saved."""

from __future__ import annotations

import base64
import html
import io
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightning_d2l.config.text import number
from lightning_d2l.config.trainer import NO_LIMIT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARE = 20  # a picture is drawn again after so many times the time that it takes
SOONEST = 0.2  # seconds between two updates


def notebook_display() -> NotebookDisplay | None:
    """A display if the interpreter is the kernel of a notebook, else None."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    shell = get_ipython()
    return NotebookDisplay() if getattr(shell, "kernel", None) is not None else None


def show_figures() -> None:
    """Let a notebook display a figure that is returned, which IPython does only after pyplot has drawn one."""
    if notebook_display() is None:
        return
    from IPython import get_ipython
    from matplotlib.figure import Figure

    formatter = get_ipython().display_formatter.formatters["image/png"]
    if Figure not in formatter:
        formatter.for_type(Figure, _png)


def inline(figure: Figure, text: str) -> str:
    """A figure as an image inside HTML; `text` says what it shows to those who do not see it."""
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{base64.b64encode(_png(figure)).decode()}">'


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


class NotebookDisplay:
    """One output of a cell, which is replaced at logging points."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self._handle: Any = None
        self._shown = _Shown("", "")
        self._next = 0.0
        self._late = False  # whether the last row is not in the picture

    def row(self, metrics: Mapping[str, float], max_epochs: int) -> None:
        """Show the metrics of a logging point of a single run, and the curves until it."""
        self.rows.append(dict(metrics))
        epoch = int(metrics["epoch"])
        values = "  ".join(f"{k} {number(v)}" for k, v in metrics.items() if k.startswith(("loss/", "acc/")))
        limit = None if max_epochs == NO_LIMIT else max_epochs
        self._shown = _Shown(_bar(epoch, limit), f"epoch {epoch}{'' if limit is None else f'/{limit}'}  {values}")
        self._late = True
        if time.monotonic() >= self._next:
            self._draw()

    def progress(self, done: float, total: int, words: str) -> None:
        """Show how many runs of a sweep have ended."""
        self._shown = _Shown(_bar(done, total), f"{int(done)}/{total} runs  {words}")
        self._late = True
        if time.monotonic() >= self._next:
            self._draw()

    def finish(self) -> None:
        """Show what came since the last update."""
        if self._late:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import display

        began = time.monotonic()
        if self.rows:
            from lightning_d2l.training.learning_curves import curves

            figure = curves(self.rows)
            self._shown.picture = inline(figure, "learning curves so far") if figure else ""
        if self._handle is None:
            self._handle = display(self._shown, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(self._shown)
        now = time.monotonic()
        self._next, self._late = now + max(SOONEST, SHARE * (now - began)), False


class _Shown:
    """What IPython displays: a bar, a line, and a picture."""

    def __init__(self, bar: str, line: str) -> None:
        self.bar, self.line, self.picture = bar, line, ""

    def __repr__(self) -> str:
        return self.line

    def _repr_html_(self) -> str:
        return f"<div>{self.bar} <code>{html.escape(self.line)}</code><br>{self.picture}</div>"


def _bar(done: float, total: int | None) -> str:
    return "" if total is None else f'<progress value="{done:.2f}" max="{total}"></progress>'
