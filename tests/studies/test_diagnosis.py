import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_d2l.studies.diagnosis import Diagnosis, case_of, diagnose, lowest_of
from lightning_d2l.training.record import RunRecord

PAGE = Path(__file__).parents[2] / "docs" / "reports.md"
LN10 = math.log(10)


def record(metrics: dict[str, float], *, samples=(100_000, 100_000), trivial=None, reference=None, seed=0, **fields):
    """A completed run on data with samples (training, held-out), its trivial loss and its reference (name, loss)."""
    sizes = dict(zip(("train", "val", "test"), (*samples, samples[1]), strict=True))
    data = {"seed": seed, **{f"n_{split}": n for split, n in sizes.items()}}
    baselines: dict = {"samples": sizes, "trivial": {}}
    if trivial:
        baselines["trivial"] = {f"loss/{split}": trivial for split in sizes}
    if any(name.startswith("acc/") for name in metrics):
        baselines["trivial"] |= {f"acc/{split}": 0.1 for split in sizes}
    if reference and reference[0] == "noise":
        data["noise"] = math.sqrt(reference[1])
    elif reference:
        baselines["reference"] = {"name": reference[0], **{f"loss/{split}": reference[1] for split in ("val", "test")}}
    config = {"data": data, **fields.pop("config", {})}
    final = {"final": metrics, "best": metrics}
    return RunRecord(
        Path("run"), {"status": "completed", "config": config, "metrics": final, "baselines": baselines} | fields
    )


def named(*runs: RunRecord, lowest: float | None = None) -> Diagnosis | None:
    """The diagnosis of runs of one setting; `lowest` is the lowest loss of a report on several settings."""
    case = case_of(
        runs, [{name: run.metric(name) or 0.0 for name in run.metric_names} for run in runs if run.completed]
    )
    found = lowest_of([case]) if lowest is None else lowest
    return diagnose(case, found, alone=lowest is None)


def cases_of_the_page() -> list[list[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| case | samples |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize("cells", [pytest.param(row, id=row[0]) for row in cases_of_the_page()])
def test_the_cases_of_the_page(cells):
    _, samples, trivial, reference, lowest, train, held_out, accuracy, name = cells
    losses = {"loss/train": train, "loss/val": held_out}
    metrics = {key: float(value) for key, value in losses.items() if value}
    if accuracy:
        metrics |= dict(zip(("acc/train", "acc/val"), map(float, accuracy.split(",")), strict=True))
    word, _, value = reference.partition(" ")
    run = record(
        metrics,
        samples=tuple(map(int, samples.split(","))),
        trivial=float(trivial) if trivial else None,
        reference=(word, float(value)) if value else None,
    )
    assert str(named(run, lowest=float(lowest) if lowest else None)) == name


def test_the_page_has_a_case_for_every_name_but_diverged():
    names = {row[-1].partition(" (")[0] for row in cases_of_the_page()}
    assert names == {"not learnt", "underfitting", "well fitted", "best here", "learnt", "overfitting"}
    lost = RunRecord(Path("run"), {"status": "diverged", "config": {}})
    assert str(named(record({"loss/val": 1.0}), lost)) == "diverged"


@given(
    st.floats(1e-4, 10), st.floats(1e-4, 10), st.floats(1e-3, 1), st.floats(0.1, 20), st.sampled_from([0.25, 4.0, 16.0])
)
def test_units_do_not_matter(train, val, noise, trivial, factor):
    def of(scale):
        losses = {"loss/train": train * scale, "loss/val": val * scale}
        return named(record(losses, trivial=trivial * scale, reference=("noise", noise**2 * scale), samples=(500, 500)))

    assert str(of(factor**2)) == str(of(1.0))


def test_the_factor_of_the_loss_and_a_likelihood():
    losses = {"loss/train": 0.0050, "loss/val": 0.0054}
    assert str(named(record(losses, reference=("noise", 0.01), config={}, trivial=15))) == "well fitted"
    own = record(losses, reference=("noise", 0.01))  # of a module whose loss may be any
    assert (str(named(own)), named(own).reference) == ("learnt", None)
    half = record(losses, reference=("noise", 0.01), trivial=15)
    half.fields["config"]["loss"] = "half_mse"
    assert named(half).reference == ("noise", pytest.approx(0.005))
    nll = {"loss/train": -0.88, "loss/val": -0.85, "mse/train": 0.01, "mse/val": 0.0105}
    likelihood = record(nll, reference=("noise", 0.01))
    likelihood.fields["config"]["loss"] = "gaussian_nll"
    assert str(named(likelihood)) == "well fitted"
    assert named(record({"loss/train": -0.5, "loss/val": -0.4})) is None  # of a registered loss nothing else is known


def test_a_constant_model_underfits_and_an_untrained_one_has_not_learnt():
    losses = {"loss/train": 29.5, "loss/val": 30.4}
    settings = {"trivial": 30.0, "reference": ("noise", 0.01), "samples": (100, 100)}
    assert str(named(record(losses, num_parameters=1, **settings))) == "underfitting"
    assert named(record(losses, num_parameters=4, **settings)).name == "underfitting"  # 1.7 % better than trivial
    worse = {"loss/train": 29.9, "loss/val": 30.4}
    assert str(named(record(worse, num_parameters=4, **settings))) == "not learnt"
    solved = record(worse, num_parameters=4, **settings)
    solved.fields["metrics"]["exact"] = {"loss/train": 29.8}
    assert str(named(solved)) == "underfitting"


def test_a_peak_of_double_descent_overfits_however_its_losses_spread():
    generator = np.random.default_rng(0)
    runs = [
        record(
            {"loss/train": 1e-26 * generator.random(), "loss/test": 0.5 + 30 * generator.lognormal(0, 2)},
            samples=(100, 1000),
            trivial=1.3,
            reference=("noise", 0.25),
            seed=seed,
        )
        for seed in range(20)
    ]
    assert str(named(*runs)) == "overfitting"
    assert named(*runs).share < 0


def test_seeds_without_a_gap_do_not_overfit_and_paired_ones_with_a_small_gap_do():
    """Losses of 20 data sets that spread far more than the gap between training and validation, which is the same."""
    generator = np.random.default_rng(1)
    level = generator.lognormal(0, 0.5, 20)

    def gap(ratio):
        noise = generator.lognormal(0, 0.05, 20)
        each = zip(level, noise, strict=True)
        return named(
            *(
                record({"loss/train": a, "loss/val": a * b * ratio}, samples=(50, 50), trivial=9.0, seed=seed)
                for seed, (a, b) in enumerate(each)
            )
        )

    assert gap(2.5).name == "overfitting"
    assert gap(1.0).name == "learnt"
    assert gap(2.5).gap.low > 0


def test_the_share_and_the_beaten_reference_are_said():
    losses = {"loss/train": 0.30, "loss/val": 0.35}
    found = named(record(losses, trivial=2.3, reference=("gradient_boosting", 0.25)))
    assert found.share == pytest.approx((2.3 - 0.35) / (2.3 - 0.25))
    assert found.how_far == "95.1 % of the way from trivial to gradient_boosting (0.25)"
    beaten = named(record(losses, trivial=2.3, reference=("knn", 0.45)))
    assert beaten.note == "the model beats its reference (knn, 0.45): choose a stronger one"
    assert beaten.reference is None
    assert named(record(losses, trivial=2.3, reference=("5", 5.0))).note.startswith("the model beats its reference (5)")


def test_the_uncertainty_of_one_run_covers_the_sampling_of_its_splits():
    """The gap of a model without one is told from 0 in about 5 % of the data sets, half of which are above it."""
    generator = np.random.default_rng(0)
    squares = np.square(generator.normal(0, 0.1, (2000, 2, 200))).mean(2)
    told = [
        found.gap.low > 0
        for a, b in squares
        if (found := named(record({"loss/train": a, "loss/val": b}, samples=(200, 200), reference=("noise", 0.01))))
    ]
    assert np.mean(told) == pytest.approx(0.025, abs=0.012)


@pytest.mark.parametrize("distance", [0.1, 0.5, 1.0, 2.0, 3.0])
def test_the_spread_of_cross_entropy_follows_from_the_accuracy(distance):
    """Ten normal classes so far apart, and their true probabilities; the spread of samples is at most 0.22 off."""
    generator, n = np.random.default_rng(0), 50_000
    y, x = generator.integers(10, size=n), generator.normal(size=(n, 10))
    x[np.arange(n), y] += distance
    losses = -distance * x[np.arange(n), y] + np.log(np.exp(distance * x).sum(1))
    loss, accuracy = losses.mean(), (x.argmax(1) == y).mean()
    run = record({"loss/train": loss, "acc/train": accuracy, "loss/val": loss, "acc/val": accuracy}, samples=(n, n))
    case = case_of([run], [{name: run.metric(name) for name in run.metric_names}])
    spread = losses.std() / loss
    assert case.loss.deviation["val"] == pytest.approx(spread, abs=0.22, rel=0.2)
    half = math.log(case.loss.held.high / loss)
    assert half == pytest.approx(1.96 * case.loss.deviation["val"] / math.sqrt(n), rel=1e-3)


def test_a_network_slightly_better_than_guessing_is_known_to_be_not_learnt():
    losses = {"loss/train": 2.299, "loss/val": 2.299, "acc/train": 0.12, "acc/val": 0.12}
    found = named(record(losses, samples=(1000, 1000), trivial=LN10))
    assert str(found) == "not learnt"
    assert found.gap.high < 0.04


def test_an_old_record_of_fashion_mnist_is_compared_with_ten_equal_classes():
    data = {"_target_": "lightning_d2l.data.fashion_mnist.FashionMNISTData", "val_size": 10_000, "n_train": None}
    metrics = {"loss/train": LN10, "loss/val": LN10 + 0.001, "acc/train": 0.09, "acc/val": 0.11}
    fields = {"status": "completed", "config": {"data": data}, "metrics": {"final": metrics}}
    assert str(named(RunRecord(Path("run"), fields))) == "not learnt"
