"""Many runs as one ensemble: each member equals a single run within rounding, or torch's own optimizers."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.optim import SGD, Adam, AdamW, RMSprop

from lightning_d2l import scratch
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.batches import Batches
from lightning_d2l.engine.chunks import split_metrics
from lightning_d2l.engine.ensemble import Ensemble
from lightning_d2l.engine.exact import Exact
from lightning_d2l.engine.loop import Diverged
from lightning_d2l.engine.members import Member
from lightning_d2l.engine.noise import StackedNoise
from lightning_d2l.engine.optimizers import Memberwise
from lightning_d2l.engine.tracing import traced
from lightning_d2l.modules import ClassificationModule, RegressionModule
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.nets.blocks import TiedMLP
from lightning_d2l.nets.linear import LinearRegression, SoftmaxRegression
from lightning_d2l.nets.mlp import MLP
from lightning_d2l.nets.noise import GaussianNoise
from lightning_d2l.nets.phm import PHMMLP
from lightning_d2l.nets.random_features import RandomFeatures
from tests.engine.sets import Blobs, fit, polynomial, prepared, step_beside, trainer, wide

POINTS = [1, 3, 6]
OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": SGD,
    "momentum": functools.partial(SGD, momentum=0.9),
    "dampening": functools.partial(SGD, momentum=0.9, dampening=0.4),
    "nesterov": functools.partial(SGD, momentum=0.9, nesterov=True),
    "adam": Adam,
    "amsgrad": functools.partial(Adam, betas=(0.7, 0.9), amsgrad=True),
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "centered": functools.partial(RMSprop, alpha=0.9, centered=True, momentum=0.5),
    "scratch": scratch.SGD,
}
LRS = (0.003, 0.02, 0.01)
DECAYS = (0.3, 0.0, 0.05)


def classes(seed: int) -> TensorDataModule:
    return Blobs(20, seed)


def module(
    build: Callable[[], nn.Module],
    data: TensorDataModule,
    number: int,
    optimizer: Callable[..., Any] = SGD,
    evaluate: tuple[str, ...] = ("train", "val"),
    lrs: tuple[float, ...] = LRS,
    decays: tuple[float, ...] = DECAYS,
    **more: Any,
) -> SupervisedModule:
    """Member `number`: its own initial weights, order of batches, learning rate and weight decay."""
    prepared(data, 100 + number, evaluate)
    torch.manual_seed(number)
    factory = functools.partial(optimizer, lr=lrs[number], weight_decay=decays[number])
    kind = ClassificationModule if data.task == "classification" else RegressionModule
    return kind(build(), optimizer=factory, **more)


def members_of(modules: list[SupervisedModule], data: list[TensorDataModule], precision: torch.dtype) -> list[Member]:
    made = [copy.deepcopy(each).to(precision) for each in modules]
    return [
        Member(m, m.configure_optimizers(), d, torch.Generator().manual_seed(n))
        for n, (m, d) in enumerate(zip(made, data, strict=True))
    ]


def together(members: list[Member], precision: torch.dtype = torch.float64) -> Ensemble:
    ensemble = Ensemble(members, POINTS)
    trainer(precision, epochs=POINTS[-1]).fit(ensemble)
    return ensemble


def close(value: float, other: float, tolerance: float) -> bool:
    return value == pytest.approx(other, rel=tolerance, abs=1e-12)


def assert_same(modules: list[SupervisedModule], data: list[TensorDataModule], precision: torch.dtype) -> Ensemble:
    """Weights, rows, and metrics on the test split are those of each single run, within rounding."""
    tolerance = 1e-9 if precision == torch.float64 else 1e-5
    members = members_of(modules, data, precision)
    ensemble = together(members, precision)
    for number, (single, own_data, member) in enumerate(zip(modules, data, members, strict=True)):
        torch.manual_seed(number)  # of dropout and noise
        rows = fit(single, own_data, POINTS, precision=precision).rows
        for own, stacked in zip(single.parameters(), ensemble.stack, strict=True):
            mine = stacked[number][..., : own.shape[-1]] if own.dim() else stacked[number]
            assert (mine - own).abs().max() <= tolerance * own.abs().max()
        assert [list(row) for row in member.rows] == [list(row) for row in rows]
        for row, expected in zip(member.rows, rows, strict=True):
            assert {k: v for k, v in row.items() if not close(v, expected[k], tolerance)} == {}, expected
        batches = own_data.evaluation_batches("test", torch.device("cpu"), precision)
        for name, value in split_metrics(single, batches).items():
            assert close(member.test[0][f"{name}/test"], value.item(), tolerance), name
        assert member.best["epoch"] == min(rows, key=lambda row: row[own_data.monitor])["epoch"]
    return ensemble


@pytest.mark.parametrize(
    ("optimizer", "precision"),
    [
        *((name, torch.float64) for name in ("momentum", "adamw", "centered")),
        ("momentum", torch.float32),
        ("adam", torch.float32),
    ],
)
def test_each_learning_rate_and_weight_decay_is_the_members_own(optimizer, precision):
    data = [polynomial(seed) for seed in range(3)]
    modules = [module(lambda: LinearRegression(4), d, n, OPTIMIZERS[optimizer]) for n, d in enumerate(data)]
    assert_same(modules, data, precision)


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[int], TensorDataModule], dict[str, Any]]] = {
    "prelu": (lambda: MLP(4, 1, [5, 3], activation="prelu"), polynomial, {"optimizer": Adam}),
    "dropout and noise": (lambda: MLP(4, 3, [6, 4], dropout=[0.5, 0.2], input_noise=0.3), classes, {}),
    "hypercomplex": (lambda: PHMMLP(4, 3, [8], n=4), classes, {"optimizer": Adam}),
    "tied": (lambda: TiedMLP(4, 1), polynomial, {"evaluate": ("val",)}),
    "gaussian": (lambda: LinearRegression(4), polynomial, {"loss": "gaussian_nll"}),
    "penalties": (lambda: LinearRegression(4), polynomial, {"penalty": {"l1": 0.2, "l2": 0.1}}),
    "gradients": (lambda: MLP(4, 1, [5, 3]), polynomial, {"gradients": True, "evaluate": ("train",)}),
    "information": (lambda: SoftmaxRegression(4, 3), classes, {"information": True, "evaluate": ("val",)}),
    "features": (lambda: RandomFeatures(4, 3, 6), classes, {"optimizer": scratch.SGD, "evaluate": ()}),
    "exact": (lambda: RandomFeatures(4, 3, 6), classes, {"loss": "one_hot_mse", "optimizer": Exact}),
    "noisy": (lambda: LinearRegression(8, dropout=0.2, input_noise=0.5), wide, {"optimizer": OPTIMIZERS["nesterov"]}),
    "scratch loss": (lambda: MLP(4, 3, [6]), classes, {"loss": "cross_entropy_scratch"}),
}  # fmt: skip


@pytest.mark.parametrize(("build", "draw", "more"), CASES.values(), ids=CASES)
def test_every_network_and_loss_trains_as_a_single_run(build, draw, more):
    data = [draw(seed) for seed in range(3)]
    assert_same([module(build, d, n, **more) for n, d in enumerate(data)], data, torch.float64)


def test_members_may_share_their_data():
    data = [classes(0) for _ in range(3)]
    data[0].setup()
    for each in data:
        each.splits = data[0].splits
    modules = [module(lambda: MLP(4, 3, [6]), d, n) for n, d in enumerate(data)]
    assert assert_same(modules, data, torch.float32).splits["train"].shared


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "centered"])
def test_weights_of_features_that_a_degree_lacks_stay_zero(optimizer):
    degrees = (1, 5, 2)
    data = [polynomial(0, degree) for degree in degrees]
    modules = [
        module(lambda n=degree + 1: LinearRegression(n, bias=False), d, number, OPTIMIZERS[optimizer])
        for number, (degree, d) in enumerate(zip(degrees, data, strict=True))
    ]
    (weight,) = assert_same(modules, data, torch.float64).stack
    for number, degree in enumerate(degrees):
        assert weight[number, 0, : degree + 1].all()
        assert not weight[number, 0, degree + 1 :].any()


@pytest.mark.parametrize("penalty", [{"l1": 0.0, "l2": 0.0}, {"l1": 0.1, "l2": 0.2}], ids=["none", "both"])
def test_exact_solutions_are_each_members_own(penalty):
    data = [polynomial(seed) for seed in range(3)]
    modules = [module(lambda: LinearRegression(4), d, n, Exact, penalty=penalty) for n, d in enumerate(data)]
    assert_same(modules, data, torch.float64)


def test_a_member_that_diverges_is_marked_and_its_neighbours_keep_every_bit():
    def stack(lr: float) -> Ensemble:
        data = [polynomial(seed) for seed in range(3)]
        lrs = (0.003, lr, 0.01)
        modules = [module(lambda: MLP(4, 1, [5]), d, n, lrs=lrs) for n, d in enumerate(data)]
        return together(members_of(modules, data, torch.float32), torch.float32)

    harmless, harmed = stack(0.004), stack(1e9)
    data = polynomial(1)
    with pytest.raises(Diverged) as alone:
        fit(module(lambda: MLP(4, 1, [5]), data, 1, lrs=(0.0, 1e9, 0.0)), data, POINTS)
    assert [member.diverged for member in harmed.members] == ["", str(alone.value), ""]
    for before, after in zip(harmless.stack, harmed.stack, strict=True):
        assert torch.equal(before[0], after[0])
        assert torch.equal(before[2], after[2])
        assert not after[1].isfinite().all()
    for number in (0, 2):
        assert harmless.members[number].rows == harmed.members[number].rows
        assert harmless.members[number].test == harmed.members[number].test
    assert all(p[1].isfinite().all() for p in harmed.memory.last.parameters), "frozen where it was last finite"


def test_training_stops_when_every_member_has_diverged():
    data = [polynomial(seed) for seed in range(2)]
    modules = [module(lambda: LinearRegression(4), d, n, lrs=(1e9, 1e9)) for n, d in enumerate(data)]
    stack = together(members_of(modules, data, torch.float32), torch.float32)
    assert all(member.diverged for member in stack.members)
    assert stack.trainer.current_epoch < POINTS[-1]


# The optimizer


@pytest.mark.parametrize("decays", [DECAYS, (0.1, 0.1, 0.1), (0.0, 0.0, 0.0)], ids=str)
@pytest.mark.parametrize("lrs", [LRS, (0.01, 0.01, 0.01)], ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_memberwise_step_is_the_step_of_each_optimizer(name, lrs, decays):
    tolerance = {"rtol": 1e-9, "atol": 1e-12}
    random = torch.Generator().manual_seed(0)
    shapes = [(2, 5), (3,), ()]
    stack = [torch.randn(3, *shape, generator=random, dtype=torch.float64) for shape in shapes]
    own = [[p[member].clone() for p in stack] for member in range(3)]
    optimizers = [
        OPTIMIZERS[name]([{"params": mine[:1]}, {"params": mine[1:], "weight_decay": 0.0}], lr=lr, weight_decay=decay)
        for mine, lr, decay in zip(own, lrs, decays, strict=True)
    ]
    memberwise = Memberwise(stack, optimizers, own)
    step_beside(memberwise, optimizers, stack, own, random)
    for member, mine in enumerate(own):
        for p, value in zip(stack, mine, strict=True):
            torch.testing.assert_close(p[member], value, **tolerance)
        for state, value in zip(memberwise.state(), mine, strict=True):
            expected = optimizers[member].state.get(value, {})
            assert {k for k, v in expected.items() if v is not None} == {k for k, v in state.items() if v is not None}
            for key, tensor in expected.items():
                if isinstance(tensor, Tensor):
                    found = state[key][member] if key != "step" else state[key]
                    torch.testing.assert_close(found, tensor, **tolerance, check_dtype=key != "step")


# Dropout and noise


def random_net(p: float = 0.4, std: float = 0.7) -> nn.Sequential:
    return nn.Sequential(GaussianNoise(std), nn.Linear(4, 6), nn.Dropout(p), nn.Linear(6, 1), nn.Dropout(p / 2))


def test_each_member_draws_the_numbers_that_it_would_draw_alone():
    strengths = [(0.4, 0.7), (0.0, 0.1), (0.9, 2.0)]
    nets = [random_net(*strength).double() for strength in strengths]
    base = copy.deepcopy(nets[0])
    noise = StackedNoise(base, nets, [torch.Generator().manual_seed(n) for n in range(3)])
    x = torch.randn(3, 5, 4, dtype=torch.float64)
    shapes = noise.shapes(lambda: base(x[0]))
    drawn = [noise.draw(shapes, x) for _ in range(2)]
    for number, net in enumerate(nets):
        torch.manual_seed(number)
        for values in drawn:
            base.load_state_dict(net.state_dict(), strict=False)
            with noise.given([value[number] for value in values]):
                torch.testing.assert_close(base(x[number]), net(x[number]), rtol=1e-12, atol=1e-12)
    assert torch.equal(base(x[0]), base(x[0])), "no noise but where it is given"


def test_a_random_layer_in_two_places_draws_for_each():
    shared = nn.Dropout(0.5)
    net = nn.Sequential(shared, nn.Linear(4, 4), shared)
    base = copy.deepcopy(net)
    noise = StackedNoise(base, [net], [torch.Generator().manual_seed(0)])
    x = torch.randn(1, 5, 4)
    with noise.given([value[0] for value in noise.draw(noise.shapes(lambda: base(x[0])), x)]):
        found = base(x[0])
    torch.manual_seed(0)
    torch.testing.assert_close(found, net(x[0]))


def test_a_random_layer_that_is_called_twice_is_refused():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.drop(self.drop(x))

    net = Twice()
    noise = StackedNoise(net, [Twice()], [torch.Generator()])
    with pytest.raises(ValueError, match="used twice"):
        noise.shapes(lambda: net(torch.zeros(2, 4)))


def test_over_100_seeds_dropout_can_not_be_told_from_that_of_runs_one_by_one():
    """Losses of members equal those of the runs, and by Kolmogorov and Smirnov's test come from one distribution
    with those of 100 other seeds, though not with those of another dropout."""
    data = prepared(polynomial(0), 0, ("train",))
    x, y = data.splits["train"]
    torch.manual_seed(0)
    net = LinearRegression(4, dropout=0.5, input_noise=0.2)

    def alone(seed: int, p: float = 0.5) -> float:
        torch.manual_seed(seed)
        each = copy.deepcopy(net).double()
        each[1].p = p
        optimizer, loss = SGD(each.parameters(), lr=0.01), nn.functional.mse_loss
        batches = Batches(x, y, data.batch_size, torch.float64, data.shuffle_seed)
        for epoch in range(4):
            batches.set_epoch(epoch)
            for features, targets in batches:
                optimizer.zero_grad()
                loss(each(features), targets).backward()
                optimizer.step()
        return loss(each.eval()(x), y).item()

    built = RegressionModule(net, optimizer=functools.partial(SGD, lr=0.01))
    members = members_of([built] * 100, [data] * 100, torch.float64)
    trainer(torch.float64, epochs=4).fit(Ensemble(members, [4]))
    losses = [member.rows[-1]["loss/train"] for member in members]
    assert losses == pytest.approx([alone(seed) for seed in range(100)], rel=1e-9)
    assert ks_2samp(losses, [alone(seed) for seed in range(100, 200)]).pvalue > 0.05
    assert ks_2samp(losses, [alone(seed, 0.05) for seed in range(100, 200)]).pvalue < 1e-6


# The tensor operations of a step


@given(rows=st.integers(1, 4), columns=st.integers(1, 4), members=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_a_traced_function_computes_the_same(rows, columns, members):
    def loss(w: Tensor, x: Tensor) -> Tensor:
        return (x @ w.view(columns, 1).expand(columns, 1)).tanh().square().mean()

    def gradient(w: Tensor, x: Tensor) -> list[Tensor]:
        return [vmap(grad(loss))(w, x)]

    random = torch.Generator().manual_seed(rows + 10 * columns)
    shapes = ((members, columns), (members, rows, columns))
    first, second = ([torch.randn(shape, generator=random) for shape in shapes] for _ in range(2))
    program = traced(gradient, *first)
    for values in (first, second):
        torch.testing.assert_close(program.run(*values), gradient(*values))
    assert program.num_bytes >= gradient(*first)[0].nbytes
