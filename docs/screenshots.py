"""Make the pictures of docs/tensorboard.md: what TensorBoard shows of a run, a sweep of 12 and a study of 200 runs.

    python docs/screenshots.py              the runs in a temporary folder, about three minutes
    python docs/screenshots.py FOLDER       the runs in FOLDER, where those of an earlier call are used again

Needs playwright and a Chromium, which the variable CHROMIUM may name, and Fashion-MNIST (LIGHTNING_D2L_DATA, or the
network).
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from lightning_d2l.studies.served import start
from lightning_d2l.studies.view import View, view_of

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "images"
LARGEST = 150_000  # bytes of a picture
COMMANDS = {
    "run": ["model=mlp", "data.n_train=3000", "data.val_size=2000", "trainer.max_epochs=20", "gradients=true"],
    "sweep": [
        *("-m", "model=mlp", "data.n_train=1000", "data.val_size=1000", "trainer.max_epochs=10"),
        *("model.num_hiddens=[64]", "model.dropout=0,0.5", "optimizer.lr=0.03,0.1,0.3", "seed=0,1"),
    ],
    "study": ["study=capacity", "data.degree=range(10)", "data.seed=range(20)", "seed=0", "optimizer=exact"],
}
"""The arguments of `python train.py` for the three folders."""
PAGES = {
    "run": ["timeseries", "scalars", "images", "graphs", "distributions", "histograms", "text", "hparams"],
    "sweep": ["timeseries", "scalars", "custom_scalars", "images", "text", "hparams"],
    "study": ["timeseries", "scalars", "images", "text", "hparams"],
}
TAGS = {"run": "&tagFilter=^(loss|acc)$", "sweep": "&tagFilter=/val$", "study": ""}
"""Which of the charts of Time Series are in the picture."""
READY = {
    "timeseries": "card-view",
    "scalars": "tf-scalar-card",
    "custom_scalars": "tf-custom-scalar-multi-line-chart-card",
    "images": "tf-image-loader img",
    "graphs": "tf-graph-scene",
    "distributions": "tf-distribution-loader",
    "histograms": "tf-histogram-loader",
    "text": "tf-text-loader",
    "hparams": "tf-hparams-table-view",
}
"""What of a page is there when it is drawn."""


def make(folder: Path) -> None:
    """Train what is shown, unless it is there."""
    for name, words in COMMANDS.items():
        if not (folder / name).exists():
            place = f"hydra.{'run' if name == 'run' else 'sweep'}.dir={folder / name / name}"
            subprocess.run([sys.executable, str(ROOT / "train.py"), *words, place], check=True, cwd=folder)


def show(browser: Any, view: View, name: str) -> None:
    """Take the pictures of the pages of a folder."""
    url = start(view, "localhost", 0).rstrip("/") + view.path
    for page_name in PAGES[name]:
        figure = page_name == "images" and name != "run"  # alone, and as wide as it is
        width = 1900 if page_name == "hparams" else 1820 if figure else 1360
        page = browser.new_page(viewport={"width": width, "height": 1120 if figure else 860})
        page.route("**/data/environment*", lambda route: elsewhere(route, name))
        page.goto(f"{url}{TAGS[name] if page_name == 'timeseries' else ''}#{page_name}")
        page.wait_for_selector(READY[page_name], timeout=120_000)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(3000)  # charts move to their places
        if figure:
            page.get_by_text("Show actual image size").click()
        if page_name in ("timeseries", "images"):  # drawn when they are seen, images in their own size
            for more in (1, 0, 1, 0):
                page.set_viewport_size({"width": width + more, "height": 1120 if figure else 860})
                page.wait_for_timeout(4000)
        small(page.screenshot(), PICTURES / f"tensorboard_{name}_{page_name}.png")
        page.close()


def elsewhere(route: Any, name: str) -> None:
    """Answer where the runs lie with a folder that readers have too."""
    answer = route.fetch()
    route.fulfill(response=answer, json=answer.json() | {"data_location": f"outputs/{name}"})


def small(png: bytes, path: Path) -> None:
    """Write a picture with as many of 256 colours as its size allows."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in (256, 128, 64, 32, 16):
        picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= LARGEST:
            break
    print(f"{path.relative_to(ROOT)}  {path.stat().st_size:,} bytes")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    make(folder)
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        options = ["--no-sandbox", "--enable-unsafe-swiftshader", "--use-angle=swiftshader"]
        browser = driver.chromium.launch(executable_path=found, args=options)
        for name in COMMANDS:
            show(browser, view_of(folder / name / name), name)
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
