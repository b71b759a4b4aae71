"""RegressionModule and ClassificationModule in a plain Trainer with plain DataLoaders and Lightning's own callbacks."""

import copy
import csv
import functools
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_d2l.modules import ClassificationModule, RegressionModule
from lightning_d2l.nets.linear import LinearRegression
from lightning_d2l.nets.mlp import MLP

QUIET = {
    "accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False,
    "enable_progress_bar": False, "enable_model_summary": False,
}  # fmt: skip
SGD = {"_target_": "torch.optim.SGD", "lr": 0.1}
MLP_CONFIG = {"_target_": "lightning_d2l.nets.mlp.MLP", "num_inputs": 4, "num_outputs": 3, "num_hiddens": [8]}


def samples(task: str, n: int, seed: int = 0) -> TensorDataset:
    """Features (n, 4) with classes (n,) or targets (n, 1)."""
    random = torch.Generator().manual_seed(seed)
    if task == "classification":
        y = torch.randint(3, (n,), generator=random)
        return TensorDataset(y[:, None] + torch.randn(n, 4, generator=random), y)
    x = torch.randn(n, 4, generator=random)
    return TensorDataset(x, x @ torch.tensor([[2.0], [-3.4], [1.0], [0.5]]) + torch.randn(n, 1, generator=random))


def batches(dataset: TensorDataset, shuffle: bool = False) -> DataLoader:
    return DataLoader(dataset, 32, shuffle=shuffle)


def create(task: str, optimizer="sgd", **settings) -> pl.LightningModule:
    torch.manual_seed(0)
    if task == "classification":
        return ClassificationModule(MLP(4, 3, [8]), optimizer=optimizer, **settings)
    return RegressionModule(LinearRegression(4), optimizer=optimizer, **settings)


def by_sklearn(outputs: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
    """The metrics of outputs (n, num_outputs) by name, without the split."""
    outputs = outputs.detach().double()
    if y.is_floating_point():
        return {"loss": mean_squared_error(y.double(), outputs)}
    p = outputs.softmax(1).numpy()
    y, p = np.asarray(y), np.asarray(p)
    return {"loss": log_loss(y, p, labels=range(p.shape[1])), "acc": accuracy_score(y, p.argmax(1))}


def of_split(metrics: dict, split: str) -> dict[str, float]:
    return {name.removesuffix(f"/{split}"): float(v) for name, v in metrics.items() if name.endswith(f"/{split}")}


def close(expected: dict[str, float]) -> object:
    return pytest.approx(expected, rel=1e-6, abs=1e-6)


def table(logger: CSVLogger) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(logger.log_dir, "metrics.csv").read_text().splitlines()))


class Measured(pl.Callback):
    """The metrics of the validation data after each epoch: as logged, and as scikit-learn computes them."""

    def __init__(self, dataset: TensorDataset) -> None:
        self.dataset = dataset
        self.logged: list[dict[str, float]] = []
        self.expected: list[dict[str, float]] = []

    def on_validation_end(self, trainer, module) -> None:
        if not trainer.sanity_checking:
            x, y = self.dataset.tensors
            self.expected.append(by_sklearn(module.net(x), y))
            self.logged.append(of_split(trainer.callback_metrics, "val"))


TASKS = pytest.mark.parametrize("task", ["classification", "regression"])


@TASKS
def test_every_default_of_the_trainer(task):
    train, val, test = samples(task, 103), samples(task, 45, 1), samples(task, 37, 2)
    module = ClassificationModule(MLP(4, 3)) if task == "classification" else RegressionModule(LinearRegression(4))
    before = copy.deepcopy(module.state_dict())
    trainer = pl.Trainer(max_epochs=2)
    trainer.fit(module, batches(train, shuffle=True), batches(val))
    assert any(not torch.equal(before[name], value.cpu()) for name, value in module.state_dict().items())
    assert (trainer.current_epoch, trainer.global_step) == (2, 8)
    fitted = of_split(trainer.callback_metrics, "val")
    assert of_split(trainer.callback_metrics, "train_running").keys() == fitted.keys()

    (validated,) = trainer.validate(module, batches(val))
    (tested,) = trainer.test(module, batches(test))
    outputs = {
        split: torch.cat(trainer.predict(module, batches(data))) for split, data in [("val", val), ("test", test)]
    }
    assert {name: v for name, v in fitted.items() if name in ("loss", "acc")} == close(
        by_sklearn(outputs["val"], val.tensors[1])
    )
    assert of_split(validated, "val") == pytest.approx(fitted, rel=1e-12)
    expected = by_sklearn(outputs["test"], test.tensors[1])
    assert {name: of_split(tested, "test")[name] for name in expected} == close(expected)

    path = trainer.checkpoint_callback.best_model_path
    loaded = type(module).load_from_checkpoint(path, weights_only=True)
    again = torch.cat(pl.Trainer(**QUIET).predict(loaded, batches(test)))
    torch.testing.assert_close(again, outputs["test"])
    resumed = pl.Trainer(max_epochs=3)
    resumed.fit(loaded, batches(train, shuffle=True), batches(val), ckpt_path=path, weights_only=True)
    assert (resumed.current_epoch, resumed.global_step) == (3, 12)


@TASKS
def test_curves_reach_csv_and_tensorboard(task):
    val = samples(task, 45, 1)
    loggers = [CSVLogger("curves"), TensorBoardLogger("curves", name="events")]
    watch = Measured(val)
    trainer = pl.Trainer(**{**QUIET, "logger": loggers}, max_epochs=3, callbacks=[watch], log_every_n_steps=1)
    trainer.fit(create(task), batches(samples(task, 103), shuffle=True), batches(val))
    rows = table(loggers[0])
    events = EventAccumulator(loggers[1].log_dir)
    events.Reload()
    for name in watch.expected[0]:
        assert [float(row[f"{name}/val"]) for row in rows if row[f"{name}/val"]] == pytest.approx(
            [expected[name] for expected in watch.expected], rel=1e-6
        )
        for split in ("train_running", "val"):
            of_csv = [float(row[f"{name}/{split}"]) for row in rows if row[f"{name}/{split}"]]
            assert len(of_csv) >= 3
            assert [e.value for e in events.Scalars(f"{name}/{split}")] == pytest.approx(of_csv, rel=1e-6)
    for logger in loggers:  # plain values alone, or the safe loader refuses them
        assert yaml.safe_load(Path(logger.log_dir, "hparams.yaml").read_text())


@TASKS
@pytest.mark.parametrize("steps", [0, 2, -1])
def test_the_sanity_check_leaves_nothing_in_the_first_validation(task, steps):
    val = samples(task, 133, 1)
    watch = Measured(val)
    trainer = pl.Trainer(**QUIET, max_epochs=2, callbacks=[watch], num_sanity_val_steps=steps)
    trainer.fit(create(task, SGD), batches(samples(task, 103), shuffle=True), batches(val))
    assert len(watch.logged) == 2
    for logged, expected in zip(watch.logged, watch.expected, strict=True):
        assert {name: logged[name] for name in expected} == close(expected)


@pytest.mark.parametrize(
    ("settings", "accumulate", "clip", "precision"),
    [
        ({}, 1, None, torch.float32),
        ({"accumulate_grad_batches": 3}, 3, None, torch.float32),
        ({"gradient_clip_val": 0.05}, 1, functools.partial(nn.utils.clip_grad_norm_, max_norm=0.05), torch.float32),
        (
            {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
            1, functools.partial(nn.utils.clip_grad_value_, clip_value=0.01), torch.float32,
        ),
        ({"precision": "bf16-mixed"}, 1, None, torch.bfloat16),
        ({"precision": "64-true"}, 1, None, torch.float64),
    ],
)  # fmt: skip
@TASKS
def test_weights_and_training_metrics_equal_those_of_a_loop_without_lightning(
    task, settings, accumulate, clip, precision
):
    module, loader = create(task, SGD), batches(samples(task, 103))
    net = copy.deepcopy(module.net).to(torch.float64 if precision == torch.float64 else torch.float32)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loss_of = functional.cross_entropy if task == "classification" else functional.mse_loss
    steps, losses = 0, []
    for _ in range(3):
        losses = []
        for number, batch in enumerate(loader):
            x, y = (t.to(net[-1].weight.dtype) if t.is_floating_point() else t for t in batch)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
                loss = loss_of(net(x), y)
            losses.append(loss.item() * len(x) / 103)
            (loss / accumulate).backward()
            if (number + 1) % accumulate == 0 or number + 1 == len(loader):
                if clip:
                    clip(net.parameters())
                optimizer.step()
                optimizer.zero_grad()
                steps += 1
    trainer = pl.Trainer(**QUIET, max_epochs=3, **settings)
    trainer.fit(module, loader)
    assert trainer.global_step == steps
    for name, weight in net.state_dict().items():
        torch.testing.assert_close(module.net.state_dict()[name], weight, rtol=1e-5, atol=1e-6)
    assert float(trainer.callback_metrics["loss/train_running"]) == pytest.approx(
        sum(losses), rel=5e-3 if precision == torch.bfloat16 else 1e-5
    )


@TASKS
def test_a_dict_of_validation_loaders_names_the_metrics(task):
    val, module = samples(task, 45, 1), create(task, SGD)
    trainer = pl.Trainer(**QUIET, max_epochs=2)
    train = samples(task, 103)
    trainer.fit(module, batches(train, shuffle=True), {"train": batches(train), "val": batches(val)})
    for split, dataset in (("train", train), ("val", val)):
        x, y = dataset.tensors
        expected, found = by_sklearn(module.net(x), y), of_split(trainer.callback_metrics, split)
        assert {name: found[name] for name in expected} == close(expected), split


@pytest.mark.parametrize("method", ["validate", "test"])
@TASKS
def test_a_list_of_loaders_gives_the_metrics_of_each(task, method):
    module, several = create(task), [samples(task, 45, 1), samples(task, 70, 2)]
    results = getattr(pl.Trainer(**QUIET), method)(module, [batches(dataset) for dataset in several])
    found = {name: value for result in results for name, value in result.items()}
    for metric, values in by_metric(by_sklearn(module.net(d.tensors[0]), d.tensors[1]) for d in several).items():
        logged = [value for name, value in found.items() if name.startswith(f"{metric}/")]
        assert sorted(logged) == pytest.approx(sorted(values), rel=1e-6, abs=1e-6)


def by_metric(found) -> dict[str, list[float]]:
    found = list(found)
    return {name: [one[name] for one in found] for name in found[0]}


@TASKS
def test_the_names_of_loaders_are_those_of_the_call(task):
    trainer, module, train, val = pl.Trainer(**QUIET, max_epochs=1), create(task), samples(task, 40), samples(task, 20)
    trainer.fit(module, batches(train), batches(val))
    (first, *_) = trainer.validate(module, {"seen": batches(train), "unseen": batches(val)})
    assert {"loss/seen", "loss/unseen"} <= first.keys()
    (second,) = trainer.validate(module, batches(val))
    assert second["loss/val"] == pytest.approx(first["loss/unseen"])


@pytest.mark.parametrize(
    ("task", "change"),
    [
        ("regression", lambda y: y[:, 0]),
        ("regression", torch.Tensor.double),
        ("classification", torch.Tensor.int),
        ("classification", lambda y: y.to(torch.uint8)),
    ],
    ids=["(n,)", "float64", "int32", "uint8"],
)
def test_targets_of_another_shape_or_type_are_the_same_task(task, change):
    x, y = samples(task, 103).tensors
    found = []
    for targets in (y, change(y)):
        module, trainer = create(task, SGD), pl.Trainer(**QUIET, max_epochs=2)
        loader = batches(TensorDataset(x, targets))
        trainer.fit(module, loader, loader)
        found.append((module.state_dict(), {name: v.item() for name, v in trainer.callback_metrics.items()}))
    torch.testing.assert_close(*(weights for weights, _ in found))
    assert found[1][1] == pytest.approx(found[0][1], rel=1e-6)
    if task == "regression":
        assert found[0][1]["loss/val"] < y.var()


@TASKS
def test_bfloat16_outputs_are_measured_against_targets_of_full_precision(task):
    val, module = samples(task, 45), create(task)
    trainer = pl.Trainer(**QUIET, precision="bf16-mixed")
    (found,) = trainer.validate(module, batches(val))
    outputs = torch.cat(trainer.predict(module, batches(val)))
    assert outputs.dtype == torch.bfloat16
    expected = by_sklearn(outputs, val.tensors[1])
    assert {name: found[f"{name}/val"] for name in expected} == close(expected)


@pytest.mark.parametrize("method", ["fit", "validate", "test"])
@pytest.mark.parametrize(
    ("task", "y", "shapes"),
    [
        ("regression", torch.zeros(8, 2), [r"\(8, 1\)", r"\(8, 2\)"]),
        ("classification", torch.zeros(8, 2, dtype=torch.long), [r"\(8, 3\)", r"\(8, 2\)"]),
    ],
)
def test_shapes_that_do_not_fit_are_named(task, y, shapes, method):
    loader = DataLoader(TensorDataset(torch.zeros(8, 4), y), 8)
    with pytest.raises(ValueError, match=shapes[0]) as error:
        getattr(pl.Trainer(**QUIET, max_epochs=1), method)(create(task), loader)
    error.match(shapes[1])


@TASKS
def test_predictions_are_the_outputs_with_or_without_targets(task):
    dataset, module = samples(task, 45), create(task)
    x = dataset.tensors[0]
    trainer, loaders = pl.Trainer(**QUIET), [DataLoader(inputs, 32) for inputs in (dataset, x, TensorDataset(x))]
    for parts in [*(trainer.predict(module, loader) for loader in loaders), *trainer.predict(module, loaders)]:
        torch.testing.assert_close(torch.cat(parts), module.net(x).detach())


@TASKS
def test_steps_work_without_a_trainer(task):
    module, batch = create(task, SGD), samples(task, 20).tensors
    optimizer, losses = module.configure_optimizers(), []
    for _ in range(3):
        losses.append(module.training_step(batch, 0))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[0] > losses[1] > losses[2]
    assert torch.equal(module.predict_step(batch, 0), module.net(batch[0]))


OPTIMIZERS = {
    "sgd": ("sgd", torch.optim.SGD, {}),
    "adam": ("adam", torch.optim.Adam, {}),
    "adamw": ("adamw", torch.optim.AdamW, {}),
    "rmsprop": ("rmsprop", torch.optim.RMSprop, {}),
    "description": (SGD, torch.optim.SGD, {"lr": 0.1}),
    "description with more": (
        {"_target_": "torch.optim.Adam", "lr": 0.02, "betas": [0.8, 0.9]}, torch.optim.Adam, {"lr": 0.02},
    ),
    "class": (torch.optim.Adam, torch.optim.Adam, {}),
    "partial": (functools.partial(torch.optim.SGD, lr=0.3), torch.optim.SGD, {"lr": 0.3}),
    "callable": (lambda parameters: torch.optim.Adam(parameters, lr=0.2), torch.optim.Adam, {"lr": 0.2}),
}  # fmt: skip


@pytest.mark.parametrize("form", OPTIMIZERS)
def test_each_form_of_the_optimizer_trains_and_its_checkpoint_is_plain(form):
    optimizer, kind, settings = OPTIMIZERS[form]
    dataset = samples("classification", 103)
    module = create("classification", optimizer)
    trainer = pl.Trainer(**QUIET, max_epochs=1)
    trainer.fit(module, batches(dataset))
    (built,) = trainer.optimizers
    assert type(built) is kind
    assert {p for group in built.param_groups for p in group["params"]} == set(module.parameters())
    assert all(group[name] == value for group in built.param_groups for name, value in settings.items())
    if form != "adamw":  # its weight decay splits the parameters into two groups
        net = create("classification").net
        expected = kind(net.parameters(), **settings)
        if form == "description with more":
            expected.param_groups[0]["betas"] = (0.8, 0.9)
        for x, y in batches(dataset):
            expected.zero_grad()
            functional.cross_entropy(net(x), y).backward()
            expected.step()
        torch.testing.assert_close(module.net.state_dict(), net.state_dict(), rtol=1e-5, atol=1e-6)
    trainer.save_checkpoint("plain.ckpt")
    checkpoint = torch.load("plain.ckpt", weights_only=True)
    json.dumps(checkpoint["hyper_parameters"])
    loaded = ClassificationModule.load_from_checkpoint("plain.ckpt", weights_only=True)
    torch.testing.assert_close(loaded.state_dict(), module.state_dict(), rtol=0, atol=0)


def test_default_weight_decay_acts_on_weights_alone():
    groups = ClassificationModule(MLP(4, 3, [8]), optimizer="adamw").configure_optimizers().param_groups
    decay = {p.dim(): group["weight_decay"] for group in groups for p in group["params"]}
    assert decay == {2: 0.01, 1: 0.0}


@pytest.mark.parametrize(("argument", "value"), [("optimizer", "sdg"), ("loss", "crossentropy")])
def test_an_unknown_name_is_named(argument, value):
    with pytest.raises(ValueError, match=value):
        ClassificationModule(MLP(4, 3), **{argument: value}).configure_optimizers()


class Stranger(nn.Module):
    """A network of which the package knows nothing."""

    def __init__(self, hidden: nn.Module) -> None:
        super().__init__()
        self.hidden, self.last = hidden, nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.hidden(x).tanh())


@pytest.mark.parametrize("kind", ["description", "of nets/", "any other"])
def test_a_checkpoint_loads_without_the_program_that_wrote_it(kind):
    net = {
        "description": MLP_CONFIG,
        "of nets/": MLP(4, 3, num_hiddens=[8, 6], activation="tanh", dropout=0.5),
        "any other": Stranger(nn.Linear(4, 5)),
    }[kind]
    module = ClassificationModule(net, loss="one_hot_mse", optimizer=SGD, penalty={"l1": 0.0, "l2": 0.1})
    trainer = pl.Trainer(**QUIET, max_epochs=1)
    trainer.fit(module, batches(samples("classification", 40)))
    trainer.save_checkpoint("one.ckpt")
    plain = torch.load("one.ckpt", weights_only=True)["hyper_parameters"]
    json.dumps(plain)
    again = {"net": Stranger(nn.Linear(4, 5))} if kind == "any other" else {}
    loaded = ClassificationModule.load_from_checkpoint("one.ckpt", weights_only=True, **again)
    x, y = samples("classification", 40).tensors
    assert str(loaded.net) == str(module.net)
    torch.testing.assert_close(loaded.eval()(x), module.eval()(x))
    torch.testing.assert_close(*(m.objective((x, y))[0] for m in (loaded, module)))  # the same loss and penalty
    assert loaded.configure_optimizers().param_groups[0]["lr"] == 0.1
    if kind == "any other":
        with pytest.raises(TypeError, match="net"):
            ClassificationModule.load_from_checkpoint("one.ckpt", weights_only=True)


@pytest.mark.parametrize("how", ["module", "net"])
def test_a_compiled_module_trains_as_an_uncompiled_one(how):
    graphs = []

    def backend(graph, inputs):  # runs each graph as it is, without a compiler
        graphs.append(graph)
        return graph.forward

    module, plain = create("classification", SGD), create("classification", SGD)
    dataset = samples("classification", 96)
    torch._dynamo.reset()
    if how == "net":
        module.net = torch.compile(module.net, backend=backend)
    fitted = torch.compile(module, backend=backend) if how == "module" else module
    found = []
    for one in (fitted, plain):
        trainer = pl.Trainer(**QUIET, max_epochs=2)
        trainer.fit(one, batches(dataset), batches(dataset))
        found.append({name: v.item() for name, v in trainer.callback_metrics.items()})
    assert graphs
    for mine, theirs in zip(module.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_early_stopping_counts_epochs_without_improvement():
    frozen = create("classification", {"_target_": "torch.optim.SGD", "lr": 0.0})
    dataset, stop = samples("classification", 60), EarlyStopping(monitor="loss/val", patience=2)
    trainer = pl.Trainer(**QUIET, max_epochs=10, callbacks=[stop])
    trainer.fit(frozen, batches(dataset), batches(dataset))
    assert (trainer.current_epoch, stop.stopped_epoch, trainer.global_step) == (3, 2, 6)


@pytest.mark.parametrize("settings", [{}, {"val_check_interval": 2}])
def test_model_checkpoint_keeps_the_best_by_a_metric(settings):
    val = samples("regression", 45, 1)
    watch = Measured(val)
    keep = ModelCheckpoint("kept", monitor="loss/val", save_top_k=2, save_last=True)
    trainer = pl.Trainer(**{**QUIET, "enable_checkpointing": True}, max_epochs=4, callbacks=[watch, keep], **settings)
    module = create("regression", {"_target_": "torch.optim.SGD", "lr": 0.03})
    trainer.fit(module, batches(samples("regression", 128), shuffle=True), batches(val))
    losses = [logged["loss"] for logged in watch.logged]
    assert len(losses) == 4 * (2 if settings else 1)
    assert sorted(v.item() for v in keep.best_k_models.values()) == pytest.approx(sorted(losses)[:2])
    best = RegressionModule.load_from_checkpoint(keep.best_model_path, weights_only=True)
    (found,) = pl.Trainer(**QUIET).validate(best, batches(val))
    assert found["loss/val"] == pytest.approx(min(losses), rel=1e-6)
    assert len(list(Path("kept").glob("epoch*.ckpt"))) == 2


class Scheduled(ClassificationModule):
    """A subclass that halves the learning rate after each epoch, as Lightning's documentation shows it."""

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)}


def test_learning_rate_monitor_logs_each_epochs_rate():
    module = Scheduled(MLP(4, 3, [8]), optimizer=SGD)
    logger = CSVLogger("rates")
    trainer = pl.Trainer(
        **{**QUIET, "logger": logger}, max_epochs=3, callbacks=[LearningRateMonitor("epoch")], log_every_n_steps=1
    )
    trainer.fit(module, batches(samples("classification", 60)))
    rows = table(logger)
    assert [float(row["lr-SGD"]) for row in rows if row["lr-SGD"]] == [0.1, 0.05, 0.025]


class Hooks(pl.Callback):
    """How often each hook is called, with the numbers of the batches and what a training step returned."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.batches: list[tuple[int, int]] = []
        self.losses: list[float] = []
        self.before: list[int] = []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.before.append(trainer.global_step)
        self.count["on_train_batch_start"] += 1

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.batches.append((trainer.current_epoch, batch_idx))
        self.losses.append(outputs["loss"].item())
        assert len(batch[0]) in (32, 7)
        self.count["on_train_batch_end"] += 1


def counted(name: str):
    def hook(self, *_):
        self.count[name] += 1

    return hook


for _name in (
    "on_sanity_check_start", "on_fit_start", "on_train_start", "on_train_epoch_start", "on_before_backward",
    "on_after_backward", "on_before_optimizer_step", "on_before_zero_grad", "on_train_epoch_end",
    "on_validation_start", "on_validation_epoch_start", "on_validation_epoch_end", "on_validation_end",
    "on_train_end", "on_fit_end",
):  # fmt: skip
    setattr(Hooks, _name, counted(_name))
for _name in ("on_validation_batch_start", "on_validation_batch_end"):  # Lightning reads their arguments' names

    def _hook(self, trainer, module, *_, _name=_name, **__):
        self.count[_name + (" of the sanity check" if trainer.sanity_checking else "")] += 1

    setattr(Hooks, _name, _hook)


@pytest.mark.parametrize("accumulate", [1, 2])
@TASKS
def test_each_hook_is_called_as_often_as_documented(task, accumulate):
    epochs, hooks = 3, Hooks()
    train, val = batches(samples(task, 103), shuffle=True), batches(samples(task, 70, 1))  # 4 and 3 batches
    trainer = pl.Trainer(**QUIET, max_epochs=epochs, callbacks=[hooks], accumulate_grad_batches=accumulate)
    trainer.fit(create(task), train, val)
    steps = 4 // accumulate
    assert hooks.count == {
        "on_sanity_check_start": 1, "on_fit_start": 1, "on_train_start": 1, "on_train_end": 1, "on_fit_end": 1,
        "on_train_epoch_start": epochs, "on_train_epoch_end": epochs,
        "on_train_batch_start": 4 * epochs, "on_train_batch_end": 4 * epochs,
        "on_before_backward": 4 * epochs, "on_after_backward": 4 * epochs,
        "on_before_optimizer_step": steps * epochs, "on_before_zero_grad": steps * epochs,
        "on_validation_start": epochs + 1, "on_validation_end": epochs + 1,
        "on_validation_epoch_start": epochs + 1, "on_validation_epoch_end": epochs + 1,
        "on_validation_batch_start": 3 * epochs, "on_validation_batch_end": 3 * epochs,
        "on_validation_batch_start of the sanity check": 2, "on_validation_batch_end of the sanity check": 2,
    }  # fmt: skip
    assert hooks.batches == [(epoch, batch) for epoch in range(epochs) for batch in range(4)]
    assert hooks.before == [epoch * steps + batch // accumulate for epoch, batch in hooks.batches]
    assert all(math.isfinite(loss) for loss in hooks.losses)
