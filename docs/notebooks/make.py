"""Execute the notebooks of this folder with their full settings and keep small outputs.

    python docs/notebooks/make.py        # those whose outputs are older than their sources
    python docs/notebooks/make.py 4 5    # those whose names begin with 4 or 5

A notebook and its translation have the same code cells, so the English one is executed and both get its outputs. The
metadata hold a fingerprint of what the outputs were made from; a test compares it with the sources.
"""

import base64
import hashlib
import io
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

HERE = Path(__file__).parent
CONF = HERE.parents[1] / "conf"
TRANSLATION = ".zh-CN.ipynb"
ENGLISH = sorted(path for path in HERE.glob("*.ipynb") if not path.name.endswith(TRANSLATION))
COLOURS = 128  # of a PNG; charts have few
INLINE = re.compile(r"(?<=data:image/png;base64,)[\w+/=]+")


def translation(path: Path) -> Path:
    """The Chinese notebook of an English one."""
    return path.with_name(path.stem + TRANSLATION)


def read(path: Path) -> NotebookNode:
    """The notebook in a file."""
    return nbformat.read(path, as_version=4)


def code(notebook: NotebookNode) -> list[str]:
    """The sources of the code cells."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def solutions(notebook: NotebookNode) -> list[str]:
    """The code of the solutions to the exercises, which stand in Markdown cells."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)


def fingerprint(notebook: NotebookNode) -> str:
    """The SHA-256 of what the outputs follow from: the code cells, and the options of conf/ that they name."""
    sources = code(notebook)
    found = json.dumps([sources, _options("\n".join([*sources, "trainer: default"]))], sort_keys=True)
    return hashlib.sha256(found.encode()).hexdigest()


def _options(text: str) -> dict[str, Any]:
    """The values in the files of conf/ that a text names, such as model=mlp, and in those that these name."""
    found: dict[str, Any] = {"train": yaml.safe_load((CONF / "train.yaml").read_text())}
    texts = [text]
    while texts:
        text = texts.pop()
        for path in sorted(CONF.glob("*/*.yaml")):
            name = f"{path.parent.name}/{path.stem}"
            if name not in found and re.search(rf"\b{path.parent.name}\W+{re.escape(path.stem)}\b", text):
                texts.append(path.read_text())
                found[name] = yaml.safe_load(texts[-1])
    return found


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run all cells in a fresh kernel that starts in a folder; raises CellExecutionError if one fails."""
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=1200, resources=resources, record_timing=False, coalesce_streams=True)
    client.execute()


def trim(notebook: NotebookNode) -> None:
    """Keep of the outputs what a reader sees, with small pictures."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.pop("metadata", None)
            if output.output_type in ("display_data", "execute_result"):
                output.metadata = {}
                if "image/png" in output.data:
                    output.data["image/png"] = _small(output.data["image/png"])
                if "text/html" in output.data:
                    output.data["text/html"] = INLINE.sub(lambda found: _small(found[0]), output.data["text/html"])
    language = {"name": "python", "pygments_lexer": "ipython3"}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": language}


def _small(png: str) -> str:
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    file = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def make(path: Path) -> None:
    """Execute a notebook, and write it and its translation with the outputs."""
    english, chinese = read(path), read(translation(path))
    made_from = fingerprint(english)
    with tempfile.TemporaryDirectory() as folder:
        execute(english, Path(folder))
    trim(english)
    english.metadata["lightning_d2l"] = {"made_from": made_from}
    chinese.metadata = english.metadata
    cells = [cell for cell in english.cells if cell.cell_type == "code"]
    for cell, made in zip([cell for cell in chinese.cells if cell.cell_type == "code"], cells, strict=True):
        cell.outputs, cell.execution_count = made.outputs, made.execution_count
    nbformat.write(english, path)
    nbformat.write(chinese, translation(path))


def is_old(path: Path) -> bool:
    """Whether the outputs of a notebook or of its translation are older than their sources."""
    notebooks = read(path), read(translation(path))
    return any(each.metadata.get("lightning_d2l", {}).get("made_from") != fingerprint(each) for each in notebooks)


if __name__ == "__main__":
    wanted = sys.argv[1:]
    for notebook in ENGLISH:
        if notebook.name.startswith(tuple(wanted)) if wanted else is_old(notebook):
            print(notebook.name, flush=True)
            make(notebook)
