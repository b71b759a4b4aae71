"""The functions that a page shows over the data are those that the weights of the runs give."""

import shutil

import numpy as np
import pytest

from lightning_d2l import app
from lightning_d2l.data.synthetic import PolynomialData
from lightning_d2l.studies.findings import find
from lightning_d2l.sweeps.fitted import fitted
from tests.studies.records import write_sweep

pytestmark = pytest.mark.usefixtures("without_figures")
SETTINGS = {"coefficients": [5.0, 1.2, -3.4, 5.6], "factorial": True, "noise": 0.1, "n_val": 100, "n_test": 100}


def swept(folder, *words):
    always = ["logger=none", "trainer.accelerator=cpu", "trainer.precision=64-true", f"hydra.sweep.dir={folder}", "-m"]
    assert app.main([*words, *always]) == 0
    return find([folder])


def test_least_squares_of_each_degree_on_the_data_of_its_run(tmp_path):
    words = ["model=polynomial_regression", "optimizer=exact", "data.n_train=20", "data.seed=${seed}"]
    findings = swept(tmp_path / "s", *words, "data.degree=1,4", "seed=range(6)")
    found = fitted(findings)
    assert [fit.point.setting["data.degree"] for fit in found.fits] == [1, 4]
    for fit in found.fits:
        degree = fit.point.setting["data.degree"]
        assert (len(fit.outputs), len(fit.runs), len(fit.further)) == (5, 5, 1)  # one more for the figure
        for seed, outputs in enumerate([*fit.outputs, *fit.further]):
            data = PolynomialData(degree, batch_size=10, seed=seed, n_train=20, **SETTINGS)
            data.setup()
            x, y = data.inputs["train"].numpy()[:, 0], data.splits["train"][1].numpy()[:, 0]
            expected = np.polynomial.Polynomial.fit(x, y, degree)(np.array(found.grid))
            assert outputs == pytest.approx(expected, rel=1e-6, abs=1e-6)
            if seed == 0:
                assert (fit.x, fit.y) == (pytest.approx(x), pytest.approx(y))
    truth = 5 + 1.2 * np.array(found.grid) - 3.4 * np.array(found.grid) ** 2 / 2 + 5.6 * np.array(found.grid) ** 3 / 6
    assert found.truth == pytest.approx(truth)


def test_of_a_lean_sweep_the_kept_runs_are_shown_or_the_reason_why_none_is(tmp_path):
    words = ["model=mlp", "data=polynomial", "data.degree=1", "data.n_train=20", "trainer.max_epochs=2"]
    words += ["model.num_hiddens=2,3", "seed=0,1", "sweep.records=lean"]
    found = fitted(swept(tmp_path / "kept", *words, 'sweep.keep="seed=1"'))
    assert [fit.point.setting["model.num_hiddens"] for fit in found.fits] == [2, 3]
    assert ["seed=1" in fit.runs[0] for fit in found.fits] == [True, True]
    assert found.reason == ""
    shutil.rmtree(next((tmp_path / "kept").glob("num_hiddens=2*")))
    less = fitted(find([tmp_path / "kept"]))
    assert [fit.point.setting["model.num_hiddens"] for fit in less.fits] == [3]
    assert less.reason.startswith("Weights were kept at 1 of 2 settings (sweep.records=full keeps")
    for folder in (tmp_path / "kept").glob("num_hiddens=3*"):
        (folder / "checkpoints/last.ckpt").write_bytes(b"damaged")
    damaged = fitted(find([tmp_path / "kept"]))
    assert (damaged.fits, "not a file of plain weights" in damaged.reason) == ([], True)
    for folder in (tmp_path / "kept").glob("num_hiddens=*"):
        shutil.rmtree(folder)
    assert fitted(find([tmp_path / "kept"])).reason.startswith(
        "The fitted functions are not shown: no weights were kept"
    )


def test_data_of_other_inputs_have_no_fitted_functions(tmp_path):
    words = ["model=linear_regression", "trainer.max_epochs=1", "data.n_train=20", "optimizer.lr=0.1,0.2"]
    assert fitted(swept(tmp_path / "s", *words)) is None


def test_data_of_a_plugin_that_is_not_loaded_are_named(tmp_path):
    findings = find([write_sweep(tmp_path, {"model.num_hiddens": [2, 3]}, lambda width: {"loss/val": 1 / width})])
    for run in findings.runs:
        run.fields["config"]["data"]["_target_"] = "sines"
    found = fitted(findings)
    assert (found.fits, "plugin of the data sines (--plugin FILE)" in found.reason) == ([], True)
