"""The pages of docs/: their links, the index of the study notes, their commands, and the numbers they repeat."""

import functools
import importlib
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from lightning_d2l import app, cli
from lightning_d2l.book.demos import DEMOS
from lightning_d2l.book.published import EXPERIMENTS
from lightning_d2l.config.compose import CONF, compose_checked, parse
from lightning_d2l.config.help import EXAMPLES
from lightning_d2l.data import fashion_mnist
from lightning_d2l.data.fashion_mnist import Arrays
from lightning_d2l.data.garments import draw_garments
from tests.conftest import ROOT

DOCS = sorted((ROOT / "docs").glob("*.md"))
INDEX = ROOT / "docs/README.md"
CHINESE_INDEX = ROOT / "docs/README.zh-CN.md"
REPRODUCTION = ROOT / "docs/reproduction.md"
BLOCK = re.compile(r"^```.*?^```$", re.S | re.M)


def commands(page: Path) -> list[str]:
    """The lines of the page's bash blocks."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", page.read_text(), re.S | re.M)
    return [line for block in blocks for line in block.splitlines()]


OWN_WORK = ROOT / "docs/own-work.md"  # whose commands test_own_work.py runs
TWINS = [page for page in DOCS if page.name.endswith(".zh-CN.md")]  # have the commands of the English pages
PAGES = [page for page in DOCS if commands(page) and page != OWN_WORK and page not in TWINS]


@functools.cache
def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings: repeated ones are numbered."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#{1,6} (.+)$", BLOCK.sub("", page.read_text()), re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


@pytest.mark.parametrize("page", [*DOCS, *ROOT.glob("README*.md")], ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", page.read_text())):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


@pytest.mark.parametrize("page", [*TWINS, ROOT / "README.zh-CN.md"], ids=lambda page: page.name)
def test_a_chinese_page_has_the_commands_formulas_pictures_and_numbers_of_its_english_twin(page):
    def parts(text):
        blocks = re.findall(r"^```bash$.*?^```$|^\$\$$.*?^\$\$$", text, re.S | re.M)
        blocks = [block for block in blocks if r"\text{" not in block]  # formulas with words
        told = re.sub(r"## Published and measured.*?(?=\n## )", "", text, flags=re.S)  # rows that a script writes
        numbers = set(re.findall(r"(?<![\w.])\d[\d,]*\.\d+(?:e[-+]?\d+)?", told))
        return blocks, re.findall(r"\]\((?:docs/)?images/(.+?)\)", text), numbers

    twin = page.with_name(page.name.replace(".zh-CN", ""))
    assert parts(page.read_text()) == parts(twin.read_text())


def test_a_shell_passes_on_every_word_of_the_commands_and_settings():
    """Such as zsh, which refuses key=[1,2] without quotes, since no file matches it."""
    texts = {page: page.read_text() for page in (*DOCS, *ROOT.glob("README*.md"), *ROOT.glob(".github/*.md"))}
    for where, text in {**texts, ROOT / "lightning_d2l/config/help.py": EXAMPLES}.items():
        lines = re.findall(r"^ *((?:python3?|pip|lightning-d2l|tensorboard) .+)$", text.replace("\\\n", ""), re.M)
        spans = re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
        lines += [span for span in spans if re.match(r"(?:python3?|pip|lightning-d2l) |'?[a-z_./]+=", span)]
        for line in lines:
            plain = re.sub(r"'[^']*'|\"[^\"]*\"", "", line.partition("  #")[0])
            assert not re.search(r"[\[\](){}*?!]", plain), (where, line)


def test_every_page_is_in_the_list_and_every_picture_on_a_page():
    linked = set(re.findall(r"^\| \[[^\]]+\]\(([\w-]+\.md)\)", INDEX.read_text(), re.M))
    assert linked == {page.name for page in DOCS if not page.name.endswith(".zh-CN.md")} - {"README.md"}
    chinese = set(re.findall(r"^\| \[[^\]]+\]\(([\w-]+\.zh-CN\.md)\)", CHINESE_INDEX.read_text(), re.M))
    assert chinese == {page.name for page in TWINS} - {CHINESE_INDEX.name}
    text = "".join(page.read_text() for page in [*DOCS, *ROOT.glob("README*.md")])
    assert {path.name for path in (ROOT / "docs/images").iterdir() if f"images/{path.name})" not in text} == set()


def index() -> list[list[str]]:
    """The cells of the index: heading, files, settings, command, page."""
    lines = INDEX.read_text().partition("## Index")[2].splitlines()
    return [line[2:-2].split(" | ") for line in lines if line.startswith("| ") and not line.startswith("| heading ")]


ENTRIES = index()


def test_every_entry_of_the_index_leads_to_code_and_a_page():
    for row in ENTRIES:
        heading, files, _, _, page = row
        assert re.match(r"\S.*: \S", heading), row
        assert re.search(r"`lightning_d2l/.+`", files), row
        assert ".md" in page, row


def test_the_index_names_files_and_what_is_in_them():
    for target in {name for row in ENTRIES for name in re.findall(r"`([^`]+)`", row[1])}:
        path, _, name = target.partition("::")
        assert (ROOT / path).is_file(), target
        found = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        for attribute in filter(None, name.split(".")):
            found = getattr(found, attribute, None)
            assert found is not None, target


@pytest.mark.slow
@pytest.mark.apart
def test_the_settings_of_the_index_compose():
    for together in {alternative for row in ENTRIES for alternative in row[2].split(" or ")} - {""}:
        words = [shlex.split(word)[0] for word in re.findall(r"`([^`]+)`", together)]
        option = CONF / f"{words[0].replace('=', '/')}.yaml"  # tests/config/test_conf.py composes each by itself
        if len(words) > 1 or not option.exists():
            compose_checked(words)


def test_the_commands_of_the_index_are_understood():
    run = {line for page in PAGES for line in commands(page)}  # by test_commands_run
    for line in {command for row in ENTRIES for command in re.findall(r"`([^`]+)`", row[3])} - run:
        program, *words = shlex.split(line)
        if program == "python":
            assert words[0] == "train.py"
            multirun = "-m" in words
            compose_checked([w for w in words[1:] if w != "-m"], multirun=multirun)
        else:
            args = cli._parser().parse_args(words)
            assert args.name != "demo" or args.id in DEMOS, line
            assert args.name != "reproduce" or set(args.ids) <= {"all", *(e.id for e in EXPERIMENTS)}, line


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (r"lightning-d2l demo ([\w-]+)", set(DEMOS)),
        (r"experiment=([\w-]+)", {path.stem for path in (CONF / "experiment").glob("*.yaml")}),
    ],
    ids=["demos", "experiments"],
)
def test_every_demo_and_experiment_is_on_a_page(named, expected):
    assert expected <= set(re.findall(named, "".join(page.read_text() for page in DOCS)))


def smaller(overrides: list[str]) -> list[str]:
    """The overrides of a training, or of a sweep with one run for each end of its first axis, that takes a second."""
    words = [w for w in overrides if w != "-m"]
    if any(w.startswith("study=") for w in words):  # its axes, in place of which it may be given others
        given = {o.key_or_group for o in parse(words)}
        words += [f"{k}={v}" for k, v in compose_checked(words).hydra.sweeper.params.items() if k not in given]
    parsed, small = parse(words), []
    swept = [o for o in parsed if o.is_sweep_override()]
    for override in parsed:
        text = str(override.input_line)
        if override in swept:
            values = list(override.sweep_string_iterator())
            kept = [values[0], values[-1]] if override is swept[0] else values[:1]
            text = f"{text.partition('=')[0]}={','.join(dict.fromkeys(kept))}"
        small.append(text)
    config = compose_checked(small, multirun="-m" in overrides)
    extra = {"trainer.max_epochs": min(2, config.trainer.max_epochs)} if config.trainer.max_epochs else {}
    if config.data["_target_"].endswith("FashionMNISTData"):
        extra |= {"data.source": "generated", "data.n_train": min(200, config.data.n_train or 200)}
        extra |= {"data.val_size": min(100, config.data.val_size)}
    if config.logger and not any("logger" in text for text in small):
        extra["logger"] = "none"
    axes = {o.key_or_group for o in swept}
    small += [f"{key}={value}" for key, value in extra.items() if key not in axes]
    return ["-m", *small] if "-m" in overrides else small


@functools.cache
def few_garments(split: str) -> Arrays:
    """A thousand generated garments in place of 60,000."""
    return draw_garments(1000, ["train", "test"].index(split))


@pytest.mark.slow
@pytest.mark.apart
@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_run(page, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(fashion_mnist, "generated_garments", few_garments)
    (tmp_path / "docs").symlink_to(ROOT / "docs")  # the files of the pages' examples
    folder = ""
    for line in commands(page):
        program, *words = shlex.split(line.replace("RUN_FOLDER", shlex.quote(folder)))
        assert "RUN_FOLDER" not in line or folder, line
        if program == "tensorboard":
            assert words == ["--logdir", "outputs"]
        elif words[0] == "board":  # a server, which tests/studies/test_board.py starts
            assert cli._parser().parse_args(words).command
        elif program == "python":
            assert words[0] == "train.py"
            monkeypatch.setattr("sys.argv", ["train.py"])
            assert app.main(smaller(words[1:])) == 0, (line, capsys.readouterr())
            if found := re.findall(r"^run folder  (.+)$", capsys.readouterr().out, re.M):  # a sweep has several or none
                folder = found[-1]
        elif words[0] == "demo":
            assert program == "lightning-d2l"
            assert words[1] in DEMOS, line
            # tests/book/test_demos.py runs each without options
            assert len(words) == 2 or cli.main(words) == 0, line
        elif words[0] == "reproduce":  # one seed of one experiment, whose number may differ, and no images
            monkeypatch.setenv("LIGHTNING_D2L_DATA", str(tmp_path / "no data"))
            ids = [w for w in words[1:] if w in {e.id for e in EXPERIMENTS}]
            options = [w for w in words[1:] if w not in {*ids, "all"}]
            assert cli.main(["reproduce", *(ids[:1] or ["xavier"]), *options, "--seeds", "1"]) in (0, 1), line
        else:
            assert cli.main(words) == 0, (line, capsys.readouterr())


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.stem)
def test_rows_are_those_of_the_reproduction(page):
    """A page's numbers beside the book's are lines of the whole table, and all that the page announces are there."""
    ids = {experiment.id for experiment in EXPERIMENTS}
    whole = REPRODUCTION.read_text().splitlines()
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ") and line.count(" | ") >= 5]
    rows = [line for line in rows if line.split(" | ")[0][2:] in ids]
    assert set(rows) <= set(whole)
    for announced in re.findall(r"<!-- rows: (.+?) -->", page.read_text()):
        wanted = [line for line in whole if line.split(" | ")[0][2:] in announced.split()]
        assert set(wanted) <= set(rows)
        assert set(announced.split()) <= ids
