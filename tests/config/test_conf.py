"""Every shipped option composes, passes the checks and builds what it names."""

import inspect

import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra.utils import get_class

from lightning_d2l.config import registry
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.compose import CONF, composed, hydra_with
from lightning_d2l.config.optimizers import NO_DECAY
from lightning_d2l.modules.schedule import parts
from lightning_d2l.training.build import build, logging_points
from lightning_d2l.training.spec import RunSpec
from tests.runs import config

FILES = {"image_folder", "torchvision", "csv"}  # data that are read from files: tests/data reads and trains on them
OPTIONS = sorted(
    (path.parent.relative_to(CONF).as_posix(), path.stem)
    for path in CONF.glob("*/*.yaml")
    if path.parent.name not in ("hydra", "study")
    and path.stem not in FILES  # a study is a sweep: tests/studies composes its jobs
)
NOT_FOR_MLP = ("muon", "sparse_adam")  # optimizers of other parameters than an MLP has
SMALL = {"fashion_mnist": {"source": "generated", "n_train": 100, "val_size": 50}}


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=lambda name: name)
def test_every_option_composes_and_builds(group, option, tmp_path):
    # Data of numbers are tested with the MLP, which is for both kinds of targets; a model names its own data.
    chosen = [f"{group}={option}", *(["model=linear_regression"] if option == "exact" else [])]
    composed = config(*chosen)
    composed["data"] |= SMALL.get(composed["data"]["_target_"].split(".")[-2], {})
    built = build(RunSpec(composed, tmp_path))
    data, module = built.data, built.module
    x, y = data.splits["train"]
    dtype = next(module.parameters()).dtype
    output = module(x[:3].to(dtype))
    assert output.shape == (3, data.num_outputs)
    loss = module.loss(output, y[:3] if data.task == "classification" else y[:3].to(dtype))
    assert loss.isfinite()
    if option in NOT_FOR_MLP:
        with pytest.raises(RequestError, match=f"optimizer={option}: steps"):
            module.configure_optimizers()
        return
    optimizer, schedule = parts(module.configure_optimizers())
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert (schedule is not None) == (group == "scheduler" and option != "none")


@pytest.mark.parametrize("option", sorted(FILES))
def test_options_of_data_in_files_compose(option):
    where = [] if option == "torchvision" else ["data.path=there"]
    chosen = config("model=mlp", f"data={option}", *where, *(["data.target=y"] if option == "csv" else []))
    settings = registry.DATA[chosen["data"]["_target_"]]
    assert chosen["data"].keys() == {"_target_", *settings.rules, *settings.optional}


@pytest.mark.parametrize("target", [target for table in registry.TABLES.values() for target in table])
def test_every_registered_name_is_a_class_with_the_settings_of_its_rules(target):
    parameters = inspect.signature(get_class(target)).parameters
    variadic = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    table = next(table for table in registry.TABLES.values() if target in table)
    rules = table[target].rules
    ours = {"interval", "monitor", "then"} if table is registry.SCHEDULERS else set()
    ours |= {name for name, rule in rules.items() if rule is NO_DECAY}  # 0, which is not passed on
    assert variadic or rules.keys() - ours <= parameters.keys()


@pytest.mark.parametrize("path", sorted((CONF / "model").glob("*.yaml")), ids=lambda path: path.stem)
def test_model_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 10


def test_a_model_picks_its_data_and_the_command_line_wins():
    polynomial = config("model=polynomial_regression")
    assert polynomial["data"]["_target_"].endswith("PolynomialData")
    assert (polynomial["optimizer"]["lr"], polynomial["trainer"]["max_epochs"]) == (0.01, 400)
    assert config("data=polynomial", "model=mlp")["data"]["_target_"].endswith("PolynomialData")
    assert config("optimizer=adam", "model=mlp")["optimizer"]["lr"] == 0.001
    assert config("model=high_dimensional_regression")["optimizer"]["weight_decay"] == 3.0
    chosen = config(
        "model=mlp", "optimizer=adam", "optimizer.lr=1e-3", "model.num_hiddens=[512,128]", "model.dropout=[0.2,0.5]",
        "trainer.max_epochs=3", "data.batch_size=128",
    )  # fmt: skip
    assert chosen["model"]["num_hiddens"] == [512, 128]
    assert chosen["data"]["batch_size"] == 128


def test_logging_points_are_the_first_every_nth_and_the_last():
    assert logging_points(400, 20) == [1, *range(20, 401, 20)]
    assert logging_points(3, 1) == [1, 2, 3]
    assert logging_points(7, 5) == [1, 5, 7]
    assert logging_points(1, 10) == [1]


def test_a_launcher_of_another_package_gives_way_to_the_file_of_its_name():
    class_of = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"
    store = ConfigStore.instance()
    store.store(group="hydra/launcher", name="ray", node={"_target_": class_of, "ray": None}, provider="ray_launcher")
    try:
        with hydra_with(None, []):
            ours = composed(["hydra/launcher=ray"]).hydra.launcher
            theirs = composed(["hydra/launcher=hydra_ray"]).hydra.launcher
        assert ours._target_.endswith("lightning_d2l_sweeps.RayLauncher")
        assert theirs._target_ == class_of
    finally:
        store.repo["hydra"]["launcher"].pop("hydra_ray.yaml")
