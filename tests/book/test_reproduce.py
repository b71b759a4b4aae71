"""The comparison with the book: its rules, its closed forms, and its command."""

import csv
import io
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_d2l import cli
from lightning_d2l.book import published, reproduce
from lightning_d2l.book.comparison import compare
from lightning_d2l.book.demos import DEMOS
from lightning_d2l.book.published import EXPERIMENTS, Quantity
from lightning_d2l.book.rows import FORMATS
from lightning_d2l.config.compose import CONF
from tests.runs import config


def test_every_experiment_is_a_config_or_a_demo_and_every_config_is_compared_or_swept():
    configs = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    for experiment in EXPERIMENTS:
        assert experiment.demo in DEMOS if experiment.demo else experiment.id in configs
    assert configs <= {experiment.id for experiment in EXPERIMENTS}


BOOK = Quantity("", "", 2.0, (1.0, 3.0), runs=37, margin=0.5)  # a standard deviation of 0.61, its median's error 0.125
LOSS = Quantity("", "", 2.0, (1.0, 4.0), runs=37, margin=1.5, log=True)
THEORY = Quantity("", "", None, theory=5.0, accuracy=0.01)
ONE_RUN = Quantity("", "", 5.0105, simulated=0.014, margin=0.05)
NORMAL = np.random.default_rng(0).normal(size=200)


@pytest.mark.parametrize(
    ("quantity", "values", "expected"),
    [
        (BOOK, 2.05 + 0.6 * NORMAL, "reproduced"),
        (BOOK, 3.0 + 0.6 * NORMAL, "differs"),
        (BOOK, 2.35 + 0.6 * NORMAL, "too noisy to say"),  # 2.35 is within the margin, but its interval is not
        (BOOK, 2.0 + 0.6 * NORMAL[:5], "too noisy to say"),
        (BOOK, 2.0 + 3.0 * NORMAL, "differs"),  # in width
        (BOOK, [2.0], "too noisy to say"),
        (BOOK, [2.0, 2.0], "too noisy to say"),  # two runs that agree are no proof
        (BOOK, [math.nan, 2.0], "differs"),
        (LOSS, np.exp(math.log(2.1) + 0.4 * NORMAL), "reproduced"),
        (LOSS, [0.0, 2.0], "differs"),
        (THEORY, [5.04, 5.04], "equals theory"),
        (THEORY, [5.06, 5.06], "differs"),
        (THEORY, [4.0, 5.5], "too noisy to say"),
        (ONE_RUN, [5.0, 5.01, 4.99, 5.0], "reproduced"),
        (ONE_RUN, [4.0, 4.5], "too noisy to say"),
        (ONE_RUN, 4.8 + 0.014 * NORMAL, "differs"),
        (Quantity("", "", 5.0105), [4.0, 4.5], "too noisy to say"),
        (Quantity("", "", None, computed_band=(0, 1)), [0.5], "as computed"),
        (Quantity("", "", None, computed_band=(0, 1)), [1.5], "differs"),
    ],
)
def test_verdicts(quantity, values, expected):
    assert reproduce.verdict(quantity, list(values)) == expected


def test_the_verdict_on_theory_stands_apart_from_the_books():
    quantity = Quantity("", "", 2.0, (1.0, 3.0), 37, theory=2.5, accuracy=0.1, margin=0.5)
    found = compare(quantity, (2.0 + 0.6 * NORMAL).tolist())
    assert (found.verdict, found.theory_verdict) == ("reproduced", "differs from theory")


def test_how_often_verdicts_are_wrong():
    """Medians as far apart as the margin are called equal in 5 % of cases at most, equal ones different in 0.1 %."""
    random = np.random.default_rng(1)
    wrong = {"reproduced": 0, "differs": 0}
    for _ in range(500):
        book = np.median(random.normal(size=37))
        for shift, word in ((0.8, "reproduced"), (0.0, "differs")):
            quantity = Quantity("", "", book, (book - 1.6449, book + 1.6449), 37, margin=0.8)
            wrong[word] += compare(quantity, random.normal(shift, 1, 100).tolist()).verdict == word
    assert wrong["reproduced"] <= 500 * (0.05 + 4 * math.sqrt(0.05 * 0.95 / 500))
    assert wrong["differs"] <= 5


@given(st.floats(0, 3), st.integers(2, 19), st.floats(1, 20))
def test_more_noise_makes_nothing_easier_to_reproduce(shift, n, factor):
    values = NORMAL[:n] - np.median(NORMAL[:n])
    less, more = (compare(BOOK, (2 + shift + noise * values).tolist()).verdict for noise in (0.5, 0.5 * factor))
    assert less == "reproduced" or more != "reproduced"


def test_what_is_a_formula_or_a_simulation_is_not_called_published():
    source = {(e.id, q.name): q.source for e in EXPERIMENTS for q in e.quantities}
    for id_ in ("matrix-product", "xavier", "phm", "blocks", "vectorization", "fashion-mnist-loading", "kfold"):
        assert {kind for (experiment, _), kind in source.items() if experiment == id_} <= {"theory", "computed"}
    assert all(q.margin for e in EXPERIMENTS for q in e.quantities if q.source == "published")


def test_expected_loss_of_linear_regression_is_that_of_simulated_descent():
    # One step a sample batch of 10 on fresh data; the formula ignores terms of the order of the learning rate.
    for factor in (0.5, 1.0):
        torch.manual_seed(0)
        true = torch.tensor([2.0, -3.4, 4.2])
        w = torch.zeros(2000, 3)
        for _ in range(100):
            x = torch.cat([torch.randn(2000, 10, 2), torch.ones(2000, 10, 1)], 2)
            residual = (x @ (w - true)[:, :, None])[..., 0] - 0.01 * torch.randn(2000, 10)
            w = w - 0.03 * 2 * factor * (residual[..., None] * x).mean(1)
        loss = factor * ((w - true).square().sum(1).mean() + 0.01**2).item()
        without_scatter = published.linear_regression_loss(1, factor)
        assert 1 < loss / without_scatter < 4 if factor == 1 else 1 < loss / without_scatter < 1.6


def test_norm_of_weights_that_only_decay():
    w = torch.randn(20_000, 180)
    for _ in range(400):
        w = w - 0.003 * 3 * w
    assert published.decayed_norm(3) == pytest.approx(w.norm(dim=1).mean().item(), rel=0.01)


def test_finished_runs_are_reused_and_their_rows_read_from_the_folder(tmp_path, monkeypatch):
    rows = list(reproduce.reproduce(["linreg-scratch"], tmp_path, seeds=2))
    assert len(rows) == 5
    losses = []
    for seed in range(2):
        lines = (tmp_path / "linreg-scratch" / f"seed={seed}" / "metrics.csv").read_text().splitlines()
        losses.append(float(next(csv.DictReader(lines))["loss/train"]))
    assert rows[0].mean == pytest.approx(np.mean(losses))
    assert rows[0].std == pytest.approx(np.std(losses, ddof=1))
    monkeypatch.setattr(reproduce, "run", None)
    monkeypatch.setattr(reproduce, "Group", None)
    assert list(reproduce.reproduce(["linreg-scratch"], tmp_path, seeds=2)) == rows


def test_the_configuration_of_a_seed_is_the_composed_one():
    experiment = next(e for e in EXPERIMENTS if e.overrides)
    assert reproduce._config(experiment, 7) == config(*reproduce._overrides(experiment, 7))


def test_experiments_on_images_need_the_official_data():
    found = {e.id for e in EXPERIMENTS if reproduce.needs_fashion_mnist(e)}
    methods = {f"{net}-{how}" for net in ("softmax", "mlp", "dropout") for how in ("scratch", "concise")}
    assert found == {*methods, "fashion-mnist-loading"}


def test_without_the_official_data_there_is_no_verdict(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_D2L_DATA", str(tmp_path))
    rows = list(reproduce.reproduce(["mlp-concise", "fashion-mnist-loading"], tmp_path))
    assert {row.verdict for row in rows} == {"not run: official data missing"}
    assert {row.mean for row in rows} == {None}


def test_all_formats_have_the_same_numbers(capsys):
    assert cli.main(["reproduce", "activations", "xavier", "--seeds", "1", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    fields = {"experiment", "quantity", "published", "band", "theory", "mean", "std", "n", "verdict"}
    assert all(fields <= row.keys() for row in rows)
    assert [row["verdict"] for row in rows] == ["equals theory"] * 3
    assert cli.main(["reproduce", "activations", "xavier", "--seeds", "1", "--format", "csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(line["mean"]) for line in table] == [row["mean"] for row in rows]
    for form in ("text", "markdown"):
        assert cli.main(["reproduce", "activations", "xavier", "--seeds", "1", "--format", form]) == 0
        text = capsys.readouterr().out
        assert all(row["quantity"] in text for row in rows)
        assert text.count("equals theory") == 3
        assert form == "markdown" or max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("experiment", [e for e in EXPERIMENTS if not e.demo], ids=lambda e: e.id)
def test_no_row_is_wider_than_a_terminal(experiment):
    scattered = np.random.default_rng(0).lognormal(0.1, 0.12345, 400)
    rows = [reproduce._row(experiment, q, list(scattered * abs(q.published))) for q in experiment.quantities]
    lines = FORMATS["text"](rows).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(" margin " in line for line in lines) == len(rows)


def test_a_number_that_differs_makes_the_exit_code_1(monkeypatch, capsys):
    bound = Quantity("bound", "bound Linear(4, 8)", None, theory=0.9)
    wrong = published.Experiment("xavier", (bound,), demo="xavier")
    monkeypatch.setattr(reproduce, "EXPERIMENTS", (wrong,))
    assert cli.main(["reproduce", "all", "--seeds", "1"]) == 1
    assert "differs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["poly-norml"], "reproduce poly-norml: unknown experiment; did you mean poly-normal?"),
        (["poly-normal", "--seeds", "0"], "--seeds=0: must be a whole number from 1 up"),
    ],
)
def test_wrong_requests(words, expected, refusal):
    assert expected in refusal(cli.main, ["reproduce", *words])


@pytest.mark.parametrize("values", [[math.nan, 1.0], [math.inf, -math.inf], [math.inf, 1.0], [1e308, 1e308, 1e308]])
def test_numbers_of_any_size_give_valid_json(values):
    quantity = Quantity("loss", "loss/train", 1.0, (0.0, math.inf))
    experiment = EXPERIMENTS[0]
    row = reproduce._row(experiment, quantity, values, reproduce.verdict(quantity, values))
    (found,) = json.loads(reproduce.as_json([row]), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert found["band"] == [0.0, None]
    assert found["n"] == len(values)
    if not all(map(math.isfinite, values)):
        assert (found["mean"], found["verdict"]) == (None, "differs")
