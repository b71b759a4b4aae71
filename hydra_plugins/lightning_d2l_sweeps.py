"""What Hydra finds of lightning_d2l.sweeps: it imports this module at every start, so it stays light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lightning_d2l.compat_hydra import BasicLauncher, BasicSweeper

if TYPE_CHECKING:
    from lightning_d2l.sweeps.sweep import Sweep
    from lightning_d2l.training.spec import RunSpec


class GridSweeper(BasicSweeper):
    """hydra/sweeper=grid: every combination of the swept values, each checked before the first one trains."""

    def sweep(self, arguments: list[str]) -> None:
        """Ends the program with the sweep's exit code."""
        from lightning_d2l.sweeps.sweep import run_sweep

        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        raise SystemExit(run_sweep(self.config, loader, self.launcher, [*self._parse_config(), *arguments]))


class OptunaSweeper(BasicSweeper):
    """hydra/sweeper=optuna: batches of settings that follow from the results of those before."""

    def __init__(
        self, num_trials: int, batch_size: int, metric: str, seed: int, max_batch_size: int | None, params: Any
    ) -> None:
        super().__init__(max_batch_size, params)
        self.num_trials, self.batch_size, self.metric, self.seed = num_trials, batch_size, metric, seed

    def sweep(self, arguments: list[str]) -> None:
        """Ends the program with the search's exit code."""
        from lightning_d2l.sweeps.search import Settings, run_search

        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        settings = Settings(self.num_trials, self.batch_size, self.metric, self.seed)
        words = [*self._parse_config(), *arguments]
        raise SystemExit(run_search(self.config, loader, self.launcher, words, settings))


class SequentialLauncher(BasicLauncher):
    """hydra/launcher=sequential: one run after another, in this process.

    Another sweeper than the grid sees Hydra's basic launcher in it.
    """

    def train(self, sweep: Sweep, jobs: Sequence[RunSpec]) -> None:
        """Train jobs that the grid sweeper has composed and checked."""
        from lightning_d2l.sweeps.sequential import train

        train(sweep, jobs)


class VectorizedLauncher(BasicLauncher):
    """hydra/launcher=vectorized: runs of one structure at once, as one batch of models, in this process.

    Another sweeper than the grid sees Hydra's basic launcher in it.
    """

    def __init__(self, min_members: int, max_members: int, memory: float) -> None:
        super().__init__()
        self.min_members, self.max_members, self.memory = min_members, max_members, memory

    def train(self, sweep: Sweep, jobs: Sequence[RunSpec]) -> None:
        """Train jobs that the grid sweeper has composed and checked."""
        from lightning_d2l.sweeps.vectorized import Settings, train

        train(sweep, jobs, Settings(self.min_members, self.max_members, self.memory))
