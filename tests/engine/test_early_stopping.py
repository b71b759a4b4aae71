"""Early stopping of the members of an ensemble: each one stops as Lightning's own callback stops it by itself."""

import copy
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.optim import SGD, Adam, AdamW

from lightning_d2l.engine.chunks import ChunkedModule, split_metrics
from lightning_d2l.engine.ensemble import Ensemble
from lightning_d2l.engine.members import Member
from lightning_d2l.modules import RegressionModule
from lightning_d2l.modules.callbacks import EarlyStopping
from lightning_d2l.modules.schedule import parts
from lightning_d2l.nets.linear import LinearRegression
from tests.engine.sets import polynomial, prepared, trainer

EPOCHS = 40
# Each member's own: the first stops soon, the second late, the third by a threshold, and the last not at all.
STOPPERS: list[dict[str, Any]] = [
    {"monitor": "loss/val", "patience": 2, "min_delta": 1.0},
    {"monitor": "loss/train", "patience": 3, "min_delta": 0.3},
    {"monitor": "loss/val", "patience": EPOCHS, "stopping_threshold": 120.0},
    {"monitor": "loss/val", "patience": EPOCHS},
]
LRS = {SGD: (0.002, 0.01, 0.005, 0.003), Adam: (0.3, 0.1, 0.2, 0.05), AdamW: (0.3, 0.1, 0.2, 0.05)}


def built(number: int, optimizer: Any) -> tuple[RegressionModule, Any]:
    data = prepared(polynomial(number, degree=2 + number), 100 + number)
    torch.manual_seed(number)
    net = LinearRegression(data.num_inputs, 1)
    factory = lambda parameters: optimizer(parameters, lr=LRS[optimizer][number], weight_decay=0.01)  # noqa: E731
    return RegressionModule(net, optimizer=factory).double(), data


def member(module: RegressionModule, data: Any, stoppers: list[EarlyStopping]) -> Member:
    optimizer, _ = parts(module.configure_optimizers())
    return Member(module, optimizer, data, torch.Generator().manual_seed(0), stoppers=stoppers)


class Rows(pl.Callback):
    """loss/val after each epoch."""

    def __init__(self) -> None:
        self.rows: list[float] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.rows.append(trainer.callback_metrics["loss/val"].item())


@pytest.mark.parametrize("optimizer", [SGD, Adam, AdamW])
def test_each_member_stops_as_lightning_stops_it_by_itself(optimizer: Any) -> None:
    runs = [built(number, optimizer) for number in range(len(STOPPERS))]
    members = [
        member(copy.deepcopy(module), data, [EarlyStopping(**asked)])
        for (module, data), asked in zip(runs, STOPPERS, strict=True)
    ]
    ensemble = Ensemble(members, range(1, EPOCHS + 1))
    trainer(torch.float64, epochs=EPOCHS).fit(ensemble)
    ends = []
    for number, ((module, data), asked) in enumerate(zip(runs, STOPPERS, strict=True)):
        oracle, rows = pl.callbacks.EarlyStopping(check_on_train_epoch_end=True, **asked), Rows()
        alone = pl.Trainer(
            max_epochs=EPOCHS, accelerator="cpu", precision="64-true", callbacks=[rows, oracle], logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        )  # fmt: skip
        alone.fit(module, data)
        own, stopper = members[number], members[number].stoppers[0]
        ends.append(alone.current_epoch)
        assert own.rows[-1]["epoch"] == alone.current_epoch
        assert own.stopped == (alone.current_epoch if alone.should_stop else 0)
        assert [row["loss/val"] for row in own.rows] == pytest.approx(rows.rows, rel=1e-9)
        assert own.best["loss/val"] == pytest.approx(min(rows.rows), rel=1e-9)
        theirs, state = oracle.state_dict(), stopper.state_dict()
        assert {k: state[k] for k in ("wait_count", "stopped_epoch", "patience", "stopping_reason")} == {
            k: theirs[k] for k in ("wait_count", "stopped_epoch", "patience", "stopping_reason")
        }
        assert state["best_score"].item() == pytest.approx(theirs["best_score"].item(), rel=1e-9)
        for stacked, parameter in zip(ensemble.memory.last.parameters, module.parameters(), strict=True):
            mine = stacked[number][..., : parameter.shape[-1]]
            assert torch.allclose(mine, parameter, rtol=1e-9, atol=1e-12)
        expected = split_metrics(module, data.evaluation_batches("test", torch.device("cpu"), torch.float64))
        assert own.test[0]["loss/test"] == pytest.approx(expected["loss"].item(), rel=1e-9)
    assert len({*ends}) == len(STOPPERS)
    assert max(ends) == ends[-1] == EPOCHS


def test_a_group_ends_when_all_of_its_members_have_stopped() -> None:
    asked: list[dict[str, Any]] = [{"monitor": "loss/val", "patience": 1, "min_delta": 1e9}] * 2
    members = [member(*built(n, SGD), [EarlyStopping(**settings)]) for n, settings in enumerate(asked)]
    alone = trainer(torch.float64, epochs=EPOCHS)
    alone.fit(Ensemble(members, range(1, EPOCHS + 1)))
    assert [m.stopped for m in members] == [2, 2]
    assert alone.current_epoch == 2


def test_what_happens_to_a_stopped_member_does_not_mark_it() -> None:
    diverging = built(0, SGD)
    diverging[0].optimizer_factory = lambda parameters: SGD(parameters, lr=30.0)
    members = [
        member(*diverging, [EarlyStopping("loss/val", stopping_threshold=1e30)]),
        member(*built(1, SGD), [EarlyStopping("loss/val", patience=EPOCHS)]),
    ]
    ensemble = Ensemble(members, range(1, EPOCHS + 1))
    trainer(torch.float64, epochs=EPOCHS).fit(ensemble)
    assert not ensemble.stack[0][0].isfinite().all()
    assert (members[0].stopped, members[0].diverged) == (1, "")
    assert members[0].rows[0] == members[0].rows[-1] == members[0].best
    assert len(members[1].rows) == EPOCHS
    assert members[0].test[0]["loss/test"] < 1e30


def test_a_run_that_has_stopped_does_not_train_when_it_is_resumed_unless_its_settings_change(tmp_path: Any) -> None:
    points, path = range(1, EPOCHS + 1), tmp_path / "stopped.ckpt"

    def trained(patience: int, **more: Any) -> tuple[pl.Trainer, RegressionModule]:
        module, data = built(0, Adam)
        again = trainer(torch.float64, EarlyStopping("loss/val", patience=patience, min_delta=1.0), epochs=EPOCHS)
        again.fit(ChunkedModule(module, data, points), **more)
        return again, module

    first, module = trained(2)
    first.save_checkpoint(path)
    same, weights = trained(2, ckpt_path=path, weights_only=True)
    assert same.current_epoch == first.current_epoch < EPOCHS
    assert all(map(torch.equal, weights.parameters(), module.parameters()))
    fresh, module = trained(5)
    longer, weights = trained(5, ckpt_path=path, weights_only=True)
    assert first.current_epoch < longer.current_epoch == fresh.current_epoch < EPOCHS
    assert all(map(torch.equal, weights.parameters(), module.parameters()))


@pytest.mark.parametrize(
    ("asked", "value", "reason"),
    [
        ({"stopping_threshold": 2.0}, 1.5, "acc/val = 1.5 reached stopping_threshold=2.0"),
        ({"stopping_threshold": 1.0, "mode": "max"}, 1.5, "acc/val = 1.5 reached stopping_threshold=1.0"),
        ({"divergence_threshold": 1.0}, 1.5, "acc/val = 1.5 passed divergence_threshold=1.0"),
        ({"patience": 1}, float("nan"), "acc/val = nan is not finite"),
    ],
)
def test_the_reason_has_the_metric_and_the_threshold(asked: dict[str, Any], value: float, reason: str) -> None:
    stopper = EarlyStopping("acc/val", **asked)
    assert stopper.reason == ""
    assert stopper.check({"acc/val": value}, 7)
    assert stopper.reason == reason
    again = EarlyStopping("acc/val", **asked)
    again.load_state_dict(stopper.state_dict())
    assert again.reason == stopper.reason
    assert again.stopped_epoch == 6


@pytest.mark.parametrize("mode", ["min", "max"])
def test_values_that_cannot_stop_a_run_are_counted_as_lightning_counts_them(mode: str) -> None:
    random = torch.Generator().manual_seed(0)
    for patience, min_delta in ((0, 0.0), (1, 0.1), (3, 0.0), (4, 0.25)):
        asked: dict[str, Any] = {"monitor": "m", "patience": patience, "min_delta": min_delta, "mode": mode}
        ours, theirs = EarlyStopping(**asked), pl.callbacks.EarlyStopping(**asked)
        for epoch in range(1, 40):
            value = round(float(torch.rand(1, generator=random)), 1)  # equal values are frequent
            stops, _ = theirs._evaluate_stopping_criteria(torch.tensor(value, dtype=torch.float64))
            assert ours.check({"m": value}, epoch) is stops
            assert ours.wait_count == theirs.wait_count
            assert ours.best_score == theirs.best_score
