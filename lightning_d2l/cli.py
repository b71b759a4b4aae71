"""The command `lightning-d2l`: `train`, and what can be done with finished runs."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from lightning_d2l import commands, plugins
from lightning_d2l.config.check import RequestError, nearest
from lightning_d2l.config.lines import cells, columns, fill
from lightning_d2l.config.program import COMMANDS, OF_RUNS, PLUGIN, Program, without_plugins
from lightning_d2l.config.text import exit_code

MOST_COLUMNS = 100  # of help
PLACES = ("data.root=", "data.path=")  # of a run's data


class _Help(argparse.HelpFormatter):
    """Help in which no word is broken, and lines that are short enough stay as they are."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=min(columns(), MOST_COLUMNS))

    def _split_lines(self, text: str, width: int) -> list[str]:
        return fill(text, width).splitlines()

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(line if cells(line) <= width else fill(line, width) for line in text.splitlines())


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": _Help, **settings})

    def error(self, message: str) -> NoReturn:
        if found := re.match(r"argument COMMAND: invalid choice: '(.+?)'", message):
            names = ["train", *COMMANDS]
            words = "; did you mean train, as in lightning-d2l train model=mlp?" if "=" in found[1] else ""
            hint = words or nearest(found[1], names)
            message = f"{found[1]}: unknown command{hint} (allowed: {', '.join(names)})"
        message = message.replace("RUN_FOLDER, FILE", "RUN_FOLDER")  # without files there are predictions too
        raise RequestError(f"{message}; see {self.prog} --help")


def main(arguments: list[str] | None = None, started: Program | None = None) -> int:
    """Run `lightning-d2l ARGUMENTS`; returns the exit code. `started` is the user's own program, if that is started."""
    arguments = sys.argv[1:] if arguments is None else arguments
    words, named = without_plugins(arguments)
    if words[:1] == ["train"]:
        from lightning_d2l import app

        flags = [f"{PLUGIN}={name}" for name in named]
        return app.main([*flags, *words[1:]], started or Program(("lightning-d2l", "train")))
    return exit_code(lambda: _main(arguments, started or Program()), verbose="--verbose" in arguments)


def _main(arguments: list[str], started: Program) -> int:
    words = without_plugins(arguments)[0]
    uses_installed = words[:1] and words[0] in (*OF_RUNS, "report") and not {"-h", "--help"} & {*words}
    arguments = plugins.start(arguments, started, installed=bool(uses_installed))
    given = [word for word in arguments if word.startswith(PLACES)] if arguments[:1] and arguments[0] in OF_RUNS else []
    args = _parser(demos="demo" in arguments).parse_args([word for word in arguments if word not in given])
    key, _, args.root = given[-1].partition("=") if given else ("", "", "")
    there = os.path.expanduser(args.root)
    if args.root and not (os.path.isdir(there) if key == "data.root" else os.path.exists(there)):
        raise RequestError(f"{key}={args.root}: {'not a folder' if key == 'data.root' else 'not found'}")
    return int(args.command(args))


def _shared(*names: str, **settings: Any) -> argparse.ArgumentParser:
    """An argument of several commands."""
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument(*names, **settings)
    return made


def _parser(*, demos: bool = False) -> argparse.ArgumentParser:
    """The parser of a command line; with `demos` its help lists them, for which Hydra must be imported."""
    text = "Experiments on linear networks and multilayer perceptrons."
    # several may be given, and anywhere, so that `_main` takes them out
    plugin = _shared(PLUGIN, metavar="FILE", help="a Python file or module that registers what a run uses")
    more = "lightning-d2l COMMAND --help describes a command, and lightning-d2l train --help the settings of a run."
    parser = _Parser(prog="lightning-d2l", description=text, epilog=more, parents=[plugin])
    subparsers = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    text = "train, as `python train.py` does: lightning-d2l train model=mlp"
    subparsers.add_parser("train", help=text, add_help=False)

    formats = _shared("--format", choices=("text", "json"), default="text", help="text (default), or one JSON document")
    verbose = _shared("--verbose", action="store_true", help="show the traceback of an error")

    def command(
        name: str, work: Callable[[argparse.Namespace], int], text: str, *parents: argparse.ArgumentParser, **more: Any
    ) -> argparse.ArgumentParser:
        """A command that does `work`; `text` describes it, with `help` for the list of commands if that is shorter."""
        settings = {"help": text, "description": text, "parents": [*parents, verbose, plugin], **more}
        if name in OF_RUNS:
            settings["epilog"] = (
                "data.root=FOLDER, or data.path=FILE of a table, beside RUN_FOLDER says where the run's data are now, "
                "if they have moved."
            )
        sub = subparsers.add_parser(name, **settings)
        sub.set_defaults(command=work)
        return sub

    _take_runs(command, formats)
    text = commands.demos() if demos else ""
    sub = command("demo", commands.do_demo, text, formats, help="show what a chapter shows without training")
    sub.add_argument("id", nargs="?", metavar="ID", help="a demo; without it they are listed")
    sub.add_argument("--seed", type=int, default=0, help="of the demo's random numbers (default 0)")
    sub.add_argument("--into", type=Path, metavar="FOLDER", help="for the pictures (default outputs/demos/ID)")

    text = "Run the book's experiments over several seeds; compare the numbers with the published ones and with theory."
    sub = command("reproduce", commands.do_reproduce, text, help="repeat the book's experiments")
    sub.add_argument("ids", nargs="*", metavar="ID", help="experiments, or all; without one they are listed")
    sub.add_argument("--seeds", type=int, help="how many (default: 5; 20 where a run takes about a second or less)")
    sub.add_argument("--into", type=Path, metavar="FOLDER", help="for the runs (default outputs/reproduce/TIME)")
    forms = ("text", "markdown", "csv", "json")
    sub.add_argument("--format", choices=forms, default="text", help="of the table (default text)")

    text = "Make tables, a figure and a page with the answer of a sweep from its records."
    sub = command("report", commands.do_report, text, formats, help="summarise the runs of a sweep")
    several = "of a sweep, or latest; several are compared"
    sub.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help=several)
    sub.add_argument("--into", type=Path, metavar="FOLDER", help="for the report (default: the sweep's own folder)")
    touched = "a page that answers when touched (default: if plotly is installed)"
    sub.add_argument("--interactive", action=argparse.BooleanOptionalAction, help=touched)

    text = "Start TensorBoard on a run, a sweep or a folder with several, and print the address of its view."
    _take_board(command("board", commands.do_board, text, help="show runs in TensorBoard"))
    return parser


def _take_runs(command: Callable[..., argparse.ArgumentParser], formats: argparse.ArgumentParser) -> None:
    """The commands on a run."""
    run = _shared("folder", type=Path, metavar="RUN_FOLDER", help="the folder that a run prints at its end")
    text = "the weights of the best or the last epoch (default best)"
    checkpoint = _shared("--checkpoint", choices=("best", "last"), default="best", help=text)
    sub = command("predict", commands.do_predict, "Predict with the best checkpoint of a run.", run, formats)
    text = "images, or for regression CSV files of inputs; without one, ten samples of the test split"
    sub.add_argument("files", nargs="*", type=Path, metavar="FILE", help=text)
    sub.add_argument("--figure", type=Path, metavar="PNG", help="also draw the predictions")
    sub.set_defaults(checkpoint="best")
    command("evaluate", commands.do_evaluate, "Measure a run on its test data again.", run, formats)
    text = "List the parameters and buffers of a run's network, or the values of one."
    sub = command("inspect", commands.do_inspect, text, run, checkpoint, formats)
    sub.add_argument("tensor", nargs="?", metavar="NAME", help="a parameter or buffer whose values are shown")
    sub = command("export", commands.do_export, "Write the weights of a run for use elsewhere.", run, checkpoint)
    forms = ("safetensors", "state_dict", "onnx")
    sub.add_argument("--as", dest="form", choices=forms, default=forms[0], help="the format (default safetensors)")
    sub.add_argument("--into", type=Path, metavar="FILE", help="(default: weights.safetensors or so in RUN_FOLDER)")
    sub = command("rerun", commands.do_rerun, "Do a run again from its record, and compare the numbers.", run)
    sub.add_argument("--run", metavar="NAME", help="a run of the sweep in RUN_FOLDER, where it gets its folder")
    sub.add_argument("--into", type=Path, metavar="FOLDER", help="the new run's folder (default: beside the old one)")


def _take_board(sub: argparse.ArgumentParser) -> None:
    """The arguments of the command that starts TensorBoard."""
    shown = "that is shown (default latest: the newest run or sweep below outputs/)"
    sub.add_argument("folder", nargs="?", type=Path, default=Path("latest"), metavar="FOLDER", help=shown)
    sub.add_argument("--host", default="localhost", metavar="NAME", help="where it listens (default localhost)")
    sub.add_argument("--port", type=int, metavar="N", help="(default: the first free one from 6006 up)")


if __name__ == "__main__":
    sys.exit(main())
