"""The uses of a finished run: predictions, its test metrics again, the same run again."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_d2l.config.check import RequestError, check
from lightning_d2l.config.records import has_other_streams, require_same_streams, up_to_date
from lightning_d2l.config.text import number
from lightning_d2l.data.synthetic import RegressionData
from lightning_d2l.training import console
from lightning_d2l.training.build import BuiltRun, build_data, build_module
from lightning_d2l.training.checkpoint import load_checkpoint
from lightning_d2l.training.files import BEST, LAST
from lightning_d2l.training.fit import run, test_metrics
from lightning_d2l.training.predictions import Prediction, outputs
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec

TOLERANCES = {"32-true": 1e-5, "64-true": 1e-9}  # relative, of a run that trained together with others


def load_run(folder: Path, checkpoint: Path) -> BuiltRun:
    """The run of a folder, its weights from `checkpoint` below it.

    Raises RequestError if the folder holds no run, the checkpoint is not the run's, or the data are others than those
    that the run was trained on. The data of a run of version 0.1.0 can't be drawn again, so they are not compared.
    """
    record = RunRecord.read(folder)
    check(config := up_to_date(record.config))
    weights = load_checkpoint(folder / checkpoint)["state_dict"]
    data = build_data(config)
    known = record.fields.get("data")
    if known and not has_other_streams(record.fields) and data.identity()["checksum"] != known["checksum"]:
        raise RequestError(f"{folder}: its data were {known['source']} with another checksum; these are {data.source}")
    module = build_module(config, data)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise RequestError(f"{folder / checkpoint}: the weights of another model") from error
    return BuiltRun(RunSpec(config, folder), data, module, [1])


def evaluate(folder: Path) -> dict[str, dict[str, float]]:
    """Metrics on the test split of the last weights ("final") and of the best epoch's ("best")."""
    require_same_streams(RunRecord.read(folder).fields, str(folder))
    built, results = load_run(folder, LAST), {}
    built.spec.config["trainer"]["accelerator"] = "cpu"
    for name, checkpoint in (("final", LAST), ("best", BEST)):
        built.module.load_state_dict(load_checkpoint(folder / checkpoint)["state_dict"])
        results[name] = test_metrics(built)
    return results


def rerun(folder: Path, into: Path) -> int:
    """Do a run again, from its record alone, in `into`; 0 if its numbers are the same (a member's: about), else 1."""
    before = RunRecord.read(folder)
    require_same_streams(before.fields, str(folder))
    check(config := up_to_date(before.config))
    code = run(RunSpec(config, into, before.fields["overrides"], before.fields["command"]))
    after = RunRecord.read(into).fields.get("metrics")
    tolerance = TOLERANCES[config["trainer"]["precision"]] if before.fields.get("members", 1) > 1 else 0.0
    if code:
        return code
    if _same(before.fields.get("metrics"), after, tolerance):
        print(f"same numbers{f' within {tolerance:g}' if tolerance else ''} as {console.from_here(folder)}")
        return 0
    print(f"other numbers than {console.from_here(folder)}: {before.fields.get('metrics')} there")
    print(f"versions there: {before.fields['versions']}")
    return 1


def _same(there: Any, here: Any, tolerance: float) -> bool:
    """Whether two records' metrics are the same numbers under the same names."""
    if isinstance(there, dict) and isinstance(here, dict):
        return there.keys() == here.keys() and all(_same(there[key], here[key], tolerance) for key in there)
    if isinstance(there, float) and isinstance(here, float):
        return math.isclose(there, here, rel_tol=tolerance)
    return bool(there == here)


def predict(built: BuiltRun, files: list[Path]) -> list[Prediction]:
    """Predict image files, or the rows of CSV files with one column an input; without files, ten test samples."""
    data = built.data
    if not files:
        x, y = (part[:10] for part in data.splits["test"])
        truth = [data.class_names[int(t)] if data.class_names else number(float(t)) for t in y]
        inputs = [(f"test {i}", x[i : i + 1], f"true: {t}") for i, t in enumerate(truth)]
    elif data.task == "classification":
        inputs = [(file.name, *read_image(file, data.splits["test"][0].shape[1])) for file in files]
    else:
        assert isinstance(data, RegressionData)
        inputs = [item for file in files for item in read_csv(file, data)]
    return [Prediction(name, x[0], outputs(built.module.net, x)[0], note) for name, x, note in inputs]


def read_image(file: Path, side: int) -> tuple[Tensor, str]:
    """An image file as (1, side, side) uint8, light on dark as the data, and a note if it had to be inverted."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("L").resize((side, side), Image.Resampling.BILINEAR))
    except (OSError, ValueError) as error:
        raise RequestError(f"{file}: not an image that can be read ({error})") from error
    if np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).mean() <= 127:  # the border
        return torch.tensor(pixels)[None], ""
    return torch.tensor(255 - pixels)[None], "inverted: its background is light"


def read_csv(file: Path, data: RegressionData) -> Iterator[tuple[str, Tensor, str]]:
    """Inputs of a CSV file, one a row and a column an input, a header allowed, as features (1, d)."""
    try:
        rows = [row for row in csv.reader(file.read_text().splitlines()) if row]
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{file}: can't be read ({error})") from error
    for line, row in enumerate(rows, 1):
        try:
            values = torch.tensor([[float(cell) for cell in row]], dtype=torch.float64)
        except ValueError:
            if line == 1:
                continue
            raise RequestError(f"{file}: row {line} is not numbers: {','.join(row)[:60]}") from None
        if values.shape[1] != data.num_raw:
            raise RequestError(f"{file}: row {line} has {values.shape[1]} columns: must be {data.num_raw}, the inputs")
        yield ", ".join(f"{v:g}" for v in values[0, :8].tolist()), data.features(values), ""
