import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from lightning_d2l import cli
from tests.runs import run_here

SHORT = ["trainer.max_epochs=2", "trainer.accelerator=cpu", "logger=none"]
SMALL = ["data.n_train=23", "data.n_val=5", "data.n_test=5"]


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tied")
    assert run_here(folder, "model=tied_mlp", *SMALL, *SHORT) == 0
    return folder


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fixed")
    assert run_here(folder, "model=fixed_hidden_mlp", *SMALL, *SHORT) == 0
    return folder


def inspect(capsys, *words):
    capsys.readouterr()
    assert cli.main(["inspect", *map(str, words), "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def state(folder, checkpoint="best"):
    return torch.load(folder / f"checkpoints/{checkpoint}.ckpt", weights_only=True)["state_dict"]


def test_numbers_are_those_of_the_checkpoint(tied, capsys):
    for checkpoint in ("best", "last"):
        listed = inspect(capsys, tied, "--checkpoint", checkpoint)
        weights = {f"net.{item['name']}": item for item in listed["tensors"]}
        assert weights.keys() == state(tied, checkpoint).keys()
        for name, value in state(tied, checkpoint).items():
            numbers = value.double().numpy()
            item = weights[name]
            assert (item["shape"], item["count"]) == (list(numbers.shape), numbers.size)
            assert item["norm"] == pytest.approx(np.sqrt((numbers**2).sum()))
            assert (item["mean"], item["std"]) == (pytest.approx(numbers.mean()), pytest.approx(numbers.std()))
        assert (listed["parameters"], listed["buffers"]) == (121, 0)


def test_ties_are_found_and_gradients_are_those_of_the_loss(tied, capsys):
    items = {item["name"]: item for item in inspect(capsys, tied)["tensors"]}
    assert {name: item["same_as"] for name, item in items.items() if item["same_as"]} == {
        "5.weight": "3.weight",
        "5.bias": "3.bias",
    }
    from lightning_d2l.training.files import BEST
    from lightning_d2l.training.reuse import load_run

    data = load_run(tied, BEST).data
    x, y = (part[: data.batch_size].float() for part in data.splits["train"])
    w = {name.removeprefix("net."): value.requires_grad_() for name, value in state(tied).items()}
    hidden = x
    for layer in ("1", "3", "3"):
        hidden = functional.relu(hidden @ w[f"{layer}.weight"].T + w[f"{layer}.bias"])
    ((hidden @ w["7.weight"].T + w["7.bias"] - y) ** 2).mean().backward()
    for name in ("1.weight", "3.weight", "3.bias", "7.bias"):
        assert items[name]["gradient"] == pytest.approx(w[name].grad.norm().item(), rel=1e-4)


def test_a_buffer_is_listed_and_gets_no_gradient(fixed, capsys):
    listed = inspect(capsys, fixed)
    by_kind = {item["name"]: (item["kind"], item["gradient"] is None) for item in listed["tensors"]}
    assert by_kind == {
        "linear.weight": ("parameter", False),
        "linear.bias": ("parameter", False),
        "rand_weight": ("buffer", True),
    }
    assert (listed["parameters"], listed["buffers"]) == (420, 400)
    values = inspect(capsys, fixed, "rand_weight")["values"]
    assert values == state(fixed)["net.rand_weight"].tolist()


def test_the_table_and_the_values_fit_a_terminal(tied, fixed, capsys):
    for folder, total in ((tied, "121 parameters, 0 numbers in buffers"), (fixed, "420 parameters, 400 numbers")):
        assert cli.main(["inspect", str(folder)]) == 0
        printed = capsys.readouterr().out
        assert total in printed
        assert max(map(len, printed.splitlines())) <= 80
    assert cli.main(["inspect", str(tied), "7.weight"]) == 0
    title, *numbers = capsys.readouterr().out.splitlines()
    assert "1 x 8" in title
    shown = [float(word) for word in " ".join(numbers).replace("[", " ").replace("]", " ").split()]
    assert shown == pytest.approx(state(tied)["net.7.weight"][0].tolist(), abs=1e-4)


def test_an_unknown_name_is_answered_with_the_nearest(fixed, capsys):
    assert cli.main(["inspect", str(fixed), "linear.wieght"]) == 2
    error = capsys.readouterr().err
    assert "linear.wieght: no such parameter or buffer; did you mean linear.weight?" in error
    assert len(error.splitlines()) == 1
