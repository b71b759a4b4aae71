"""The launchers and sweepers that Hydra finds here; the work is done in lightning_d2l.sweeps.

Hydra imports this module at every start, so it must import quickly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from lightning_d2l.compat_hydra import JobReturn, Plugins, basic_launcher

if TYPE_CHECKING:
    from lightning_d2l.sweeps.drive import Executor
    from lightning_d2l.sweeps.sweep import Sweep
    from lightning_d2l.training.spec import RunSpec

OF_CHUNKS = ("chunk_size", "retries", "min_members", "max_members", "memory")  # settings that all executors have


class GridSweeper(Sweeper):
    """hydra/sweeper=grid: every combination of the swept values, each checked before the first one trains.

    `params` are overrides for the keys that the command line does not give.
    """

    def __init__(self, params: dict[str, str] | None, **settings: Any) -> None:
        self.params = [f"{key}={value}" for key, value in (params or {}).items()]
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from lightning_d2l.sweeps.jobs import SweepSpec

        parts: dict[str, Any] = {"hydra_context": hydra_context, "task_function": task_function, "config": config}
        launcher = Plugins.instance().instantiate_launcher(**parts)
        command, config_dir = (getattr(task_function, name, None) for name in ("command", "config_dir"))
        self.spec = SweepSpec(config, hydra_context.config_loader, launcher, self.params, [], command or "", config_dir)

    def sweep(self, arguments: list[str]) -> int:
        """Returns the exit code."""
        from lightning_d2l.sweeps.sweep import run_sweep

        return run_sweep(replace(self.spec, arguments=arguments))


class OptunaSweeper(GridSweeper):
    """hydra/sweeper=optuna: batches of settings, each chosen from the results of those before."""

    def sweep(self, arguments: list[str]) -> int:
        """Returns the exit code."""
        from lightning_d2l.sweeps.search import SearchSettings, run_search

        return run_search(replace(self.spec, arguments=arguments), SearchSettings(**self.settings))


class SequentialLauncher(Launcher):
    """hydra/launcher=sequential: one run after another, in this process.

    For Hydra's own sweepers it does what hydra/launcher=basic does.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.basic = basic_launcher()
        self.basic.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self.basic.launch(job_overrides, initial_job_idx)

    def train(self, sweep: Sweep, jobs: Sequence[RunSpec]) -> None:
        """Train jobs that our sweepers have composed and checked."""
        sweep.train_in_turn(jobs)


class VectorizedLauncher(SequentialLauncher):
    """hydra/launcher=vectorized: runs of one structure at once, as one batch of models, in this process."""

    def train(self, sweep: Sweep, jobs: Sequence[RunSpec]) -> None:
        """Train jobs that our sweepers have composed and checked."""
        from lightning_d2l.sweeps.vectorized import VectorizedSettings, train

        train(sweep, jobs, VectorizedSettings(**self.settings))


class ExecutorLauncher(SequentialLauncher):
    """A launcher whose runs are trained in chunks by the workers of an executor; see lightning_d2l.sweeps.drive."""

    made: Executor | None = None  # for the whole sweep, since workers take seconds to start

    def executor(self, settings: dict[str, Any]) -> Executor:
        """The executor with these settings, which are all but those of the chunks."""
        raise NotImplementedError

    def check(self, jobs: Sequence[RunSpec] = ()) -> None:
        """Raise RequestError, before anything is written, if there can be no worker, or a chunk does not fit into one.

        Whether it does is known for workers that share the memory of this computer.
        """
        from lightning_d2l.sweeps.fits import require_fits

        settings = {name: value for name, value in self.settings.items() if name not in OF_CHUNKS}
        self.made = made = self.executor(settings)
        made.check()
        if (size := self.settings["chunk_size"]) and hasattr(made, "share"):
            require_fits(jobs, size, self.settings["max_members"], made.share(self.settings["memory"]))

    def train(self, sweep: Sweep, jobs: Sequence[RunSpec]) -> None:
        """Train jobs that our sweepers have composed and checked."""
        from lightning_d2l.sweeps.drive import Limits, drive

        if self.made is None:
            self.check(jobs)
        made = self.made
        assert made is not None
        vectorized = {name: self.settings[name] for name in OF_CHUNKS[2:]}
        if hasattr(made, "share"):
            vectorized["memory"] = made.share(vectorized["memory"])
        limits = Limits(self.settings["chunk_size"], self.settings["retries"], vectorized, sweep.config.sweep.wait)
        drive(sweep, jobs, made, limits)
        if not limits.waits:
            self.made = None  # whose workers go on

    def close(self) -> None:
        """End the workers, at the end of the sweep."""
        if self.made is not None:
            self.made.stop()
            self.made = None


class ProcessesLauncher(ExecutorLauncher):
    """hydra/launcher=processes: chunks of runs in worker processes of this machine, each with its share of threads."""

    def executor(self, settings: dict[str, Any]) -> Executor:
        from lightning_d2l.sweeps.executors.processes import Processes

        return Processes(**settings)


class RayLauncher(ExecutorLauncher):
    """hydra/launcher=ray: chunks of runs in tasks of a Ray cluster."""

    def executor(self, settings: dict[str, Any]) -> Executor:
        from lightning_d2l.sweeps.executors.ray_executor import Ray

        return Ray(**{**settings, "resources": dict(settings["resources"] or {})})


class SlurmLauncher(ExecutorLauncher):
    """hydra/launcher=slurm: chunks of runs in tasks of SLURM."""

    leaves = True  # the tasks go on without the program that submitted them, which sweep.wait=false asks for

    def executor(self, settings: dict[str, Any]) -> Executor:
        from lightning_d2l.sweeps.executors.slurm import Slurm

        return Slurm(settings)
