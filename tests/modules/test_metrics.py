"""The metrics that `metrics=[...]` adds, on every split and in every loop, against scikit-learn and numpy."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn import metrics as sklearn
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_d2l import app
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.compose import compose_checked
from lightning_d2l.modules import ClassificationModule, RegressionModule
from lightning_d2l.modules.metrics import auroc, r2
from lightning_d2l.training.build import build_data
from lightning_d2l.training.files import LAST
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.reuse import load_run
from tests.runs import config, run_here

SMALL = ["trainer.accelerator=cpu", "logger=none", "trainer.max_epochs=2", "trainer.precision=64-true"]
TASKS = {
    "numbers": ["model=polynomial_regression", "metrics=[mse,rmse,mae,r2]", "data.n_train=50", *SMALL],
    "classes": ["model=mlp", "model.num_hiddens=16", "metrics=[top3,f1,auroc,ece,brier]", "data.source=generated",
                "data.n_train=300", "data.val_size=200", "trainer.evaluate=[train,val]", *SMALL],
}  # fmt: skip


def expected(task: str, output: np.ndarray, y: np.ndarray) -> dict[str, float]:
    if task == "numbers":
        mse = sklearn.mean_squared_error(y, output)
        return {"mse": mse, "rmse": mse**0.5, "mae": sklearn.mean_absolute_error(y, output),
                "r2": sklearn.r2_score(y, output)}  # fmt: skip
    p = torch.from_numpy(output).softmax(1).numpy()
    k = p.shape[1]
    chosen, right = p.max(1), p.argmax(1) == y
    bins = np.clip(np.ceil(chosen * 15).astype(int) - 1, 0, 14)
    gaps = [abs(right[bins == b].sum() - chosen[bins == b].sum()) for b in range(15)]
    found = {
        "f1": sklearn.f1_score(y, p.argmax(1), average="macro"),
        "auroc": sklearn.roc_auc_score(y, p if k > 2 else p[:, 1], multi_class="ovr"),
        "brier": np.square(p - np.eye(k)[y]).sum(1).mean() / (2 if k == 2 else 1),
        "ece": sum(gaps) / len(y),
    }
    return found | ({"top3": sklearn.top_k_accuracy_score(y, p, k=3)} if k > 3 else {})


def assert_recorded(folder, words, task):
    """The final metrics of a run are those of its last weights on each split."""
    built, data = load_run(folder, LAST), build_data(config(*words))
    final = RunRecord.read(folder).fields["metrics"]["final"]
    for split, (x, y) in data.splits.items():
        with torch.no_grad():
            output = built.net.double()(x.double() / (255 if x.dtype == torch.uint8 else 1)).numpy()
        for name, value in expected(task, output, y.numpy()).items():
            assert final[f"{name}/{split}"] == pytest.approx(value, rel=1e-5, abs=1e-6), (name, split)


@pytest.mark.parametrize("engine", ["fast", "lightning"])
@pytest.mark.parametrize("task", TASKS)
def test_a_run_records_them_on_each_split(task, engine, tmp_path):
    assert run_here(tmp_path / "run", *TASKS[task], f"trainer.engine={engine}") == 0
    assert_recorded(tmp_path / "run", TASKS[task], task)


@pytest.mark.parametrize("task", TASKS)
def test_runs_that_train_together_record_them_too(task, tmp_path):
    words = [*TASKS[task], f"hydra.sweep.dir={tmp_path}", "seed=0,1"]
    assert app.main(["-m", *words]) == 0
    folders = sorted(tmp_path.glob("seed=*"))
    assert len(folders) == 2
    for folder in folders:
        assert RunRecord.read(folder).fields["members"] == 2
        assert_recorded(folder, [*TASKS[task], folder.name], task)


@pytest.mark.parametrize("k", [2, 4])
def test_plain_lightning_measures_a_whole_split_and_not_the_mean_over_its_minibatches(k, monkeypatch):
    monkeypatch.setattr("lightning_d2l.modules.measuring.MEASURED_NUMBERS", 30)  # several parts
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(103, 5, generator=generator), torch.randint(k, (103,), generator=generator)
    names = ["f1", "auroc", "ece", "brier", *["top3"] * (k > 3)]
    module = ClassificationModule(nn.Linear(5, k), optimizer="sgd", metrics=names)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = pl.Trainer(**quiet, max_epochs=1, enable_model_summary=False, devices=1)
    loader = DataLoader(TensorDataset(x, y), 8)
    trainer.fit(module, loader, loader)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert {f"{name}/train_running" for name in names} <= logged.keys()
    for name, value in expected("classes", module(x).detach().double().numpy(), y.numpy()).items():
        assert logged[f"{name}/val"] == pytest.approx(value, rel=1e-5), name


def test_what_is_not_defined():
    """A class that a split lacks does not count as one that is never found, and one class alone has no AUROC."""
    generator = torch.Generator().manual_seed(0)
    output, y = torch.randn(50, 3, generator=generator, dtype=torch.float64), torch.arange(50) % 2
    p = output.softmax(1).numpy()
    mean = np.mean([sklearn.roc_auc_score(y == c, p[:, c]) for c in (0, 1)])
    assert auroc(output, y).item() == pytest.approx(mean, rel=1e-6)
    assert torch.isnan(auroc(output, torch.zeros(50, dtype=torch.long)))
    module = ClassificationModule(nn.Linear(5, 3), metrics=["auroc"])
    assert module.measured(output, torch.zeros(50, dtype=torch.long)).keys() == {"loss", "acc"}
    tiny = 1e-5 * torch.randn(20, 1, generator=generator, dtype=torch.float64)
    assert r2(tiny / 2, tiny).item() == pytest.approx(sklearn.r2_score(tiny, tiny / 2))
    assert r2(tiny, torch.ones(20, 1)).item() == sklearn.r2_score(np.ones(20), tiny)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=mlp", "metrics=[r2]"], "metrics=[r2]: must be for the classes that this data holds: topK (such"),
        (["model=linear_regression", "metrics=[rmse,auroc]"], "[auroc]: must be for the numbers that this data"),
        (["model=mlp", "metrics=[aurocc]"], "one of mse, rmse, mae, r2, f1, auroc, ece, brier or topK"),
    ],
)  # fmt: skip
def test_one_for_another_task_is_refused_with_those_that_fit(words, message):
    with pytest.raises(RequestError) as error:
        compose_checked(words)
    assert message in str(error.value)


def test_one_for_another_task_is_refused_by_the_modules():
    with pytest.raises(ValueError, match="metrics=f1: must be one of mse, rmse, mae, r2"):
        RegressionModule(nn.Linear(2, 1), metrics=["f1"])


def test_top_k_below_the_number_of_classes(tmp_path):
    assert run_here(tmp_path / "run", *TASKS["classes"], "metrics=[top10]") == 2
