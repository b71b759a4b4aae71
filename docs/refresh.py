"""What docs/ show is made again by its commands: pictures, the numbers of the pages, and the table beside the book's.

    python docs/refresh.py pictures                      # lists the pictures with their commands
    python docs/refresh.py pictures study_kfold kfold    # makes these again and keeps them in docs/images
    python docs/refresh.py numbers weight-decay          # runs the page's commands: its numbers must be among theirs
    python docs/refresh.py numbers weight-decay --hold   # after an edit: holds what the commands print from now on
    lightning-d2l reproduce all --format json --into FOLDER > rows.json
    python docs/refresh.py reproduction rows.json FOLDER # writes the tables of reproduction.md and of the chapters

`numbers` without a page takes all with held numbers, and `--command PATTERN` only the commands in which it is found.
numbers.json has the numbers that are held: for each page and command, those of its section that the command prints or
writes. Write a number on a page, write the command that makes it into the same section, in a block or in the text, and
run `--hold`; it lists the numbers that no command of the section makes. Those in formulas it holds as "a formula", the
rest as "not held yet": write where they are from into numbers.json, in place of a command. Images are the official
files of Fashion-MNIST (LIGHTNING_D2L_DATA).
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
IMAGES = DOCS / "images"
HELD = DOCS / "numbers.json"


@dataclass(frozen=True)
class Made:
    """A picture: the command, and the file that it makes in its folder."""

    command: str
    file: str


def _demo(name: str, file: str) -> Made:
    return Made(f"lightning-d2l demo {name}", file)


def _run(words: str, figure: str = "curves") -> Made:
    return Made(f"python train.py {words}", f"figures/{figure}.png")


STUDIES = (
    "activation bias_variance capacity depth_init double_descent double_descent_random_features dropout "
    "dropout_linear input_noise kfold l1_l2 learning_rate phm random_labels sample_size schedule search_mlp "
    "training_time weight_decay width width_fashion_mnist"
)
UNIVERSAL = (
    "model=mlp data=polynomial data.degree=1 data.noise=0 data.n_train=1000 data.batch_size=50 optimizer=adam "
    "optimizer.lr=0.01 model.init.name=default trainer.max_epochs=200 trainer.log_every_n_epochs=50 'model.num_hiddens="
)
HOUSES = (
    "data=csv data.path=docs/houses.csv data.target=price model=linear_regression optimizer=exact "
    "trainer.precision=64-true"
)
PICTURES: dict[str, Made] = {
    "likelihood": _demo("maximum-likelihood", "likelihood.png"),
    "fashion_mnist": _demo("fashion-mnist-loading", "images.png"),
    "information": _demo("information", "information.png"),
    "softmax_overflow": _demo("softmax-overflow", "overflow.png"),
    "affine_collapse": _demo("affine-collapse", "collapse.png"),
    "activations": _demo("activations", "activations.png"),
    "kfold": _demo("kfold", "folds.png"),
    "weight_decay": _demo("weight-decay-theory", "weight_decay.png"),
    "l1_l2": _demo("l1-l2", "l1_l2.png"),
    "input_noise": _demo("input-noise", "input_noise.png"),
    "dropout": _demo("dropout", "dropout.png"),
    "dropout_ridge": _demo("dropout-ridge", "dropout_ridge.png"),
    "computational_graph": _demo("backprop", "computational_graph.png"),
    "variance_by_depth": _demo("variance-by-depth", "variance_by_depth.png"),
    "largest_entry": _demo("matrix-product", "largest_entry.png"),
    "symmetry": _demo("symmetry", "symmetry.png"),
    "xavier": _demo("xavier", "xavier.png"),
    "linreg_fit": _run("experiment=linreg-scratch", "fit"),
    "poly_underfit_fit": _run("experiment=poly-underfit", "fit"),
    "poly_overfit_curves": _run("experiment=poly-overfit"),
    "poly_overfit_exact_fit": _run("experiment=poly-overfit optimizer=exact", "fit"),
    "weight_decay_0_curves": _run("experiment=weight-decay-scratch penalty.l2=0"),
    "weight_decay_3_curves": _run("experiment=weight-decay-scratch"),
    "universal_4": _run(f"{UNIVERSAL}[4]'", "fit"),
    "universal_64": _run(f"{UNIVERSAL}[64]'", "fit"),
    "softmax_curves": _run("experiment=softmax-concise information=true"),
    "softmax_weights": _run("experiment=softmax-concise information=true", "first_layer_weights"),
    "softmax_predictions": _run("experiment=softmax-concise information=true", "predictions"),
    "mlp_concise_curves": _run("experiment=mlp-concise"),
    "mlp_confusion_matrix": _run("experiment=mlp-concise", "confusion_matrix"),
    "dropout_curves": _run("experiment=dropout-concise"),
    "mlp_curves": _run("model=mlp"),
    "mlp_first_layer_weights": _run("model=mlp", "first_layer_weights"),
    "table_predicted": _run(HOUSES, "predicted"),
    **{f"study_{name}": Made(f"python train.py study={name}", "figure.png") for name in STUDIES.split(" ")},
    **{
        f"study_{name}_fits": Made(f"python train.py study={name}", "fits.png")
        for name in ("capacity", "bias_variance", "sample_size", "width")
    },
    "sweep_time": Made("python benchmarks/page.py outputs/benchmarks", str(IMAGES / "sweep_time.png")),
}


def run(command: str, folder: Path, last: str = "") -> str:
    """What a command prints; its files lie in `folder`, and `last` takes the place of RUN_FOLDER."""
    program, *words = shlex.split(command.replace("RUN_FOLDER", last))
    start = {"lightning-d2l": ["-m", "lightning_d2l"]}.get(program, [])
    if words[:1] == ["train.py"]:
        words += [f"hydra.run.dir={folder}", f"hydra.sweep.dir={folder}"]
    elif words[:1] == ["demo"]:
        words += ["--into", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *start, *words], cwd=ROOT, env=environment, check=False, text=True, stdout=subprocess.PIPE
    )
    if done.returncode > 1 or (done.returncode and not folder.is_dir()):  # 1: a run diverged, which a page may show
        raise SystemExit(f"{command}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


COMMAND = re.compile(r"python train|lightning-d2l (demo|inspect|predict|reproduce)")
FORMULA, PENDING = "a formula", "not held yet"
NUMBER = re.compile(r"(?<![\w.,-])-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")


def numbers_of(text: str) -> list[str]:
    """The numbers of a text that have at least three digits and are no whole number below 10,000."""
    text = re.sub(r"^```bash\n.*?^```$|<!-- rows.*?\n\n(\|.*\n)+|\]\([^)]*\)|`[^`\n]*`", " ", text, flags=re.S | re.M)
    found = [each.rstrip(",") for each in NUMBER.findall(text)]
    return list(dict.fromkeys(n for n in found if "." in n or "e" in n or abs(float(n.replace(",", ""))) >= 10_000))


def in_formulas(text: str) -> list[str]:
    """The numbers in the formulas of a text."""
    return numbers_of(
        " ; ".join(re.findall(r"\$\$.*?\$\$|\$[^$\n]+\$", text, re.S)).replace("{", " ").replace("}", " ")
    )


def is_among(number: str, values: Sequence[float]) -> bool:
    """Whether one of the values, rounded as the number is, is the number."""
    mantissa, _, exponent = number.replace(",", "").partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return any(abs(value - float(number.replace(",", ""))) <= 0.505 * unit for value in values)


def values_of(printed: str, folder: Path) -> list[float]:
    """The numbers that a command prints, and those of a run's metrics or of a sweep's report."""
    files = ("metrics.csv", "run.json", "report.md", "summary.csv")
    texts = [printed, *((folder / name).read_text() for name in files if (folder / name).is_file())]
    plain = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
    found = [n.replace(",", "") for text in texts for line in text.splitlines() for n in _cells(line, plain)]
    return [float(n) for n in found if len(n) < 40]


def _cells(line: str, plain: re.Pattern[str]) -> list[str]:
    """The numbers of a line: of one with a comma between numbers, such as that of a CSV file, each by itself."""
    return plain.findall(re.sub(r",(?!\d{3}(?!\d))", " ", line)) + plain.findall(line.replace(",", " "))


def sections(page: str) -> Iterator[tuple[str, list[str]]]:
    """The text of each section of a page, and its commands: those of its blocks, and those that it names."""
    for section in re.split(r"^(?=## )", (DOCS / f"{page}.md").read_text(), flags=re.M):
        blocks = re.findall(r"^```bash\n(.*?)^```$", section, re.S | re.M)
        lines = [line for block in blocks for line in block.splitlines()]
        lines += re.findall(r"`((?:python train\.py|lightning-d2l demo) [^`\n]+)`", section)  # whose numbers are quoted
        yield (
            section,
            list(dict.fromkeys(line for line in lines if COMMAND.match(line))),
        )


def elsewhere(page: str, made: dict[str, list[str]], before: dict[str, list[str]]) -> dict[str, list[str]]:
    """The numbers of a page that no command makes, by where they are from: formulas, and what was written by hand.

    The others are "not held yet".
    """
    text = (DOCS / f"{page}.md").read_text()
    shown = [number for section, _ in sections(page) for number in numbers_of(section)]
    left = [number for number in dict.fromkeys(shown) if not any(number in each for each in made.values())]
    own = (FORMULA, PENDING)
    found = {reason: numbers for reason, numbers in before.items() if reason not in own and not COMMAND.match(reason)}
    found[FORMULA] = [number for number in in_formulas(text) if not any(number in each for each in found.values())]
    found[PENDING] = [number for number in left if not any(number in each for each in found.values())]
    return {reason: kept for reason, numbers in found.items() if (kept := [n for n in numbers if n in left])}


def hold(page: str, only: str, known: Sequence[str] = ()) -> dict[str, list[str]]:
    """Run the commands of a page, and return the numbers of its sections by the command that makes them.

    Numbers that no command makes are printed, but for those of formulas and those `known` to be from elsewhere.
    """
    held: dict[str, list[str]] = {}
    last = ""
    with tempfile.TemporaryDirectory() as top:
        for text, commands in sections(page):
            wanted = numbers_of(text)
            for number, command in enumerate(commands):
                if not re.search(only, command):
                    continue
                folder = Path(top, f"{len(held)}-{number}")
                values = values_of(run(command, folder, last), folder)
                last = str(folder) if (folder / "run.json").is_file() else last
                keep_pictures(command, folder)
                if made := [each for each in wanted if is_among(each, values)]:
                    held[command] = held.get(command, []) + made
                    wanted = [each for each in wanted if each not in made]
            wanted = [each for each in wanted if each not in (*known, *in_formulas(text))]
            if wanted and not only:
                print(f"{page}, {text.splitlines()[0]}: made by no command: {' '.join(wanted)}")
    return held


def changed(page: str, held: dict[str, list[str]], only: str) -> list[str]:
    """What a page says that its commands no longer make, and what is held and no longer on it."""
    found, last = list[str](), ""
    on_page = {line for _, lines in sections(page) for line in lines}
    shown = {number for section, _ in sections(page) for number in numbers_of(section)}
    with tempfile.TemporaryDirectory() as top:
        for position, (command, numbers) in enumerate(held.items()):
            if not COMMAND.match(command) or not re.search(only, command):
                continue
            if command not in on_page:
                found.append(f"not on the page: {command}")
            folder = Path(top, str(position))
            values = values_of(run(command, folder, last), folder)
            last = str(folder) if (folder / "run.json").is_file() else last
            found += [f"{n}: not on the page; {command}" for n in numbers if n not in shown]
            found += [f"{n}: not made by {command}" for n in numbers if not is_among(n, values)]
    return found


def keep_pictures(command: str, folder: Path) -> None:
    """Copy the pictures that a command has made to docs/images."""
    for name, made in PICTURES.items():
        if made.command == command and (folder / made.file).is_file():
            picture = Image.open(folder / made.file)
            # Opaque and packed well, and nothing else: fewer colours would merge those of lines.
            picture.convert("RGB").save(IMAGES / f"{name}.png", "PNG", optimize=True)


def pictures(names: Sequence[str]) -> int:
    if unknown := [name for name in names if name not in PICTURES]:
        raise SystemExit(f"{unknown[0]}: no such picture; without names all are listed")
    code = 0
    for command in dict.fromkeys(PICTURES[name].command for name in names):
        with tempfile.TemporaryDirectory() as top:
            folder = Path(top, "made")
            run(command, folder)
            keep_pictures(command, folder)
            for name in (name for name in names if PICTURES[name].command == command):
                there = (folder / PICTURES[name].file).is_file()
                print(f"{name}: {'made' if there else 'not made'}", flush=True)
                code = max(code, int(not there))
    if not names:
        print("\n".join(f"{name}  {made.command}" for name, made in PICTURES.items()))
    return code


def numbers(pages: Sequence[str], only: str, keep: bool) -> int:
    held = json.loads(HELD.read_text()) if HELD.is_file() else {}
    code = 0
    for page in pages or sorted(held):
        if keep:
            before = held.get(page, {})
            known = [n for why, each in before.items() if why != PENDING and not COMMAND.match(why) for n in each]
            new = {**(before if only else {}), **hold(page, only, known)}
            new |= {} if only else elsewhere(page, new, before)
            held = {**{k: v for k, v in held.items() if k != page}, **({page: new} if new else {})}
            HELD.write_text(json.dumps(dict(sorted(held.items())), indent=1, ensure_ascii=False) + "\n")
        else:
            found = changed(page, held.get(page, {}), only)
            print(f"{page}: {'; '.join(found) or 'ok'}", flush=True)
            code = max(code, int(bool(found)))
    return code


def reproduction(rows: Path, folder: Path) -> int:
    """Write the tables of reproduction.md and of the chapters, and where the numbers are from."""
    from lightning_d2l.book.reproduce import provenance
    from lightning_d2l.book.rows import Row, as_markdown

    inf = float("inf")
    table = json.loads(rows.read_text())
    for row in table:
        for name in ("band", "computed_band"):
            row[name] = row[name] and tuple(inf if end is None else end for end in row[name])
    lines = as_markdown([Row(**row) for row in table]).splitlines()
    for page in (DOCS / "reproduction.md", DOCS / "reproduction.zh-CN.md"):
        before, _, _ = page.read_text().partition("\n| experiment | quantity |")
        page.write_text("\n".join([before, *lines, "", provenance(folder), ""]))
    for path in DOCS.glob("*.md"):

        def rows_of(match: re.Match[str]) -> str:
            mine = [line for line in lines[2:] if line.split(" | ")[0][2:] in match[1].split()]
            return f"<!-- rows: {match[1]} -->\n\n" + "\n".join([*lines[:2], *mine]) + "\n"

        path.write_text(re.sub(r"<!-- rows: (.+?) -->\n\n(?:\|.*\n)+", rows_of, path.read_text()))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("pictures").add_argument("names", nargs="*")
    of_pages = what.add_parser("numbers")
    of_pages.add_argument("pages", nargs="*")
    of_pages.add_argument("--command", default="", help="only commands in which this pattern is found")
    of_pages.add_argument("--hold", action="store_true", help="write numbers.json and the pictures of the commands")
    of_rows = what.add_parser("reproduction")
    of_rows.add_argument("rows", type=Path)
    of_rows.add_argument("folder", type=Path)
    args = parser.parse_args()
    if args.what == "pictures":
        return pictures(args.names)
    if args.what == "numbers":
        return numbers(args.pages, args.command, args.hold)
    return reproduction(args.rows, args.folder)


if __name__ == "__main__":
    sys.exit(main())
