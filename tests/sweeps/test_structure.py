"""Which runs train together: those that differ in values alone, and the runs of every shipped study."""

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lightning_d2l.config import registry
from lightning_d2l.config.rules import ANYTHING
from lightning_d2l.data.fashion_mnist import FashionMNISTData
from lightning_d2l.sweeps.compose import Composer
from lightning_d2l.sweeps.group import member_of
from lightning_d2l.sweeps.structure import CannotStack, structure
from lightning_d2l.training.build import build
from lightning_d2l.training.spec import RunSpec
from tests.runs import config
from tests.sweeps.test_compose import STUDIES, hydra, jobs_of

BASE = {
    "regression": ["model=polynomial_regression", "data.n_train=30", "trainer.max_epochs=3", "trainer.accelerator=cpu"],
    "mlp": [
        "model=mlp", "data=polynomial", "data.n_train=30", "model.num_hiddens=[4,4]", "model.dropout=0.2",
        "model.input_noise=0.1", "optimizer=adam", "trainer.accelerator=cpu", "trainer.max_epochs=3",
    ],
}  # fmt: skip


def structure_of(settings: dict[str, Any]) -> Hashable:
    built = build(RunSpec(settings, Path("run"), number=0))
    return structure(built, member_of(built))


def composed(base: str, *words: str) -> dict[str, Any]:
    return config(*BASE[base], *words)


@pytest.fixture(scope="module")
def of_base() -> dict[str, Hashable]:
    return {base: structure_of(composed(base)) for base in BASE}


@pytest.mark.parametrize(
    ("base", "word"),
    [
        *itertools.product(BASE, ["seed=7", "data.seed=7", "data.noise=0.5", "data.coefficients=[1,2]"]),
        *itertools.product(BASE, ["optimizer.lr=0.5", "optimizer.weight_decay=0.3", "data.test_seed=3"]),
        ("regression", "data.degree=9"),
        ("regression", "data.factorial=false"),
        ("regression", "model.init.std=0.5"),
        ("mlp", "model.init={name:kaiming}"),
        ("mlp", "model.init=zeros"),
        ("mlp", "model.dropout=[0.5,0.1]"),
        ("mlp", "model.input_noise=2"),
    ],
)
def test_jobs_that_differ_in_values_train_together(base, word, of_base):
    assert structure_of(composed(base, word)) == of_base[base]


@pytest.mark.parametrize(
    ("base", "word"),
    [
        *itertools.product(BASE, ["data.batch_size=7", "data.n_train=31"]),
        *itertools.product(BASE, ["trainer.max_epochs=4", "trainer.log_every_n_epochs=2", "trainer.evaluate=[test]"]),
        *itertools.product(BASE, ["trainer.precision=64-true", "loss=half_mse", "penalty.l1=0.1", "gradients=true"]),
        ("regression", "data.n_val=7"),
        ("regression", "optimizer.momentum=0.5"),
        ("regression", "optimizer=exact"),
        ("regression", "optimizer=sgd_scratch"),
        ("regression", "model.bias=true"),
        ("regression", "model.dropout=0.5"),
        ("mlp", "optimizer.betas=[0.5,0.999]"),
        ("mlp", "optimizer=adamw"),
        ("mlp", "model.num_hiddens=[4,5]"),
        ("mlp", "model.num_hiddens=[4]"),
        ("mlp", "model.activation=tanh"),
        ("mlp", "model.input_noise=0"),
        ("mlp", "data.degree=5"),  # more noise on the inputs
    ],
)
def test_jobs_of_another_structure_train_apart(base, word, of_base):
    assert structure_of(composed(base, word)) != of_base[base]


@pytest.mark.parametrize("words", [["penalty.l1=0.1"], ["optimizer=exact", "penalty.l2=0.1"], ["model.dropout=0.1"]])
def test_degrees_train_apart_where_zeros_behind_the_features_would_show(words):
    """In the share of weights that are 0, and in the random numbers that are drawn for the features."""
    assert structure_of(composed("regression", *words)) != structure_of(composed("regression", *words, "data.degree=5"))


class OneLayer(nn.Module):
    def __init__(self, num_inputs: int, num_outputs: int, **settings: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(num_inputs, num_outputs)
        for name, value in settings.items():
            setattr(self, name, value)


class Scaled(OneLayer):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * self.layer(x)


class SameWeightTwice(OneLayer):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.tanh(x)) + self.layer(x)


class Frozen(OneLayer):
    def __init__(self, **sizes: int) -> None:
        super().__init__(**sizes)
        self.layer.bias.requires_grad_(False)

    forward = SameWeightTwice.forward


class Normalised(OneLayer):
    def __init__(self, **sizes: int) -> None:
        super().__init__(**sizes, norm=nn.BatchNorm1d(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.layer(x))


class Counting(OneLayer):
    passes = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return self.layer(x) / self.passes


class Remembering(OneLayer):
    def __init__(self, **sizes: int) -> None:
        super().__init__(**sizes, seen=[])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(x))
        return self.layer(x)


class Mixing(torch.optim.SGD):
    """An optimizer whose step depends on all parameters together."""

    def step(self, closure: Any = None) -> None:
        parameters = [p for group in self.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        super().step()


class Unused(OneLayer):
    def __init__(self, **sizes: int) -> None:
        super().__init__(**sizes, other=nn.Linear(2, 2, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


@pytest.fixture
def own_model(monkeypatch):
    """Settings of a custom model, which a person has registered."""

    def settings(model: type[nn.Module], *words: str, **more: Any) -> dict[str, Any]:
        target = f"{__name__}.{model.__name__}"
        monkeypatch.setitem(registry.MODELS, target, ANYTHING)
        return composed("regression", *words) | {"model": {"_target_": target, **more}}

    return settings


def test_settings_of_a_custom_model_are_compared(own_model):
    two = own_model(Scaled, scale=2.0)
    assert structure_of(two) == structure_of(own_model(Scaled, "seed=3", scale=2.0))
    assert structure_of(two) == structure_of(own_model(Scaled, "data.degree=7", scale=2.0))
    assert structure_of(two) != structure_of(own_model(Scaled, scale=3.0))
    assert structure_of(two) != structure_of(own_model(SameWeightTwice, scale=2.0))


def test_a_weight_of_more_than_the_features_is_not_widened(own_model):
    first, second = own_model(SameWeightTwice), own_model(SameWeightTwice, "data.degree=7")
    assert structure_of(first) != structure_of(second)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Frozen, "layer.bias is not trained"),
        (Normalised, "norm.running_mean changes in training"),
        (Counting, "passes changes in training"),
        (Remembering, "seen changes in training"),
    ],
)
def test_what_an_ensemble_can_not_do_trains_alone(model, reason, own_model):
    with pytest.raises(CannotStack, match=reason):
        structure_of(own_model(model))


def test_weight_decay_on_what_is_not_used_trains_alone(own_model):
    """Torch's optimizers skip a parameter that has no gradient, which in an ensemble would be 0."""
    assert structure_of(own_model(Unused)) == structure_of(own_model(Unused, "seed=3"))
    with pytest.raises(CannotStack, match=r"other\.weight is not used, and weight decay would change it"):
        structure_of(own_model(Unused, "optimizer.weight_decay=0.1"))


def test_a_subclass_of_an_elementwise_optimizer_trains_alone(monkeypatch):
    monkeypatch.setitem(registry.OPTIMIZERS, f"{__name__}.Mixing", registry.OPTIMIZERS["torch.optim.SGD"])
    settings = composed("regression")
    settings["optimizer"] = settings["optimizer"] | {"_target_": f"{__name__}.Mixing"}
    with pytest.raises(CannotStack, match="a step of Mixing may mix parameters"):
        structure_of(settings)


def test_a_run_of_lightnings_own_loop_trains_alone():
    with pytest.raises(CannotStack, match=r"trainer\.engine=lightning"):
        structure_of(composed("regression", "trainer.engine=lightning"))


# Each study's groups, for two of its seeds: one for each choice that is more than a value.
GROUPS = {
    "activation": 13,  # depths 1, 2, 4 by 4 activations; without a hidden layer the activation is of no layer
    "bias_variance": 1,
    "capacity": 2,  # descended and solved, all degrees at once
    "depth_init": 10,  # 5 depths by 2 activations; initialisations are values
    "double_descent": 14,  # sample sizes
    "double_descent_random_features": 14,  # widths
    "dropout": 6,  # 3 sample sizes, with and without a dropout layer
    "dropout_linear": 2,  # with and without a dropout layer
    "input_noise": 2,
    "kfold": 1,
    "l1_l2": 1,
    "learning_rate": 3,  # batch sizes
    "phm": 5,  # n
    "random_labels": 1,
    "sample_size": 7,
    "schedule": 3,  # none, by epoch, by step
    "training_time": 1,
    "weight_decay": 2,  # numbers of epochs
    "width": 8,
    "width_fashion_mnist": 9,
}


def two_of_each(jobs: list[list[str]]) -> Iterable[list[str]]:
    """The jobs of the first two seeds, of which each pair must train together."""
    return [job for job in jobs if {"seed=0", "seed=1"} & {*job}]


@pytest.mark.parametrize("study", GROUPS)
def test_the_jobs_of_a_study_train_together(study, monkeypatch):
    monkeypatch.setattr(FashionMNISTData, "draw", noise_for_images)
    with hydra(f"study={study}") as (loader, master):
        composer = Composer(loader, master)
        settings = [composer.settings(job) for job in two_of_each(jobs_of(loader, master, [f"study={study}"]))]
    sizes = Counter(structure_of(each) for each in settings)
    assert len(sizes) == GROUPS[study]
    assert min(sizes.values()) >= 2


def noise_for_images(data: FashionMNISTData) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Splits of the sizes that Fashion-MNIST's would have, but for a small test split."""
    width = data.resize or 28
    return {
        split: (torch.zeros(n, width, width, dtype=torch.uint8), torch.zeros(n, dtype=torch.int64))
        for split, n in {"train": data.n_train, "val": data.val_size, "test": 10}.items()
    }


def test_every_study_that_is_a_grid_is_among_them():
    """A search tries other widths and depths in each trial, which train together where they happen to agree."""
    assert {*GROUPS, "search_mlp"} == {*STUDIES}
