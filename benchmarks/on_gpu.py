"""Every model family and study on a GPU beside the processor: seconds, and how far the numbers are apart."""

import json
import math
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import ROOT, TRAIN, Results, number, whole_command

LEFT_OUT = {"search_mlp": "each trial depends on the numbers before"}
HEAD = ("what", "runs", "processor, s", "GPU, s", "largest relative difference of a final metric", "n")


def everything(quick: bool) -> Iterator[tuple[str, list[str]]]:
    """What is trained, by name, with the overrides."""
    epochs = 1 if quick else 3
    for path in sorted((ROOT / "conf" / "model").glob("*.yaml")):
        yield f"model={path.stem}", ["-m", f"model={path.stem}", "seed=range(4)", f"trainer.max_epochs={epochs}"]
    for path in sorted((ROOT / "conf" / "study").glob("*.yaml")):
        if path.stem not in LEFT_OUT:
            yield f"study={path.stem}", [f"study={path.stem}", f"trainer.max_epochs={epochs}"]


def final_metrics(folder: Path) -> dict[str, dict[str, float]]:
    """The metrics of the last weights of each run of a sweep that completed."""
    records = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/run.json")}
    return {name: record["metrics"]["final"] for name, record in records.items() if record["status"] == "completed"}


def difference(here: dict[str, dict[str, float]], there: dict[str, dict[str, float]]) -> float:
    """The largest relative difference of a metric of a run; infinite if other runs completed."""
    if here.keys() != there.keys():
        return math.inf
    pairs = [(here[run][name], there[run].get(name, math.nan)) for run in here for name in here[run]]
    return max((abs(a - b) / max(abs(a), abs(b), 1e-12) for a, b in pairs), default=math.inf)


def compare(results: Results, quick: bool, accelerator: str, names: list[str]) -> None:
    """Train everything, or what `names` name, on the processor and on the accelerator."""
    for what, command in everything(quick):
        if names and what not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            places = {name: Path(folder, name) for name in ("cpu", accelerator)}
            seconds = {}
            try:
                for name, place in places.items():
                    words = [*command, f"trainer.accelerator={name}", f"hydra.sweep.dir={place}", "sweep.records=full"]
                    seconds[name] = whole_command(TRAIN, *words)[0]
            except (AssertionError, subprocess.CalledProcessError) as error:
                results.row("gpu_numbers", HEAD, what, "", "", "", f"failed: {error}", "1")
                continue
            cpu, gpu = (final_metrics(place) for place in places.values())
            apart = difference(cpu, gpu)
            shown = number(apart) if math.isfinite(apart) else "other runs completed"
            results.row("gpu_numbers", HEAD, what, str(len(cpu)), *map(number, seconds.values()), shown, "1")
