"""The scratch models and optimizer as runs: trained by Lightning, resumed, loaded, and equal to their torch twins."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from lightning_d2l.data.batches import as_input
from lightning_d2l.scratch.linear_regression import LinearRegressionScratch
from lightning_d2l.scratch.mlp import MLPScratch
from lightning_d2l.scratch.softmax_regression import accuracy, cross_entropy_with_logits
from lightning_d2l.training.build import build_data, build_module
from lightning_d2l.training.checkpoint import load_checkpoint
from lightning_d2l.training.files import LAST
from lightning_d2l.training.record import RunRecord
from tests.runs import config, run_here

PLAIN = ["logger=none", "trainer.accelerator=cpu"]
SMALL = [*PLAIN, "data.source=generated", "data.n_train=500", "data.val_size=200", "trainer.max_epochs=2"]


def net_weights(folder):
    state = load_checkpoint(folder / LAST)["state_dict"]
    return {name.removeprefix("net."): value for name, value in state.items()}


def test_linear_regression_from_scratch_equals_the_concise_one(tmp_path):
    # From zeros, in float64: only the implementations of the model, the loss and the optimizer differ.
    exact = [*PLAIN, "trainer.precision=64-true"]
    scratch = ["model=linear_regression_scratch", "optimizer=sgd_scratch", "model.std=0"]
    concise = ["model=linear_regression", "model.init=zeros", "loss=half_mse"]
    for decay in (0.0, 0.5):
        metrics = []
        for name, overrides in (("scratch", scratch), ("concise", concise)):
            folder = tmp_path / f"{name}-{decay}"
            assert run_here(folder, *overrides, *exact, f"optimizer.weight_decay={decay}") == 0
            metrics.append(RunRecord.read(folder).fields["metrics"]["final"])
        assert metrics[0] == pytest.approx(metrics[1], rel=1e-9)
        assert (metrics[0]["loss/test"] < 6e-5) == (decay == 0)
        weights, reference = net_weights(tmp_path / f"scratch-{decay}"), net_weights(tmp_path / f"concise-{decay}")
        bias, weight = (value for _, value in sorted(reference.items()))
        torch.testing.assert_close(weights["w"].T, weight, rtol=1e-9, atol=0)
        torch.testing.assert_close(weights["b"], bias, rtol=1e-9, atol=0)


def test_a_resumed_run_from_scratch_is_bit_identical_and_loads_again(tmp_path):
    words = ["model=mlp_scratch", "optimizer=sgd_scratch", "model.num_hiddens=32", *SMALL]
    assert run_here(tmp_path / "whole", *words) == 0
    assert run_here(tmp_path / "halves", *words, "trainer.max_epochs=1") == 0
    assert run_here(tmp_path / "halves", *words, f"resume={tmp_path / 'halves'}") == 0
    state, resumed = net_weights(tmp_path / "whole"), net_weights(tmp_path / "halves")
    assert state.keys() == {"W1", "b1", "W2", "b2"}
    assert all(torch.equal(value, resumed[name]) for name, value in state.items())

    record = RunRecord.read(tmp_path / "whole").fields
    assert (record["model"], record["num_parameters"]) == ("MLPScratch", 784 * 32 + 32 + 32 * 10 + 10)
    net = MLPScratch(784, 10, 32)
    net.load_state_dict(state)
    x, y = build_data(config(*words)).splits["test"]
    logits = net(as_input(x, torch.float32)).detach().double()
    assert record["metrics"]["final"]["acc/test"] == pytest.approx(accuracy(logits, y))
    assert record["metrics"]["final"]["loss/test"] == pytest.approx(
        cross_entropy_with_logits(logits, y).mean().item(), rel=1e-5
    )


TWINS = {
    "softmax": (["model=softmax_regression_scratch"], ["model=softmax_regression"]),
    "mlp": (["model=mlp_scratch", "model.num_hiddens=24"], ["model=mlp", "model.num_hiddens=24"]),
    "dropout": (
        ["model=dropout_mlp_scratch", "model.num_hiddens=[24,16]"],
        ["model=mlp", "model.num_hiddens=[24,16]", "model.dropout=[0.2,0.5]", "optimizer.lr=0.5"],
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_lightning_trains_the_scratch_twin_to_the_weights_of_the_torch_one(name):
    scratch_words, torch_words = TWINS[name]
    first = config(*scratch_words, "optimizer=sgd_scratch", *SMALL, "trainer.precision=64-true")
    second = config(*torch_words, *SMALL, "trainer.precision=64-true")
    scratch, net = (build_module(settings, build_data(settings)) for settings in (first, second))
    parameters = dict(scratch.net.named_parameters())
    weights, biases = ([p for n, p in parameters.items() if n[0] == kind] for kind in "Wb")
    linears = [layer for layer in net.net.modules() if isinstance(layer, nn.Linear)]
    for linear, W, b in zip(linears, weights, biases, strict=True):
        linear.load_state_dict({"weight": W.detach().T, "bias": b.detach()})
    before = [W.detach().clone() for W in weights]
    assert _fit(scratch, first) == pytest.approx(_fit(net, second), rel=1e-6)
    for linear, W, b, start in zip(linears, weights, biases, before, strict=True):
        torch.testing.assert_close(W.T, linear.weight, rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(b, linear.bias, rtol=1e-6, atol=1e-12)
        assert (W - start).norm() > 1e-3 * start.norm()


def _fit(module, settings):
    """Train for two epochs by Lightning's own loop; returns the logged metrics."""
    torch.manual_seed(0)  # the masks
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, precision="64-true",
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, build_data(settings))
    metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert metrics.keys() >= {"loss/train_running", "acc/train_running", "loss/val", "acc/val"}
    return metrics


def test_without_a_bias_only_the_weights_are_trained_and_saved():
    net = LinearRegressionScratch(4, bias=False)
    assert list(net.state_dict()) == ["w"]
    x = torch.randn(5, 4)
    torch.testing.assert_close(net(x), x @ net.w)
