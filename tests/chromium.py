"""Chromium for tests: the browser of the environment variable CHROMIUM, or one that is installed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 120_000  # ms, on a busy machine without a graphics card
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable() -> str | None:
    """The path of a Chromium; None if there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def missing() -> str:
    """Why pages can't be opened, or an empty string."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed"
    return "" if executable() else "no Chromium was found (CHROMIUM names one)"


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium, as playwright drives it, with WebGL by the processor."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        options = ["--no-sandbox", "--enable-unsafe-swiftshader", "--use-angle=swiftshader"]
        found = driver.chromium.launch(executable_path=executable(), args=options)
        try:
            yield found
        finally:
            found.close()


class Watched:
    """A page that is opened from a file, with what it asked of the network and what it complained of."""

    def __init__(self, page: Any, path: Path) -> None:
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.set_default_timeout(PATIENCE)
        page.goto(path.resolve().as_uri())
        self.requests.remove(path.resolve().as_uri())
