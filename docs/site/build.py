"""Build the documentation site: `python docs/site/build.py [FOLDER]`, by default into outputs/site.

The pages are README.md and docs/*.md as they are, the notebooks with their outputs, and the reference from the
docstrings, in English and below zh/ in Chinese; a page that has no translation is not listed there. Links to files
of the repository lead to copies of these. Every warning of Sphinx is an error, and so is a picture without a text
that describes it. Both languages share MathJax and the pictures. Needs `pip install -e '.[docs]'`.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent
ROOT = DOCS.parent
CHAPTERS = [
    "linear-regression",
    "softmax-regression",
    "multilayer-perceptrons",
    "underfitting-and-overfitting",
    "weight-decay",
    "dropout",
    "backpropagation",
    "numerical-stability-and-initialisation",
    "layers-and-blocks",
    "parameters",
]
GUIDES = [
    "own-work",
    "python",
    "table",
    "callbacks-loggers-trainer",
    "schedule",
    "clusters",
    "pruning",
    "tensorboard",
    "from-d2l",
]
ANSWERS = ["studies", "reports", "theory", "reproduction", "performance", "security", "CHANGELOG"]
WORDS = {
    "en": ("Chapters", "Guides", "Notebooks", "Studies and numbers", "Reference", "Index of the study notes"),
    "zh": ("各章", "指南", "笔记本", "研究与结果", "参考", "学习笔记索引"),
}
REFERENCE = {
    "lightning_d2l": "Commands from Python",
    "lightning_d2l.plugins": "Registering what is your own",
    "lightning_d2l.modules.classification": "Classification",
    "lightning_d2l.modules.regression": "Regression",
    "lightning_d2l.modules.losses": "Losses",
    "lightning_d2l.modules.metrics": "Metrics",
    "lightning_d2l.data.base": "Data in memory",
    "lightning_d2l.data.fashion_mnist": "Fashion-MNIST",
    "lightning_d2l.data.synthetic": "Generated data",
    "lightning_d2l.nets.linear": "Linear networks",
    "lightning_d2l.nets.mlp": "Multilayer perceptrons",
    "lightning_d2l.nets.blocks": "Blocks",
    "lightning_d2l.nets.phm": "Hypercomplex layers",
    "lightning_d2l.nets.initialisation": "Initialisation",
    "lightning_d2l.scratch": "From scratch",
    "lightning_d2l.engine.loop": "The training loop of the book",
}
ACCESSIBLE = {
    'role="heading"': 'role="heading" aria-level="2"',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="Site">',
    '<aside class="toc-drawer': '<aside aria-label="Page" class="toc-drawer',
    "<pre>": '<pre tabindex="0">',
    '<table class="docutils': '<table tabindex="0" class="docutils',
}
"""What the theme lacks for screen readers and keyboards."""
EMPTY = re.compile(r"<th([^>]*)>(&nbsp;|<p></p>|\s*)</th>")
LINK = re.compile(r"(!?\[([^\]]*)\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
OTHER = re.compile(r"^\[(?:中文|English)\]\([^)]+\)(?: · |\n\n)", re.M)  # the site has it in the sidebar
BREAK = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n(?=[\u4e00-\u9fff])")  # would be shown as a space
HEADING = re.compile(r"^#+ (?:\d+\. )?(.+)$", re.M)
IMAGE = re.compile(r"<img\b[^>]*>")
DESCRIBED = re.compile(r'\balt="(?!"|[^"]*_images/|[^"]*\.(?:png|svg)")')
PICTURE = re.compile(r"(?<=[\"'])((?:\.\./)*_images/)")
MATHJAX = ("tex-chtml.js", "output/chtml/fonts/woff-v2")


def build(into: Path) -> None:
    """Build the site in both languages.

    Raises CalledProcessError if Sphinx has a warning, and SystemExit if a picture has no description.
    """
    shutil.rmtree(into, ignore_errors=True)
    places = {language: places_of(language) for language in ("en", "zh")}
    both = ",".join(sorted({*places["en"].values()} & {*places["zh"].values()}))
    with tempfile.TemporaryDirectory() as made:
        copied: dict[Path, Path] = {}
        for language in places:  # both before Sphinx reads the first: a file may be replaced meanwhile
            write_source(Path(made, language), language, places, copied)
        for language, folder, code in (("en", into, "en"), ("zh", into / "zh", "zh_CN")):
            html = Path(made, f"{language}-html")
            flags = ["-W", "--keep-going", "-q", "-b", "html", "-d", f"{html}-doctrees", "-c", str(HERE)]
            settings = {"LANGUAGE": code, "IN_BOTH": both}
            command = [sys.executable, "-m", "sphinx", *flags, f"{made}/{language}", str(html)]
            subprocess.run(command, check=True, env=os.environ | settings)
            shutil.copytree(html, folder)
    share(into)
    bare = []
    for path in into.rglob("*.html"):
        text = path.read_text()
        for found, instead in ACCESSIBLE.items():
            text = text.replace(found, instead)
        path.write_text(EMPTY.sub(r"<td\1></td>", text))
        bare += [f"{path.relative_to(into)}: {tag[:160]}" for tag in IMAGE.findall(text) if not DESCRIBED.search(tag)]
    if bare:
        raise SystemExit("\n".join(["pictures without a description:", *bare]))


def share(into: Path) -> None:
    """Keep one MathJax and one copy of each picture for both languages."""
    package = importlib.util.find_spec("sphinx-mathjax-offline")
    assert package
    assert package.origin
    for name in MATHJAX:
        part = Path(package.origin).parent / "static" / "mathjax" / name
        copy = into / "_static" / "mathjax" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if part.is_dir() else shutil.copy)(part, copy)
    for picture in (into / "zh" / "_images").iterdir():
        there = into / "_images" / picture.name
        assert not there.exists() or there.read_bytes() == picture.read_bytes(), picture.name
        picture.replace(there)
    for path in (into / "zh").rglob("*.html"):
        path.write_text(PICTURE.sub(r"../\1", path.read_text()))


def places_of(language: str) -> dict[Path, str]:
    """The files of a language, each with the name of its page."""
    suffix = "" if language == "en" else ".zh-CN"
    files = [*DOCS.glob("*.md"), *(DOCS / "notebooks").glob("*.ipynb")]
    own = [path for path in files if (".zh-CN." in path.name) == bool(suffix)]
    places = {path: path.relative_to(DOCS).with_suffix("").as_posix().removesuffix(suffix) for path in sorted(own)}
    return places | {DOCS / f"README{suffix}.md": "contents", ROOT / f"README{suffix}.md": "index"}


def write_source(source: Path, language: str, all_places: dict[str, dict[Path, str]], copied: dict[Path, Path]) -> None:
    """Write the pages of a language as Sphinx reads them.

    `copied` are files that another language has copied, each with its copy, which the languages share; it grows.
    """
    (source / "notebooks").mkdir(parents=True)
    places = all_places[language]
    other = all_places["zh" if language == "en" else "en"]
    for path, name in places.items():
        text = path.read_text()
        if path.suffix == ".md":
            linked = _linked(source, path.parent, places, other, language, copied)
            text = LINK.sub(linked, OTHER.sub("", BREAK.sub("", text), count=1))
        else:
            text = described(text, language)
        (source / f"{name}{path.suffix}").write_text(text + (trees(places, language) if name == "index" else ""))
    if language == "en":
        write_reference(source / "reference.md")


def described(notebook: str, language: str) -> str:
    """A notebook whose pictures are described by the question of their section and the code that draws them."""
    document, heading = json.loads(notebook), ""
    for cell in document["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            heading = (HEADING.findall(source) or [heading])[-1]
        else:
            *_, last = source.strip().splitlines() or [""]
            text = f"{'Figure' if language == 'en' else '图'}: {heading} ({last})".replace('"', "'")
            cell["metadata"]["mystnb"] = {"image": {"alt": text}}
    return json.dumps(document, ensure_ascii=False)


def _linked(
    source: Path,
    folder: Path,
    places: dict[Path, str],
    other: dict[Path, str],
    language: str,
    copied: dict[Path, Path],
) -> Callable[[re.Match[str]], str]:
    """What a link of a page in `folder` becomes: another page, or a copy of a file."""

    def replaced(link: re.Match[str]) -> str:
        before, text, target, after = link.groups()
        there = (folder / target).resolve()
        if ":" in target or not there.exists():
            return link[0]
        if there in places:
            return f"{before}{places[there]}{there.suffix}{after}"
        if there.is_dir():
            return text
        if there in other:
            return f'<a href="{"zh" if language == "en" else ".."}/{other[there]}.html">{text}</a>'
        copy = source / "_files" / there.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if copy != copied.get(there):
            shutil.copy(copied.setdefault(there, there), copy)
            copied[there] = copy
        return f"{before}{copy.relative_to(source)})"

    return replaced


def trees(places: dict[Path, str], language: str) -> str:
    """The tables of contents, which make the navigation."""
    there = {*places.values()} - {"index"}
    notebooks = sorted(name for name in there if name.startswith("notebooks/"))
    lists = [CHAPTERS, GUIDES, notebooks, ANSWERS, ["reference"] * (language == "en"), ["contents"]]
    lists = [[name for name in names if name in there or name == "reference"] for names in lists]
    lists[1] += sorted(there.difference(*lists))  # pages that no list above names
    parts = dict(zip(WORDS[language], lists, strict=True))
    return "\n\n" + "\n\n".join(
        "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *names, "```"])
        for caption, names in parts.items()
        if names
    )


def write_reference(path: Path) -> None:
    """Write the page of the docstrings."""
    lines = ["# Reference", ""]
    for module, title in REFERENCE.items():
        lines += [f"## {title}", "", "```{eval-rst}", f".. automodule:: {module}", "```", ""]
    path.write_text("\n".join(lines))


if __name__ == "__main__":
    build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "outputs" / "site"))
