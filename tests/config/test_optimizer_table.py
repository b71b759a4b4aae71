"""The tables of optimizers and schedules against torch's own classes: names, settings and defaults."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import nn, optim
from torch.optim import lr_scheduler

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.compose import compose_checked, plain
from lightning_d2l.config.optimizers import EXACT, OPTIMIZERS, SGD_SCRATCH
from lightning_d2l.config.records import up_to_date
from lightning_d2l.config.schedulers import LENGTHS, SCHEDULERS, TORCH
from lightning_d2l.engine.exact import Exact
from lightning_d2l.modules.build import build
from lightning_d2l.scratch import SGD

CONF = Path(__file__).parents[2] / "conf"
TORCHS = {
    f"torch.optim.{name}": kind
    for name, kind in vars(optim).items()
    if inspect.isclass(kind) and issubclass(kind, optim.Optimizer) and kind is not optim.Optimizer
}
# Values of our files that are not torch's: older runs had them, or every configuration has them.
OURS = {"weight_decay": {0.0}, "fused": {True}, "torch.optim.RMSprop lr": {0.001}}
POLYNOMIAL = ["model=polynomial_regression", "logger=none"]


def files(folder: str) -> dict[str, dict[str, Any]]:
    nodes = [yaml.safe_load(path.read_text()) for path in sorted((CONF / folder).glob("*.yaml"))]
    return {node["_target_"]: node for node in nodes if "_target_" in node}


def composed(*words: str) -> dict[str, Any]:
    return plain(compose_checked([*POLYNOMIAL, *words]))


def test_every_optimizer_of_torch_has_a_table_and_a_file():
    assert {name for name in OPTIMIZERS if name.startswith("torch.")} == set(TORCHS)
    assert set(TORCHS) <= set(files("optimizer"))


@pytest.mark.parametrize("target", TORCHS)
def test_the_settings_of_an_optimizer_are_those_of_its_signature_with_its_defaults(target):
    known = {name: p.default for name, p in inspect.signature(TORCHS[target]).parameters.items() if name != "params"}
    table = OPTIMIZERS[target]
    assert {*table.rules, *table.optional} == {*known, "weight_decay"}
    name = target.rpartition(".")[2].lower()
    node = composed(f"optimizer={'sparse_adam' if name == 'sparseadam' else name}")["optimizer"]
    assert node.keys() == {*known, "weight_decay", "_target_"}
    for key, default in known.items():
        value = tuple(node[key]) if isinstance(node[key], list) else node[key]
        if target == "torch.optim.SGD" and key == "lr":  # a model's file sets it
            continue
        assert value == default or value in {*OURS.get(key, ()), *OURS.get(f"{target} {key}", ())}, key
    matrix = nn.Parameter(nn.init.ones_(nn.Linear(2, 2).weight))
    passed = {key: value for key, value in node.items() if key in known or key == "_target_"}
    assert isinstance(build(passed, [matrix]), TORCHS[target])


@pytest.mark.parametrize(("target", "kind"), [(SGD_SCRATCH, SGD), (EXACT, Exact)])
def test_so_are_those_of_our_own(target, kind):
    assert {*OPTIMIZERS[target].rules} == {*inspect.signature(kind).parameters} - {"params"}


@pytest.mark.parametrize("target", TORCH)
def test_the_settings_of_a_schedule_are_those_of_its_signature_with_its_defaults(target):
    node = files("scheduler")[target]
    known = inspect.signature(getattr(lr_scheduler, target.rpartition(".")[2])).parameters
    settings = {*SCHEDULERS[target].rules} - {"interval", "monitor", "then"}
    # torch derives total_steps from the other two, and last_epoch is that of a checkpoint.
    assert settings == {*known} - {"optimizer", "last_epoch", "epochs", "steps_per_epoch"}
    assert node.keys() - {"_target_"} == {*SCHEDULERS[target].rules}
    for key in settings - {LENGTHS.get(target), "max_lr", "start_factor"}:
        if known[key].default is not inspect.Parameter.empty:
            assert node[key] == known[key].default, key


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer=rprop", "optimizer.weight_decay=0.1"], "optimizer.weight_decay=0.1: must be 0, since this optim"),
        (["optimizer=lbfgs", "optimizer.line_search_fn=wolfe"], "did you mean strong_wolfe?"),
        (["optimizer=adam", "optimizer.foreach=true"], "optimizer.foreach=true: must be null or false where"),
        (["optimizer.nesterov=true"], "optimizer.nesterov=true: must come with an optimizer.momentum above 0"),
        (
            ["optimizer.nesterov=true", "optimizer.momentum=0.9", "optimizer.dampening=0.5"],
            "optimizer.dampening=0.5: must be 0 where optimizer.nesterov=true",
        ),
        (["optimizer=rprop", "optimizer.etas=[1.5,0.5]"], "must be a number in (0, 1) and one in (1, inf)"),
        (
            ["optimizer=adafactor", "optimizer.eps=[null,null]"],
            "must be two numbers in [0, inf), the first may be null",
        ),
        (["optimizer.differentiable=true"], "optimizer.differentiable=true: must be false"),
        (["optimizer=adma"], "adam"),
        (["scheduler=cosine", "scheduler.T_max=0"], "scheduler.T_max=0: must be a whole number from 1 up or null"),
        (["scheduler=multi_step", "scheduler.milestones=[3,2]"], "must be a list of rising whole numbers"),
        (["scheduler=cosine", "scheduler.interval=batch"], "scheduler.interval=batch: must be one of epoch, step"),
        (["scheduler=step", "scheduler.gama=0.5"], "scheduler.gama"),
        (["scheduler=cosin"], "cosine"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(words, message):
    with pytest.raises(RequestError) as error:
        composed(*words)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) <= 2


def test_records_of_older_runs_stay_valid():
    config = composed("optimizer=adam")
    older = {key: value for key, value in config.items() if key != "scheduler"}
    kept = ("_target_", "lr", "weight_decay", "betas")
    older["optimizer"] = {key: value for key, value in config["optimizer"].items() if key in kept}
    found = up_to_date(older)
    assert found["scheduler"] is None
    assert found["optimizer"] == {**older["optimizer"], "fused": False}
