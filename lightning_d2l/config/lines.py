"""Lines of a terminal or a log: how many columns text takes, where it is broken, and columns of a table."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

LOG = 80
"""Columns of a file or a pipe, and of sentences in a wide terminal."""
NARROWEST = 40
_WIDE = "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\U00020000-\U0003fffd"
_CLOSING = "，。、；：！？）》」』】”’"  # noqa: RUF001  # no line begins with one of these
_PARTS = re.compile(rf"[{_WIDE}][{_CLOSING}]*|[^{_WIDE}]+[{_CLOSING}]*")


def columns(stream: TextIO | None = None) -> int:
    """The columns of the terminal behind a stream, by default the standard output; of a file or a pipe 80."""
    stream = stream or sys.stdout
    if stream is None or not stream.isatty():
        return LOG
    return max(shutil.get_terminal_size((LOG, 24)).columns, NARROWEST)


def cells(text: str) -> int:
    """The columns that text takes in a terminal, where a Chinese character takes two; a NUL stands for a blank."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text.replace("\0", " "))


def fill(text: str, width: int = LOG, *, first: str = "", rest: str = "") -> str:
    """Text in lines of at most `width` columns, which begin with `first` and then with `rest`.

    Words are not broken, but for Chinese ones, which have no blanks between them.
    """
    lines, line, is_empty = [], first, True
    for gap, part in _parts(text):
        longer = f"{line}{'' if is_empty else gap}{part}"
        if is_empty or cells(longer) <= width:
            line = longer
        else:
            lines.append(line)
            line = f"{rest}{part}"
        is_empty = False
    return "\n".join([*lines, line])


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """What a line may end with, each part with the blanks before it."""
    for found in re.finditer(r"(\s*)(\(?[\d.]+ %\S*|\S+)", text):  # "95 %" is one
        gap, word = found[1], found[2]
        for part in [word] if word.isascii() else _PARTS.findall(word):
            yield (" " if "\n" in gap else gap), part
            gap = ""


def shortened(text: str, width: int = LOG) -> str:
    """The text, cut to fit into so many columns."""
    if cells(text) <= width:
        return text
    end = min(len(text), width - 3)
    while end > 0 and cells(text[:end]) > width - 3:
        end -= 1
    return f"{text[:end]}..."


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, two blanks between the columns."""
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell + " " * (width - cells(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def command_lines(label: str, command: str, width: int = LOG) -> list[str]:
    """A command in lines that a shell takes as one, each of at most `width` columns if its words are."""
    lines = [label.rstrip()]
    for word in map(shlex.quote, shlex.split(command)):
        first = lines == [label.rstrip()]
        if first or cells(lines[-1]) + 1 + cells(word) + 2 <= width:
            lines[-1] = f"{label}{word}" if first else f"{lines[-1]} {word}"
        else:
            lines[-1] += " \\"
            lines.append(f"{' ' * len(label)}{word}")
    return lines
