import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from lightning_d2l.config import registry
from lightning_d2l.nets.blocks import FixedHiddenMLP, MLPBlock, MySequential, MySequentialMLP, NestedMLP, TiedMLP
from lightning_d2l.nets.mlp import MLP
from lightning_d2l.nets.phm import PHMMLP
from lightning_d2l.training.checkpoint import load_checkpoint
from lightning_d2l.training.files import LAST
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.reuse import load_run, predict
from tests.runs import run_here

TRAINED = {
    "mlp_block": 203_530,
    "my_sequential": 203_530,
    "nested_mlp": 784 * 64 + 64 + 64 * 32 + 32 + 32 * 10 + 10,
    "phm_mlp": 50_240 + 256 + 2_570,
    "fixed_hidden_mlp": 20 * 20 + 20,
    "tied_mlp": (4 * 8 + 8) + (8 * 8 + 8) + (8 + 1),
}


def test_shapes_of_the_book():
    x = torch.rand(2, 20)
    for net in (MLPBlock(20, 10), MySequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 10)), NestedMLP(20, 10)):
        assert net(x).shape == (2, 10)
    chimera = MySequential(NestedMLP(20, 16), nn.Linear(16, 20), FixedHiddenMLP(20))
    assert chimera(x).shape == ()
    assert TiedMLP(4, 1)(torch.rand(2, 4)).shape == (2, 1)


@pytest.mark.parametrize("block", [MLPBlock, MySequentialMLP, lambda *sizes: NestedMLP(*sizes[:2], [sizes[2]])])
def test_every_form_of_the_perceptron_is_the_same_function(block):
    x = torch.randn(5, 2, 3)
    ours, reference = block(6, 3, 7), MLP(6, 3, 7)
    assert [p.shape for p in ours.parameters()] == [p.shape for p in reference.parameters()]
    reference.load_state_dict(dict(zip(reference.state_dict(), ours.state_dict().values(), strict=True)))
    torch.testing.assert_close(ours(x), reference(x))


def test_my_sequential_registers_its_blocks_as_torchs_does():
    shared = nn.Linear(4, 4)
    layers = [nn.Linear(3, 4), shared, nn.ReLU(), shared, nn.Linear(4, 2)]
    ours, theirs = MySequential(*layers), nn.Sequential(*layers)
    x = torch.randn(5, 3)
    assert torch.equal(ours(x), theirs(x))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert list(ours.children()) == list(theirs.children())


def by_hand(net: FixedHiddenMLP, x: np.ndarray) -> float:
    """The book's function, in numpy."""
    weight, bias = (p.detach().numpy() for p in (net.linear.weight, net.linear.bias))
    hidden = np.maximum((x @ weight.T + bias) @ net.rand_weight.numpy() + 1, 0)
    output = hidden @ weight.T + bias
    while np.abs(output).sum() > 1:
        output = output / 2
    return float(output.sum())


def test_fixed_hidden_mlp_halves_until_the_absolute_sum_is_at_most_one():
    torch.manual_seed(0)
    whole = FixedHiddenMLP(20, num_hiddens=7).double()
    each = FixedHiddenMLP(20, 1, 7, per_sample=True).double()
    each.load_state_dict(whole.state_dict())
    x = 30 * torch.rand(4, 20, dtype=torch.float64) * torch.tensor([[0.0], [0.01], [1.0], [100.0]])
    assert whole(x).shape == ()
    assert whole(x).item() == pytest.approx(by_hand(whole, x.numpy()))
    assert abs(whole(x).item()) <= 1
    assert each(x).shape == (4, 1)
    assert each(x).flatten().tolist() == pytest.approx([by_hand(each, row.numpy()) for row in x.split(1)])


def test_fixed_hidden_mlp_terminates_on_infinite_inputs():
    net = FixedHiddenMLP(3)
    assert abs(net(torch.full((1, 3), 1e37)).item()) <= 1
    assert not math.isfinite(net(torch.full((1, 3), math.inf)).item())


def test_the_constant_weight_is_saved_and_moved_and_not_trained():
    net = FixedHiddenMLP(20)
    assert "rand_weight" in net.state_dict()
    assert [name for name, _ in net.named_parameters()] == ["linear.weight", "linear.bias"]
    assert net.to("meta").rand_weight.device.type == "meta"
    assert net.double().rand_weight.dtype == torch.float64
    with pytest.raises(ValueError, match="num_outputs=2: must be 1"):
        FixedHiddenMLP(20, 2)


def test_tied_layers_add_their_gradients():
    torch.manual_seed(0)
    tied = TiedMLP(4, 1)
    untied = nn.Sequential(*(nn.Linear(m.in_features, m.out_features) if isinstance(m, nn.Linear) else m for m in tied))
    untied.load_state_dict(tied.state_dict())
    x, y = torch.randn(6, 4), torch.randn(6, 1)
    for net in (tied, untied):
        functional.mse_loss(net(x), y).backward()
    assert tied[3] is tied[5]
    torch.testing.assert_close(tied[3].weight.grad, untied[3].weight.grad + untied[5].weight.grad)
    tied[3].weight.data[0, 0] = 100
    assert torch.equal(tied[3].weight, tied[5].weight)
    assert tied[5].weight[0, 0] == 100


@pytest.mark.parametrize("option", TRAINED)
def test_a_block_trains_and_is_saved_and_loaded_like_any_model(option, tmp_path):
    images = ["data.source=generated", "data.n_train=60", "data.val_size=20", "data.resize=28"]
    numbers = ["data.n_train=20", "data.n_val=10", "data.n_test=10"]
    overrides = numbers if option in ("fixed_hidden_mlp", "tied_mlp") else images
    short = ["trainer.max_epochs=2", "trainer.accelerator=cpu", "logger=none"]
    assert run_here(tmp_path, f"model={option}", *overrides, *short) == 0
    record = RunRecord.read(tmp_path).fields
    assert record["num_parameters"] == TRAINED[option]
    finished = load_run(tmp_path, LAST)
    trained = load_checkpoint(tmp_path / LAST)["state_dict"]
    assert all(torch.equal(value, trained[name]) for name, value in finished.module.state_dict().items())
    x = finished.data.splits["test"][0][:10]
    pixels = x.dtype == torch.uint8
    with torch.no_grad():
        expected = finished.module.net(x.float() / 255 if pixels else x.float())
    torch.testing.assert_close(torch.stack([p.output for p in predict(finished, [])]), expected)


def test_every_registered_block_is_tested_above():
    ours = [target for target in registry.MODELS if target.startswith(("lightning_d2l.nets.blocks", PHMMLP.__module__))]
    assert len(ours) == len(TRAINED)
