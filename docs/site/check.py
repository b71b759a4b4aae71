"""Open the pages of a built site in Chromium: `python docs/site/check.py [FOLDER] [PAGE ...]`, by default all pages.

Each page is opened as wide as a phone and as a desktop. It may not be wider than the window, ask the network for
anything, complain on the console, or break a rule of axe-core. Needs `pip install -e '.[dev]'` and a Chromium.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from axe_playwright_python.sync_playwright import Axe  # noqa: E402

from tests.chromium import Watched, browser  # noqa: E402

WIDTHS = (390, 1280)


def pages(site: Path) -> list[str]:
    """The pages of a site but for the source code behind the reference."""
    every = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    return [name for name in every if not name.startswith("_modules")]


def check(site: Path, names: list[str]) -> int:
    """Print what is wrong with the pages, and return how many are."""
    wrong = 0
    with browser() as chromium:
        for name in names:
            page = chromium.new_page(viewport={"width": WIDTHS[0], "height": 900})
            watched = Watched(page, site / name)
            page.wait_for_timeout(300)  # MathJax typesets
            found = list(watched.errors)  # before axe-core, which asks for style sheets again
            found += [url for url in watched.requests if not url.startswith(("file:", "data:"))]
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                rules = Axe().run(page).response["violations"]
                found += [f"{width} pixels: {rule['id']}: {rule['nodes'][0]['html'][:120]}" for rule in rules]
                if (over := page.evaluate("document.documentElement.scrollWidth - window.innerWidth")) > 0:
                    found.append(f"{width} pixels: {over} pixels wider than the window")
            if found:
                wrong += 1
                print(f"{name}: {'; '.join(found)}", flush=True)
            page.close()
    return wrong


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "outputs" / "site")
    names = sys.argv[2:] or pages(folder)
    wrong = check(folder, names)
    print(f"{len(names)} pages: {wrong or 'nothing'} wrong")
    sys.exit(wrong > 0)
