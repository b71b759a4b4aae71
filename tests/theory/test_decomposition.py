from pathlib import Path

import numpy as np
import pytest

from lightning_d2l.theory.decomposition import decompose
from lightning_d2l.training.record import RunRecord
from tests.studies.test_answers_of_unusual_sweeps import predicted_parts


def write_fits(folder: Path, fits: np.ndarray, true: np.ndarray, y: np.ndarray) -> list[RunRecord]:
    runs = []
    for number, fit in enumerate(fits):
        (folder / str(number)).mkdir()
        rows = "".join(f"{a},{b},{c}\n" for a, b, c in zip(y.tolist(), true.tolist(), fit.tolist(), strict=True))
        (folder / str(number) / "predictions.csv").write_text("y,true,output_0\n" + rows)
        runs.append(RunRecord(folder / str(number), {"status": "completed", "config": {}}))
    return runs


def test_the_parts_are_the_moments_of_the_fits(tmp_path):
    random = np.random.default_rng(0)
    true, y, fits = random.standard_normal(7), random.standard_normal(7), random.standard_normal((5, 7))
    found = {part: np.mean(values) for part, values in decompose(write_fits(tmp_path, fits, true, y)).items()}
    variance = fits.var(axis=0, ddof=1).mean()
    assert found["loss/variance"] == pytest.approx(variance)
    assert found["loss/bias2"] == pytest.approx(np.mean((fits.mean(0) - true) ** 2) - variance / 5)
    assert found["loss/noise"] == pytest.approx(np.mean((y - true) ** 2))
    assert found["loss/total"] == pytest.approx(np.mean((fits - true) ** 2) + np.mean((y - true) ** 2))


def test_nothing_is_decomposed_over_different_test_samples(tmp_path):
    runs = write_fits(tmp_path, np.zeros((2, 3)), np.zeros(3), np.zeros(3))
    (runs[1].folder / "predictions.csv").write_text("y,true,output_0\n1.0,1.0,0.0\n" * 3)
    assert decompose(runs) == {}


def test_the_parts_add_up_to_the_test_loss_that_is_told_though_it_is_skewed(tmp_path):
    """Of losses like these the median is told elsewhere; the sum of bias^2, variance and noise is their mean."""
    fits = np.exp(1.5 * np.random.default_rng(1).normal(size=30))
    made = predicted_parts(tmp_path, lambda degree, seed: fits[seed] * (1 + degree))
    for point in made.points:
        found = point.estimates
        assert found["loss/test"].statistic == "mean"
        total = sum(found[f"loss/{part}"].value for part in ("bias2", "variance", "noise"))
        assert found["loss/test"].value == pytest.approx(total, rel=0.05)
