"""The jobs that a command line asks for: composed, checked, and each different from the others."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_d2l.compat_hydra import ConfigLoader, words_of
from lightning_d2l.config.check import RequestError, check
from lightning_d2l.config.compose import command_of_run, parse
from lightning_d2l.config.explain import explained
from lightning_d2l.config.loggers import missing_extra
from lightning_d2l.config.places import LAUNCHER, PLACES_OF_DATA
from lightning_d2l.config.program import arguments_of
from lightning_d2l.studies.check import check_study
from lightning_d2l.sweeps.compose import Composer
from lightning_d2l.sweeps.grid import meaning
from lightning_d2l.sweeps.pruning import Plan
from lightning_d2l.training.machine import check_accelerator
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec

ELSEWHERE = ("SlurmLauncher", "RayLauncher")  # launchers whose runs train on the nodes of a cluster


@dataclass(frozen=True)
class SweepSpec:
    """What is asked of a sweep: the composed configuration, and the `arguments` of the command line in order.

    `params` are overrides, such as the axes of a study, for the keys that the command line does not give. `command` is
    what the user typed, and `config_dir` the folder of `--config-dir`.
    """

    config: DictConfig
    loader: ConfigLoader
    launcher: Launcher
    params: Sequence[str]
    arguments: Sequence[str]
    command: str
    config_dir: str | None = None
    prune: Plan | None = None  # which settings stop early
    alike: Sequence[RunSpec] = ()  # jobs like those of a search, which has none yet


def require_single(config: DictConfig) -> None:
    """Raise RequestError if a setting of Hydra itself has several values."""
    for override in parse(words_of(config).hydra):
        if override.is_sweep_override():
            raise RequestError(f"{override.input_line}: must have one value; it can't be swept")


def resumed_alone(spec: SweepSpec) -> bool:
    """Whether a command line names a sweep to resume, and no setting of its runs."""
    words = [word.lstrip("+") for word in arguments_of(spec.command) if not word.startswith("-")]
    free = ("sweep.", "verbose=", *LAUNCHER, *(f"data.{name}=" for name in PLACES_OF_DATA))
    return all(word.startswith(free) for word in words)


def checked_jobs(composer: Composer, asked: Mapping[str, list[str]], first: int = 0) -> list[RunSpec]:
    """Jobs with the overrides that are asked for each name, numbered from `first`; a name is also the job's folder.

    Raises RequestError that names the first wrong job, or if the study names a key or metric that they don't have.
    """
    jobs: list[RunSpec] = []
    planned: list[RunRecord] = []
    seen = _Seen()
    elsewhere = str(composer.master.hydra.launcher.get("_target_", "")).endswith(ELSEWHERE)
    for number, (name, overrides) in enumerate(asked.items(), first):
        try:
            config = composer.settings(overrides)
            if new := seen.new(config):
                check(config)
                if wrong := missing_extra(config):
                    raise RequestError(wrong)
                check_accelerator(config, elsewhere=elsewhere)
        except (HydraException, OmegaConfBaseException) as error:
            raise RequestError(f"job {number} ({name}): {explained(error, parse(overrides))}") from error
        except RequestError as error:
            raise RequestError(f"job {number} ({name}): {error}") from error
        command = command_of_run(composer.master, overrides)
        jobs.append(RunSpec(config, Path(name), overrides, command, number, silent=True))
        if new:
            planned.append(RunRecord(Path(name), {"config": config, "overrides": overrides}, name))
    if (study := study_of(composer.master)) is not None:
        check_study(study, planned)
    return jobs


class _Seen:
    """Configurations that were met, to check one of those that differ in their seeds alone.

    No other setting is right or wrong because of a seed; each value of a seed is checked once.
    """

    def __init__(self) -> None:
        self._others: set[Hashable] = set()
        self._seeds: set[Hashable] = set()

    def new(self, config: Mapping[str, Any]) -> bool:
        """Whether a configuration has to be checked. Its nodes must not be changed, nor be gone, later."""
        data = config.get("data")
        if not isinstance(data, Mapping):
            return True
        seeds = {("run", repr(config.get("seed"))), (data.get("_target_"), repr(data.get("seed")))}
        nodes = [(name, id(node)) for name, node in config.items() if name not in ("seed", "data")]
        others = (repr([(key, value) for key, value in data.items() if key != "seed"]), *nodes)
        if others in self._others and seeds <= self._seeds:
            return False
        self._others.add(others)
        self._seeds |= seeds
        return True


def study_of(config: DictConfig) -> Any:
    """The node `study` as plain values, or None if nothing is set in it."""
    study = config.get("study")
    node: Any = None if study is None else OmegaConf.to_container(study, resolve=True)
    return node if node != {"reference": None} else None


def listed(jobs: Sequence[RunSpec]) -> list[dict[str, object]]:
    """The jobs in sweep.json."""
    return [{"number": job.number, "folder": job.name, "overrides": job.overrides} for job in jobs]


def distinct(jobs: Sequence[RunSpec]) -> tuple[list[RunSpec], list[str]]:
    """The jobs but for those with the configuration of an earlier one, numbered, and the names of the others."""
    numbers: dict[Hashable, int] = {}  # of the meanings of nodes
    shared: dict[int, int] = {}  # by the id of a node that jobs share
    first: dict[Hashable, RunSpec] = {}
    same: list[str] = []

    def number_of(node: Any) -> int:
        if (known := shared.get(id(node))) is None:
            known = numbers.setdefault(meaning(node), len(numbers))
            if isinstance(node, Mapping):
                shared[id(node)] = known
        return known

    for job in jobs:
        config = tuple(sorted((name, number_of(node)) for name, node in job.config.items()))
        if (earlier := first.setdefault(config, job)) is not job:
            same.append(f"{job.name} (as {earlier.name})")
    for number, job in enumerate(first.values()):
        job.number = number
    return list(first.values()), same
