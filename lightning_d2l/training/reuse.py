"""The uses of a finished run: predictions, its test metrics again, the same run again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.image_data import IMAGE_FOLDER
from lightning_d2l.config.places import LOCK, require_new_folder
from lightning_d2l.config.program import from_here
from lightning_d2l.config.records import require_same_streams
from lightning_d2l.config.tables import TABLES_DATA
from lightning_d2l.config.text import number
from lightning_d2l.config.trainer import parameter_type
from lightning_d2l.modules.foreign import has_step
from lightning_d2l.training.build import BuiltRun, build_data, build_module, unread_data
from lightning_d2l.training.checkpoint import load_checkpoint, require_weights_of
from lightning_d2l.training.files import BEST, LAST
from lightning_d2l.training.fit import run
from lightning_d2l.training.folders import missing_folders, remove_empty
from lightning_d2l.training.inputs import read_inputs
from lightning_d2l.training.lock import holder
from lightning_d2l.training.machine import check_accelerator
from lightning_d2l.training.measure import measured
from lightning_d2l.training.predictions import Prediction, in_own_unit, outputs
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.same_data import configuration, located, recorded, require_same_data
from lightning_d2l.training.spec import RunSpec
from lightning_d2l.training.summary import Judge

if TYPE_CHECKING:
    from lightning_d2l.data.image_folder import ImageFolderData

ROUNDING = {"float32": 1e-5, "float64": 1e-9, "bfloat16": 1e-2, "float16": 1e-2}
"""By type of the parameters: how much equal runs may differ, relative to the largest number of the same metric."""


def load_run(folder: Path, checkpoint: Path, root: str | None = None, *, samples: bool = True) -> BuiltRun:
    """The run of a folder, its weights from `checkpoint` below it, and its data, which may be in the data root `root`.

    Without `samples` the splits of its data are empty, and no file of data is read, unless only the data tell the
    sizes of the network. Raises RequestError if the folder holds no run or the checkpoint is not the run's, and
    OtherData if the data are not those that the run was trained on.
    """
    record = RunRecord.read(folder)
    config = configuration(record)
    found = load_checkpoint(folder / checkpoint)  # refused before data are read
    data = unread_data(config)
    known = found.get("hyper_parameters")  # a custom LightningModule's have no encoding, so that the file is read
    if not samples and config["data"]["_target_"] in TABLES_DATA and "preprocessing" in (known or {}):
        _restore_encoding(data, found, folder / checkpoint)
    if not samples and config["data"]["_target_"] == IMAGE_FOLDER:
        cast("ImageFolderData", data).restore(recorded(record))
    empty = None if samples else data.no_samples()
    if empty is not None:
        data.splits, data.source = {"train": empty}, str(recorded(record).get("source", data.source))
        data.transform = found.get("hyper_parameters", {}).get("transform")
    else:
        config = located(config, record, root)
        data = build_data(config)
        require_same_data(record, data)
    built = BuiltRun(RunSpec(config, folder), data, build_module(config, data), [1])
    _put_weights(built, found, folder / checkpoint)
    return built


def _restore_encoding(data: Any, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Give a table the encoding that a checkpoint holds; raises RequestError if it is damaged."""
    try:
        data.restore(checkpoint["hyper_parameters"]["preprocessing"])
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(f"{path}: damaged: it holds no encoding of a table") from error


def put_weights(built: BuiltRun, path: Path) -> None:
    """Load the weights of a checkpoint into a run; raises RequestError if they are those of another model."""
    _put_weights(built, load_checkpoint(path), path)


def _put_weights(built: BuiltRun, found: Mapping[str, Any], path: Path) -> None:
    """Load the weights of the checkpoint in a file; raises RequestError if they are those of another model."""
    require_weights_of(built.module, found, path)
    built.module.load_state_dict(found["state_dict"])


def evaluate(folder: Path, root: str | None = None) -> dict[str, dict[str, float]]:
    """Metrics on the test split of the last weights ("final") and of the best epoch's ("best"), finite or not."""
    record = RunRecord.read(folder)
    require_same_streams(record.fields, str(folder))
    built, results = load_run(folder, LAST, root), {}
    if not has_step(built.module, "test"):
        raise RequestError(f"{folder}: {type(built.module).__name__} defines no test_step, so that nothing is measured")
    built.spec.config["trainer"]["accelerator"] = "cpu"
    for name, checkpoint in (("final", LAST), ("best", BEST)):
        if name == "best" and not record.completed and not (folder / checkpoint).exists():
            continue  # the run diverged or was stopped before a best epoch
        _put_weights(built, load_checkpoint(folder / checkpoint), folder / checkpoint)
        results[name] = measured(built)
    return results


def rerun(before: RunRecord, into: Path, root: str | None = None, judge: Judge | None = None) -> int:
    """Do a run again, from its record alone, in `into`, and print whether its numbers are the same.

    `judge` gives the diagnosis, as of any single run.
    Returns 0 if they are within ROUNDING, 1 if they differ by more or the run fails. Raises RequestError, with nothing
    written, if the run can't be done.
    """
    folder = before.folder
    require_same_streams(before.fields, str(folder))
    with _new_folder(into):
        config = located(configuration(before), before, root)
        check_accelerator(config)
        require_same_data(before, build_data(config))
        overrides, command = before.fields.get("overrides") or [], str(before.fields.get("command", ""))
        found = before.fields.get("found") or {}
        code = run(RunSpec(config, into, overrides, command, found=found), judge=judge)
    after, there = RunRecord.read(into), from_here(folder)
    if code == 1 and before.status == after.status == "diverged":
        print(f"{there} diverged too: {before.error}")
    if code:
        return code
    if before.fields.get("metrics") is None:
        print(f"no numbers to compare: {there} is {before.state}")
        return 0
    return _compare(before, after, ROUNDING[parameter_type(config["trainer"])])


@contextmanager
def _new_folder(into: Path) -> Iterator[None]:
    """Create a folder for a run; raises RequestError if it can't be, and removes it if the run is refused."""
    require_new_folder("--into", into)
    if held := holder(into):
        raise RequestError(f"--into={into}: in use by {held}; choose another folder")
    new = missing_folders(into)
    try:
        into.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise RequestError(f"--into={into}: cannot be written ({error.strerror})") from error
    finally:
        with suppress(OSError):
            if into in new and [path.name for path in into.iterdir()] == [LOCK]:
                (into / LOCK).unlink()
        remove_empty(new)


def _compare(before: RunRecord, after: RunRecord, rounding: float) -> int:
    """Print whether two records have the same numbers, and those that differ; returns the exit code."""
    there, here = _numbers(before), _numbers(after)
    differ = {name: (there.get(name), here.get(name)) for name in {**there, **here}}
    differ = {name: pair for name, pair in differ.items() if pair[0] != pair[1]}
    within = all(_close(name, pair, there, rounding) for name, pair in differ.items())
    if not differ:
        words = "same numbers as"
    elif within:
        words = f"same numbers within {rounding:g}, the rounding of {before.config['trainer']['precision']}, as"
    else:
        words = f"other numbers (by more than {rounding:g}) than"
    print(f"{words} {from_here(before.folder)}")
    if differ:
        print(f"what differs: {', '.join(_causes(before, after)) or 'nothing recorded; another processor?'}")
    for name, pair in differ.items():
        print(f"  {name:24}{pair[0]!r:>24} there {pair[1]!r:>24} here")
    return 0 if within else 1


def _numbers(record: RunRecord) -> dict[str, Any]:
    """The metrics of a record by row and name, such as "final loss/test"."""
    rows = {row: values for row, values in record.fields["metrics"].items() if isinstance(values, Mapping)}
    return {f"{row} {name}": value for row, values in rows.items() for name, value in values.items()}


def _metric(name: str) -> str:
    return name.partition(" ")[2].partition("/")[0]


def _close(name: str, pair: tuple[Any, Any], there: Mapping[str, Any], rounding: float) -> bool:
    """Whether two numbers differ by rounding: relative to the largest of the metric, whatever row and split."""
    metric = _metric(name)
    if "/" not in name or not all(isinstance(value, float) for value in pair):  # epochs and steps are equal
        return False
    alike = (value for key, value in there.items() if _metric(key) == metric)
    largest = max(abs(value) for value in alike if isinstance(value, float) and math.isfinite(value))
    return math.isclose(*pair, rel_tol=rounding, abs_tol=rounding * largest)


def _causes(before: RunRecord, after: RunRecord) -> list[str]:
    """What may round otherwise in the second of two equal runs."""
    found = []
    if (members := before.fields.get("members", 1)) != after.fields.get("members", 1):
        found.append(f"{members} runs trained at once there")
    threads, here = before.fields.get("threads"), after.fields.get("threads", torch.get_num_threads())
    if threads != here:
        found.append(f"{'unknown' if threads is None else threads} threads there, {here} here")
    versions, now = before.fields.get("versions") or {}, after.fields["versions"]
    found += [f"{name} {versions.get(name)} there, {now[name]} here" for name in now if versions.get(name) != now[name]]
    return found


def predict(built: BuiltRun, files: list[Path]) -> list[Prediction]:
    """Predict image files, or the rows of CSV files with one column an input; without files, ten test samples.

    Raises RequestError that names a file that can't be read.
    """
    data = built.data
    if files:
        inputs = list(read_inputs(files, data))
    else:
        split = data.split_names[-1]  # test, where there is such a split
        x, y = data.samples(split, 10)
        y = in_own_unit(data, y)
        truth = [data.class_names[int(t)] if data.class_names else number(float(t.flatten()[0])) for t in y]
        inputs = [(f"{split} {i}", x[i : i + 1], f"true: {t}") for i, t in enumerate(truth)]
    made = []
    found = in_own_unit(data, _outputs(built, torch.cat([x for _, x, _ in inputs])))
    for (name, x, note), output in zip(inputs, found, strict=True):
        infinite = [] if output.isfinite().all() else ["the output is not a finite number"]
        made.append(Prediction(name, x[0], output, "; ".join([note] * bool(note) + infinite)))
    return made


def _outputs(built: BuiltRun, x: torch.Tensor) -> torch.Tensor:
    """Outputs for x (n, ...); raises RequestError if a custom module's forward takes or returns something else."""
    if built.supervised:
        return outputs(built.net, x)
    name = type(built.module).__name__
    try:
        found = outputs(built.net, x)
    except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RequestError(f"{name}: its forward must map inputs {(*x.shape,)} to one tensor ({reason})") from error
    if len(found) != len(x):
        raise RequestError(f"{name}: its forward must return a row for each of {len(x)} inputs, not {len(found)}")
    return found
