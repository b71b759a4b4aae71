"""The table of Trainer settings against the signature of Lightning's Trainer."""

import inspect

import pytest
import pytorch_lightning as pl

from lightning_d2l.config.check import RequestError, check
from lightning_d2l.config.trainer import ARGUMENTS, DEFAULTS, OBJECTS, OTHER_DEFAULTS, TRAINER, number_of_epochs
from tests.runs import config

PARAMETERS = inspect.signature(pl.Trainer).parameters


def test_each_argument_of_the_trainer_is_a_setting_or_an_object():
    assert sorted([*ARGUMENTS, *OBJECTS]) == sorted(PARAMETERS)


@pytest.mark.parametrize("name", [name for name in ARGUMENTS if name not in OTHER_DEFAULTS])
def test_defaults_are_lightnings(name):
    assert DEFAULTS[name] == PARAMETERS[name].default


def test_the_option_file_has_these_defaults_and_every_setting_accepts_its_own():
    found = config("model=mlp", "data.n_train=10")["trainer"]
    assert found.keys() == TRAINER.keys()
    assert {name: found[name] for name in DEFAULTS} == DEFAULTS
    for name, (default, rule) in ARGUMENTS.items():
        assert rule.accepts(default), name


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("gradient_clip_val", "much", "trainer.gradient_clip_val=much: must be a number"),
        ("max_steps", 1.5, "trainer.max_steps=1.5: must be a whole number from -1 up"),
        ("max_epochs", 0, "trainer.max_epochs=0: must be a whole number from 1 to 1000000000 or -1 (no limit) or null"),
        ("precision", "8", "bf16-mixed"),
        ("devices", [], "trainer.devices"),
        ("max_time", {}, "DD:HH:MM:SS"),
        ("enable_progress_bar", 1, "true or false or null"),
        ("deterministic", "maybe", "warn"),
        ("gradient_clip", 1.0, "did you mean gradient_clip_val"),
    ],
)
def test_the_wrong_kind_of_value_is_refused(key, value, words):
    wrong = config("model=mlp")
    wrong["trainer"][key] = value
    with pytest.raises(RequestError) as error:
        check(wrong)
    assert words in str(error.value)
    assert f"trainer.{key}" in str(error.value)


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        ({"max_epochs": 7}, 7),
        ({"max_epochs": 7, "max_steps": 25}, 3),
        ({"max_epochs": None, "max_steps": 21}, 3),
        ({"max_epochs": None, "max_steps": 21, "accumulate_grad_batches": 3}, 6),  # 4 steps an epoch: 3, 3, 3, 1
        ({"max_epochs": None, "max_steps": 6, "limit_train_batches": 0.3}, 2),
        ({"max_epochs": None, "max_steps": 6, "overfit_batches": 2}, 3),
        ({"max_epochs": None, "max_steps": 12, "devices": 2}, 3),
        ({"max_epochs": None, "max_time": "00:00:01:00"}, 10**9),
        ({"max_epochs": None}, 1000),
        ({"max_epochs": 7, "fast_dev_run": True}, 1),
    ],
)
def test_the_number_of_epochs_of_ten_minibatches(settings, epochs):
    assert number_of_epochs({**DEFAULTS, **settings}, 10) == epochs
