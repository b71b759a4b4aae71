"""Schedules in the fast loops: the rates and weights of Lightning's own loop, and of torch's schedulers by hand."""

import functools
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, ReduceLROnPlateau, SequentialLR

from lightning_d2l.config import registry
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.rules import Settings
from lightning_d2l.engine.ensemble import Ensemble
from lightning_d2l.engine.members import Member
from lightning_d2l.modules import RegressionModule
from lightning_d2l.modules.schedule import parts, scheduler_config
from lightning_d2l.nets.linear import LinearRegression
from tests.engine.sets import Rows, fit, polynomial, prepared, trainer

POINTS = [2, 4, 6, 7]
LRS, DECAYS, GAMMAS = (0.003, 0.02, 0.01), (0.3, 0.0, 0.05), (0.5, 0.3, 0.9)
OPTIMIZERS: dict[str, Any] = {
    "sgd": SGD,
    "momentum": functools.partial(SGD, momentum=0.9),
    "adam": Adam,
    "adamw": AdamW,
}
STEPS = {"interval": "step"}
SCHEDULES: dict[str, dict[str, Any]] = {
    "step": {"_target_": "StepLR", "step_size": None, "gamma": 0.1},
    "step by step": {"_target_": "StepLR", "step_size": 3, "gamma": 0.8, **STEPS},
    "multi_step": {"_target_": "MultiStepLR", "milestones": None, "gamma": 0.2},
    "exponential": {"_target_": "ExponentialLR", "gamma": 0.9},
    "cosine": {"_target_": "CosineAnnealingLR", "T_max": None, "eta_min": 0.001},
    "restarts": {"_target_": "CosineAnnealingWarmRestarts", "T_0": None, "T_mult": 2, **STEPS},
    "warmup": {"_target_": "LinearLR", "start_factor": 0.01, "total_iters": 5, **STEPS},
    "warmup, cosine": {"_target_": "LinearLR", "start_factor": 0.1, "total_iters": 2, "then": "cosine"},
    "polynomial": {"_target_": "PolynomialLR", "total_iters": None, "power": 2.0},
    "one_cycle": {"_target_": "OneCycleLR", "max_lr": None, "total_steps": None, **STEPS},
    "plateau": {"_target_": "ReduceLROnPlateau", "factor": 0.5, "patience": 0, "threshold": 0.9, "monitor": None},
}


def described(name: str, **more: Any) -> dict[str, Any]:
    known = {"interval": "epoch", "total_epochs": 7, "batches_per_epoch": 4, "log_every_n_epochs": 2}
    node = SCHEDULES[name]
    return {**known, **node, "_target_": f"torch.optim.lr_scheduler.{node['_target_']}", **more}


def module(name: str, optimizer: Any, number: int = 0, gamma: bool = False) -> RegressionModule:
    """Run `number`: its own initial weights, learning rate, weight decay, and gamma where there is one."""
    torch.manual_seed(number)
    factory = functools.partial(optimizer, lr=LRS[number], weight_decay=DECAYS[number])
    scheduler = described(name, **({"gamma": GAMMAS[number]} if gamma and "gamma" in SCHEDULES[name] else {}))
    return RegressionModule(LinearRegression(4), optimizer=factory, scheduler=scheduler).double()


def data(number: int = 0) -> Any:
    return prepared(polynomial(number), number)


def assert_rows(rows: list[dict[str, float]], expected: list[dict[str, float]], tolerance: float = 1e-9) -> None:
    assert [list(row) for row in rows] == [list(row) for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row == pytest.approx(other, rel=tolerance, abs=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_fast_loop_steps_schedules_where_lightnings_own_loop_does(name):
    found = []
    for lightning in (False, True):
        run = module(name, OPTIMIZERS["momentum"])
        rows = fit(run, data(), POINTS, lightning=lightning, precision=torch.float64).rows
        found.append((rows, list(run.parameters())))
    (rows, weights), (expected, others) = found
    assert_rows(rows, expected)
    assert all("lr" in row for row in rows)
    assert len({row["lr"] for row in rows}) > 1 or name == "warmup"
    for weight, other in zip(weights, others, strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        *(("sgd", name) for name in SCHEDULES),
        *((name, each) for name in ("adam", "adamw") for each in ("step by step", "cosine", "one_cycle", "plateau")),
    ],
)
def test_each_members_schedule_is_that_of_the_run_by_itself(optimizer, name):
    modules = [module(name, OPTIMIZERS[optimizer], number, gamma=True) for number in range(3)]
    members = []
    for number in range(3):
        again = module(name, OPTIMIZERS[optimizer], number, gamma=True)
        made, schedule = parts(again.configure_optimizers())
        members.append(Member(again, made, data(number), torch.Generator(), schedule=schedule))
    ensemble = Ensemble(members, POINTS)
    trainer(torch.float64, epochs=POINTS[-1]).fit(ensemble)
    for number, (run, member) in enumerate(zip(modules, members, strict=True)):
        assert_rows(member.rows, fit(run, data(number), POINTS, precision=torch.float64).rows)
        for stack, own in zip(ensemble.stack, run.parameters(), strict=True):
            torch.testing.assert_close(stack[number], own, rtol=1e-9, atol=1e-12)


def by_hand(name: str, run: RegressionModule) -> list[float]:
    """The rate of each epoch's last step, by torch's scheduler and the loop of torch's documentation."""
    (optimizer, losses) = run.build_optimizer(), []
    if name == "one_cycle":
        scheduler: Any = OneCycleLR(optimizer, max_lr=[0.003, 0.003], total_steps=28)
    elif name == "plateau":
        scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.9)
    else:
        warmup = LinearLR(optimizer, start_factor=0.1, total_iters=2)
        scheduler = SequentialLR(optimizer, [warmup, CosineAnnealingLR(optimizer, 5)], [2])
    (x, y), (x_val, y_val) = (data().splits[split] for split in ("train", "val"))
    loader = data().train_dataloader()
    for epoch in range(7):
        for rows in loader.order(epoch).split(10):
            optimizer.zero_grad()
            (run.net(x[rows]) - y[rows]).square().mean().backward()
            optimizer.step()
            used = optimizer.param_groups[0]["lr"]
            if name == "one_cycle":
                scheduler.step()
        losses.append(used)
        if name == "plateau" and (epoch + 1) % 2 == 0:
            scheduler.step((run.net(x_val) - y_val).square().mean().item())
        elif name == "warmup, cosine":
            scheduler.step()
    return losses


@pytest.mark.parametrize("name", ["one_cycle", "plateau", "warmup, cosine"])
def test_rates_and_weights_are_those_of_a_loop_by_hand(name):
    run, other = (module(name, OPTIMIZERS["momentum"]) for _ in range(2))
    rows = fit(run, data(), POINTS, precision=torch.float64).rows
    rates = by_hand(name, other)
    assert [row["lr"] for row in rows] == pytest.approx([rates[point - 1] for point in POINTS], rel=1e-12)
    for weight, expected in zip(run.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-9, atol=1e-12)


def test_members_without_a_schedule_have_no_rate_in_their_rows():
    run = RegressionModule(LinearRegression(4), optimizer=functools.partial(SGD, lr=0.01)).double()
    member = Member(run, run.build_optimizer(), data(), torch.Generator())
    trainer(torch.float64, epochs=2).fit(Ensemble([member], [2]))
    assert "lr" not in member.rows[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"monitor": "loss/vall"}, "scheduler.monitor=loss/vall: must be a metric of the run: .*loss/val"),
        ({"monitor": "acc/val"}, "loss/train, loss/val, norm/weights"),
    ],
)
@pytest.mark.parametrize("lightning", [False, True])
def test_a_schedule_that_looks_at_no_metric_of_the_run_names_those_that_are(change, words, lightning):
    run = module("plateau", SGD)
    run.scheduler = {**run.scheduler, **change}
    with pytest.raises(RequestError, match=words):
        fit(run, data(), POINTS, lightning=lightning, precision=torch.float64)


def test_what_torch_refuses_and_what_is_not_known_is_said_in_one_line():
    optimizer = torch.optim.Adagrad([torch.zeros(2, requires_grad=True)])
    with pytest.raises(RequestError, match=r"scheduler\.cycle_momentum=true: must be false for Adagrad"):
        scheduler_config(optimizer, described("one_cycle"))
    with pytest.raises(RequestError, match=r"scheduler\.total_steps=27: must be at least 28, the steps of the run"):
        scheduler_config(SGD([torch.zeros(2)], lr=0.1), described("one_cycle", total_steps=27))
    node = {**described("cosine"), "total_epochs": None}
    with pytest.raises(ValueError, match=r"scheduler\.T_max=null: must be given"):
        scheduler_config(optimizer, node)


def test_a_module_with_a_schedule_trains_by_a_plain_trainer_of_lightning():
    rows = Rows([1, 2, 3])
    run = module("exponential", SGD)
    trainer(torch.float64, rows, epochs=3).fit(run, data().train_dataloader())
    assert [row["lr"] for row in rows.rows] == pytest.approx([0.003, 0.0027, 0.00243])


def test_a_registered_schedule_may_take_the_length_of_the_run(monkeypatch):
    def falling(optimizer: torch.optim.Optimizer, total_epochs: int, batches_per_epoch: int) -> CosineAnnealingLR:
        return CosineAnnealingLR(optimizer, total_epochs * batches_per_epoch)

    monkeypatch.setitem(registry.OBJECTS, "falling", falling)
    monkeypatch.setitem(registry.SCHEDULERS, "falling", Settings({}))
    lengths = {"total_epochs": 7, "batches_per_epoch": 4, "log_every_n_epochs": 2}
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    made = scheduler_config(optimizer, {"_target_": "falling", "interval": "step", **lengths})
    assert made["scheduler"].T_max == 28
