"""The document of a report: blocks of text, tables and a figure, written as Markdown and as one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

MARKDOWN = {
    "title": "# {}",
    "heading": "## {}",
    "lead": "**{}**",
    "warning": "> Warning: {}",
    "paragraph": "{}",
    "code": "```\n{}\n```",
}


@dataclass(frozen=True)
class Text:
    """A block of text; `kind` is a key of MARKDOWN."""

    text: str
    kind: str = "paragraph"

    def markdown(self) -> str:
        return MARKDOWN[self.kind].format(self.text if self.kind == "code" else _escape(self.text))


@dataclass(frozen=True)
class Table:
    """Rows of cells below a header; `best` is the number of the row to highlight."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: int | None = None
    kind: ClassVar[str] = "table"

    def markdown(self) -> str:
        rows = [[_escape(cell) for cell in row] for row in self.rows]
        if self.best is not None:
            rows[self.best] = [f"**{cell}**" if cell else "" for cell in rows[self.best]]
        lines = [[_escape(cell) for cell in self.header], ["---"] * len(self.header), *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True)
class Picture:
    """A figure: the file name of its PNG for Markdown, its SVG for HTML."""

    file: str
    svg: str
    alternative: str
    caption: str
    kind: ClassVar[str] = "picture"

    def markdown(self) -> str:
        return f"![{_escape(self.alternative)}]({self.file})\n\n*{_escape(self.caption)}*"


Block = Text | Table | Picture


def markdown(blocks: Sequence[Block]) -> str:
    """The blocks as a Markdown document."""
    return "\n\n".join(block.markdown() for block in blocks) + "\n"


def html_page(title: str, blocks: Sequence[Block]) -> str:
    """The blocks as one HTML page, which contains its style and picture."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # needed for reports only

    environment = Environment(
        loader=PackageLoader(__package__, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2").render(title=title, blocks=blocks)


def _escape(text: str) -> str:
    for character in "\\`*_|<>":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")
