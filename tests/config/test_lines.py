"""Lines and columns by what they take in a terminal, where a Chinese character takes two columns."""

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_d2l.config.lines import aligned, cells, columns, command_lines, fill, shortened

CLOSING = "\uff0c\u3002\uff09"  # the Chinese comma, full stop and bracket
WORDS = st.lists(st.text(f"abc-/=.学习率过拟合{CLOSING}ü0", min_size=1, max_size=30), min_size=1, max_size=20)


def width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


@given(WORDS, st.integers(20, 90))
def test_lines_hold_all_words_and_only_words_without_a_place_to_break_are_longer(words, most):
    text = " ".join(words)
    lines = fill(text, most, first="label ", rest="      ").split("\n")
    assert "".join(lines).replace(" ", "") == f"label{text}".replace(" ", "")
    for line in lines:
        assert cells(line) == width(line)
        wide = [c for c in line[7:-2].strip(CLOSING) if unicodedata.east_asian_width(c) == "W"]
        assert width(line) <= most or not wide
    ascii_words = {word for word in words if word.isascii()}
    assert ascii_words <= set(" ".join(line.strip().removeprefix("label ") for line in lines).split())


def test_a_chinese_sentence_is_broken_anywhere_but_before_its_punctuation():
    text = "学习率太大\uff0c损失发散。"
    assert fill(text, 12) == "学习率太大\uff0c\n损失发散。"
    assert fill(text, 10) == "学习率太\n大\uff0c损失发\n散。"


@given(st.text("ab学 ü", max_size=60), st.integers(8, 40))
def test_a_shortened_text_fits(text, most):
    found = shortened(text, most)
    assert width(found) <= most
    assert found == text or (found.endswith("...") and text.startswith(found[:-3]))


def test_columns_begin_below_each_other():
    lines = aligned([["数据", "n", "x"], ["polynomial", "5", "欠拟合"], ["b", "10", "y"]])
    assert [width(line[: line.rindex(mark)]) for line, mark in zip(lines, ["x", "欠", "y"], strict=True)] == [16] * 3


def test_a_command_in_lines_is_one_command():
    command = "python train.py model=mlp 'seed=range(5)' " + " ".join(f"data.key_{i}={i}" for i in range(9))
    lines = command_lines("run next  ", command, 60)
    assert max(map(len, lines)) <= 60
    assert " ".join(line.removesuffix("\\").strip() for line in lines) == f"run next  {command}"
    assert all(line.endswith(" \\") for line in lines[:-1])


@pytest.mark.parametrize(("asked", "expected"), [("60", 60), ("200", 200), ("5", 40)])
def test_a_terminal_has_its_columns_and_a_file_80(asked, expected, monkeypatch):
    monkeypatch.setenv("COLUMNS", asked)
    terminal = io.StringIO()
    assert columns(terminal) == 80
    terminal.isatty = lambda: True
    assert columns(terminal) == expected
