"""Fill docs/performance.md, docs/clusters.md and their Chinese twins with the tables of a folder; draw the figure.

    python benchmarks/page.py FOLDER

A table follows its marker, `<!-- table: NAME -->`; one that FOLDER does not have stays as it is. The figure shows the
table of the page, new or not.
"""

import json
import re
import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from measure import ROOT

from lightning_d2l.studies import axes, frame
from lightning_d2l.studies.names import readable
from lightning_d2l.studies.palette import COLOURS, MARKERS
from lightning_d2l.studies.ranges import Range
from lightning_d2l.training.panels import PAPER

PAGES = [ROOT / "docs" / f"{name}{twin}.md" for name in ("performance", "clusters") for twin in ("", ".zh-CN")]
FIGURE = ROOT / "docs" / "images" / "sweep_time.png"
TABLE = re.compile(r"(<!-- table: (\w+) -->\n)((?:\n(?:\|.*\n)+)?)")
Rows = list[list[str]]


def markdown(rows: Rows) -> str:
    """A table, its first row the head, below an empty line."""
    head, *body = rows
    return "\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ["---"] * len(head), *body))


def rows_of(page: str, name: str) -> Rows:
    """The cells of a table of a page, its first row the head; of none if the page has no such table."""
    table = next((found[3] for found in TABLE.finditer(page) if found[2] == name), "")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]
    return [row for row in rows if not set("".join(row)) <= {"-"}]


def figure(rows: Rows) -> Figure:
    """Seconds of whole programs by the number of runs, both logarithmic, each launcher named at the end of its line."""
    (_, *heads, _), *body = rows
    sizes = [int(row[0].replace(",", "")) for row in body]
    counts = sorted({row[-1] for row in body})
    with matplotlib.rc_context(PAPER):
        drawn, (panel,), _ = frame.grid(1, 1, 1)
        panel.set_xscale("log", base=4)
        panel.set_yscale("log")
        for column, (head, colour, marker) in enumerate(zip(heads, COLOURS, MARKERS, strict=False), start=1):
            name = head.split("`")[1]
            seconds = [float(row[column].replace(",", "")) for row in body if row[column]]
            panel.plot(sizes[: len(seconds)], seconds, color=colour, marker=marker, markeredgecolor="white")
            end = {"xytext": (8, 0), "textcoords": "offset points", "va": "center", "fontsize": frame.ENTRY}
            panel.annotate(name, (sizes[len(seconds) - 1], seconds[-1]), color=readable(colour), **end)
        low, high = panel.get_ylim()
        axes.set_y(panel, Range("log", low, high))
        panel.set_xlim(sizes[0] / 1.3, sizes[-1] * 3)
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.xaxis.set_minor_locator(NullLocator())
        axes.name_axes(panel, {"number of runs": "number of runs"}, "time (s)", 3.0)
        note = f"Whole programs with the start of Python, n = {' or '.join(counts)} each. Named by hydra/launcher."
        frame.finish(drawn, "How long does a sweep take?", note, [])
    return drawn


def main(folder: Path) -> None:
    tables: dict[str, Rows] = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}

    def filled(found: re.Match[str]) -> str:
        marker, name, before = found.groups()
        return marker + (markdown(tables[name]) if name in tables else before)

    texts = {page: page.read_text() for page in PAGES}
    for page, text in texts.items():
        page.write_text(TABLE.sub(filled, text))
    figure(rows_of(PAGES[0].read_text(), "members")).savefig(FIGURE)
    for name in dict.fromkeys(name for _, name, _ in TABLE.findall("".join(texts.values()))):
        print(f"{name}: {'filled' if name in tables else 'not in the folder, left as it was'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
