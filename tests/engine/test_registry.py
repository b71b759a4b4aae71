"""Both loops agree, within rounding, for every model, loss, optimizer and data set that a configuration may name."""

import json

import pytest

from lightning_d2l.config import registry
from lightning_d2l.config.compose import CONF
from lightning_d2l.config.optimizers import EXACT
from lightning_d2l.training.checkpoint import load_checkpoint
from lightning_d2l.training.files import LAST, MetricsFile
from tests.engine.sets import assert_close
from tests.runs import config, run_here

BASE = ["logger=none", "trainer.accelerator=cpu", "trainer.max_epochs=3", "trainer.log_every_n_epochs=2"]
IMAGES = ["data=fashion_mnist", "data.source=generated", "data.n_train=60", "data.val_size=30", "data.resize=4",
          "data.batch_size=16"]  # fmt: skip
NUMBERS = ["data.n_train=35", "data.n_val=12", "data.n_test=9"]
MODELS = {
    "linear_regression": NUMBERS,
    "polynomial_regression": NUMBERS,
    "high_dimensional_regression": [*NUMBERS, "model.dropout=0.2", "model.input_noise=0.1"],
    "linear_regression_scratch": NUMBERS,
    "softmax_regression": IMAGES,
    "softmax_regression_scratch": IMAGES,
    "mlp": [*IMAGES, "model.num_hiddens=[9,5]", "model.dropout=0.3", "information=true", "gradients=true"],
    "mlp_scratch": [*IMAGES, "model.num_hiddens=9"],
    "dropout_mlp_scratch": [*IMAGES, "model.num_hiddens=[9,5]"],
    "phm_mlp": [*IMAGES, "model.num_hiddens=[8]"],
    "random_features": [*IMAGES, "model.num_features=12"],
    "mlp_block": IMAGES,
    "my_sequential": IMAGES,
    "nested_mlp": IMAGES,
    "fixed_hidden_mlp": NUMBERS,
    "tied_mlp": NUMBERS,
}
OPTIMIZERS = [
    "sgd", "sgd_scratch", "adam", "adamw", "rmsprop", "adadelta", "adafactor", "adagrad", "adamax", "asgd",
    "nadam", "radam",
]  # fmt: skip
# Without weight decay, for some parameters alone, or by one loop alone: tests/engine/test_all_optimizers.py.
OTHERS = {f"torch.optim.{name}" for name in ("LBFGS", "Muon", "Rprop", "SparseAdam")} | {EXACT}
SETTINGS = {
    **{f"model={model}": [f"model={model}", *words] for model, words in MODELS.items()},
    **{
        f"optimizer={name}": ["model=mlp", *IMAGES, "model.num_hiddens=[9]", f"optimizer={name}", "optimizer.lr=0.01",
                              "optimizer.weight_decay=0.1"]
        for name in OPTIMIZERS
    },
    **{
        f"loss={loss}": ["model=mlp", *(IMAGES if loss in registry.CLASS_LOSSES else ["data=polynomial", *NUMBERS]),
                         "model.num_hiddens=[9]", f"loss={loss}", "optimizer.lr=0.01", "penalty.l1=0.01"]
        for loss in (*registry.CLASS_LOSSES, *registry.NUMBER_LOSSES)
    },
}  # fmt: skip


@pytest.mark.parametrize("words", SETTINGS.values(), ids=SETTINGS)
def test_both_loops_agree(words, tmp_path):
    for engine in ("fast", "lightning"):
        assert run_here(tmp_path / engine, *words, *BASE, f"trainer.engine={engine}") == 0
    fast, lightning = (load_checkpoint(tmp_path / engine / LAST)["state_dict"] for engine in ("fast", "lightning"))
    assert_close(fast, lightning)
    rows = [MetricsFile(tmp_path / engine).rows() for engine in ("fast", "lightning")]
    assert [row["epoch"] for row in rows[0]] == [1, 2, 3]
    for mine, theirs in zip(*rows, strict=True):
        assert list(mine) == list(theirs)
        assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-7)
    records = [json.loads((tmp_path / engine / "run.json").read_text())["metrics"] for engine in ("fast", "lightning")]
    for name in ("final", "best"):
        assert records[0][name] == pytest.approx(records[1][name], rel=1e-5, abs=1e-7)


def test_every_registered_name_is_among_them():
    composed = [config(*words) for words in SETTINGS.values()]
    # Data of files are tensors in memory as these are; tests/data trains on them.
    generated = registry.DATA.keys() - registry.TABLES_DATA.keys() - registry.IMAGE_DATA.keys()
    for table, group in ((registry.MODELS, "model"), (generated, "data"), (registry.OPTIMIZERS, "optimizer")):
        assert {settings[group]["_target_"] for settings in composed} | OTHERS >= {*table}
    assert {settings["loss"] for settings in composed} >= {*registry.CLASS_LOSSES, *registry.NUMBER_LOSSES}
    assert {*MODELS} == {path.stem for path in (CONF / "model").glob("*.yaml")}
