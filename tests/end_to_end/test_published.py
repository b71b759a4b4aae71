"""Numbers that the book published, and closed forms, over seeds."""

import statistics

import pytest

from lightning_d2l import app
from lightning_d2l.training.record import RunRecord
from tests.runs import run_here

BOOK = ("data.val_size=0", "trainer.evaluate=[test]", "logger=none", "data.source=official", "trainer.accelerator=cpu")


def means(tmp_path, *overrides: str) -> dict[str, float]:
    records = []
    for seed in range(2):
        folder = tmp_path / str(seed)
        assert run_here(folder, *overrides, f"seed={seed}") == 0
        records.append(RunRecord.read(folder).fields["metrics"]["final"])
    return {name: statistics.mean(record[name] for record in records) for name in records[0]}


@pytest.mark.slow
@pytest.mark.apart
@pytest.mark.parametrize(
    ("model", "bands"),
    [
        ("softmax_regression", {"loss/train_running": (0.4467, 0.4482), "acc/test": (0.825, 0.836)}),
        (
            "mlp",
            {"loss/train_running": (0.379, 0.386), "acc/train_running": (0.863, 0.867), "acc/test": (0.828, 0.854)},
        ),
    ],
)
def test_fashion_mnist_lands_in_the_published_bands(model, bands, official_root, tmp_path):
    measured = means(tmp_path, f"model={model}", f"data.root={official_root}", *BOOK)
    for name, (low, high) in bands.items():
        assert low <= measured[name] <= high, measured


@pytest.mark.parametrize(
    ("lr", "noise", "batch_size", "loss", "epochs"),
    [(0.03, 0.01, 10, "mse", 3), (0.01, 0.5, 20, "mse", 4), (0.02, 0.1, 5, "half_mse", 2), (0.002, 0.01, 10, "mse", 4)],
)
def test_linear_regression_follows_its_closed_form(lr, noise, batch_size, loss, epochs, tmp_path):
    """pre * |w - w0|^2 (1 - c)^(2 steps) + floor, to 10 %, as the mean over seeds and data sets."""
    overrides = [
        "model=linear_regression", "logger=none", f"optimizer.lr={lr}", f"data.noise={noise}", f"loss={loss}",
        f"data.batch_size={batch_size}", f"trainer.max_epochs={epochs}", "trainer.accelerator=cpu", "model.init=zeros",
    ]  # fmt: skip
    seeds = ["seed=range(8)", "data.seed=${seed}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    assert app.main(["-m", *overrides, *seeds]) == 0
    records = [RunRecord.read(path.parent).fields for path in tmp_path.glob("sweep/*/run.json")]
    assert len({record["config"]["data"]["seed"] for record in records}) == 8
    finals = [record["metrics"]["final"]["loss/train"] for record in records]
    pre, c = (1.0, 2 * lr) if loss == "mse" else (0.5, lr)
    # E|X w - y|^2 contracts by (1 - c)^2 plus the minibatch's own noise, c^2 (d + 1) / batch_size for Gaussian inputs
    steps = epochs * 1000 // batch_size
    expected = pre * (33.2 * (1 - c) ** (2 * steps) + noise**2)
    assert statistics.mean(finals) == pytest.approx(expected, rel=0.1)
