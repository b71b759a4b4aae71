"""The pictures of docs/ and the commands that make them, and numbers of the pages that these commands print.

    python docs/refresh.py                          # lists the pictures with their commands
    python docs/refresh.py study_capacity kfold     # makes these pictures again and keeps them in docs/images
    python docs/refresh.py --check softmax_overflow # runs the command: its numbers must stand on the page

A picture is named without `.png`. Those with images need the official files of Fashion-MNIST (LIGHTNING_D2L_DATA).
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs/images"


@dataclass(frozen=True)
class Made:
    """A picture: the command, the file that it makes, and numbers on `page` that the command prints."""

    command: str
    file: str
    page: str = ""
    numbers: tuple[str, ...] = ()


def _demo(name: str, file: str, page: str = "", *numbers: str) -> Made:
    return Made(f"lightning-d2l demo {name} --into RUN", file, page, numbers)


def _run(words: str, figure: str = "curves") -> Made:
    return Made(f"python train.py {words} hydra.run.dir=RUN", f"figures/{figure}.png")


STUDIES = (
    "activation bias_variance capacity depth_init double_descent double_descent_random_features dropout "
    "dropout_linear input_noise kfold l1_l2 learning_rate phm random_labels sample_size schedule search_mlp "
    "training_time weight_decay width width_fashion_mnist"
)
UNIVERSAL = (
    "model=mlp data=polynomial data.degree=1 data.noise=0 data.n_train=1000 data.batch_size=50 optimizer=adam "
    "optimizer.lr=0.01 model.init.name=default trainer.max_epochs=200 trainer.log_every_n_epochs=50 model.num_hiddens="
)
HOUSES = (
    "data=csv data.path=docs/houses.csv data.target=price model=linear_regression optimizer=exact "
    "trainer.precision=64-true"
)
PICTURES: dict[str, Made] = {
    "likelihood": _demo("maximum-likelihood", "likelihood.png", "linear-regression", "0.514728"),
    "fashion_mnist": _demo("fashion-mnist-loading", "images.png", "softmax-regression"),
    "information": _demo("information", "information.png", "softmax-regression"),
    "softmax_overflow": _demo(
        "softmax-overflow", "overflow.png", "softmax-regression", "88.72", "33.75", "44.50", "52.00", "88.75"
    ),
    "affine_collapse": _demo("affine-collapse", "collapse.png", "multilayer-perceptrons", "0.05582", "0.31767"),
    "activations": _demo("activations", "activations.png", "multilayer-perceptrons"),
    "kfold": _demo("kfold", "folds.png", "underfitting-and-overfitting", "0.00950", "0.01304"),
    "weight_decay": _demo("weight-decay-theory", "weight_decay.png", "weight-decay", "0.0343", "0.0348", "0.3717"),
    "l1_l2": _demo("l1-l2", "l1_l2.png", "weight-decay", "0.079", "0.450"),
    "input_noise": _demo("input-noise", "input_noise.png", "weight-decay"),
    "dropout": _demo("dropout", "dropout.png", "dropout"),
    "dropout_ridge": _demo("dropout-ridge", "dropout_ridge.png", "dropout"),
    "computational_graph": _demo("backprop", "computational_graph.png", "backpropagation"),
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
    "universal_4": _run(f"{UNIVERSAL}[4]", "fit"),
    "universal_64": _run(f"{UNIVERSAL}[64]", "fit"),
    "softmax_curves": _run("experiment=softmax-concise information=true"),
    "softmax_weights": _run("experiment=softmax-concise information=true", "first_layer_weights"),
    "softmax_predictions": _run("experiment=softmax-concise information=true", "predictions"),
    "mlp_concise_curves": _run("experiment=mlp-concise"),
    "mlp_confusion_matrix": _run("experiment=mlp-concise", "confusion_matrix"),
    "dropout_curves": _run("experiment=dropout-concise"),
    "mlp_curves": _run("model=mlp"),
    "mlp_first_layer_weights": _run("model=mlp", "first_layer_weights"),
    "table_predicted": _run(HOUSES, "predicted"),
    **{
        f"study_{name}": Made(f"python train.py study={name} hydra.sweep.dir=RUN", "figure.png")
        for name in STUDIES.split(" ")
    },
    "sweep_time": Made("python benchmarks/page.py outputs/benchmarks", str(IMAGES / "sweep_time.png")),
}


def run(made: Made, folder: Path) -> str:
    """What the command prints; its files lie in `folder`."""
    program, *words = shlex.split(made.command.replace("RUN", str(folder)))
    start = ["-m", "lightning_d2l"] if program == "lightning-d2l" else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *start, *words], cwd=ROOT, env=environment, check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def problems(made: Made, printed: str, folder: Path) -> list[str]:
    """What a page says that its command does not print, and a picture that was not made."""
    page = (ROOT / f"docs/{made.page}.md").read_text() if made.page else ""
    found = [f"{made.file}: not made"] if not (folder / made.file).is_file() else []
    for number in made.numbers:
        whole = re.compile(rf"(?<![\d.]){re.escape(number)}(?!\d)")
        found += [f"{number}: not on {name}" for name, text in ((made.page, page), ("the console", printed))
                  if not whole.search(text)]  # fmt: skip
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", metavar="PICTURE")
    parser.add_argument("--check", action="store_true", help="keep nothing; 1 if a number is another one")
    args = parser.parse_args()
    if unknown := [name for name in args.pictures if name not in PICTURES]:
        parser.error(f"{unknown[0]}: no such picture; without names all are listed")
    failed = False
    for name in args.pictures:
        made = PICTURES[name]
        with tempfile.TemporaryDirectory() as top:
            folder = Path(top, "made")
            found = problems(made, run(made, folder), folder)
            if not args.check and not found and folder in (folder / made.file).parents:
                shutil.copyfile(folder / made.file, IMAGES / f"{name}.png")
        print(f"{name}: {'; '.join(found) or 'ok'}")
        failed = failed or bool(found)
    if not args.pictures:
        print("\n".join(f"{name}  {made.command}" for name, made in PICTURES.items()))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
