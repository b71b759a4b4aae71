"""The configuration of every job is what Hydra itself composes from its overrides."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from lightning_d2l.config.compose import CONF, plain
from lightning_d2l.sweeps.compose import Composer
from lightning_d2l.sweeps.grid import grid
from lightning_d2l.sweeps.search import space

SWEEPS = {  # with the number of templates that their jobs share
    "values": (["model=polynomial_regression", "data.degree=1,3,19", "optimizer.lr=0.1,1e-3", "seed=range(2)"], 1),
    "options": (["model=mlp,polynomial_regression", "optimizer=sgd,adam", "data.seed=1,2"], 4),
    "lists": (["data=polynomial", "model=mlp", "model.num_hiddens=64,[32,16],[8]", "model.dropout=0.5,0.2"], 2),
    "elements": (["data=synthetic_regression", "model=linear_regression", "data.w.0=1,2.5", "data.w.1=3,4"], 1),
    "null": (["data.n_train=null,100", "data.source='generated',auto"], 1),
    "trees": (["model.init={name:normal,std:0.1},{name:zeros}", "model.init.bias_std=0.1,0.2", "+optimizer.x=1,2"], 8),
    "a tree, then a leaf": (["model.init.name=zeros,normal", "model.init={name:xavier_normal}"], 2),
    "a reference": (["data.seed=1,${seed}", "seed=3,4"], 2),
}
STUDIES = sorted(path.stem for path in (CONF / "study").glob("*.yaml"))


@contextmanager
def hydra(*words: str) -> Iterator[tuple[ConfigLoader, DictConfig]]:
    """Hydra's loader, and the configuration of a sweep."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield GlobalHydra.instance().config_loader(), compose("train", list(words), return_hydra_config=True)


def jobs_of(loader: ConfigLoader, master: DictConfig, words: list[str]) -> list[list[str]]:
    """The overrides of the jobs of a grid; of a search the corners of its space."""
    axes = [f"{key}={value}" for key, value in (master.hydra.sweeper.params or {}).items()]
    if not any("interval(" in axis for axis in axes):
        return list(grid(words, loader, axes).jobs.values())
    asked = space(words, loader, axes)
    both = asked.ends()
    return [
        asked.overrides(dict(zip(asked.axes, values, strict=True)))
        for values in itertools.product(*([end[key] for end in both] for key in asked.axes))
    ]


def some(composer: Composer, jobs: list[list[str]]) -> list[list[str]]:
    """The first, the middle and the last, and of each template the first copy; Hydra takes 0.1 s for one."""
    templates, chosen = 0, {0, len(jobs) // 2, len(jobs) - 1}
    for number, overrides in enumerate(jobs):
        composer.settings(overrides)
        if len(composer._templates) > templates:
            templates = len(composer._templates)
            chosen.add(min(number + 1, len(jobs) - 1))
    return [jobs[number] for number in sorted(chosen)]


def assert_as_hydra_composes(loader: ConfigLoader, master: DictConfig, jobs: list[list[str]]) -> int:
    """Compares values, types and order; returns how many templates there were."""
    composer = Composer(loader, master)
    for overrides in some(composer, jobs):
        hydras = loader.load_sweep_config(master, overrides)
        assert repr(composer.settings(overrides)) == repr(plain(hydras))
    return len(composer._templates)


@pytest.mark.parametrize("study", STUDIES)
def test_the_jobs_of_every_study_are_as_hydra_composes_them(study):
    with hydra(f"study={study}") as (loader, master):
        jobs = jobs_of(loader, master, [f"study={study}"])
        assert assert_as_hydra_composes(loader, master, jobs) <= max(2, len(jobs) // 10)


@pytest.mark.parametrize(("words", "templates"), SWEEPS.values(), ids=SWEEPS)
def test_the_jobs_of_a_sweep_are_as_hydra_composes_them(words, templates):
    with hydra() as (loader, master):
        assert assert_as_hydra_composes(loader, master, jobs_of(loader, master, words)) == templates
