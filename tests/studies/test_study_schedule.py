"""The lesson of the study of schedules: a falling rate removes the error that a constant rate leaves."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from tests.studies.lessons import run_study, runs


def test_a_falling_rate_ends_at_the_optimum_and_a_constant_one_beside_it(tmp_path):
    found = run_study(tmp_path, "schedule", "optimizer.lr=0.2", "scheduler=none,cosine", "seed=range(4)")
    exact = run_study(tmp_path / "exact", "schedule", "optimizer=exact", "scheduler=none", "seed=range(4)")
    losses = {}
    for key, members in [*runs(found).items(), ("exact", next(iter(runs(exact).values())))]:
        by_seed = sorted(members, key=lambda run: run.setting("seed"))
        losses[key if key == "exact" else key[1]] = np.array([run.metric("loss/train") for run in by_seed])
    assert losses["cosine"] == pytest.approx(losses["exact"], rel=0.01)
    # Paired by seed: the same data and the same initial weights.
    assert ttest_rel(losses["none"], losses["cosine"], alternative="greater").pvalue < 0.01
    assert (losses["none"] > 1.2 * losses["exact"]).all()
    (constant, falling) = (runs(found)[0.2, name][0].history for name in ("none", "cosine"))
    assert "lr" not in constant[-1]
    assert falling[-1]["lr"] == pytest.approx(0.1 * (1 + np.cos(np.pi * 29 / 30)))
