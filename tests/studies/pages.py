"""report.html as a parser of HTML reads it."""

import html.parser
import json
from pathlib import Path
from typing import Any


class Page(html.parser.HTMLParser):
    """The scripts of a page, the text outside them, and the links of its elements."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self.links: list[str] = []
        self.tags: list[str] = []
        self.size = path.stat().st_size
        self._script = False
        self.feed(path.read_text())

    @property
    def model(self) -> dict[str, Any]:
        """What the page's own script draws."""
        (found,) = [text for attributes, text in self.scripts if attributes.get("type") == "application/json"]
        values: dict[str, Any] = json.loads(found)
        return values

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [
            v for k, v in attrs if k in ("src", "href", "xlink:href", "data") and v and not v.startswith("#")
        ]
        self._script = tag == "script"
        if self._script:
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts[-1] = self.scripts[-1][0], self.scripts[-1][1] + data
        else:
            self.text += data
