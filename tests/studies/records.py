"""Run folders as training leaves them, made up."""

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

DATA = {
    "_target_": "lightning_d2l.data.synthetic.PolynomialData", "degree": 3, "noise": 0.1,
    "n_train": 100, "n_val": 100, "n_test": 100, "seed": 0,
}  # fmt: skip


def write_run(folder: Path, overrides: Mapping[str, Any], metrics: Mapping[str, float] | None, **fields: Any) -> Path:
    """One run; without metrics it is a failed one."""
    config: dict[str, Any] = {"seed": 0, "loss": None, "data": dict(DATA), "optimizer": {"lr": 0.1, "_target_": "SGD"}}
    for key, value in overrides.items():
        *parents, name = key.split(".")
        node = config
        for parent in parents:
            node = node.setdefault(parent, {})
        if not isinstance(node.get(name), dict):
            node[name] = {"_target_": value} if key in ("model", "penalty", "scheduler") else value
    words = [f"{key}={json.dumps(v) if isinstance(v, list) else v}" for key, v in overrides.items()]
    record = {
        "status": "completed" if metrics is not None else "failed",
        "command": f"python train.py {' '.join(words)}",
        "overrides": words,
        "seed": config["seed"],
        "config": config,
        "versions": {"torch": "2.8"},
        "git": "abc",
        "data": {"name": "polynomial", "source": "synthetic", "checksum": "0" * 64},
        "num_parameters": 4,
        "seconds": 0.5,
        **({"metrics": {"final": {"epoch": 1, "step": 1, **metrics}}} if metrics is not None else {}),
        **fields,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def write_sweep(
    folder: Path, axes: Mapping[str, Iterable[Any]], metrics: Callable[..., Mapping[str, float] | None], **facts: Any
) -> Path:
    """A run for each combination of the axes' values, in which `metrics(*values)`, and sweep.json with more facts."""
    jobs = []
    for number, values in enumerate(itertools.product(*axes.values())):
        overrides = dict(zip(axes, values, strict=True))
        name = ",".join(f"{key.rpartition('.')[2]}={value}" for key, value in overrides.items())
        measured = metrics(*values)
        failed = {"status": "diverged", "error": "diverged: loss is nan"} if measured is None else {}
        write_run(folder / name, overrides, measured, **failed)
        jobs.append({"number": number, "folder": name, "overrides": []})
    sweep = {"status": "completed", "command": "python train.py -m x", "varied": list(axes), "jobs": jobs, **facts}
    (folder / "sweep.json").write_text(json.dumps(sweep))
    return folder
