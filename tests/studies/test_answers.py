"""The answer rule of each study, on made-up records whose answer is known."""

import math
from pathlib import Path

import pytest
import yaml

from lightning_d2l.studies.answers.table import ANSWERS
from lightning_d2l.studies.answers.words import best_noun
from lightning_d2l.studies.findings import Findings, find
from tests.conftest import ROOT
from tests.studies.records import write_sweep

STUDIES = {path.stem: yaml.safe_load(path.read_text())["study"] for path in (ROOT / "conf" / "study").glob("*.yaml")}
AXES = {  # a few values along x, then those of the curves
    "double_descent": ([50, 90, 100, 120, 400], {}),
    "sample_size": ([20, 100, 1000], {"data.degree": [1, 3]}),
    "capacity": ([1, 3, 19], {"optimizer": ["sgd", "exact"]}),
    "bias_variance": ([0, 3, 6], {}),
    "kfold": ([1, 3, 5], {}),
    "weight_decay": ([0, 3, 30], {"trainer.max_epochs": [100, 1000]}),
    "dropout_linear": ([0, 0.3, 0.6], {}),
    "input_noise": ([0, 0.5, 1.0], {}),
    "l1_l2": ([0.1, 1.0, 10.0], {"penalty": ["{l1:1}", "{l2:1}"]}),
    "learning_rate": ([0.01, 0.1, 1.0, 3.0], {"data.batch_size": [4, 100]}),
    "schedule": ([0.01, 0.1, 0.3], {"scheduler": ["none", "step", "cosine"]}),
    "width": ([1, 8, 64], {}),
    "width_fashion_mnist": ([4, 64, 256], {}),
    "phm": ([1, 4, 16], {}),
    "activation": ([0, 1, 4], {"model.activation": ["identity", "relu"]}),
    "depth_init": ([1, 4, 16], {"model.init": ["normal", "kaiming"], "model.activation": ["relu"]}),
    "dropout": ([0, 0.2, 0.5], {"data.n_train": [200, 2000]}),
    "random_labels": ([0, 0.5, 1], {}),
    "double_descent_random_features": ([50, 150, 250, 400, 2000], {}),
}
SEEDS = 8
LOSSES = ("loss/train", "loss/val", "loss/test")
ACCURACIES = ("acc/train", "acc/val", "acc/test")
OTHERS = ("norm/weights", "zeros/weights", "gradient/first")
SMALL, LOUD = 0.02, 1.5
"""Spreads over seeds beside which an effect of ten percent is plain, or drowns."""


def wave(i: int, seed: int) -> float:
    """Numbers with a mean near 0 over the seeds, which differ from position to position."""
    return (-1) ** (seed + i) * (1 + 0.3 * math.cos(3 * seed * i + i))


def found(folder: Path, name: str, of_run, seeds: int = SEEDS, axes=None, **study) -> Findings:
    """The findings of a study without theory on made-up runs; `of_run(x, *curves, seed)` is what each measured."""
    xs, curves = axes or AXES[name]
    there = of_run(xs[0], *(values[0] for values in curves.values()), 0) or {}
    metrics = [metric for metric in STUDIES[name]["metrics"] if metric in (*there, "gap/val", "num_parameters")]
    node = {**STUDIES[name], "theory": None, "panels": None, "metrics": metrics or None, **study}
    return find([write_sweep(folder, {node["x"]: xs, **curves, "seed": range(seeds)}, of_run, study=node)])


def measured(name: str, by_x, spread: float = SMALL, others=None, metrics=LOSSES):
    """Metrics with the value `by_x[position of x]`, or `by_x(position, *curves)`, and a spread over the seeds."""

    def of(x, *rest):
        *curves, seed = rest
        i = AXES[name][0].index(x)
        value = by_x(i, *curves) if callable(by_x) else by_x[i]
        if value is None:
            return None
        value *= math.exp(spread * wave(i + sum(map(ord, str(curves))), seed))
        return {**dict.fromkeys(metrics, value), **(others(i, *curves) if others else {})}

    return of


def everything(value: float) -> dict[str, float]:
    return dict.fromkeys([*LOSSES, *ACCURACIES, *OTHERS], value)


def test_every_study_has_a_rule_but_the_search():
    assert set(STUDIES) - set(ANSWERS) == {"search_mlp"}
    assert set(ANSWERS) == {*AXES, "training_time"}


PLAIN = sorted(set(AXES) - {"bias_variance"})  # whose parts come from predictions


@pytest.mark.parametrize("name", PLAIN)
def test_one_seed_ties_divergence_and_one_setting(name, tmp_path):
    place = AXES[name][0].index
    one = found(tmp_path / "one", name, lambda x, *_: everything(0.3 + 0.1 * (place(x) % 3)), 1)
    assert one.answer.verdict in ("", "undecided")
    assert "ne run" in one.answer.text
    assert one.next == "python train.py -m x 'seed=range(5)'"
    one.sweeps[0].fields["command"] = "python train.py --plugin mine.py -m x"  # which this program has not
    assert one.next == "python train.py --plugin mine.py -m x 'seed=range(5)'"
    ties = found(tmp_path / "ties", name, lambda *_: everything(0.5))
    assert ties.answer.text.startswith("No effect: all ")
    lost = found(tmp_path / "lost", name, lambda *_: None)
    assert lost.answer.text.startswith(f"All {len(lost.runs)} runs diverged, so no setting is best")
    first = AXES[name][0][:1], {}
    alone = found(tmp_path / "alone", name, lambda *_: everything(0.5), axes=first, curves=[])
    assert alone.answer.text.startswith("Only one setting was run: ")
    for findings in (one, ties, lost, alone):
        assert "failed" not in findings.answer.text


@pytest.mark.parametrize("name", PLAIN)
def test_without_its_axis_a_study_is_answered_as_any_sweep_and_says_so(name, tmp_path):
    axes, metrics = ([1, 2, 3], {}), ["loss/val"]
    of_run = lambda d, seed: {"loss/val": d + 0.01 * seed}  # noqa: E731
    made = found(tmp_path, name, of_run, axes=axes, x="data.d", curves=[], metrics=metrics)
    reason = f"This is the answer for any sweep: that of study={name} needs {ANSWERS[name].x} along x."
    assert made.answer.text.endswith(reason)
    assert made.answer.text.startswith("data.d=1 has the lowest loss/val, 1.035 ")


def gap(train: float, val: float):
    return {"loss/train": train, "loss/val": val}


CASES = [  # study, verdict, metrics by position of x, spread, a part of the text
    ("double_descent", "no", [1, 0.5, 20, 0.4, 0.1], SMALL, "from 90 to 100 samples raises the test loss 40-fold"),
    ("double_descent", "yes", [1, 0.5, 0.4, 0.3, 0.1], SMALL, "50 to 400 samples lowers the test loss 10-fold"),
    ("double_descent", "undecided", [1, 0.9, 1.1, 1, 0.9], LOUD, "may be chance"),
    ("weight_decay", "yes", [80, 0.1, 0.2], SMALL, "λ = 3 is best and lowers the test loss 8"),
    ("weight_decay", "no", [0.1, 20, 80], SMALL, "more weight decay does not help"),
    ("weight_decay", "undecided", [1, 0.9, 1.1], LOUD, "may be chance"),
    ("schedule", "yes", lambda i, s: 1 if s == "none" else 0.25, SMALL, "lowers the test loss 4-fold"),
    ("schedule", "no", lambda i, s: 1 + (s != "none") * 0.3, SMALL, "raises the test loss by 30 %"),
    ("schedule", "undecided", lambda i, s: 1 - 0.1 * (s == "step"), LOUD, "at its best rate"),
    ("double_descent_random_features", "yes", [0.3, 1, 9, 1, 0.1], SMALL, "250 features raises the test loss 30-fold"),
    ("double_descent_random_features", "no", [0.1, 1, 2, 3, 9], SMALL, "going on to 2000 raises the test loss"),
    ("double_descent_random_features", "undecided", [1, 1.1, 1.2, 1.1, 1], LOUD, "may be chance"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "verdict", "by_x", "spread", "part"), CASES)
def test_the_verdict_follows_the_losses(name, verdict, by_x, spread, part, tmp_path):
    norms = (lambda i, *_: {"norm/weights": 13 / (1 + i)}) if name == "weight_decay" else None
    answer = found(tmp_path, name, measured(name, by_x, spread, norms)).answer
    assert answer.verdict == verdict
    assert answer.text.startswith(f"{verdict.capitalize()}: ")
    assert part in answer.text


ACCURATE = [  # study, verdict, metrics by position of x, a part of the text
    ("dropout", "yes", lambda i, n: {**gap(0.2, 1.2 - 0.4 * i), "acc/val": 0.7 + 0.02 * i}, "1 without to 0.2 with"),
    ("dropout", "no", lambda i, n: {**gap(0.2, 0.5 + 0.2 * i), "acc/val": 0.7 - 0.02 * i}, "is highest without"),
    ("random_labels", "no", lambda i: {"acc/train": 1.0, "acc/test": 0.8 - 0.35 * i}, "accuracy goes from 0.8 to 0."),
    ("random_labels", "yes", lambda i: {"acc/train": 1 - 0.3 * i, "acc/test": 0.8}, "and 0.4 at 1"),
    ("activation", "yes", lambda i, a: {"acc/train": 0.7 + 0.05 * i * (a == "relu")}, "=relu, going from 0 to 4"),
    ("activation", "no", lambda i, a: {"acc/train": 0.7 + 0.05 * i}, "=identity, going from 0 to 4 layers raises"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "verdict", "metrics", "part"), ACCURATE)
def test_the_verdict_follows_the_gap_and_the_accuracies(name, verdict, metrics, part, tmp_path):
    xs = AXES[name][0]

    def of(x, *rest):
        *curves, seed = rest
        return {k: v + 1e-3 * wave(1, seed) * (v != 1) for k, v in metrics(xs.index(x), *curves).items()}

    made = found(tmp_path / verdict, name, of)
    assert made.answer.verdict == verdict
    assert part in made.answer.text

    def loud(x, *rest):
        *curves, seed = rest
        return {k: 0.8 * v + 0.5 * wave(xs.index(x) + 9 * len(k), seed) for k, v in metrics(1, *curves).items()}

    assert found(tmp_path / "loud", name, loud).answer.verdict == "undecided"


def test_learning_rate_names_the_largest_stable_rate_of_each_batch_size(tmp_path):
    def text(name, by_x):
        return found(tmp_path / name, "learning_rate", measured("learning_rate", by_x)).answer.text

    limits = text("limits", lambda i, batch: None if i >= (2 if batch == 4 else 3) else 0.01)
    assert "With data.batch_size=4, training is stable up to 0.1 and diverges at 1." in limits
    assert "With data.batch_size=100, training is stable up to 1 and diverges at 3." in limits
    exploded = text("grows", lambda i, _: [0.01, 0.02, 1e6, None][i])
    assert "stable up to 0.1 and explodes at 1, where the training loss is " in exploded
    assert "stable up to 3, the largest rate tried" in text("calm", lambda i, _: 0.01 + 0.01 * i)
    assert "diverges at 0.01, the smallest rate tried" in text("wild", lambda i, n: None if n == 4 else 0.01)


def test_kfold_counts_the_data_sets_in_which_the_choice_is_best(tmp_path):
    def of(right):
        def metrics(degree, fold, seed):
            best = 3 if seed < right else 5
            return {"loss/val": 1 + abs(degree - 3), "loss/test": 1 + 0.5 * abs(degree - best) + 0.001 * seed}

        axes = {"data.degree": [1, 3, 5], "data.fold": range(2), "data.seed": range(10)}
        node = {**STUDIES["kfold"], "theory": None}
        return find([write_sweep(tmp_path / str(right), axes, metrics, study=node)]).answer

    assert of(10).text.startswith("Yes: in 10 of 10 data sets (95 % 72 to 100 %) the chosen data.degree has the lowest")
    assert of(6).text.startswith("Undecided: in 6 of 10 data sets (95 % 31 to 83 %)")  # Wilson 1927
    assert "in the others its loss is 1.99 times the lowest in the median" in of(6).text
    assert of(0).verdict == "no"


def test_open_questions_are_answered_with_the_values_of_x(tmp_path):
    def text(name, *arguments, **keys):
        return found(tmp_path / name, name, measured(name, *arguments, **keys)).answer.text

    capacity = text("capacity", lambda i, optimizer: [1, 0.01, 0.02 if optimizer == "sgd" else 5][i])
    assert "With optimizer=sgd, data.degree=3 has the lowest validation loss, 0.0" in capacity
    assert "With optimizer=exact, data.degree=3" in capacity
    assert "going on to 19 raises the test loss 500-fold" in capacity
    more = text("sample_size", lambda i, degree: [9, 8, 8][i] if degree == 1 else [9, 2, 1][i])
    assert "With data.degree=1, going from 20 to 1000 samples lowers the test loss by 11 %" in more
    assert "With data.degree=3, going from 20 to 1000 samples lowers the test loss 9-fold" in more
    zeros = lambda i, penalty: {"zeros/weights": 0.4 * i * ("l1" in penalty)}  # noqa: E731
    penalties = text("l1_l2", lambda i, p: 1 + i + ("l2" in p), others=zeros)
    assert "L1 makes weights zero: 40 % at λ = 1 and 80 % at λ = 10" in penalties
    assert "L2 makes no weight zero" in penalties
    assert "L2 instead of L1 raises the test loss 2-fold" in penalties
    wide = text("width_fashion_mnist", [0.6, 0.845, 0.85], 1e-3, metrics=ACCURACIES)
    assert wide.startswith("64 hidden units are enough: validation accuracy 0.845, and 0.85 at best with 256")


def test_a_rule_that_fails_costs_no_report(tmp_path, monkeypatch):
    rule = ANSWERS["capacity"]
    monkeypatch.setitem(ANSWERS, "capacity", type(rule)(lambda asked: 1 / 0, rule.x, rule.metrics))
    made = found(tmp_path, "capacity", measured("capacity", [3, 1, 2]))
    assert made.answer.text.startswith("data.degree=3, optimizer=")
    assert made.answer.text.endswith("that of study=capacity failed (ZeroDivisionError: division by zero).")


def test_the_page_has_a_row_for_each_study_with_its_question():
    """The numbers of the answers are those of the commands, which take minutes."""
    lines = (ROOT / "docs/studies.md").read_text().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    page = {row[4].strip("`").rpartition("=")[2]: row for row in rows if row[0] not in ("study", "---")}
    assert page.keys() == STUDIES.keys()
    for name, (_, question, answer, _, command, picture) in page.items():
        assert question == STUDIES[name]["question"]
        assert answer.split(": ")[0] in ("Yes", "No") or not answer.startswith(("Yes", "No", "Undecided", "This is"))
        assert (command, picture) == (f"`python train.py study={name}`", f"[figure](images/study_{name}.png)")


def test_a_metric_of_which_more_is_better_has_a_highest_value():
    assert best_noun("loss/test") == "lowest test loss"
    assert best_noun("acc/val") == "highest validation accuracy"
    assert best_noun("r2/val").startswith("highest")
