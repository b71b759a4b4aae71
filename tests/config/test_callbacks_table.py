"""The table of callbacks and its options against the signatures of the classes that are built."""

import inspect
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml
from hydra.utils import get_object

from lightning_d2l.config.callbacks import CALLBACKS, FINDERS
from lightning_d2l.config.check import RequestError, check, check_settings
from lightning_d2l.config.compose import compose_checked, plain
from lightning_d2l.config.options import CONF
from lightning_d2l.training.callbacks import build_callbacks, names_of

FILES = sorted((CONF / "callbacks").glob("*.yaml"))
NEEDS_OBJECTS = {"avg_fn", "kwargs", "summarize_kwargs", "settings", "self"}
# Where our option is another one than Lightning's default, or Lightning has none.
OTHERS = {
    ("EarlyStopping", "monitor"),
    ("LearningRateMonitor", "logging_interval"),
    ("Timer", "duration"),
    ("Timer", "interval"),
    ("StochasticWeightAveraging", "swa_lrs"),
    ("GradientNorm", "norm_type"),
}


def option(path: Path) -> tuple[str, dict[str, Any]]:
    ((name, node),) = yaml.safe_load(path.read_text()).items()
    return name, node


def arguments(target: str) -> dict[str, inspect.Parameter]:
    """What the class of Lightning takes from which a registered one is derived, or the class itself."""
    found = get_object(target)
    lightnings = [each for each in found.__mro__ if each.__module__.startswith("pytorch_lightning.callbacks.")]
    kind = next((each for each in lightnings if each is not pl.Callback), found)
    return {k: v for k, v in inspect.signature(kind.__init__).parameters.items() if k not in NEEDS_OBJECTS}


@pytest.mark.parametrize("target", CALLBACKS)
def test_settings_are_the_arguments_that_are_plain_data(target: str) -> None:
    assert list(CALLBACKS[target].rules) == list(arguments(target))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_options_hold_each_setting_with_lightnings_default_and_a_comment(path: Path) -> None:
    name, node = option(path)
    assert name == path.stem
    target = node.pop("_target_")
    assert node.keys() == CALLBACKS[target].rules.keys()
    check_settings(node, CALLBACKS[target], "")
    kind = target.rpartition(".")[2]
    for key, parameter in arguments(target).items():
        if (kind, key) not in OTHERS:
            default = "cpu" if key == "device" else parameter.default  # of torch.device("cpu")
            assert node[key] == default, key
    for line in path.read_text().splitlines():
        assert "#" in line or line.strip().removesuffix(":") == name or "_target_" in line, line


def test_every_callback_has_an_option() -> None:
    assert sorted(option(path)[1]["_target_"] for path in FILES) == sorted(CALLBACKS)


def config_of(*overrides: str) -> dict[str, Any]:
    config: dict[str, Any] = plain(compose_checked(["model=polynomial_regression", "logger=csv", *overrides]))
    check(config)
    return config


def test_each_option_is_built_as_it_is_named_in_the_order_of_the_list() -> None:
    chosen = [path.stem for path in FILES if path.stem != "device_stats"]
    config = config_of(f"callbacks=[{','.join(chosen)}]", "callbacks.timer.duration=01:02:03:04")
    made = build_callbacks(config)
    targets = [option(CONF / "callbacks" / f"{name}.yaml")[1]["_target_"] for name in chosen]
    kept = [get_object(target) for target in targets if target not in FINDERS]
    assert [type(callback) for callback in made] == kept
    timer = made[names_of(config).index("timer")]
    assert isinstance(timer, pl.callbacks.Timer)
    left = timer.time_remaining()
    assert left is not None
    assert left == timedelta(days=1, hours=2, minutes=3, seconds=4).total_seconds()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["callbacks=early_stopping", "callbacks.early_stopping.patience=-1"], "patience=-1: must be a whole number"),
        (["callbacks=early_stopping", "callbacks.early_stopping.patiens=1"], "did you mean patience?"),
        (["callbacks=[early_stoping]"], "did you mean early_stopping?"),
        (["callbacks=timer", "callbacks.timer.duration=5"], "must be DD:HH:MM:SS"),
        (["callbacks=model_checkpoint", "callbacks.model_checkpoint.dirpath=../x"], "without .."),
        (["callbacks=model_checkpoint", "callbacks.model_checkpoint.dirpath=/x"], "a relative path"),
        (["callbacks=model_checkpoint", "callbacks.model_checkpoint.dirpath=./checkpoints/"], "other than checkpoints"),
        (["callbacks=model_checkpoint", "callbacks.model_checkpoint.filename=a/b"], "a name without /"),
        (["callbacks=model_checkpoint", "callbacks.model_checkpoint.filename='{epoch:999999999}'"], "a name without /"),
        (["callbacks=model_checkpoint", "callbacks.model_checkpoint.filename='{epoch.real}'"], "a name without /"),
        (["+callbacks.mine={_target_: os.system}"], "is not registered"),
    ],
)
def test_wrong_settings_are_refused_with_what_is_allowed(overrides: list[str], words: str) -> None:
    with pytest.raises(RequestError) as error:
        config_of(*overrides)
    assert words in str(error.value)


def test_what_lightning_refuses_is_one_line() -> None:
    config = config_of(
        "callbacks=model_checkpoint", "callbacks.model_checkpoint.every_n_epochs=1",
        "callbacks.model_checkpoint.every_n_train_steps=1",
    )  # fmt: skip
    with pytest.raises(RequestError, match=r"^callbacks\.model_checkpoint: .*mutually exclusive") as error:
        build_callbacks(config)
    assert "\n" not in str(error.value)


def test_a_metric_in_the_name_of_a_checkpoint_comes_without_its_own_name() -> None:
    words = ["callbacks=model_checkpoint", "callbacks.model_checkpoint.filename='{epoch:02d} {loss/val:.2f}'"]
    with pytest.raises(RequestError, match="must come with auto_insert_metric_name=false"):
        build_callbacks(config_of(*words))
    (made,) = build_callbacks(config_of(*words, "callbacks.model_checkpoint.auto_insert_metric_name=false"))
    assert isinstance(made, pl.callbacks.ModelCheckpoint)
    name = made.format_checkpoint_name({"epoch": torch.tensor(3), "loss/val": torch.tensor(0.125)})
    assert name == "03 0.12.ckpt"


def test_device_stats_need_a_logger() -> None:
    with pytest.raises(RequestError, match=r"callbacks\.device_stats: must come with a logger"):
        build_callbacks(config_of("callbacks=device_stats", "logger=none"))
