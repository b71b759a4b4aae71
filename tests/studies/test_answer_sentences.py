"""The sentences of each answer have the numbers of the records, and claim no more than the records tell."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lightning_d2l.studies.answers.rule import Asked
from lightning_d2l.studies.answers.table import ANSWERS
from lightning_d2l.studies.findings import find
from tests.studies.records import write_sweep
from tests.studies.test_answers import (
    ACCURACIES,
    AXES,
    LOSSES,
    LOUD,
    PLAIN,
    SEEDS,
    SMALL,
    STUDIES,
    found,
    measured,
    wave,
)


def percent(value: float) -> str:
    return f"{100 * value:.2g}"


class Told:
    """What made-up runs measured, and how a sentence tells it; intervals are those of scipy's paired test."""

    def __init__(self, of_run) -> None:
        self.of_run = of_run

    def values(self, metric: str, *setting) -> np.ndarray:
        rows = [self.of_run(*setting, seed) for seed in range(SEEDS)]
        if metric == "gap/val":
            return np.array([row["loss/val"] - row["loss/train"] for row in rows])
        return np.array([row[metric] for row in rows])

    def mean(self, metric: str, *setting) -> str:
        return f"{self.values(metric, *setting).mean():.3g}"

    def _interval(self, a: np.ndarray, b: np.ndarray) -> list[float]:
        interval = stats.ttest_rel(b, a).confidence_interval()
        return [(b - a).mean(), interval.low, interval.high]

    def fold(self, metric: str, before: tuple, after: tuple) -> str:
        """`4-fold (95 % 3.9 to 4.1, n = 8)`, of a loss that is at least doubled or halved."""
        middle, low, high = self._interval(*(np.log(self.values(metric, *where)) for where in (before, after)))
        if middle < 0:
            middle, low, high = -middle, -high, -low
        texts = [f"{math.exp(v):.2g}" for v in (middle, low, high)]
        return f"{texts[0]}-fold (95 % {texts[1]} to {texts[2]}, n = {SEEDS})"

    def points(self, metric: str, before: tuple, after: tuple) -> str:
        """`by 5 points (95 % 4.9 to 5.1, n = 8)`, of an accuracy."""
        found = self._interval(*(self.values(metric, *where) for where in (before, after)))
        low, high = sorted(map(abs, found[1:]))
        return f"by {percent(abs(found[0]))} points (95 % {percent(low)} to {percent(high)}, n = {SEEDS})"


def spread_of(*setting) -> float:
    """A number near 0 that is another one for each run."""
    *where, seed = setting
    return wave(sum(map(ord, str(where))), seed)


def losses(by_x: dict, others=lambda *_: {}):
    """Runs whose losses are `by_x[x]`, or `by_x[x][curves]`, within two percent, and what `others` adds."""

    def of(x, *rest):
        *curves, _ = rest
        level = by_x[x][tuple(curves)] if isinstance(by_x[x], dict) else by_x[x]
        return {**dict.fromkeys(LOSSES, level * math.exp(SMALL * spread_of(x, *rest))), **others(x, *rest)}

    return of


def accuracies(by_x: dict):
    def of(x, *rest):
        *curves, _ = rest
        level = by_x[x][tuple(curves)] if isinstance(by_x[x], dict) else by_x[x]
        return dict.fromkeys(ACCURACIES, level + 1e-3 * spread_of(x, *rest))

    return of


def of_double_descent():
    made = Told(losses({50: 1, 90: 0.5, 100: 20, 120: 0.4, 400: 0.1}))
    rise = made.fold("loss/test", (90,), (100,))
    return made, [
        f"No: going from 90 to 100 samples raises the test loss {rise}; from 120 samples on it is lower again."
    ]


def of_sample_size():
    made = Told(losses({20: {(1,): 9, (3,): 9}, 100: {(1,): 2, (3,): 4}, 1000: {(1,): 4, (3,): 1}}))
    return made, [
        f"data.degree={degree}, going from 20 to 1000 samples lowers the test loss "
        f"{made.fold('loss/test', (20, degree), (1000, degree))}, to {made.mean('loss/test', 1000, degree)}."
        for degree in (1, 3)
    ]


def of_capacity():
    made = Told(losses({1: 3, 3: {("sgd",): 1, ("exact",): 2}, 19: {("sgd",): 5, ("exact",): 90}}))
    return made, [
        f"With optimizer={name}, data.degree=3 has the lowest validation loss, {made.mean('loss/val', 3, name)}; "
        f"going on to 19 raises the test loss {made.fold('loss/test', (3, name), (19, name))}."
        for name in ("sgd", "exact")
    ]


def of_weight_decay():
    norms = lambda x, *_: {"norm/weights": 10 / (1 + x)}  # noqa: E731
    made = Told(losses({0: 80, 3: {(100,): 1, (1000,): 9}, 30: {(100,): 2, (1000,): 3}}, norms))
    return made, [
        f"ith trainer.max_epochs={epochs}, λ = {best} is best and lowers the test loss "
        f"{made.fold('loss/test', (0, epochs), (best, epochs))}."
        for epochs, best in ((100, 3), (1000, 30))
    ]


def _ridge(xs, without: str):
    norms = lambda x, *_: {"norm/weights": 1 / (1 + x)}  # noqa: E731
    made = Told(losses(dict(zip(xs, (9, 2, 4), strict=True)), norms))
    return made, [
        f"goes from 1 without {without} to {1 / (1 + xs[-1]):.3g} at {xs[-1]:g}",
        f"is lowest at {xs[1]}, which lowers the test loss {made.fold('loss/test', (0,), (xs[1],))}.",
    ]


def of_dropout_linear():
    return _ridge([0, 0.3, 0.6], "dropout")


def of_input_noise():
    return _ridge([0, 0.5, 1.0], "noise")


def of_l1_l2():
    zeros = lambda x, penalty, _: {"zeros/weights": 0.08 * x * ("l1" in penalty)}  # noqa: E731
    l1, l2 = ("{l1:1}",), ("{l2:1}",)
    made = Told(losses({0.1: 9, 1.0: {l1: 1, l2: 3}, 10.0: {l1: 2, l2: 5}}, zeros))
    return made, [
        "L1 makes weights zero: 1 % at λ = 0.1 and 80 % at λ = 10",
        f"its lowest validation loss is {made.mean('loss/val', 1.0, *l1)}, at λ = 1. L2 makes no weight zero; its "
        f"lowest validation loss is {made.mean('loss/val', 1.0, *l2)}, at λ = 1.",
        f"L2 instead of L1 raises the test loss {made.fold('loss/test', (1.0, *l1), (1.0, *l2))}.",
    ]


def of_schedule():
    levels = {0.01: (1, 9, 9), 0.1: (3, 0.25, 0.3), 0.3: (9, 2, 20)}
    names = (("none",), ("step",), ("cosine",))
    made = Told(losses({x: dict(zip(names, each, strict=True)) for x, each in levels.items()}))
    own, step = (0.01, "none"), (0.1, "step")
    return made, [
        f"Yes: each at its best rate, scheduler=step at 0.1 lowers the test loss {made.fold('loss/test', own, step)} "
        "against the constant 0.01.",
        f"scheduler=step lowers the test loss {made.fold('loss/test', (0.3, 'none'), (0.3, 'step'))}; scheduler=cosine "
        f"raises the test loss {made.fold('loss/test', (0.3, 'none'), (0.3, 'cosine'))}.",
    ]


def of_width():
    made = Told(losses({1: 9, 8: 0.8, 64: 0.7}))
    return made, [
        f"Going from 1 to 64 hidden units lowers the validation loss {made.fold('loss/val', (1,), (64,))}, to "
        f"{made.mean('loss/val', 64)}; 8 are enough for {made.mean('loss/val', 8)}, near the noise of 0.7."
    ]


def of_width_fashion_mnist():
    made = Told(accuracies({4: 0.6, 64: 0.845, 256: 0.85}))
    mean = lambda x: made.mean("acc/val", x)  # noqa: E731
    return made, [
        f"64 hidden units are enough: validation accuracy {mean(64)}, and {mean(256)} at best with 256; "
        f"4 reach {mean(4)}."
    ]


def of_phm():
    made = Told(accuracies({1: 0.85, 4: 0.8, 16: 0.7}))
    parts = [
        f"n = {n} has {share} % of the parameters and lowers the validation accuracy "
        f"{made.points('acc/val', (1,), (n,))}"
        for n, share in ((4, 25), (16, 6))
    ]
    return made, ["; ".join([f"n = 1 reaches an accuracy of {made.mean('acc/val', 1)}", *parts])]


def of_activation():
    made = Told(accuracies({0: 0.7, 1: {("identity",): 0.65, ("relu",): 0.8}, 4: {("identity",): 0.6, ("relu",): 0.9}}))
    return made, [
        "Yes: with model.activation=identity, going from 0 to 1 layer lowers the training accuracy "
        f"{made.points('acc/train', (0, 'identity'), (1, 'identity'))}.",
        "ith model.activation=relu, going from 0 to 4 layers raises the training accuracy "
        f"{made.points('acc/train', (0, 'relu'), (4, 'relu'))}.",
    ]


def of_dropout():
    def of(x, n, seed):
        gap = {0: 0.6, 0.2: 0.5, 0.5: 0.3}[x] / (n / 200) + 1e-3 * spread_of(x, n, seed)
        return {"loss/train": 0.1, "loss/val": 0.1 + gap, "acc/val": 0.7 + 0.1 * x + 1e-3 * spread_of(x, n, seed)}

    made, said = Told(of), []
    for n in (200, 2000):
        a, b = (made.values("gap/val", x, n) for x in (0, 0.5))
        narrower = [f"{v:.3g}" for v in (-(b - a).mean(), *sorted(-v for v in made._interval(a, b)[1:]))]
        said.append(
            f"ith data.n_train={n}, the gap goes from {a.mean():.3g} without to {b.mean():.3g} with dropout 0.5 "
            f"(by {narrower[0]}, 95 % {narrower[1]} to {narrower[2]}, n = {SEEDS}); dropout 0.5 is best and raises "
            f"the validation accuracy {made.points('acc/val', (0, n), (0.5, n))}."
        )
    return made, said


def of_random_labels():
    made = Told(lambda x, seed: {"acc/train": 1.0, "acc/test": 0.8 - 0.7 * x + 1e-3 * spread_of(x, seed)})
    ends = [made.mean("acc/test", x) for x in (0, 1)]
    return made, [
        "No: the training accuracy is 1 at label noise 0 and 1 at 1; the test accuracy goes from "
        f"{ends[0]} to {ends[1]}."
    ]


def of_double_descent_random_features():
    made = Told(losses({50: 0.3, 150: 1, 250: 9, 400: 1, 2000: 0.1}))
    up, down, ends = (made.fold("loss/test", (a,), (b,)) for a, b in ((50, 250), (250, 2000), (50, 2000)))
    return made, [
        f"Yes: going from 50 to 250 features raises the test loss {up}, going on to 2000 lowers the test loss {down}.",
        f"In all, 2000 instead of 50 features lowers the test loss {ends}.",
    ]


SENTENCES = {name.removeprefix("of_"): made for name, made in list(globals().items()) if name.startswith("of_")}
ELSEWHERE = {"bias_variance", "kfold", "training_time", "depth_init", "learning_rate"}
"""Rules whose numbers test_answers.py and test_answers_of_unusual_sweeps.py hold."""


def test_the_numbers_of_every_rule_are_held():
    assert {*SENTENCES} | ELSEWHERE == {*ANSWERS}


@pytest.mark.parametrize("name", SENTENCES)
def test_the_numbers_of_a_sentence_are_those_of_the_records(name, tmp_path, monkeypatch):
    made, expected = SENTENCES[name]()
    if name == "width":
        monkeypatch.setattr(Asked, "level", lambda self, label, *_: 0.7)
    folder = tmp_path / "sweep"
    there = found(folder, name, made.of_run)
    if name == "phm":  # whose records have other numbers of parameters
        for path in folder.glob("*/run.json"):
            record = json.loads(path.read_text())
            record["num_parameters"] = 1600 // record["config"]["model"]["n"]
            path.write_text(json.dumps(record))
        there = find([folder])
    for sentence in expected:
        assert sentence in there.answer.text


@pytest.mark.parametrize("metric", ["loss/val", "acc/val"])
def test_the_numbers_of_any_other_sweep_are_those_of_its_records(metric, tmp_path):
    by_lr = {0.1: 0.5, 1.0: 0.6, 10.0: 0.9} if metric == "loss/val" else {0.1: 0.5, 1.0: 0.6, 10.0: 0.84}
    best, second, worst = sorted(by_lr, key=lambda lr: by_lr[lr] * (1 if metric == "loss/val" else -1))

    def of(lr, seed):
        return {metric: by_lr[lr] * math.exp(SMALL * spread_of(lr, seed))}

    text = find([write_sweep(tmp_path, {"optimizer.lr": by_lr, "seed": range(SEEDS)}, of)]).answer.text
    values = {lr: np.array([of(lr, seed)[metric] for seed in range(SEEDS)]) for lr in by_lr}
    mean, reach = values[best].mean(), stats.sem(values[best]) * stats.t.ppf(0.975, SEEDS - 1)
    if metric == "loss/val":
        low, high, word, wins = mean / math.exp(reach / mean), mean * math.exp(reach / mean), "lowest", np.less
    else:
        logit, slope = math.log(mean / (1 - mean)), mean * (1 - mean)
        low, high = (1 / (1 + math.exp(-logit - sign * reach / slope)) for sign in (-1, 1))
        word, wins = "highest", np.greater
    found_numbers = f"{mean:.4g} (95 % interval {low:.4g} to {high:.4g}"
    assert text.startswith(f"optimizer.lr={best:g} has the {word} {metric}, {found_numbers}")
    won = wins(values[best], values[second]).sum()
    assert f"the runner-up is optimizer.lr={second:g}: better in {won} of {SEEDS} seeds" in text
    assert f"optimizer.lr={worst:g}" not in text


CHANCE = {  # of open questions: what a sentence says where chance decides
    "sample_size": "may be chance",
    "capacity": "not significantly different from",
    "l1_l2": "may be chance",
    "phm": "may be chance",
    "width": "which may be chance",
    "width_fashion_mnist": "hidden units may be enough",
    "learning_rate": "diverges at 1 in 3 of 8 runs",
}
TESTED = {"double_descent", "weight_decay", "schedule", "double_descent_random_features", "dropout", "random_labels",
          "activation", "dropout_linear", "input_noise", "kfold", "training_time", "bias_variance",
          "depth_init"}  # fmt: skip


DRAW = {"dropout_linear": [1]}
"""Another draw, where by chance a difference is significant, as of one in twenty."""


def loud(name: str):
    """Runs in which chance is larger than any effect."""
    xs = AXES[name][0]

    def of(x, *rest):
        draw = np.random.default_rng([*DRAW.get(name, ()), *map(ord, str((x, *rest)))])
        if name == "learning_rate":
            return None if x == 3.0 or (x == 1.0 and rest[-1] % 3 == 0) else {"loss/train": 0.1}
        loss = 0.7 * math.exp(LOUD * draw.normal() - 0.1 * xs.index(x))
        share = 0.6 + 0.3 * draw.uniform(-1, 1) + 0.02 * xs.index(x)
        return {
            **dict.fromkeys(LOSSES, loss), **dict.fromkeys(ACCURACIES, share),
            "zeros/weights": 0.1, "gradient/first": 1.0, "norm/weights": 1.0,
        }  # fmt: skip

    return of


def test_each_rule_is_tested_where_chance_decides():
    assert {*CHANCE} | TESTED == {*ANSWERS}


@pytest.mark.parametrize("name", CHANCE)
def test_where_chance_decides_an_open_question_is_answered_with_a_doubt(name, tmp_path, monkeypatch):
    if name == "width":
        monkeypatch.setattr(Asked, "level", lambda self, label, *_: 0.6)
    answer = found(tmp_path, name, loud(name)).answer
    assert answer.verdict == ""
    assert CHANCE[name] in answer.text
    after = re.findall(r"(?:raises|lowers) the .*?n = 8\)(.{0,12})", answer.text)
    assert all(words.startswith(", which may ") for words in after)


def shape(text: str) -> str:
    return re.sub(r"[\d.,]+", "#", text)


@pytest.mark.parametrize("name", sorted({*PLAIN} - {"kfold", "learning_rate", "depth_init", "random_labels"}))
def test_a_sentence_follows_the_data(name, tmp_path, monkeypatch):
    """Its words differ where everything improves along x, where it gets worse, and where chance decides."""
    if name == "width":
        monkeypatch.setattr(Asked, "level", lambda self, label, *_: 0.6)
    xs, first = AXES[name][0], [values[0] for values in AXES[name][1].values()]

    def along(sign: int):
        def of(x, *rest):
            i, noise = xs.index(x), SMALL * spread_of(x, *rest)
            noise += 0 if [*rest[:-1]] == first else -0.7 * sign
            share = 0.5 + sign * 0.1 * (i - 2) + 0.1 * noise
            return {
                **dict.fromkeys(LOSSES, math.exp(-sign * i + noise)), **dict.fromkeys(ACCURACIES, share),
                "loss/train": 0.1, "zeros/weights": 0.1 * max(sign, 0), "norm/weights": math.exp(-sign * i),
            }  # fmt: skip

        return of

    texts = [found(tmp_path / str(i), name, of).answer.text for i, of in enumerate((along(1), along(-1), loud(name)))]
    assert len({*map(shape, texts)}) == 3


@pytest.mark.parametrize("name", PLAIN)
def test_one_seed_and_one_setting_claim_no_difference(name, tmp_path):
    xs, curves = AXES[name]

    def of(x, *rest):
        level = 1 + xs.index(x) + sum(values.index(v) for v, values in zip(rest, curves.values(), strict=False))
        return {
            **dict.fromkeys(LOSSES, 1 / level), **dict.fromkeys(ACCURACIES, 0.1 * level),
            "norm/weights": 1.0, "zeros/weights": 0.1, "gradient/first": 1.0,
        }  # fmt: skip

    one = found(tmp_path / "one", name, of, 1).answer
    assert one.verdict in ("", "undecided")
    assert "95 %" not in one.text
    assert "significant" not in one.text
    if curves:  # one value of x in several curves is no answer to the question
        lacks = "first.gradient/first" if name == "depth_init" else f"at least two values of {ANSWERS[name].x}"
        alone = found(tmp_path / "x", name, of, axes=(xs[:1], curves), curves=list(curves)).answer
        assert alone.verdict == ""
        assert alone.text.endswith(f"This is the answer for any sweep: that of study={name} needs {lacks}.")


def test_of_a_tie_nothing_is_told_apart(tmp_path):
    def of(lr, seed):
        return {"loss/val": (0.5 if lr < 1 else 0.9) * math.exp(SMALL * wave(0, seed))}

    text = find([write_sweep(tmp_path, {"optimizer.lr": [0.01, 0.1, 1.0], "seed": range(SEEDS)}, of)]).answer.text
    assert (
        "It differs significantly from 1 of the 2 others, not from the runner-up, optimizer.lr=0.1: equal in all 8"
        in text
    )


def test_what_weight_decay_does_not_help_is_said_of_significant_differences_only(tmp_path):
    norms = lambda i, *_: {"norm/weights": 13 / (1 + i)}  # noqa: E731
    sure = found(tmp_path / "sure", "weight_decay", measured("weight_decay", [0.1, 20, 80], SMALL, norms)).answer

    def of(x, epochs, seed):
        i = AXES["weight_decay"][0].index(x)
        return {**dict.fromkeys(LOSSES, (0.9 + 0.1 * i) * math.exp(LOUD * (-1) ** (seed >> i))), "norm/weights": 1.0}

    doubtful = found(tmp_path / "doubtful", "weight_decay", of).answer
    assert sure.verdict == "no"
    assert "λ = 0 is best; λ = 3 raises the test loss 200-fold" in sure.text
    assert doubtful.verdict == "undecided"
    assert "λ = 0 is best; λ = 3 raises the test loss by 11 % (95 % " in doubtful.text
    assert "more weight decay does not help" not in doubtful.text


def test_what_cross_validation_chooses_is_right_where_the_best_degrees_tie(tmp_path):
    axes = {"data.degree": [1, 3, 5], "data.fold": range(2), "data.seed": range(10)}
    of = lambda degree, fold, data: {"loss/val": 1 + abs(degree - 3) + data, "loss/test": 1.0 + (degree == 5)}  # noqa: E731
    node = {"x": "data.degree", "metrics": ["loss/val", "loss/test"], "name": "kfold", "replicates": ["seed"]}
    text = find([write_sweep(tmp_path, axes, of, study=node)]).answer.text
    assert text.startswith("Yes: in 10 of 10 data sets")


def test_a_loss_that_is_lower_again_stays_lower(tmp_path: Path):
    text = found(tmp_path, "double_descent", losses({50: 1, 90: 0.5, 100: 20, 120: 0.4, 400: 0.7})).answer.text
    assert "is lower again" not in text


def test_networks_whose_accuracy_is_on_both_sides_of_the_border_are_not_called_trained(tmp_path):
    names = ["normal", "kaiming", "xavier_normal"]
    levels = dict(zip(names, ((0.5, 1e-3), (0.95, 1e-3), (0.78, 0.1)), strict=True))

    def of(layers, init, activation, seed):
        level, spread = levels[init]
        return {**dict.fromkeys(ACCURACIES, level + spread * wave(0, seed)), "gradient/first": 0.5}

    axes = {"model.num_layers": [1, 16], "model.init": names, "model.activation": ["relu"], "seed": range(4)}
    folder = write_sweep(tmp_path, axes, of, study={**STUDIES["depth_init"], "theory": None})
    for path in folder.glob("*/run.json"):
        path.with_name("metrics.csv").write_text("epoch,step,gradient/first\n1,1,0.5\n2,2,0.1\n")
    text = find([folder]).answer.text
    assert text.startswith("At 16 layers these train: kaiming with relu (accuracy 0.95, gradient 0.5). The runs do ")
    assert "do not tell whether these do: xavier_normal with relu (accuracy 0.78, gradient 0.5). These stay " in text
    assert "near guessing: normal with relu (accuracy 0.5, gradient 0.5)." in text
