import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_d2l.studies.diagnosis import NORMAL_95, Losses, diagnose, floor_of, uncertainty
from lightning_d2l.studies.statistics import Estimate, estimate


def exactly(mean: float) -> Estimate:
    return Estimate(mean, 0.0, mean, mean, "Student t", 5)


def errors(train: float, val: float, noise: float | None = 0.1, loss: str = "mse", n: int = 100_000, **more) -> Losses:
    data = {"n_train": n, "n_val": n, "seed": 0, **({"noise": noise} if noise is not None else {})}
    return Losses(exactly(train), exactly(val), "val", val, [{"loss": loss, "data": data}], **more)


@pytest.mark.parametrize(
    ("train", "val", "name"),
    [  # the book's three polynomial fits, sigma = 0.1 (d2l 4.4)
        (0.0100, 0.0108, "well fitted"),
        (8.1, 11.7, "underfitting"),
        (0.0108, 0.0178, "overfitting"),
    ],
)
def test_the_books_three_fits_have_their_names(train, val, name):
    assert str(diagnose(errors(train, val), None)) == name
    assert str(diagnose(errors(train / 2, val / 2, loss="half_mse"), None)) == name


@given(st.floats(1e-4, 10), st.floats(1e-4, 10), st.floats(1e-3, 1), st.sampled_from([0.25, 4.0, 16.0]))
def test_units_do_not_matter(train, val, noise, factor):
    scaled = errors(train * factor**2, val * factor**2, noise * factor)
    assert diagnose(scaled, None) == diagnose(errors(train, val, noise), None)


def test_without_known_noise_the_lowest_loss_of_any_point_is_the_floor():
    points = [errors(0.44, 0.46, None), errors(0.30, 0.33, None), errors(0.02, 0.60, None)]
    names = [str(diagnose(point, floor_of(points))) for point in points]
    assert names == ["underfitting", "well fitted", "overfitting"]


def test_most_runs_diverged_and_losses_missing():
    assert str(diagnose(errors(0.01, 0.01, diverged=0.5), None)) == "diverged"
    assert diagnose(Losses(None, exactly(1.0), "val", 1.0, [{}]), 1.0) is None


def test_an_interval_across_the_border_says_so_and_more_samples_settle_it():
    assert str(diagnose(errors(0.0100, 0.0120, n=100), None)) == "well fitted (or overfitting)"
    assert str(diagnose(errors(0.0100, 0.0135, n=100), None)) == "overfitting (or well fitted)"
    assert str(diagnose(errors(0.0100, 0.0120, n=100_000), None)) == "well fitted"
    assert str(diagnose(errors(0.06, 0.1, n=100), None)) == "underfitting (or overfitting)"


def test_the_uncertainty_of_one_run_covers_the_sampling_of_its_split():
    generator = np.random.default_rng(0)
    losses = [float(np.mean(generator.normal(0, 0.1, 100) ** 2)) for _ in range(2000)]
    config = [{"data": {"n_val": 100, "seed": 0}}]
    covered = [abs(loss - 0.01) <= uncertainty(estimate([loss]), config, "val") for loss in losses]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_fresh_data_sets_average_the_sampling_error():
    one, four = ([{"data": {"n_val": 50, "seed": seed}} for seed in range(k)] for k in (1, 4))
    assert uncertainty(exactly(2.0), one, "val") == pytest.approx(NORMAL_95 * 2 * (2 / 50) ** 0.5)
    assert uncertainty(exactly(2.0), four, "val") == pytest.approx(uncertainty(exactly(2.0), one, "val") / 2)
