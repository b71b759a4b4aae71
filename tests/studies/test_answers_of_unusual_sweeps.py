"""Answers on sweeps that a question did not foresee: diverged ends, extreme values, nothing learnt, made-up parts."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest

from lightning_d2l.studies.answers.rule import Asked
from lightning_d2l.studies.answers.words import few
from lightning_d2l.studies.findings import Findings, find
from tests.studies.records import write_sweep
from tests.studies.test_answers import ACCURACIES, AXES, LOSSES, PLAIN, SMALL, STUDIES, found, measured, wave


def all_of(loss: float, accuracy: float) -> dict[str, float]:
    found = {**dict.fromkeys(LOSSES, loss), **dict.fromkeys(ACCURACIES, accuracy)}
    return {**found, "norm/weights": loss, "zeros/weights": accuracy, "gradient/first": loss}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e300])
def test_no_value_is_too_large_or_too_small_for_an_answer(name, scale, tmp_path):
    generator = np.random.default_rng(7)

    def of(*_):
        return all_of(float(generator.choice([scale, scale * 0.5, 1.0])), float(generator.random()))

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        made = found(tmp_path, name, of, 3)
    assert "failed" not in made.answer.text
    assert "nan" not in made.answer.text


WITHOUT = ("dropout", "dropout_linear", "input_noise", "weight_decay")


@pytest.mark.parametrize("name", WITHOUT)
def test_where_the_run_without_it_diverged_nothing_is_said_of_it(name, tmp_path):
    def of(x, *rest):
        noise = 1 + 0.01 * wave(AXES[name][0].index(x), rest[-1])
        return None if x == 0 else all_of((1 + x) * noise, 0.5 / noise) | {"loss/train": 0.5 * noise}

    made = found(tmp_path, name, of)
    text = made.answer.text
    assert " without " not in f"{text} ".replace("without.", "without ")
    first = AXES[name][0][0]
    lost = 1 if name.endswith(("linear", "noise")) else 2
    assert f"{lost} of {len(made.points)} settings diverged and" in text
    assert f"left out: {STUDIES[name]['x']}={first}." in text
    assert name == "dropout" or made.answer.verdict != "no"


def test_nothing_learnt_is_the_answer_and_no_setting_is_the_best(tmp_path):
    trivial = {"trivial": {**dict.fromkeys(LOSSES, 2.303), **dict.fromkeys(ACCURACIES, 0.1)}}

    def answer(name: str, folder: str, loss: float):
        axes = {"optimizer.lr": [1e-7, 1e-6, 1e-5], "seed": range(3)}
        node = {**STUDIES[name], "theory": None, "x": "optimizer.lr", "curves": []} if name else None

        def of(lr, seed):
            return {"loss/train": loss, "loss/val": loss + 10 * seed * lr, "acc/train": 0.1, "acc/val": 0.1}

        there = write_sweep(tmp_path / folder, axes, of, **({"study": node} if node else {}))
        for path in there.glob("*/run.json"):
            record = json.loads(path.read_text())
            record["baselines"] = {**trivial, "samples": {"train": 50_000, "val": 10_000}}
            record["config"]["data"] = {"seed": record["seed"]}
            path.write_text(json.dumps(record))
        return find([there]).answer

    text = answer("", "none", 2.301).text
    assert text.startswith("None of the 3 settings has learnt: the lowest loss/val, 2.301")
    assert text.endswith("is that of optimizer.lr=1e-07, and the trivial predictor has 2.303.")
    assert answer("phm", "phm", 2.301).text.startswith("None of the 3 settings has learnt: the highest acc/val, 0.1")
    assert answer("", "some", 1.5).text.startswith("optimizer.lr=1e-07 has the lowest loss/val")


def with_history(folder: Path, curve, seeds: int = 6) -> Findings:
    """A study of the training time in which each seed has the validation losses `curve(seed)` at epochs 1, 2, ..."""
    node = {**STUDIES["training_time"], "theory": None}
    last = lambda s: (c := curve(s)) and {"epoch": len(c), "loss/train": 0.1 / len(c), "loss/val": c[-1]}  # noqa: E731
    write_sweep(folder, {"seed": range(seeds)}, last, study={**node, "metrics": ["loss/train", "loss/val"]})
    for seed in range(seeds):
        lines = [f"{i + 1},{i + 1},{0.1 / (i + 1)},{loss}" for i, loss in enumerate(curve(seed) or ())]
        (folder / f"seed={seed}" / "metrics.csv").write_text("\n".join(["epoch,step,loss/train,loss/val", *lines, ""]))
    return find([folder])


def test_training_time_says_when_to_stop_and_what_it_costs_not_to(tmp_path):
    def said(name, curve, seeds=6):
        made = with_history(tmp_path / name, curve, seeds).answer
        return made.verdict, made.text

    def curve(*means, spread=0.02):
        return lambda seed: [m * math.exp(spread * wave(i, seed)) for i, m in enumerate(means)]

    verdict, text = said("rises", curve(1.0, 0.5, 0.7, 1.0))
    assert verdict == "yes"
    assert "is lowest at epoch 2, 0.498; " in text
    assert "training on to epoch 4 raises the validation loss 2-fold" in text
    drawn = lambda level, sd: lambda seed: [1.0, *(level * np.exp(sd * np.random.default_rng(seed).normal(size=3)))]  # noqa: E731
    assert said("flat", drawn(0.5, 0.01))[0] == "no"
    assert said("loud", drawn(0.9, 1.0))[0] == "undecided"
    verdict, text = said("falls", curve(1.0, 0.5, 0.4))
    assert (verdict, "the last: training on may lower it further" in text) == ("undecided", True)
    assert said("one", curve(1.0, 0.5, 1.0), 1)[0] == "undecided"
    assert said("lost", lambda seed: None)[1].startswith("All 6 runs diverged")
    assert said("ties", lambda seed: [0.5 + 0.01 * seed] * 3)[0] == "no"
    assert said("alone", lambda seed: [0.5])[1].startswith("Only one setting was run")


def predicted_parts(folder: Path, of_fit, seeds: int = 30, degrees=(0, 3, 6)) -> Findings:
    """A study of bias and variance whose predictions on 50 samples are `of_fit(degree, seed)`, where f is sin."""
    node = {**STUDIES["bias_variance"], "theory": None}
    x = np.linspace(0, 3, 50)
    y = np.sin(x) + np.random.default_rng(0).normal(0, 0.1, 50)

    def metrics(degree, seed):
        fit = of_fit(degree, seed)
        return None if fit is None else {"loss/train": 0.1, "loss/test": float(np.mean((y - fit * np.ones(50)) ** 2))}

    write_sweep(folder, {"data.degree": degrees, "seed": range(seeds)}, metrics, study=node)
    for degree in degrees:
        for seed in range(seeds):
            if (fit := of_fit(degree, seed)) is not None:
                table = np.c_[y, np.sin(x), fit * np.ones(50)]
                rows = "\n".join(",".join(map(repr, map(float, row))) for row in table)
                (folder / f"degree={degree},seed={seed}" / "predictions.csv").write_text(f"y,true,output_0\n{rows}\n")
    return find([folder])


def test_bias_and_variance_name_the_larger_part_at_each_degree(tmp_path):
    x = np.linspace(0, 3, 50)
    right = lambda degree, seed: np.sin(x) + (1 if degree == 0 else 0) + max(degree / 6, 1e-4) * wave(0, seed)  # noqa: E731
    made = predicted_parts(tmp_path / "both", right)
    assert made.answer.text.startswith("The larger part is bias² at data.degree 0 (100 % of the two); the variance at")
    assert "the variance at data.degree 3 and 6 (100 % of the two)" in made.answer.text
    by_degree = {point.setting["data.degree"]: point.estimates for point in made.points}
    assert by_degree[0]["loss/bias2"].value == pytest.approx(1.0, abs=1e-3)
    spread = np.var([wave(0, seed) for seed in range(30)], ddof=1)
    assert by_degree[6]["loss/variance"].value == pytest.approx(spread)
    one = predicted_parts(tmp_path / "one", right, 1).answer
    assert one.text.endswith("needs loss/bias2, which two data sets or more give.")
    lost = predicted_parts(tmp_path / "lost", lambda degree, seed: None).answer
    assert lost.text.startswith("All 90 runs diverged")
    alone = predicted_parts(tmp_path / "alone", right, degrees=(3,)).answer
    assert alone.text.startswith("Only one setting was run")
    ties = predicted_parts(tmp_path / "ties", lambda degree, seed: np.sin(x) + 0.1 * wave(0, seed)).answer
    assert ties.text.startswith("No effect: all 3 settings")


@pytest.mark.parametrize("name", ["dropout_linear", "input_noise"])
def test_acting_as_ridge_regression_needs_its_norms(name, tmp_path, monkeypatch):
    xs = AXES[name][0]
    monkeypatch.setattr(Asked, "line", lambda self, label, *_: dict(zip(xs, (1.0, 0.5, 0.25), strict=True)))

    def verdict(folder, factor, spread=SMALL):
        norms = measured(name, [factor, 0.5 * factor, 0.25 * factor], spread, metrics=("norm/weights",))
        losses = measured(name, [3, 1, 2], spread)
        made = found(tmp_path / folder, name, lambda *a: {**norms(*a), **losses(*a)}).answer
        return made.verdict, made.text

    assert verdict("like", 1.02)[0] == "yes"
    assert "theory's ridge regression has 1 to 0.25, at most" in verdict("again", 1.02)[1]
    assert verdict("unlike", 1.5)[0] == "no"
    assert verdict("loud", 1.3, 1.5)[0] == "undecided"


def test_width_names_the_smallest_that_reaches_the_noise(tmp_path, monkeypatch):
    monkeypatch.setattr(Asked, "level", lambda self, label, *_: 0.01)
    reaches = found(tmp_path / "yes", "width", measured("width", [9, 0.011, 0.0105])).answer
    assert "; 8 are enough for 0.011" in reaches.text
    assert reaches.best.setting["model.num_hiddens"] == 8
    assert (
        "none of these widths reaches the noise"
        in found(tmp_path / "no", "width", measured("width", [9, 1, 1])).answer.text
    )


def test_the_widest_layer_is_not_called_enough_where_it_is_the_best(tmp_path):
    rising = measured("width_fashion_mnist", [0.5, 0.7, 0.8], 1e-3, metrics=ACCURACIES)
    text = found(tmp_path, "width_fashion_mnist", rising).answer.text
    assert text.startswith("None of these widths is surely enough: the largest, 256 hidden units, has the highest")
    assert text.endswith("64 reach 0.7, so that more may be better still.")


def test_networks_that_train_are_told_from_those_that_guess(tmp_path):
    def deep(layers, init, activation, seed):
        accuracy = 0.95 if init == "kaiming" or layers < 16 else 0.5
        found = dict.fromkeys(ACCURACIES, accuracy + 1e-3 * wave(0, seed))
        return {**found, "gradient/first": 0.5}

    assert STUDIES["depth_init"]["metrics"][0] == "first.gradient/first"
    xs, curves = AXES["depth_init"]
    node = {**STUDIES["depth_init"], "theory": None}
    folder = write_sweep(tmp_path, {"model.num_layers": xs, **curves, "seed": range(4)}, deep, study=node)
    for path in folder.glob("*/run.json"):  # of the first epoch
        path.with_name("metrics.csv").write_text("epoch,step,gradient/first\n1,1,0.5\n2,2,0.1\n")
    text = find([folder]).answer.text
    assert text.startswith(
        "At 16 layers these train: kaiming with relu (accuracy 0.95, gradient 0.5). These stay near "
    )
    assert "guessing: normal with relu (accuracy 0.5, gradient 0.5)." in text


def test_layers_with_fewer_parameters_are_compared_with_the_full_one(tmp_path):
    accurate = measured("phm", [0.8, 0.797, 0.7], 1e-3, metrics=ACCURACIES)
    text = found(tmp_path, "phm", accurate).answer.text
    assert text.startswith("n = 1 reaches an accuracy of 0.8")
    assert "n = 16 has 100 % of the parameters and lowers the validation accuracy by 10 points" in text


def test_labels_that_are_never_fitted_cost_no_report(tmp_path):
    axes = {"data.label_noise": [0, 0.5, 1], "seed": range(3)}
    of = lambda noise, seed: {"acc/train": 0.7 - 0.3 * noise + 0.01 * seed, "acc/test": 0.6 - 0.5 * noise}  # noqa: E731
    node = {**STUDIES["random_labels"], "theory": None, "metrics": ["acc/train", "acc/test", "epochs_to_fit"]}
    answer = find([write_sweep(tmp_path, axes, of, study=node)]).answer
    assert answer.text.startswith("Yes: the training accuracy is 0.71 at label noise 0 and 0.41 at 1")
    assert answer.text.endswith("The labels are not fitted in these epochs.")


def test_numbers_beyond_a_float_have_a_word():
    assert [few(value) for value in (math.inf, -math.inf, 1e300, 1e-300)] == ["inf", "-inf", "1.0e300", "1.0e-300"]
