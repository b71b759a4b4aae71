"""The program that the user started, as the words that printed commands begin with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLUGIN = "--plugin"
OF_RUNS = ("predict", "evaluate", "inspect", "export", "rerun")
"""The commands of `lightning-d2l` on a run, which take data.root=FOLDER or data.path=FILE."""
COMMANDS = (*OF_RUNS, "demo", "reproduce", "report", "board")
"""All commands of `lightning-d2l` but `train`."""


@dataclass(frozen=True)
class Program:
    """The words before the arguments, and the plugins that the user named, by flags or in the environment."""

    train: tuple[str, ...] = ("python", "train.py")
    tool: tuple[str, ...] = ("lightning-d2l",)
    plugins: tuple[str, ...] = ()
    folder: str = ""  # where it was started, from which their paths are given
    file: str = ""  # of the user's own program, or its module, which registers what a worker needs too

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Program:
        """The program that dataclasses.asdict gave these fields, which may have been JSON since."""
        started: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        return cls(**started)


_present = Program()


def program() -> Program:
    """The program that runs."""
    return _present


def use_program(started: Program) -> None:
    """Print the commands of this program from now on."""
    global _present  # noqa: PLW0603
    _present = started


def train_words() -> list[str]:
    """The words that a command to train begins with: `python train.py`, and a --plugin for each of the user's."""
    return [*_present.train, *_plugin_words()]


def tool_words(command: str) -> list[str]:
    """The words that another command begins with: `lightning-d2l predict`, and a --plugin for each of the user's."""
    return [*_present.tool, command, *_plugin_words()]


def _plugin_words() -> list[str]:
    plugins = _present.plugins
    return [word for name in plugins for word in ([f"{PLUGIN}={name}"] if name.startswith("-") else [PLUGIN, name])]


def train_words_as(command: str) -> list[str]:
    """`train_words`, with the plugins of a recorded command if the present program has none."""
    if _present.plugins:
        return train_words()
    return [*train_words(), *(word for name in without_plugins(shlex.split(command))[1] for word in (PLUGIN, name))]


def is_long_command(line: str) -> bool:
    """Whether a printed line holds a command with many words, which must not be broken between them."""
    tool = [_present.tool] if _present.plugins else []
    return any(f"{shlex.join(words)} " in line for words in (_present.train, *tool))


def without_plugins(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words of a command line without its --plugin flags, and the names that the flags give, in order."""
    others, names, left = [], [], list(words)
    while left:
        word = left.pop(0)
        if word == PLUGIN:
            names.append(left.pop(0) if left else "")
        elif word.startswith(f"{PLUGIN}="):
            names.append(word.removeprefix(f"{PLUGIN}="))
        else:
            others.append(word)
    return others, names


def arguments_of(command: str) -> list[str]:
    """The arguments of a printed command to train, without its plugins; raises ValueError on unbalanced quotes."""
    words = shlex.split(command)
    if words[:1] == ["python"]:
        begin = 3 if words[1:2] == ["-m"] else 2
    else:
        begin = 2 if words[:1] == ["lightning-d2l"] else 1
    return without_plugins(words[begin:])[0]


def from_here(path: Path) -> Path:
    """A path relative to the current folder, where it lies below it and no command takes it for an option."""
    whole = Path(path).resolve()
    try:
        relative = whole.relative_to(Path.cwd())
    except ValueError:
        return Path(path)
    return whole if relative == Path() or str(relative).startswith("-") else relative
