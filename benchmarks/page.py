"""Fill docs/performance.md, docs/clusters.md and their Chinese twins with the tables of a folder; draw the figure.

    python benchmarks/page.py FOLDER

A table follows its marker, `<!-- table: NAME -->`; one that FOLDER does not have stays as it is.
"""

import json
import re
import sys
from pathlib import Path

from matplotlib.figure import Figure
from measure import ROOT

PAGES = [ROOT / "docs" / f"{name}{twin}.md" for name in ("performance", "clusters") for twin in ("", ".zh-CN")]
FIGURE = ROOT / "docs" / "images" / "sweep_time.png"
TABLE = re.compile(r"(<!-- table: (\w+) -->\n)((?:\n(?:\|.*\n)+)?)")
STYLES = {"sequential": ("#D55E00", "o"), "joblib": ("#E69F00", "s"), "vectorized": ("#0072B2", "D")}
Rows = list[list[str]]


def markdown(rows: Rows) -> str:
    """A table, its first row the head, below an empty line."""
    head, *body = rows
    return "\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ["---"] * len(head), *body))


def figure(rows: Rows) -> Figure:
    """Seconds of whole programs by the number of runs, both logarithmic."""
    (_, *heads, _), *body = rows
    sizes = [int(row[0].replace(",", "")) for row in body]
    drawn = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    axes = drawn.add_subplot(xlabel="runs of the sweep", ylabel="whole program, s")
    axes.set_xscale("log", base=4)
    axes.set_yscale("log")
    for column, head in enumerate(heads, start=1):
        name = head.split("`")[1]
        seconds = [float(row[column].replace(",", "")) for row in body if row[column]]
        colour, marker = STYLES[name]
        axes.plot(sizes[: len(seconds)], seconds, color=colour, marker=marker, label=name)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    low, high = axes.get_ylim()
    ticks = [tick for tick in (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200, 500) if low <= tick <= high]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.grid(color="#DDDDDD")
    axes.legend(title="hydra/launcher", frameon=False)
    return drawn


def main(folder: Path) -> None:
    tables: dict[str, Rows] = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}

    def filled(found: re.Match[str]) -> str:
        marker, name, before = found.groups()
        return marker + (markdown(tables[name]) if name in tables else before)

    texts = {page: page.read_text() for page in PAGES}
    for page, text in texts.items():
        page.write_text(TABLE.sub(filled, text))
    if "members" in tables:
        figure(tables["members"]).savefig(FIGURE)
    for name in dict.fromkeys(name for _, name, _ in TABLE.findall("".join(texts.values()))):
        print(f"{name}: {'filled' if name in tables else 'not in the folder, left as it was'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
