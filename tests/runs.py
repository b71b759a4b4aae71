"""Train small models inside the test process, without Hydra's output folders."""

from pathlib import Path

from lightning_d2l.config.compose import compose_checked, plain
from lightning_d2l.training.fit import run
from lightning_d2l.training.spec import RunSpec

POLYNOMIAL = ["model=polynomial_regression", "logger=none", "trainer.accelerator=cpu"]


def config(*overrides: str) -> dict:
    return plain(compose_checked(list(overrides)))


def run_here(folder: Path, *overrides: str, part_of_sweep: bool = True) -> int:
    return run(RunSpec(config(*overrides), folder, list(overrides), number=0 if part_of_sweep else None))
