"""Members that leave an ensemble: those that stay train on as if nothing had happened, and the stack has fewer rows."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from lightning_d2l.engine.ensemble import Ensemble
from lightning_d2l.engine.members import Member
from lightning_d2l.modules import RegressionModule
from lightning_d2l.modules.schedule import parts
from lightning_d2l.nets.linear import LinearRegression
from tests.engine.sets import polynomial, prepared, trainer
from tests.engine.test_schedules import described

EPOCHS, POINTS = 12, range(2, 13, 2)
LRS = (0.002, 0.01, 0.005, 0.003, 0.004)
OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": SGD,
    "momentum": functools.partial(SGD, momentum=0.9),
    "adam": Adam,
    "adamw": AdamW,
}


def members(optimizer: Callable[..., Any], schedule: Any, *, alike: bool, drop: bool) -> list[Member]:
    found = []
    for number, lr in enumerate(LRS):
        degree = 3 if drop else 2 + number  # features are padded, unless a layer draws for them
        data = prepared(polynomial(0 if alike else number, degree=degree), 100 + number)
        torch.manual_seed(number)
        net: nn.Module = LinearRegression(data.num_inputs, 1)
        if drop:
            net = nn.Sequential(nn.Linear(data.num_inputs, 8), nn.Dropout(0.1 * number), nn.Linear(8, 1))
        factory = functools.partial(optimizer, lr=0.003 if alike else lr, weight_decay=0.01)
        module = RegressionModule(net, optimizer=factory, scheduler=schedule).double()
        own, config = parts(module.configure_optimizers())
        found.append(Member(module, own, data, torch.Generator().manual_seed(number), schedule=config))
    return found


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    ("alike", "drop", "scheduled"),
    [(True, False, ""), (False, True, ""), (False, False, "exponential"), (False, False, "plateau")],
)
def test_those_that_stay_train_on_as_if_nothing_had_happened(
    name: str, alike: bool, drop: bool, scheduled: str
) -> None:
    schedule = described(scheduled, total_epochs=EPOCHS) if scheduled else None
    asked = OPTIMIZERS[name], schedule
    whole, shrinking = (members(*asked, alike=alike, drop=drop) for _ in range(2))
    trainer(torch.float64, epochs=EPOCHS).fit(Ensemble(whole, POINTS))
    leave = {4: [0, 3], 8: [1]}  # numbers among those that are there
    sizes = []

    def leaving(epoch: int) -> list[int]:
        sizes.append(len(ensemble.stack[0]))
        return leave.get(epoch, [])

    ensemble = Ensemble(shrinking, POINTS, leaving=leaving)
    trainer(torch.float64, epochs=EPOCHS).fit(ensemble)
    assert sizes == [5, 5, 3, 3, 2, 2]
    assert ensemble.members == [shrinking[1], shrinking[4]]
    assert len(shrinking[0].rows) == len(shrinking[3].rows) == 2
    assert len(shrinking[2].rows) == 4
    assert not shrinking[0].test
    for number, member in enumerate(shrinking):
        for row, expected in zip(member.rows, whole[number].rows, strict=False):
            assert row == pytest.approx(expected, rel=1e-9)
    for place, number in enumerate((1, 4)):
        mine, other = shrinking[number], whole[number]
        assert mine.test[0] == pytest.approx(other.test[0], rel=1e-9)
        assert mine.best == pytest.approx(other.best, rel=1e-9)
        for stacked, parameter in zip(ensemble.memory.last.parameters, mine.parameters, strict=True):
            assert torch.isfinite(stacked[place]).all()
            assert stacked[place].shape[:-1] == parameter.shape[:-1]


def test_training_ends_when_all_have_left() -> None:
    them = members(SGD, None, alike=True, drop=False)
    alone = trainer(torch.float64, epochs=EPOCHS)
    alone.fit(Ensemble(them, POINTS, leaving=lambda epoch: range(5) if epoch == 4 else ()))
    assert alone.current_epoch == 4
    assert [len(member.rows) for member in them] == [2] * 5
    assert not any(member.test for member in them)
