"""What the commands of `lightning-d2l` do with their arguments; cli.py parses these."""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.lines import columns
from lightning_d2l.config.options import CONF
from lightning_d2l.config.places import require_file, require_writable
from lightning_d2l.config.text import cut, finite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lightning_d2l.training.build import BuiltRun

MOST_DRAWN = 100  # predictions in a figure


def do_predict(args: argparse.Namespace) -> int:
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


def do_evaluate(args: argparse.Namespace) -> int:
    _check_run(args, samples=True)
    from lightning_d2l.training import console, reuse

    _quiet(args)
    _show(args, results := reuse.evaluate(args.folder, args.root), lambda: console.table(results))
    return 0


def do_inspect(args: argparse.Namespace) -> int:
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


def do_export(args: argparse.Namespace) -> int:
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


def do_rerun(args: argparse.Namespace) -> int:
    from lightning_d2l.sweeps.rerun import rerun

    return rerun(args.folder, args.run, args.into, args.root)


def demos() -> str:
    """The demos, a line each."""
    from lightning_d2l.book.demos import DEMOS

    return "\n".join(["Demos:", *(f"  {name:22} {text}" for name, text in DEMOS.items())])


def do_demo(args: argparse.Namespace) -> int:
    from lightning_d2l.book.demos import DEMOS, run_demo

    if args.id is None:
        print(f"{demos()}\n\nRun one with: lightning-d2l demo {next(iter(DEMOS))}")
        return 0
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


def experiments() -> str:
    """The experiments with published numbers, a line each: what their files in conf/experiment begin with."""
    from lightning_d2l.book.demos import DEMOS
    from lightning_d2l.book.published import EXPERIMENTS

    lines = []
    for name in dict.fromkeys(experiment.id for experiment in EXPERIMENTS):
        file = CONF / "experiment" / f"{name}.yaml"
        words = file.read_text().splitlines()[1].lstrip("# ") if file.exists() else DEMOS.get(name, "")
        words = re.split(r"\. Evaluated|; to sweep|: python", words.removeprefix("d2l ").replace(": ", " ", 1))[0]
        lines.append(cut(f"  {name:22} {words}"))
    return "\n".join(["Experiments:", *lines])


def do_reproduce(args: argparse.Namespace) -> int:
    from lightning_d2l.book.published import require_known

    if args.seeds is not None and args.seeds < 1:
        raise RequestError(f"--seeds={args.seeds}: must be a whole number from 1 up")
    if not args.ids:
        print(f"{experiments()}\n\nRun some with: lightning-d2l reproduce linreg-scratch xavier")
        print("All of them:   lightning-d2l reproduce all")
        return 0
    ids = [] if args.ids == ["all"] else args.ids
    require_known(ids)  # before torch is imported
    from lightning_d2l.book.reproduce import FORMATS, provenance, reproduce

    folder = args.into or Path("outputs/reproduce") / time.strftime("%Y-%m-%d_%H-%M-%S")
    rows = list(reproduce(ids, folder, args.seeds))
    print(FORMATS[args.format](rows))
    if args.format == "markdown":
        print(f"\n{provenance(folder)}")
    return int(any(row.verdict == "differs" for row in rows))


def do_report(args: argparse.Namespace) -> int:
    from lightning_d2l.studies.interactive import is_wanted
    from lightning_d2l.studies.report import report, text
    from lightning_d2l.sweeps.executors.submitted import unfinished
    from lightning_d2l.sweeps.fitted import fitted

    interactive = is_wanted(args.interactive)
    left = [] if args.format == "json" else unfinished(args.folders)
    try:
        made = report(args.folders, args.into, interactive=interactive, fitted=fitted)
    except RequestError:
        if not left:
            raise
        print("\n".join(left))
        return 0
    found = made.as_json() if args.format == "json" else None  # of 100,000 settings it takes seconds
    _show(args, found, lambda: "\n".join([text(made, columns()), *left]))
    return 0


def do_board(args: argparse.Namespace) -> int:
    from lightning_d2l.studies.served import serve

    serve(args.folder, args.host, args.port)
    return 0


def _show(args: argparse.Namespace, found: object, text: Callable[[], str]) -> None:
    """Print what a command found as JSON, in which numbers that are not finite are null, or with --format=text so."""
    print(json.dumps(finite(found), indent=2, allow_nan=False) if args.format == "json" else text())


def _quiet(args: argparse.Namespace) -> None:
    from lightning_d2l.training.console import quiet

    if not args.verbose:
        quiet()
