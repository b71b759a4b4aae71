"""The command `lightning-d2l`: `train`, and what can be done with finished runs."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lightning_d2l import plugins
from lightning_d2l.config.check import RequestError, nearest
from lightning_d2l.config.places import require_file, require_writable
from lightning_d2l.config.program import PLUGIN, Program, without_plugins
from lightning_d2l.config.text import exit_code, finite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lightning_d2l.training.build import BuiltRun

PLACES = ("data.root=", "data.path=")  # of a run's data
MOST_DRAWN = 100  # predictions in a figure
OF_RUNS = ("predict", "evaluate", "inspect", "export", "rerun")  # take data.root=FOLDER or data.path=FILE
COMMANDS = (*OF_RUNS, "demo", "reproduce", "report")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if found := re.match(r"argument COMMAND: invalid choice: '(.+?)'", message):
            names = ["train", *COMMANDS]
            message = f"{found[1]}: unknown command{nearest(found[1], names)} (allowed: {', '.join(names)})"
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
    parser = _Parser(prog="lightning-d2l", description=text, parents=[plugin])
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    commands.add_parser("train", help="train, as `python train.py` does: lightning-d2l train model=mlp", add_help=False)

    run = _shared("folder", type=Path, metavar="RUN_FOLDER")
    checkpoint = _shared("--checkpoint", choices=("best", "last"), default="best", help="(default best)")
    formats = _shared("--format", choices=("text", "json"), default="text")
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
        sub = commands.add_parser(name, **settings)
        sub.set_defaults(command=work)
        return sub

    sub = command("predict", _predict, "Predict with the best checkpoint of a run.", run, formats)
    sub.add_argument("files", nargs="*", type=Path, metavar="FILE", help="images; for regression CSV files of inputs")
    sub.add_argument("--figure", type=Path, metavar="PNG", help="also draw the predictions")
    sub.set_defaults(checkpoint="best")
    command("evaluate", _evaluate, "Measure a run on its test data again.", run, formats)
    text = "List the parameters and buffers of a run's network, or the values of one."
    sub = command("inspect", _inspect, text, run, checkpoint, formats)
    sub.add_argument("tensor", nargs="?", metavar="NAME", help="a parameter or buffer whose values are shown")
    sub = command("export", _export, "Write the weights of a run for use elsewhere.", run, checkpoint)
    sub.add_argument("--as", dest="form", choices=("safetensors", "state_dict", "onnx"), default="safetensors")
    sub.add_argument("--into", type=Path, metavar="FILE", help="(default: weights.safetensors or so in RUN_FOLDER)")
    sub = command("rerun", _rerun, "Do a run again from its record, and compare the numbers.", run)
    sub.add_argument("--run", metavar="NAME", help="a run of the sweep in RUN_FOLDER, where it gets its folder")
    sub.add_argument("--into", type=Path, metavar="FOLDER", help="the new run's folder (default: beside the old one)")

    sub = command("demo", _demo, _demos() if demos else "", formats, help="show what a chapter shows without training")
    sub.formatter_class = argparse.RawDescriptionHelpFormatter
    sub.add_argument("id", metavar="ID")
    sub.add_argument("--seed", type=int, default=0, help="of the demo's random numbers (default 0)")
    sub.add_argument("--into", type=Path, metavar="FOLDER", help="for the pictures (default outputs/demos/ID)")

    text = "Run the book's experiments over several seeds; compare the numbers with the published ones and with theory."
    sub = command("reproduce", _reproduce, text, help="repeat the book's experiments")
    sub.add_argument("ids", nargs="*", metavar="ID", help="experiments (default: all)")
    sub.add_argument("--seeds", type=int, help="how many (default: 5; 20 where a run takes about a second or less)")
    sub.add_argument("--into", type=Path, metavar="FOLDER", help="for the runs (default outputs/reproduce/TIME)")
    sub.add_argument("--format", choices=("text", "markdown", "csv", "json"), default="text")

    text = "Make tables, a figure and a page with the answer of a sweep from its records."
    sub = command("report", _report, text, formats, help="summarise the runs of a sweep")
    several = "of a sweep, or latest; several are compared"
    sub.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help=several)
    sub.add_argument("--into", type=Path, metavar="FOLDER", help="for the report (default: the sweep's own folder)")
    return parser


def _predict(args: argparse.Namespace) -> int:
    if args.figure:
        if args.figure.suffix != ".png":
            raise RequestError(f"--figure={args.figure}: must end in .png")
        require_writable("--figure", args.figure)
    for file in args.files:
        require_file(file)
    built = _load(args, samples=not args.files)
    from lightning_d2l.training.reuse import predict

    predictions = predict(built, args.files)
    if args.figure and len(predictions) > MOST_DRAWN:
        raise RequestError(f"--figure={args.figure}: must be of at most {MOST_DRAWN} inputs, not {len(predictions)}")
    names = built.data.class_names
    if args.figure:
        from lightning_d2l.training.figures import few_predictions

        _save({args.figure: few_predictions(built.data, predictions)}, f"--figure={args.figure}")
    found = [prediction.as_json(names) for prediction in predictions]
    _show(args, found, lambda: "\n".join(prediction.as_text(names) for prediction in predictions))
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    _check_run(args, samples=True)
    from lightning_d2l.training import console, reuse

    _quiet(args)
    _show(args, results := reuse.evaluate(args.folder, args.root), lambda: console.table(results))
    return 0


def _inspect(args: argparse.Namespace) -> int:
    from lightning_d2l.training.same_data import OtherData

    try:
        built = _load(args)
    except OtherData as error:
        built = _load(args, samples=False)
        print(f"no gradients: {str(error).splitlines()[0]}", file=sys.stderr)
    from lightning_d2l.training import inspect

    items = inspect.tensors(built)
    if args.tensor:
        shown = inspect.find(items, args.tensor)
        _show(args, {**shown.facts(), "values": shown.value.tolist()}, lambda: inspect.values(shown))
    else:
        everything = {"tensors": [item.facts() for item in items], **inspect.totals(items)}
        _show(args, everything, lambda: inspect.table(items))
    return 0


def _export(args: argparse.Namespace) -> int:
    if args.into:
        require_writable("--into", args.into)
    built = _load(args, samples=False)
    from lightning_d2l.training import export

    into = args.into or args.folder / export.FILES[args.form]
    require_writable("--into", into)
    hint = export.export(built, args.form, into)
    print(f"wrote {into} ({into.stat().st_size:,} bytes); to load it:\n{textwrap.indent(hint, '  ')}")
    return 0


def _load(args: argparse.Namespace, *, samples: bool = True) -> BuiltRun:
    _check_run(args, samples=samples)
    from lightning_d2l.training.files import BEST, LAST
    from lightning_d2l.training.reuse import load_run

    _quiet(args)
    return load_run(args.folder, {"best": BEST, "last": LAST}[args.checkpoint], args.root, samples=samples)


def _check_run(args: argparse.Namespace, *, samples: bool) -> None:
    """Raise RequestError, without the seconds that torch takes, if there is no run or its data are not found."""
    from lightning_d2l.training.record import RunRecord
    from lightning_d2l.training.same_data import configuration, located

    config = configuration(record := RunRecord.read(args.folder))
    if samples:
        located(config, record, args.root)


def _rerun(args: argparse.Namespace) -> int:
    from lightning_d2l.sweeps.rerun import rerun

    return rerun(args.folder, args.run, args.into, args.root)


def _demos() -> str:
    from lightning_d2l.book.demos import DEMOS

    return "\n".join(["Demos:", *(f"  {name:22} {text}" for name, text in DEMOS.items())])


def _demo(args: argparse.Namespace) -> int:
    from lightning_d2l.book.demos import run_demo

    if args.seed < 0:
        raise RequestError(f"--seed={args.seed}: must be a whole number from 0 up")
    demo = run_demo(args.id, args.seed)
    folder = args.into or Path("outputs/demos") / args.id
    pictures = {folder / f"{name}.png": figure for name, figure in demo.figures.items()}
    _save(pictures, f"--into={folder}")
    found = {"demo": args.id, "seed": args.seed, "numbers": demo.numbers, "figures": [*map(str, pictures)]}
    _show(args, found, lambda: "\n".join([demo.text, *(f"picture: {path}" for path in pictures)]))
    return 0


def _save(pictures: Mapping[Path, Figure], option: str) -> None:
    """Write figures to their paths; raises RequestError that names the option if one can't be written."""
    from lightning_d2l.training.figures import save

    try:
        for path, figure in pictures.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            save(figure, path)
    except OSError as error:
        raise RequestError(f"{option}: cannot be written ({error.strerror})") from error


def _reproduce(args: argparse.Namespace) -> int:
    from lightning_d2l.book.published import require_known

    if args.seeds is not None and args.seeds < 1:
        raise RequestError(f"--seeds={args.seeds}: must be a whole number from 1 up")
    require_known(args.ids)  # before torch is imported
    from lightning_d2l.book.reproduce import FORMATS, provenance, reproduce

    folder = args.into or Path("outputs/reproduce") / time.strftime("%Y-%m-%d_%H-%M-%S")
    rows = list(reproduce(args.ids, folder, args.seeds))
    print(FORMATS[args.format](rows))
    if args.format == "markdown":
        print(f"\n{provenance(folder)}")
    return int(any(row.verdict == "differs" for row in rows))


def _report(args: argparse.Namespace) -> int:
    from lightning_d2l.studies.report import report, text
    from lightning_d2l.sweeps.submitted import unfinished

    left = [] if args.format == "json" else unfinished(args.folders)
    try:
        made = report(args.folders, args.into)
    except RequestError:
        if not left:
            raise
        print("\n".join(left))
        return 0
    _show(args, made.as_json(), lambda: "\n".join([text(made), *left]))
    return 0


def _show(args: argparse.Namespace, found: object, text: Callable[[], str]) -> None:
    """Print what a command found as JSON, in which numbers that are not finite are null, or with --format=text so."""
    print(json.dumps(finite(found), indent=2, allow_nan=False) if args.format == "json" else text())


def _quiet(args: argparse.Namespace) -> None:
    from lightning_d2l.training.console import quiet

    if not args.verbose:
        quiet()
