"""docs/refresh.py: every picture of docs/ has its command, and a sample of the commands makes what the pages say."""

import importlib.util
import json
import re
import sys

import pytest

from tests.conftest import ROOT

_spec = importlib.util.spec_from_file_location("refresh", ROOT / "docs/refresh.py")
assert _spec is not None
assert _spec.loader is not None
refresh = importlib.util.module_from_spec(_spec)
sys.modules["refresh"] = refresh
_spec.loader.exec_module(refresh)

SAMPLE = {
    "softmax-regression": "demo softmax-overflow",
    "weight-decay": "demo l1-l2",
    "underfitting-and-overfitting": "optimizer=exact data.degree=1,3,5,8,12,19",
    "table": "trainer.precision=64-true",
}
"""A page, and a part of one of its commands: of those in float64 that take seconds."""


def test_every_picture_has_its_command() -> None:
    shown = {path.stem for path in (ROOT / "docs/images").glob("*.png")}
    assert {*refresh.PICTURES} == {name for name in shown if not name.startswith("tensorboard_")}  # docs/screenshots.py
    studies = {f"study_{path.stem}" for path in (ROOT / "conf/study").glob("*.yaml")}
    assert {name.removesuffix("_fits") for name in refresh.PICTURES if name.startswith("study_")} == studies


def test_a_page_asks_the_question_of_its_study() -> None:
    asked = dict[str, str]()
    for page in (ROOT / "docs").glob("*.md"):
        found = re.findall(r"^## Study: (\w+)\n\n(.+)$", page.read_text(), re.M)
        asked |= dict(found)
    studies = {path.stem: path.read_text() for path in (ROOT / "conf/study").glob("*.yaml")}
    assert {*studies} - {*asked} == {"search_mlp"}
    for name, first in asked.items():
        assert re.findall(r"^  question: (.+)$", studies[name], re.M)[0] in first


def test_the_numbers_that_are_held_stand_on_their_pages_beside_their_commands() -> None:
    for page, held in json.loads(refresh.HELD.read_text()).items():
        found: dict[str, set[str]] = {}
        for text, commands in refresh.sections(page):
            for command in commands:
                found.setdefault(command, set()).update(refresh.numbers_of(text))
        every = set().union(*(refresh.numbers_of(text) for text, _ in refresh.sections(page)))
        assert every == set().union(*held.values()), page  # a number that no command makes is from a named place
        for command, numbers in held.items():
            assert {*numbers} <= (found.get(command, set()) if refresh.COMMAND.match(command) else every), (
                page,
                command,
            )


@pytest.mark.slow
@pytest.mark.apart
@pytest.mark.parametrize(("page", "part"), SAMPLE.items())
def test_a_sample_of_the_commands_makes_the_numbers_of_its_page(page, part) -> None:
    held = json.loads(refresh.HELD.read_text())[page]
    assert [command for command in held if re.search(part, command)]
    assert refresh.changed(page, held, part) == []


@pytest.mark.parametrize(
    ("number", "value", "same"),
    [("0.50", 0.5049, True), ("0.50", 0.5051, False), ("1,632,000", 1632000.4, True), ("1,632,000", 1632001, False),
     ("4.07e+06", 4.068e6, True), ("4.07e+06", 4.08e6, False), ("-0.012", -0.01244, True), ("-0.012", 0.01244, False)],
)  # fmt: skip
def test_a_number_is_one_that_is_rounded_to_it(number, value, same) -> None:
    assert refresh.is_among(number, [7.0, value]) is same


PAGE = """# Page

## One

The loss is 0.512 after 100 epochs (`data.noise=0.25`), and 12,345 in all; 0.777 is another's, $2^{0.111} = 1.080$.

```bash
python train.py one
```

## Two

```bash
lightning-d2l demo two
```

Here 0.512 is another's.
"""


def test_numbers_are_held_by_the_command_of_their_section(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    monkeypatch.setattr(refresh, "DOCS", tmp_path)
    printed = {"python train.py one": "loss 0.5123, 12345", "lightning-d2l demo two": "3.5"}
    monkeypatch.setattr(refresh, "run", lambda command, *_: printed[command])
    held = refresh.hold("page", "")
    assert held == {"python train.py one": ["0.512", "12,345"]}
    assert capsys.readouterr().out.splitlines() == [
        "page, ## One: made by no command: 0.777",
        "page, ## Two: made by no command: 0.512",
    ]
    formula = {"a formula": ["0.111", "1.080"]}
    assert refresh.elsewhere("page", held, {"the book": ["0.777"]}) == {"the book": ["0.777"], **formula}
    assert refresh.elsewhere("page", held, {}) == {**formula, "not held yet": ["0.777"]}
    assert refresh.changed("page", held, "") == []
    printed["python train.py one"] = "loss 0.5135, 12345"
    assert refresh.changed("page", held, "") == ["0.512: not made by python train.py one"]
    (tmp_path / "page.md").write_text(PAGE.replace("12,345", "12,346").replace("0.512", "0.514"))
    assert [line.partition(":")[0] for line in refresh.changed("page", held, "")] == ["0.512", "12,345", "0.512"]


def test_tables_beside_the_books_numbers_are_written_from_the_rows_of_reproduce(tmp_path, monkeypatch) -> None:
    from lightning_d2l.book.reproduce import reproduce
    from lightning_d2l.book.rows import as_json

    monkeypatch.setattr(refresh, "DOCS", tmp_path)
    for name in ("reproduction.md", "reproduction.zh-CN.md"):
        (tmp_path / name).write_text("# Title\n\n| experiment | quantity | old\n| --- |\n\nMeasured then.\n")
    (tmp_path / "page.md").write_text("Text.\n\n<!-- rows: xavier -->\n\n| old |\n| old |\n\nMore.\n")
    (tmp_path / "rows.json").write_text(as_json(list(reproduce(["xavier", "phm"], tmp_path, 1))))
    assert refresh.reproduction(tmp_path / "rows.json", tmp_path / "runs") == 0
    lines = (tmp_path / "reproduction.md").read_text().splitlines()
    assert lines == (tmp_path / "reproduction.zh-CN.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ")][2:] == ["| xavier", *["| phm"] * 5]
    assert "Measured then." not in lines
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("Text.\n\n<!-- rows: xavier -->\n\n| experiment")
    assert page.count("\n| ") == 3
    assert page.endswith("|\n\nMore.\n")


def test_pictures_keep_the_colour_of_every_pixel(tmp_path, monkeypatch) -> None:
    import numpy as np
    from matplotlib.figure import Figure
    from PIL import Image

    from lightning_d2l.studies.palette import COLOURS

    figure = Figure(figsize=(6, 4))
    panel = figure.subplots()
    for number, colour in enumerate(COLOURS):
        panel.plot([0, 1], [number, number + 0.5], color=colour)
        panel.fill_between([0, 1], number, number + 1, color=colour, alpha=0.18)
    panel.imshow(np.random.default_rng(0).random((9, 9)), extent=(1, 2, 0, 8), aspect="auto")
    figure.savefig(tmp_path / "figure.png")
    monkeypatch.setattr(refresh, "PICTURES", {"kept": refresh.Made("command", "figure.png")})
    monkeypatch.setattr(refresh, "IMAGES", tmp_path)
    refresh.keep_pictures("command", tmp_path)
    before, after = (Image.open(tmp_path / name).convert("RGB") for name in ("figure.png", "kept.png"))
    assert len(before.getcolors(2**24) or []) > 256
    assert before.tobytes() == after.tobytes()
