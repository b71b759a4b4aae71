"""Export the weights of a run as safetensors, a plain state_dict or ONNX (d2l 5.5)."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import json
import logging
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import lightning_d2l
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.escape import terminal
from lightning_d2l.config.registry import OBJECTS
from lightning_d2l.data.batches import as_input
from lightning_d2l.modules.build import named
from lightning_d2l.nets.preprocessing import TableInputs
from lightning_d2l.training.build import SIZES, BuiltRun
from lightning_d2l.training.files import replacing

FILES = {"safetensors": "weights.safetensors", "state_dict": "weights.pt", "onnx": "model.onnx"}
"""The formats, and the default file name of each in the run folder."""


def check_writable(form: str, into: Path) -> None:
    """Raise RequestError if the file exists, or if a package that the format needs is not installed."""
    if into.exists():
        raise RequestError(f"--into={into}: exists; choose another file")
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if form == "onnx" and missing:
        raise RequestError(f"--as=onnx: needs {missing[0]}; to install it: pip install 'lightning_d2l[onnx]'")


def export(built: BuiltRun, form: str, into: Path) -> str:
    """Write the network to a new file; returns lines of Python that load it. Raises RequestError if it can't."""
    check_writable(form, into)
    net = built.net.eval()
    content = {"safetensors": _safetensors, "state_dict": _state_dict, "onnx": _onnx}[form](net, built)
    try:
        with replacing(into) as file:
            file.write(content)
    except OSError as error:
        raise RequestError(f"--into={into}: cannot be written ({error.strerror})") from error
    path = repr(str(into))
    if form == "onnx":
        x, _ = built.data.samples("train", 1)
        shape, scale = ", ".join(["n", *map(str, x.shape[1:])]), " in [0, 1]" if x.dtype == torch.uint8 else ""
        kind = "float32"
        if built.data.preprocessing is not None:
            shape, kind = f"n, {len(built.data.preprocessing['columns'])}", f"float64\n{_columns(built)}"
        session = f"import onnxruntime\nsession = onnxruntime.InferenceSession({path})"
        return f"{session}\n(output,) = session.run(None, {{'input': x}})  # x ({shape}) {kind}{scale}"
    encoded = ""
    if built.data.preprocessing is not None:
        encoded = f"\n# net takes the {built.data.num_inputs} features of a row; --as=onnx takes the raw columns"
    if form == "safetensors":
        return f"import safetensors.torch\n{_construction(built)}\nsafetensors.torch.load_model(net, {path}){encoded}"
    return f"import torch\n{_construction(built)}\nnet.load_state_dict(torch.load({path}, weights_only=True)){encoded}"


def _columns(built: BuiltRun) -> str:
    """Comments that say what an ONNX model of a table takes and gives."""
    described, classes = _described(built), ", ".join(built.data.class_names)
    lines = [f"the columns of x: {', '.join(column['name'] for column in described['columns'])}"]
    for column in described["columns"]:
        if codes := ", ".join(f"{i} {name}" for i, name in enumerate(column.get("categories", ()))):
            lines.append(f"{column['name']}: {codes}, -1 any other")
    lines.append("a missing value is nan")
    lines.append(
        f"output (n, {built.data.num_outputs}): {f'logits of {classes}' if classes else described['target']['name']}"
    )
    return "\n".join(f"# {textwrap.shorten(terminal(line), 300, placeholder=' ...')}" for line in lines)


def _described(built: BuiltRun) -> dict[str, Any]:
    """The description of a table's columns and its target; empty for other data."""
    return dict(built.data.preprocessing or {})


class _Raw(nn.Module):
    """A network behind the layer that encodes the raw rows of a table, with outputs in the target's own unit."""

    def __init__(self, inputs: TableInputs, net: nn.Module) -> None:
        super().__init__()
        self.inputs, self.net = inputs, net

    def forward(self, raw: Tensor) -> Tensor:
        output: Tensor = self.net(self.inputs(raw).to(next(self.net.parameters()).dtype))
        return self.inputs.in_own_unit(output)


def metadata(built: BuiltRun) -> dict[str, str]:
    """The model and its settings as JSON, the name and source of the data, and the version of this package."""
    return {
        "model": json.dumps(_settings(built)),
        "data": built.data.name,
        "source": built.data.source,
        "classes": json.dumps(built.data.class_names),
        **({"preprocessing": json.dumps(built.data.preprocessing)} if built.data.preprocessing else {}),
        "lightning_d2l": lightning_d2l.__version__,
    }


def _settings(built: BuiltRun) -> dict[str, Any]:
    takes = inspect.signature(named(built.spec.config["model"]["_target_"])).parameters
    sizes = {name: getattr(built.data, name) for name in SIZES if built.supervised or name in takes}
    return {**built.spec.config["model"], **sizes}


def _construction(built: BuiltRun) -> str:
    """Python code that builds the network; initial values are left out, since the weights replace them."""
    settings = _settings(built)
    target = settings.pop("_target_")
    module, _, name = target.rpartition(".")
    if target in OBJECTS:  # in a file of the user's, by its name there
        module, name = Path(inspect.getfile(OBJECTS[target])).stem, OBJECTS[target].__name__
    sizes = [
        f"{key}={settings.pop(key)}" if target in OBJECTS else str(settings.pop(key))
        for key in SIZES
        if key in settings
    ]
    arguments = ", ".join([*sizes, *(f"{key}={value!r}" for key, value in settings.items() if key != "init")])
    imports, made = f"from {module} import {name}", f"{name}({arguments})"
    if built.data.transform:
        inputs = {key: value for key, value in built.data.transform.items() if key != "_target_"}
        before = ", ".join(f"{key}={value!r}" for key, value in inputs.items())
        imports = f"from torch import nn\nfrom lightning_d2l.nets.images import ImageInputs\n{imports}"
        made = f"nn.Sequential(ImageInputs({before}), {made})"
    return imports + "\n" + textwrap.fill(f"net = {made}", 70, subsequent_indent=" " * 4, break_long_words=False)


def _state_dict(net: nn.Module, built: BuiltRun) -> bytes:
    file = io.BytesIO()
    torch.save({name: value.clone() for name, value in net.state_dict().items()}, file)
    return file.getvalue()


def _safetensors(net: nn.Module, built: BuiltRun) -> bytes:
    """Tied tensors are written once; the metadata list their other names."""
    import safetensors.torch

    with tempfile.TemporaryDirectory() as folder:  # save_model writes to a path
        path = Path(folder) / FILES["safetensors"]
        safetensors.torch.save_model(net, str(path), metadata(built))
        return path.read_bytes()


def _onnx(net: nn.Module, built: BuiltRun) -> bytes:
    """The ONNX model maps a float batch of any size to the outputs (logits for classification).

    That of a table takes its raw columns.
    """
    samples, _ = built.data.samples("train", 1)
    x = as_input(samples.new_zeros(2, *samples.shape[1:]), next(net.parameters()).dtype)
    if described := _described(built):
        net = _Raw(TableInputs(described["columns"], described["target"]), net).eval()
        x = torch.zeros(2, len(described["columns"]), dtype=torch.float64)
    try:
        with _silence():
            program = torch.onnx.export(
                net,
                (x,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("n")},),
                input_names=["input"],
                output_names=["output"],
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        failure = f"torch can't export {type(net).__name__}, for example because of a loop that depends on the data"
        raise RequestError(f"--as=onnx: {failure}") from error
    assert program is not None
    program.model.metadata_props.update(metadata(built))
    content: bytes = program.model_proto.SerializeToString()
    return content


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Hide torch's output: before a failed export raises its error, torch prints the whole graph."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
