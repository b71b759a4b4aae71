"""Predictions of a trained run for what a person has: tensors, arrays, DataFrames, files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from lightning_d2l.config.check import RequestError
from lightning_d2l.data.synthetic import RegressionData
from lightning_d2l.training.build import BuiltRun
from lightning_d2l.training.predictions import Prediction, in_own_unit, outputs, probabilities

if TYPE_CHECKING:
    import pandas as pd

    from lightning_d2l.data.table import TableData


def predicted(built: BuiltRun, x: Any) -> Any:
    """What `Run.predict` returns."""
    if x is None or isinstance(x, (str, os.PathLike)) or _are_paths(x):
        from lightning_d2l.training.reuse import predict

        files = [] if x is None else [Path(p).expanduser() for p in (x if _are_paths(x) else [x])]
        for file in files:
            if not file.is_file():
                raise RequestError(f"{file}: no such file")
        return _frame_of(built, predict(built, files))
    if hasattr(x, "columns") and hasattr(x, "iloc"):
        return _frame(built, _result(built, _of_frame(built, x)), x.index)
    if isinstance(x, Tensor):
        return _result(built, _features(built, x))
    try:
        values = torch.tensor(np.asarray(x))
    except (TypeError, ValueError) as error:
        what = f"{type(x).__name__}{f' of {x.dtype}' if isinstance(x, np.ndarray) else ''}"
        raise RequestError(f"x: must be numbers: a tensor, an array, a DataFrame, or paths; not {what}") from error
    return _result(built, _features(built, values)).numpy()


def _are_paths(x: Any) -> bool:
    return isinstance(x, (list, tuple)) and bool(x) and all(isinstance(each, (str, os.PathLike)) for each in x)


def _result(built: BuiltRun, x: Tensor) -> Tensor:
    """Probabilities (n, classes) or numbers (n, outputs) for inputs as the data hold them."""
    found = in_own_unit(built.data, outputs(built.net, x))
    return probabilities(found) if built.data.class_names else found


def _features(built: BuiltRun, x: Tensor) -> Tensor:
    """Inputs as the data hold them: raw rows of a table encoded, inputs of generated data as features.

    Whole numbers are pixels where the data are; real numbers there are taken as pixels divided by 255. Raises
    RequestError, with both shapes, if they have another one.
    """
    data = built.data
    if x.is_complex():
        raise RequestError("x: must be real numbers")
    like = data.samples("train", 1)[0]
    if like.dtype == torch.uint8 and not x.is_floating_point():
        if x.numel() and not 0 <= int(x.min()) <= int(x.max()) <= 255:
            raise RequestError("x: pixels must be whole numbers from 0 to 255, or real numbers from 0 to 1")
        x = x.to(torch.uint8)
    elif like.is_floating_point():
        x = x.double()
    wanted: tuple[int, ...]
    made: Callable[[Tensor], Any]
    if data.preprocessing is not None:
        inputs = cast("TableData", data).inputs
        wanted, made = (len(inputs.columns),), inputs
    elif isinstance(data, RegressionData):
        wanted, made = (data.num_raw,), data.features
    else:
        wanted, made = tuple(like.shape[1:]), _same
    if x.dim() == 1 and wanted == (1,):
        x = x[:, None]
    if x.dim() == len(wanted) and 1 in wanted and tuple(x.shape[1:]) == tuple(n for n in wanted if n != 1):
        x = x.reshape(len(x), *wanted)  # images without the one channel of grey
    if x.dim() != len(wanted) + 1 or tuple(x.shape[1:]) != wanted:
        raise RequestError(
            f"x: must have the shape ({', '.join(['n', *map(str, wanted)])}), as inputs of {data.name}; it has "
            f"{tuple(x.shape)}"
        )
    return cast(Tensor, made(x))


def _same(x: Tensor) -> Tensor:
    return x


def _of_frame(built: BuiltRun, frame: pd.DataFrame) -> Tensor:
    """The inputs that a DataFrame holds, its columns in any order; raises RequestError on lacking columns."""
    data = built.data
    frame = frame.set_axis(map(str, frame.columns), axis=1)
    if data.preprocessing is not None:
        from lightning_d2l.data.frame import FrameTable

        table = cast("TableData", data)
        columns = table.inputs.columns
        _require(frame, [column["name"] for column in columns])
        places = {name: number for number, name in enumerate(frame.columns)}
        whole = FrameTable(table.path, "x", "utf-8", ",", ".", places, len(places), False, frame)
        text = [column["name"] for column in columns if "categories" in column]
        return cast(Tensor, table.inputs(torch.from_numpy(np.stack(table.raw_rows(whole, whole.read(text)), 1))))
    if isinstance(data, RegressionData):
        _require(frame, data.input_names)
        frame = frame[data.input_names]
    try:
        values = torch.tensor(frame.to_numpy())
    except (TypeError, ValueError) as error:
        kinds = dict.fromkeys(str(kind) for kind in frame.dtypes)
        raise RequestError(f"x: its columns must hold numbers, not {' and '.join(kinds)}") from error
    shape = data.samples("train", 1)[0].shape[1:]
    if not isinstance(data, RegressionData) and len(shape) > 1 and values.shape[1] == data.num_inputs:
        values = values.reshape(len(values), *shape)  # a column a pixel
    return _features(built, values)


def _require(frame: pd.DataFrame, names: Sequence[str]) -> None:
    if lacking := [name for name in names if name not in frame.columns]:
        there = ", ".join(map(str, frame.columns[:10])) + ", ..." * (len(frame.columns) > 10)
        raise RequestError(f"x: has no column {', '.join(lacking[:5])}; must have {', '.join(names)} (has: {there})")


def _frame(built: BuiltRun, found: Tensor, index: Any) -> pd.DataFrame:
    """Predictions as a table: the class and the probability of each, or the number that is predicted."""
    import pandas as pd

    if names := built.data.class_names:
        table = pd.DataFrame(found.numpy(), index=index, columns=list(names))
        table.insert(0, "prediction", [names[i] for i in found.argmax(-1).tolist()])
        return table
    columns = ["prediction"] if found.shape[1] == 1 else [f"prediction_{i}" for i in range(found.shape[1])]
    return pd.DataFrame(found.numpy(), index=index, columns=columns)


def _frame_of(built: BuiltRun, predictions: Sequence[Prediction]) -> pd.DataFrame:
    found = torch.stack([prediction.output for prediction in predictions])
    if built.data.class_names:
        found = probabilities(found)
    table = _frame(built, found, [prediction.name for prediction in predictions])
    table["note"] = [prediction.note for prediction in predictions]
    return table
