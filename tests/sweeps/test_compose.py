"""Every job's configuration, and the files that it leaves, are what Hydra itself makes of its overrides."""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from lightning_d2l.config.compose import CONF, plain
from lightning_d2l.sweeps.compose import Composer, write_hydra_files
from lightning_d2l.sweeps.grid import grid
from lightning_d2l.sweeps.search import space

SWEEPS = {  # with the number of templates that their jobs share
    "values": (["model=polynomial_regression", "data.degree=1,3,19", "optimizer.lr=0.1,1e-3", "seed=range(2)"], 1),
    "options": (["model=mlp,polynomial_regression", "optimizer=sgd,adam", "data.seed=1,2"], 4),
    "lists": (["data=polynomial", "model=mlp", "model.num_hiddens=64,[32,16],[8]", "model.dropout=0.5,0.2"], 1),
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
        return grid([*axes, *words], loader).overrides
    asked = space([*axes, *words], loader)
    both = asked.ends()
    return [
        asked.overrides(dict(zip(asked.axes, values, strict=True)))
        for values in itertools.product(*([end[key] for end in both] for key in asked.axes))
    ]


def some(composer: Composer, jobs: list[list[str]]) -> list[list[str]]:
    """The first, the last and two between them, and of each template the first copy; Hydra takes 0.1 s for one."""
    templates, chosen = 0, {0, len(jobs) - 1, *range(0, len(jobs), len(jobs) // 3 + 1)}
    for number, overrides in enumerate(jobs):
        composer.nodes(overrides)
        if len(composer._templates) > templates:
            templates = len(composer._templates)
            chosen.add(min(number + 1, len(jobs) - 1))
    return [jobs[number] for number in sorted(chosen)]


def assert_as_hydra_composes(loader: ConfigLoader, master: DictConfig, jobs: list[list[str]]) -> int:
    """Compares values, types and order; returns how many templates there were."""
    composer = Composer(loader, master)
    for overrides in some(composer, jobs):
        hydras = loader.load_sweep_config(master, overrides)
        expected = repr(OmegaConf.to_container(hydras, resolve=False, enum_to_str=True))
        assert repr(composer.nodes(overrides)) == expected
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


@pytest.mark.parametrize("words", [["study=capacity"], ["study=l1_l2"], SWEEPS["lists"][0]], ids=" ".join)
def test_the_files_of_a_job_are_byte_for_byte_those_of_hydras_own_launcher(words, tmp_path):
    folder = tmp_path / "sweep" / "job"
    chosen = [word for word in words if word.startswith("study=")]
    with hydra(*chosen, f"hydra.sweep.dir={folder.parent}", f"hydra.sweep.subdir={folder.name}") as (loader, master):
        *others, last = jobs_of(loader, master, words)
        launcher = BasicLauncher()
        context = HydraContext(config_loader=loader, callbacks=Callbacks())
        launcher.setup(hydra_context=context, task_function=lambda config: None, config=master)
        launcher.launch([last], initial_job_idx=7)
        hydras = {path.name: path.read_bytes() for path in (folder / ".hydra").iterdir()}
        shutil.rmtree(folder)
        composer = Composer(loader, master)
        for number, overrides in enumerate(others):  # whose entries may be used again
            write_hydra_files(tmp_path / "others" / str(number), composer.nodes(overrides), number)
        write_hydra_files(folder, composer.nodes(last), 7)
    assert {path.name: path.read_bytes() for path in (folder / ".hydra").iterdir()} == hydras
    assert hydras.keys() == {"config.yaml", "hydra.yaml", "overrides.yaml"}
