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


def check(site: Path, pages: list[str]) -> int:
    """Print what is wrong with the pages, and return how many are."""
    wrong = 0
    with browser() as chromium:
        for width in WIDTHS:
            window = chromium.new_context(viewport={"width": width, "height": 900})
            for name in pages:
                page = window.new_page()
                watched = Watched(page, site / name)
                page.wait_for_timeout(500)  # MathJax typesets
                found = list(watched.errors)  # before axe-core, which asks for style sheets again
                found += [url for url in watched.requests if not url.startswith(("file:", "data:"))]
                rules = Axe().run(page).response["violations"]
                found += [f"{rule['id']}: {rule['nodes'][0]['html'][:120]}" for rule in rules]
                if (over := page.evaluate("document.documentElement.scrollWidth - window.innerWidth")) > 0:
                    found.append(f"{over} pixels wider than the window")
                if found:
                    wrong += 1
                    print(f"{name}, {width} pixels: {'; '.join(found)}", flush=True)
                page.close()
    return wrong


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "outputs" / "site")
    everything = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.html"))
    names = sys.argv[2:] or [name for name in everything if not name.startswith("_modules")]
    wrong = check(folder, names)
    print(f"{len(names)} pages: {wrong or 'nothing'} wrong")
    sys.exit(wrong > 0)
