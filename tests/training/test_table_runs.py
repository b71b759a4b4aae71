import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LinearRegression, Ridge

from lightning_d2l import app, cli
from lightning_d2l.config.check import RequestError
from lightning_d2l.training.files import BEST
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.reuse import load_run
from tests.conftest import ROOT
from tests.runs import run_here

HOUSES = [
    "data=csv",
    f"data.path={ROOT / 'docs/houses.csv'}",
    "data.target=price",
    "logger=none",
    "trainer.accelerator=cpu",
]
EXACT = ["model=linear_regression", "optimizer=exact", "trainer.precision=64-true"]
NEW = "district,extra,age,area\nnorth,1,10,2000\n,2,,1000\nwest,3,5,3000\n"


@pytest.fixture
def houses(tmp_path):
    """The overrides of a copy of the houses, which may be moved and changed."""
    shutil.copy(ROOT / "docs/houses.csv", tmp_path / "houses.csv")
    (tmp_path / "new.csv").write_text(NEW)
    return [*HOUSES, f"data.path={tmp_path / 'houses.csv'}"]


def lines(*words, capsys):
    """The exit code of a command, and what it prints."""
    capsys.readouterr()
    code = cli.main(list(words))
    return code, capsys.readouterr()


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_the_exact_solution_is_that_of_scikit_learn(tmp_path, weight_decay):
    assert run_here(tmp_path / "run", *HOUSES, *EXACT, f"optimizer.weight_decay={weight_decay}") == 0
    data = load_run(tmp_path / "run", BEST).data
    (x, y), (test_x, test_y) = ([t.numpy() for t in data.splits[split]] for split in ("train", "test"))
    # The loss is a mean over n samples, and the penalty half the decay.
    oracle = Ridge(len(x) * weight_decay / 2) if weight_decay else LinearRegression()
    expected = np.square(oracle.fit(x, y[:, 0]).predict(test_x) - test_y[:, 0]).mean()
    final = RunRecord.read(tmp_path / "run").fields["metrics"]["final"]
    assert final["loss/test"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("unit", [[], ["data.log_target=true"], ["data.standardize_target=true"]])
def test_a_run_alone_predicts_and_exports_raw_rows(houses, tmp_path, capsys, unit):
    onnxruntime = pytest.importorskip("onnxruntime")
    assert run_here(tmp_path / "run", *houses, *EXACT, *unit) == 0
    data, table = load_run(tmp_path / "run", BEST).data, pd.read_csv(tmp_path / "houses.csv")
    x, y = (t.numpy() for t in data.splits["train"])
    oracle = LinearRegression().fit(x, y[:, 0])
    (tmp_path / "houses.csv").unlink()
    raw = torch.tensor([[2000, 10, 1], [1000, np.nan, np.nan], [3000, 5, -1]], dtype=torch.float64)
    expected = data.in_own_unit(torch.tensor(oracle.predict(data.inputs(raw)))[:, None])[:, 0]
    assert float(expected.min()) > table.price.min()
    code, out = lines("predict", str(tmp_path / "run"), str(tmp_path / "new.csv"), "--format", "json", capsys=capsys)
    found = json.loads(out.out)
    assert code == 0
    np.testing.assert_allclose([row["prediction"][0] for row in found], expected, rtol=1e-6)
    assert [row["note"] for row in found] == ["", "", "unknown category of district"]
    model = tmp_path / "model.onnx"
    code, out = lines("export", str(tmp_path / "run"), "--as=onnx", "--into", str(model), capsys=capsys)
    assert code == 0
    assert "the columns of x: area, age, district" in out.out
    assert "district: 0 center, 1 north, 2 south" in out.out
    (output,) = onnxruntime.InferenceSession(str(model)).run(None, {"input": raw.numpy()})
    np.testing.assert_allclose(output[:, 0], [row["prediction"][0] for row in found], rtol=1e-9)
    assert lines("inspect", str(tmp_path / "run"), "preprocessing.mean", capsys=capsys)[0] == 0
    code, out = lines("evaluate", str(tmp_path / "run"), capsys=capsys)
    assert (code, "give data.path=FILE" in out.err) == (2, True)


def test_a_file_that_has_moved_is_named_and_compared(houses, tmp_path, capsys):
    short = ["model=linear_regression", "trainer.max_epochs=4", "trainer.log_every_n_epochs=1"]
    assert run_here(tmp_path / "whole", *houses, *short, part_of_sweep=False) == 0
    run = str(tmp_path / "run")
    assert app.main([*houses, *short, "trainer.max_epochs=2", f"hydra.run.dir={run}"]) == 0
    (tmp_path / "houses.csv").rename(tmp_path / "moved.csv")
    moved = f"data.path={tmp_path / 'moved.csv'}"
    assert app.main([*houses, *short, moved, f"resume={run}"]) == 0
    whole, resumed = (RunRecord.read(tmp_path / name).fields["metrics"]["final"] for name in ("whole", "run"))
    assert resumed == pytest.approx(whole, rel=1e-6)
    code, out = lines("evaluate", run, moved, "--format", "json", capsys=capsys)
    assert json.loads(out.out)["final"]["loss/test"] == pytest.approx(whole["loss/test"], rel=1e-6)
    assert lines("rerun", run, moved, "--into", str(tmp_path / "again"), capsys=capsys)[0] == 0
    (tmp_path / "moved.csv").write_text((tmp_path / "moved.csv").read_text().replace("386609", "386610"))
    code, out = lines("evaluate", run, moved, capsys=capsys)
    assert (code, "checksum" in out.err) == (2, True)


def test_classes_have_their_own_names(tmp_path, capsys):
    random = np.random.default_rng(0)
    table = pd.DataFrame({"a": random.normal(size=120), "b": random.choice(["x", "y"], 120)})
    table["kind"] = np.where(table.a + (table.b == "x") > 0.5, "good", "bad")
    table.to_csv(tmp_path / "kinds.csv", index=False)
    overrides = ["data=csv", f"data.path={tmp_path / 'kinds.csv'}", "data.target=kind", *HOUSES[3:]]
    learn = ["model=softmax_regression", "model.init=zeros", "optimizer.lr=1", "trainer.max_epochs=30"]
    assert run_here(tmp_path / "run", *overrides, *learn, part_of_sweep=False) == 0
    assert (tmp_path / "run/figures/confusion_matrix.png").exists()
    assert not (tmp_path / "run/figures/first_layer_weights.png").exists()
    (tmp_path / "new.csv").write_text("b,a\nx,3\ny,-3\n")
    picture = tmp_path / "new.png"
    words = ["predict", str(tmp_path / "run"), str(tmp_path / "new.csv"), "--figure", str(picture), "--format", "json"]
    code, out = lines(*words, capsys=capsys)
    assert code == 0
    best = [max(row["probabilities"], key=row["probabilities"].get) for row in json.loads(out.out)]
    assert best == ["good", "bad"]
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ("area,age\n1,2\n", "has no column district"),
        ("area,age,district\n1,2,north\n1,old,north\n", "row 3, column age: 'old' is not a number"),
        ("area,age,district\ninf,2,north\n", "row 2, column area: inf is not a finite number"),
        ("area,age,district\n", "a header and no rows"),
        ("2000,10,north\n", "has no column area"),
    ],
)
def test_rows_that_cannot_be_predicted_are_named(tmp_path, capsys, new, words):
    if not (shared := tmp_path.parent / "houses_run").exists():
        assert run_here(shared, *HOUSES, *EXACT) == 0
    (tmp_path / "new.csv").write_text(new)
    code, out = lines("predict", str(shared), str(tmp_path / "new.csv"), capsys=capsys)
    assert (code, words in out.err) == (2, True), out.err


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=softmax_regression"],
        ["model=linear_regression", "data.target=district", "data.drop=[price]"],
        ["model=random_features", "optimizer=exact", "data.target=district"],
        ["model=mlp", "loss=cross_entropy"],
        ["model=mlp", "data.target=prize"],
    ],
)
def test_what_does_not_suit_the_target_is_one_line_and_leaves_nothing(tmp_path, capsys, overrides):
    table = pd.read_csv(ROOT / "docs/houses.csv").dropna()
    table.to_csv(tmp_path / "whole.csv", index=False)
    code = app.main([*HOUSES, f"data.path={tmp_path / 'whole.csv'}", *overrides, f"hydra.run.dir={tmp_path / 'run'}"])
    error = capsys.readouterr().err.strip()
    assert (code, error.count("\n")) == (2, 0), error
    assert not (tmp_path / "run").exists()


def test_folds_train_together_as_each_does_alone(tmp_path):
    settings = [*HOUSES, "model=linear_regression", "trainer.precision=64-true", "data.folds=4", "optimizer.lr=0.1"]
    sweep = ["-m", *settings, "data.fold=range(4)", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    assert app.main(sweep) == 0
    for fold in (0, 3):
        assert run_here(tmp_path / str(fold), *settings, f"data.fold={fold}") == 0
        alone, together = (RunRecord.read(tmp_path / name).fields for name in (str(fold), f"sweep/fold={fold}"))
        assert together["members"] == 4
        assert together["metrics"]["final"] == pytest.approx(alone["metrics"]["final"], rel=1e-9)
        # Each member's checkpoint has its own statistics.
        means = [
            load_run(tmp_path / name, BEST).module.preprocessing.mean for name in (str(fold), f"sweep/fold={fold}")
        ]
        assert torch.equal(*means)


@pytest.mark.parametrize("study", [pytest.param("width", marks=pytest.mark.slow), "l1_l2"])
def test_a_study_takes_a_table_in_place_of_its_own_data(tmp_path, study):
    axes = {"width": ["model.num_hiddens=2,4"], "l1_l2": ["penalty.lambda=1,3", "penalty={l2:1}"]}
    short = ["seed=0,1", "trainer.max_epochs=2", "trainer.log_every_n_epochs=2"]
    words = [f"study={study}", *HOUSES, *axes[study], *short]
    assert app.main([*words, f"hydra.sweep.dir={tmp_path / 'sweep'}"]) == 0
    assert "table of price" in (tmp_path / "sweep/report.md").read_text()


def test_a_damaged_encoding_is_refused(tmp_path, houses):
    assert run_here(tmp_path / "run", *houses, *EXACT) == 0
    checkpoint = torch.load(tmp_path / "run" / BEST, weights_only=True)
    for damage in (None, {}, {"columns": [{"name": "a"}], "target": {}}, {"columns": 3, "target": 4}):
        checkpoint["hyper_parameters"]["preprocessing"] = damage
        torch.save(checkpoint, tmp_path / "run" / BEST)
        with pytest.raises(RequestError, match="damaged"):
            load_run(tmp_path / "run", BEST, samples=False)
