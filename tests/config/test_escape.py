"""Text from names, settings, records and files stays text: in file names, terminals, CSV, figures and Markdown."""

import csv
import io
import os
import re
import unicodedata
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from lightning_d2l.config.escape import cell, file_name, label, markdown, terminal

# Any text, lone surrogates too, and text made of what programs take for markup.
SPECIAL = [
    *"$\\{}[]()<>|`*_~&#+-=.!@%^'\"/:;,\n\r\t \0\x1b\x07\x7f\x85\x9b",
    "\u202e",
    "\u200b",
    "\ufeff",
    "\ud800",
    "é",
]
TEXT = st.text(st.characters(exclude_categories=())) | st.lists(st.sampled_from([*SPECIAL, "frac", "x", "1"])).map(
    "".join
)
HOSTILE = [
    "", "$x_{$", r"$\frac$", r"$\frac{1}{0}$", "\\", "\\\\", "$", "$$", r"\$", r"\$x$", "%", "^", "_", "_x", "__",
    "a\0b", "\ud800", "😀", "שלום", "ab\u202ecd", "\x1b[31m", "\x9b31m", "=1+1", "../..", "<script>alert(1)</script>",
    "a|b", "```", "[x](javascript:x)", "a\nb", "a\rb", "1. x", "1) x", "- x", "+", "# x", "===", "    x", "&lt;",
    "x" * 10_000,
]  # fmt: skip
shown_and_any = settings(max_examples=300, deadline=None)


def hidden(text):
    return [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")]


@shown_and_any
@given(TEXT | st.sampled_from(HOSTILE))
def test_a_terminal_obeys_and_hides_nothing(text):
    assert not hidden(terminal(text))
    terminal(text).encode()  # no lone surrogate
    assert set(hidden(terminal(text, keep="\t\n"))) <= {"\t", "\n"}
    if not hidden(text) and not re.search("[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0]", text):
        assert terminal(text) == text


def test_characters_are_shown_by_their_numbers():
    assert terminal("a\x1b[31mb\x9b\u202e\u200b\ufeff\ud800\U000e0041") == (
        r"a\x1b[31mb\x9b\u202e\u200b\ufeff\ud800\U000e0041"
    )
    assert terminal("é 日本 😀 שלום ±²λ") == "é 日本 😀 שלום ±²λ"


@shown_and_any
@given(TEXT | st.sampled_from(HOSTILE))
def test_a_file_name_is_one_component_that_can_be_made(tmp_path_factory, text):
    name = file_name(text)
    assert 1 <= len(name.encode()) <= 200
    assert not name.startswith(".")
    assert not re.search(r"[/\\\s]", name)
    assert not hidden(name)
    folder = tmp_path_factory.getbasetemp() / "names"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    assert os.listdir(folder) == [name]
    (folder / name).unlink()


def test_long_names_stay_different_and_ordinary_names_as_they_are():
    long = ["é" * 300 + end for end in "ab"]
    assert len({file_name(text) for text in long}) == 2
    for text in ("data.degree=3", "model.init={name:zeros}", "übung-1", "a..b"):
        assert file_name(text) in (text, text.replace(":", "_"))


@shown_and_any
@given(TEXT | st.sampled_from(HOSTILE))
def test_no_cell_is_a_formula_and_a_table_reads_back(text):
    found = cell(text)
    first = found.lstrip(" ")[:1]
    assert first not in ("=", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
    if first in ("+", "-"):
        float(found)
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow([found, "end"])
    assert list(csv.reader(io.StringIO(file.getvalue(), newline=""))) == [[found, "end"]]
    file.getvalue().encode()


@pytest.mark.parametrize("number", ["-1.5e-3", "+3", "-1", "-0.5", "-inf", "+inf", "-nan", "1e5", "-1E+300"])
def test_numbers_are_not_changed(number):
    assert cell(number) == number


@pytest.mark.parametrize(
    "formula", ["=1+1", "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "-1_000", " =1", "+", "--1"]
)
def test_formulas_get_an_apostrophe(formula):
    assert cell(formula) == f"'{formula}"


def drawn(text):
    """The texts of a title, tick and legend that matplotlib really drew, and whether it took one for mathematics."""
    figure = Figure(figsize=(2, 2), dpi=30)
    panel = figure.subplots()
    panel.plot([0, 1], [0, 1], label=label(text) or None)
    panel.set_title(label(text))
    panel.set_xticks([0.5], [label(text)])
    _, names = panel.get_legend_handles_labels()
    if names:
        panel.legend()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph|Matplotlib currently does not support")
        figure.savefig(io.BytesIO(), format="png")
        figure.savefig(io.BytesIO(), format="svg")
    return [panel.title._preprocess_math(panel.title.get_text()), len(names)]


@pytest.mark.parametrize("text", HOSTILE)
def test_figures_show_text_as_it_is(text):
    (shown, is_math), entries = drawn(text)
    assert not is_math
    assert entries == (text != "")
    whole = terminal(text)
    assert shown.strip() == (f"{whole[:97]}..." if len(whole) > 100 else whole.strip())


@settings(max_examples=25, deadline=None)
@given(TEXT)
def test_any_text_can_be_drawn(text):
    (_, is_math), entries = drawn(text)
    assert not is_math
    assert entries == (text != "")


def inline(tokens):
    return "".join("\n" if t.type in ("softbreak", "hardbreak") else t.content for t in tokens)


@shown_and_any
@given(TEXT | st.sampled_from(HOSTILE))
def test_markdown_is_rendered_as_text(text):
    expected = terminal(" ".join(text.split()))
    reader = MarkdownIt("commonmark", {"linkify": False}).enable(["table", "strikethrough"])
    (row,) = [t for t in reader.parse(f"| a | b |\n| --- | --- |\n| {markdown(text)} | end |\n") if t.content == "end"]
    assert row  # the row has two cells, whatever the first one holds
    cells = [t for t in reader.parse(f"| a |\n| --- |\n| {markdown(text)} |\n") if t.type == "inline"][1:]
    assert [inline(t.children) for t in cells] == [expected]
    assert {t.type for each in cells for t in each.children} <= {"text", "text_special"}
    line = reader.parse(markdown(text))
    assert [t.type for t in line] == (["paragraph_open", "inline", "paragraph_close"] if expected else [])
    assert not expected or inline(line[1].children) == expected
