"""What pruning spares, and whether it finds the best setting: full grids against the same grids with sweep.prune.

    python benchmarks/pruning.py                    three studies, three groups of seeds each
    python benchmarks/pruning.py --rule median --study width --groups 1

For each study and group of seeds: the share of the full grid's epochs that the pruned grid trains, the best setting of
each by the mean loss/val of the last weights, and how much worse the one is than the other, both as measured by the
full grid, in standard errors of the full grid's best (the one-standard-error rule of Breiman et al. 1984).
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from pathlib import Path

from lightning_d2l import app
from lightning_d2l.studies.collect import collect
from lightning_d2l.studies.rungs import pruned_of

METRIC = "loss/val"
STUDIES = {
    "learning_rate": ["study=learning_rate", "trainer.log_every_n_epochs=1"],
    "width": ["study=width", "trainer.log_every_n_epochs=1"],
    "weight_decay": ["study=weight_decay", "trainer.max_epochs=300", "trainer.log_every_n_epochs=1"],
    "dropout": ["study=dropout", "data.n_train=500", "model.num_hiddens=64", "trainer.log_every_n_epochs=1"],
}
SEEDS = 5  # of a group


def values_of(folder: Path) -> dict[str, list[float]]:
    """The final values of the completed runs of each setting."""
    (sweep,) = collect([folder])
    keys = [key for key in sweep.varied if key != "seed"]
    found: dict[str, list[float]] = {}
    for run in sweep.runs:
        value = run.metric(METRIC) if run.completed else None
        if value is not None:
            found.setdefault(", ".join(f"{key}={run.get(key)}" for key in keys), []).append(value)
    return found


def best_of(found: dict[str, list[float]], runs: int) -> str:
    """The setting with the lowest mean, of those of which no run diverged."""
    whole = {setting: values for setting, values in found.items() if len(values) == runs}
    return min(whole, key=lambda setting: statistics.fmean(whole[setting]))


def compare(name: str, group: int, rule: str) -> tuple[float, float]:
    """Train a study whole and pruned, and print a line; returns the share of epochs and the standard errors."""
    first = 100 * group
    words = [*STUDIES[name], f"seed={','.join(map(str, range(first, first + SEEDS)))}", "logger=none"]
    with tempfile.TemporaryDirectory() as place:
        whole, pruned = Path(place, "whole"), Path(place, "pruned")
        assert app.main([*words, f"hydra.sweep.dir={whole}"]) == 0
        assert app.main([*words, f"sweep.prune={rule}", f"hydra.sweep.dir={pruned}"]) == 0
        full, left = values_of(whole), values_of(pruned)
        (sweep,) = collect([pruned])
        said = pruned_of(sweep)
        share = said.share if said else 1.0
    best, chosen = best_of(full, SEEDS), best_of(left, SEEDS)
    error = statistics.stdev(full[best]) / math.sqrt(SEEDS)
    worse = (statistics.fmean(full[chosen]) - statistics.fmean(full[best])) / error
    print(f"{name:14} seeds {first}-{first + SEEDS - 1}: {share:4.0%} of the epochs; best {best}", flush=True)
    print(f"{'':14} pruned {chosen}: {worse:.2f} standard errors worse ({len(left)} of {len(full)} settings left)")
    return share, worse


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description="What pruning spares, and whether it finds the best setting.")
    parser.add_argument("--study", nargs="+", choices=list(STUDIES), default=["learning_rate", "width", "weight_decay"])
    parser.add_argument("--rule", choices=["halving", "median"], default="halving")
    parser.add_argument("--groups", type=int, default=3, help="groups of seeds")
    asked = parser.parse_args()
    lines = []
    for name in asked.study:
        pairs = [compare(name, group, asked.rule) for group in range(asked.groups)]
        shares, worse = zip(*pairs, strict=True)
        within = sum(each <= 1 for each in worse)
        lines.append(
            f"{name:14} {statistics.median(shares):4.0%} of the epochs (median of {len(pairs)}); "
            f"within one standard error in {within} of {len(pairs)}"
        )
    print("\n".join(["", f"sweep.prune={asked.rule}", *lines]))


if __name__ == "__main__":
    main()
