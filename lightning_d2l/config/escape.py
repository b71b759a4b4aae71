"""Text that comes from names, settings, records and files, written so that it stays text wherever it is shown."""

from __future__ import annotations

import hashlib
import re
import unicodedata

LONGEST_NAME = 200  # bytes of the name of a file; file systems allow 255
LONGEST_LABEL = 100  # characters of a text in a figure
# Unicode categories of what a terminal obeys or hides: control, format (bidi, zero width), surrogate, private use,
# unassigned, line and paragraph separators.
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"  # letters and marks without width or ink
_FORMULA = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")  # the last four are the full-width forms of the first


def terminal(text: str, *, keep: str = "") -> str:
    r"""Text for a terminal or a log: control, bidi and invisible characters are shown as \x1b; those in `keep` stay."""
    shown = text.translate(dict.fromkeys(map(ord, keep))) if keep else text
    if shown.isascii() and shown.isprintable():
        return text
    return "".join(_shown(c) if c not in keep and _is_hidden(c) else c for c in text)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN or character in _FILLERS


def _shown(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def file_name(text: str) -> str:
    """Text as the name of one file or folder: no separator, no control character, no leading dot, at most 200 bytes."""
    name = re.sub(r'[/\\<>:|?*"\s]+', "_", text)
    name = "".join("_" if _is_hidden(c) else c for c in name)
    name = re.sub(r"^\.+", "_", name) or "_"
    if len(name.encode()) > LONGEST_NAME:
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
        name = f"{name.encode()[: LONGEST_NAME - 9].decode(errors='ignore')}-{digest}"
    return name


def cell(value: object) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula: such text gets an apostrophe before it."""
    text = str(value)
    formula = text.lstrip(" ").startswith(_FORMULA) and not _is_number(text)
    return "'" * formula + terminal(text, keep="\t\n")  # a carriage return would end the row


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text and text.strip() == text


def label(text: str) -> str:
    """Text for a figure, in one line of at most 100 characters, in which matplotlib finds no mathematics."""
    text = terminal(text)
    if len(text) > LONGEST_LABEL:
        text = f"{text[: LONGEST_LABEL - 3]}..."
    text = f" {text}" if text.startswith("_") else text  # legends leave out labels that begin with _
    return text.replace("$", r"\$")


def markdown(text: str) -> str:
    """Text for a line or a table cell of a Markdown page, without markup; white space becomes a single blank."""
    text = re.sub(r"([\\`*_\[\]<>|~$&])", r"\\\1", terminal(" ".join(text.split())))
    return re.sub(r"^(\d*)([.)](?= |$)|[-+](?=[- ]*$| )|#|=(?==*$))", r"\1\\\2", text)  # lists, rules and headings
