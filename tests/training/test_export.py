import importlib.util
import json

import pytest
import torch
from safetensors import safe_open

from lightning_d2l import cli
from lightning_d2l.nets.blocks import FixedHiddenMLP, MLPBlock, TiedMLP
from lightning_d2l.nets.mlp import MLP
from lightning_d2l.nets.phm import PHMMLP
from lightning_d2l.training.files import BEST
from lightning_d2l.training.reuse import load_run, predict
from tests.runs import run_here

SHORT = ["trainer.max_epochs=1", "trainer.accelerator=cpu", "logger=none"]
NUMBERS = ["data.n_train=20", "data.n_val=5", "data.n_test=12"]
IMAGES = ["data.source=generated", "data.n_train=60", "data.val_size=20"]
MODELS = {"mlp": IMAGES, "phm_mlp": IMAGES, "mlp_block": IMAGES, "tied_mlp": NUMBERS, "fixed_hidden_mlp": NUMBERS}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for model, data in MODELS.items():
        assert run_here(folder / model, f"model={model}", *data, *SHORT) == 0
    return folder


def expected(folder):
    """Test inputs, as the export takes them, and what `predict` makes of them."""
    finished = load_run(folder, BEST)
    predictions = predict(finished, [])
    x = finished.data.splits["test"][0][: len(predictions)]
    return x.float() / (255 if x.dtype == torch.uint8 else 1), torch.stack([p.output for p in predictions])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("form", ["safetensors", "state_dict"])
def test_the_lines_that_are_printed_load_the_same_predictions(runs, model, form, tmp_path, capsys):
    import safetensors.torch

    capsys.readouterr()
    assert cli.main(["export", str(runs / model), "--as", form, "--into", str(tmp_path / "weights")]) == 0
    wrote, *code = capsys.readouterr().out.splitlines()
    assert f"{(tmp_path / 'weights').stat().st_size:,} bytes" in wrote
    names = {net.__name__: net for net in (MLP, PHMMLP, MLPBlock, TiedMLP, FixedHiddenMLP)}
    scope = {"torch": torch, "safetensors": safetensors, **names}
    exec("\n".join(line.removeprefix("  ") for line in code), scope)
    x, output = expected(runs / model)
    with torch.no_grad():
        torch.testing.assert_close(scope["net"](x), output)


def test_the_header_says_what_the_weights_are_and_ties_are_kept_once(runs, tmp_path, capsys):
    assert cli.main(["export", str(runs / "tied_mlp")]) == 0
    with safe_open(runs / "tied_mlp/weights.safetensors", "pt") as file:
        assert sum(file.get_tensor(name).numel() for name in file.keys()) == 121  # noqa: SIM118
        header = file.metadata()
    assert (header["5.weight"], header["5.bias"]) == ("3.weight", "3.bias")
    model = json.loads(header["model"])
    assert model["_target_"] == "lightning_d2l.nets.blocks.TiedMLP"
    assert (model["num_inputs"], model["num_outputs"], model["num_hiddens"]) == (4, 1, 8)
    assert (header["data"], header["source"]) == ("polynomial", "synthetic")


def test_a_state_dict_is_tensors_and_nothing_else(runs, tmp_path):
    into = tmp_path / "weights.pt"
    assert cli.main(["export", str(runs / "mlp"), "--as", "state_dict", "--into", str(into)]) == 0
    exported = torch.load(into, weights_only=True)
    saved = torch.load(runs / "mlp" / BEST, weights_only=True)["state_dict"]
    assert type(exported) is dict
    assert {f"net.{name}" for name in exported} == saved.keys()
    assert all(torch.equal(value, saved[f"net.{name}"]) for name, value in exported.items())


@pytest.mark.parametrize("model", ["mlp", "phm_mlp", "tied_mlp"])
def test_onnx_predicts_the_same_for_batches_of_any_size(runs, model, tmp_path, capsys):
    pytest.importorskip("onnxscript")
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    into = tmp_path / "model.onnx"
    capsys.readouterr()
    assert cli.main(["export", str(runs / model), "--as", "onnx", "--into", str(into)]) == 0
    assert "onnxruntime.InferenceSession" in capsys.readouterr().out
    x, output = expected(runs / model)
    session = onnxruntime.InferenceSession(into)
    for n in (1, 3, len(x)):
        (ours,) = session.run(None, {"input": x[:n].numpy()})
        torch.testing.assert_close(torch.from_numpy(ours), output[:n], rtol=1e-4, atol=1e-5)
    header = {item.key: item.value for item in onnx.load(into).metadata_props}
    assert json.loads(header["model"])["_target_"].startswith("lightning_d2l.nets.")


def test_onnx_can_not_hold_a_loop_over_the_data(runs, tmp_path, capfd):
    pytest.importorskip("onnxscript")
    capfd.readouterr()
    assert cli.main(["export", str(runs / "fixed_hidden_mlp"), "--as", "onnx", "--into", str(tmp_path / "m.onnx")]) == 2
    captured = capfd.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert "--as=onnx: torch can't export FixedHiddenMLP" in captured.err
    assert list(tmp_path.iterdir()) == []


def test_wrong_requests_write_nothing(runs, tmp_path, capsys, monkeypatch):
    into = tmp_path / "weights"
    into.write_text("mine")
    assert cli.main(["export", str(runs / "mlp"), "--into", str(into)]) == 2
    assert "weights: exists; choose another file" in capsys.readouterr().err
    assert into.read_text() == "mine"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["export", str(runs / "mlp"), "--as", "onnx", "--into", str(tmp_path / "m.onnx")]) == 2
    assert "needs onnx; to install it: pip install 'lightning_d2l[onnx]'" in capsys.readouterr().err
    assert cli.main(["export", str(runs / "mlp"), "--as", "onxx"]) == 2
    assert cli.main(["export", str(runs / "mlp"), "--into", str(into / "below")]) == 2
    assert "cannot be written" in capsys.readouterr().err
