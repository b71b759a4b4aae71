"""Every optimizer of torch by name: in each loop, and member by member where its step is elementwise."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.optimizers import SPARSE_ADAM
from lightning_d2l.engine.choice import needs_lightning
from lightning_d2l.engine.optimizers import ALIKE, PROPORTIONAL, Memberwise, why_alone
from lightning_d2l.modules import RegressionModule
from lightning_d2l.modules.build import OPTIMIZER_NAMES
from lightning_d2l.nets.linear import LinearRegression
from lightning_d2l.training.files import MetricsFile
from tests.engine.sets import fit, polynomial, prepared, step_beside
from tests.runs import POLYNOMIAL, run_here

CASES: dict[str, Any] = {
    "nadam": functools.partial(optim.NAdam, momentum_decay=0.1),
    "nadam, decoupled": functools.partial(optim.NAdam, decoupled_weight_decay=True),
    "radam": functools.partial(optim.RAdam, betas=(0.8, 0.9)),
    "radam, decoupled": functools.partial(optim.RAdam, decoupled_weight_decay=True),
    "adamax": optim.Adamax,
    "adagrad": functools.partial(optim.Adagrad, lr_decay=0.1, initial_accumulator_value=0.2),
    "adadelta": functools.partial(optim.Adadelta, rho=0.8),
    "adam, decoupled": functools.partial(optim.Adam, decoupled_weight_decay=True),
    "sgd, turned round": functools.partial(optim.SGD, momentum=0.9, dampening=0.2, maximize=True),
    "adamw, turned round": functools.partial(optim.AdamW, maximize=True),
    "rprop": functools.partial(optim.Rprop, etas=(0.4, 1.3)),
    "asgd": functools.partial(optim.ASGD, lambd=0.1, t0=5.0),
}


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12, check_dtype=False)


@pytest.mark.parametrize(
    ("name", "alike"),
    [*((name, False) for name in CASES if name not in ("rprop", "asgd")), *((n, True) for n in CASES)],
)
def test_a_memberwise_step_is_the_step_of_each_optimizer(name, alike):
    random = torch.Generator().manual_seed(0)
    lrs, decays = ((0.01,) * 3, (0.1,) * 3) if alike else ((0.003, 0.02, 0.01), (0.3, 0.0, 0.05))
    stack = [torch.randn(3, *shape, generator=random, dtype=torch.float64) for shape in ((2, 5), (3,), ())]
    own = [[p[member].clone() for p in stack] for member in range(3)]
    decayed = [{} if name == "rprop" else {"weight_decay": decay} for decay in decays]
    optimizers = [CASES[name](mine, lr=lr, **decay) for mine, lr, decay in zip(own, lrs, decayed, strict=True)]
    memberwise = Memberwise(stack, optimizers, own)
    assert memberwise.alike == alike
    step_beside(memberwise, optimizers, stack, own, random)
    for member, mine in enumerate(own):
        for p, value, state in zip(stack, mine, memberwise.state(), strict=True):
            close(p[member], value)
            for key, tensor in optimizers[member].state[value].items():
                if isinstance(tensor, Tensor):
                    close(state[key] if state[key].shape == tensor.shape else state[key][member], tensor)


def test_each_of_torchs_optimizers_steps_member_by_member_or_says_why_not():
    reasons = {}
    for name in OPTIMIZER_NAMES:
        kind = {each.lower(): getattr(optim, each) for each in dir(optim)}[name]
        made = kind([torch.zeros(2, 2, requires_grad=True)])
        assert bool(why_alone(made)) == (kind not in (*PROPORTIONAL, *ALIKE))
        if why_alone(made):
            reasons[name] = why_alone(made)
    assert reasons == {
        "adafactor": "a step of Adafactor may mix parameters",
        "lbfgs": "a step of LBFGS may mix parameters",
        "muon": "a step of Muon may mix parameters",
        "sparseadam": "a step of SparseAdam needs sparse gradients",
    }


FILES = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "optimizer").glob("*.yaml"))


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("muon", "sparse_adam", "exact")])
def test_every_optimizer_lowers_the_loss_and_resumes_to_the_same_numbers(name, tmp_path):
    words = [*POLYNOMIAL, f"optimizer={name}", "data.n_train=20", "trainer.log_every_n_epochs=1", "optimizer.lr=0.05"]
    for folder, epochs in (("whole", [4]), ("parts", [2, 4])):
        for part, max_epochs in enumerate(epochs):
            again = [f"resume={tmp_path / folder}"] if part else []
            assert run_here(tmp_path / folder, *words, f"trainer.max_epochs={max_epochs}", *again) == 0
    whole, parts = (MetricsFile(tmp_path / folder).rows() for folder in ("whole", "parts"))
    assert whole == parts
    assert whole[-1]["loss/train"] < whole[0]["loss/train"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("muon", r"optimizer=muon: steps for matrices alone, and net\.0\.bias has the shape \(1,\)"),
        (
            "sparse_adam",
            r"optimizer=sparse_adam: steps along sparse gradients alone, and net\.0\.weight has dense",
        ),
    ],
)
def test_what_can_not_work_is_refused_in_one_line(name, words, tmp_path):
    with pytest.raises(RequestError, match=words):
        run_here(tmp_path / "run", "model=linear_regression", f"optimizer={name}", "logger=none", part_of_sweep=False)
    assert not (tmp_path / "run").exists()


def test_muon_trains_matrices_and_sparse_adam_an_embedding(tmp_path):
    assert run_here(tmp_path / "run", *POLYNOMIAL, "optimizer=muon", "trainer.max_epochs=2", "model.bias=false") == 0

    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.EmbeddingBag(10, 1, mode="sum", sparse=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x[:, :1].abs().long().clamp(max=9))

    torch.manual_seed(0)
    module = RegressionModule(Embedded(), optimizer={"_target_": SPARSE_ADAM, "lr": 0.5})
    before = module.net.layer.weight.detach().clone()
    rows = fit(module, prepared(polynomial(), 0), [1, 5]).rows
    assert rows[-1]["loss/train"] < rows[0]["loss/train"]
    assert torch.equal(before[9], module.net.layer.weight[9]), "a row that no sample asks for"


def test_lbfgs_needs_lightnings_own_loop_and_solves_least_squares():
    data = prepared(polynomial(), 0, ("val",))
    data.batch_size = 33
    module = RegressionModule(LinearRegression(4, bias=False), optimizer={"_target_": "torch.optim.LBFGS"}).double()
    assert needs_lightning(module, data) == "LBFGS.step(closure)"
    rows = fit(module, data, [1, 2, 3], lightning=True, precision=torch.float64).rows
    x, y = data.splits["train"]
    exact = torch.linalg.lstsq(x.double(), y.double()).solution
    torch.testing.assert_close(module.net[0].weight.T, exact, rtol=1e-5, atol=1e-6)
    assert rows[0]["loss/train_running"] > rows[1]["loss/train_running"], "that of the weights before the step"
