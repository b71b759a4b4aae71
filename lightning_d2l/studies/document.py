"""A report's text once, as blocks, and written as Markdown and as one HTML page that needs nothing beside it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 70rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.lead { font-size: 1.1rem; border-left: 4px solid #0072B2; padding: .2rem 0 .2rem 1rem; }
.warning { border-left: 4px solid #E69F00; background: #fdf5e3; padding: .3rem .3rem .3rem 1rem; }
figure { margin: 1.5rem 0; } figure svg { width: 100%; height: auto; } figcaption { color: #555; font-size: .9rem; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #ddd; vertical-align: top; }
th { border-bottom: 2px solid #888; } tr.best td { font-weight: 600; background: #eaf3f9; }
pre { background: #f4f4f4; padding: .7rem 1rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
"""
BEST_ROW = '<tr class="best">'


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2

    def markdown(self) -> str:
        return f"{'#' * self.level} {_escape(self.text)}"

    def html(self) -> str:
        return f"<h{self.level}>{html.escape(self.text)}</h{self.level}>"


@dataclass(frozen=True)
class Paragraph:
    """Text; `kind` is "lead" for the answer and "warning" for what to beware of."""

    text: str
    kind: str = ""

    def markdown(self) -> str:
        text = _escape(self.text)
        return {"lead": f"**{text}**", "warning": f"> Beware: {text}"}.get(self.kind, text)

    def html(self) -> str:
        text = ("Beware: " if self.kind == "warning" else "") + html.escape(self.text)
        return f'<p class="{self.kind}">{text}</p>' if self.kind else f"<p>{text}</p>"


@dataclass(frozen=True)
class Table:
    """Rows of cells below a header; `best` is the number of the row that is set off."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: int | None = None

    def markdown(self) -> str:
        cells = [self.header, ["---"] * len(self.header), *self.rows]
        if self.best is not None:
            cells[2 + self.best] = [f"**{_escape(cell)}**" if cell else "" for cell in self.rows[self.best]]
        plain = {0, *range(2, len(cells))} - {2 + self.best if self.best is not None else -1}
        lines = [[_escape(cell) for cell in row] if i in plain else row for i, row in enumerate(cells)]
        return "\n".join(f"| {' | '.join(row)} |" for row in lines)

    def html(self) -> str:
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self.header)
        body = "\n".join(
            (BEST_ROW if i == self.best else "<tr>") + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>"
            for i, row in enumerate(self.rows)
        )
        return f'<div class="table"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


@dataclass(frozen=True)
class Code:
    text: str

    def markdown(self) -> str:
        return f"```\n{self.text}\n```"

    def html(self) -> str:
        return f"<pre><code>{html.escape(self.text)}</code></pre>"


@dataclass(frozen=True)
class Picture:
    """A figure: the PNG's file name for Markdown, the SVG itself for HTML."""

    file: str
    svg: str
    alternative: str
    caption: str

    def markdown(self) -> str:
        return f"![{_escape(self.alternative)}]({self.file})\n\n*{_escape(self.caption)}*"

    def html(self) -> str:
        return f"<figure>\n{self.svg}\n<figcaption>{html.escape(self.caption)}</figcaption>\n</figure>"


Block = Heading | Paragraph | Table | Code | Picture


def markdown(blocks: Sequence[Block]) -> str:
    """The blocks as a Markdown document."""
    return "\n\n".join(block.markdown() for block in blocks) + "\n"


def html_page(title: str, blocks: Sequence[Block]) -> str:
    """The blocks as one HTML page with its style and pictures inside."""
    body = "\n".join(block.html() for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _escape(text: str) -> str:
    for character in "\\`*_|<>":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")
