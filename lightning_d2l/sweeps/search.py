"""A sweep whose next settings depend on the results so far: Optuna's tree-structured Parzen estimator (TPE).

Optuna's study is built from the records before each batch, and the batch's number seeds its proposals, so a search
that is killed and resumed proposes the same trials as one that is not.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_d2l.compat_hydra import ConfigLoader, IntervalSweep, Override
from lightning_d2l.config.check import RequestError, nearest
from lightning_d2l.studies.check import measured_metrics
from lightning_d2l.sweeps.compose import Composer
from lightning_d2l.sweeps.folder import read_sweep
from lightning_d2l.sweeps.grid import discrete_values, in_force, start
from lightning_d2l.sweeps.jobs import SweepSpec, checked_jobs, listed, require_single
from lightning_d2l.sweeps.prune_plan import planned
from lightning_d2l.sweeps.sweep import Sweep, in_its_folder
from lightning_d2l.training.machine import uses_generated_garments
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class SearchSettings:
    """The number of runs, how many are proposed at once, the metric to optimize, and the seed of the proposals.

    `metric` is that of the last weights on validation data; an accuracy is maximized, any other metric minimized.
    """

    num_trials: int
    batch_size: int
    metric: str
    seed: int


@dataclass(frozen=True)
class Space:
    """The space of a search: the overrides in order, and a distribution for each that is swept, by its key."""

    given: list[Override]
    axes: dict[str, BaseDistribution]

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """The overrides of the trial with these values."""
        axes, found = self.axes, []
        for override in self.given:
            key = override.key_or_group
            swept = override.is_sweep_override()
            found.append(f"{start(override)}={_shown(values[key], axes[key])}" if swept else str(override.input_line))
        return found

    def values(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The values that `overrides` returned these overrides for; raises ValueError for others."""
        found = {}
        for override, text in zip(self.given, overrides, strict=True):
            if override.is_sweep_override():
                key = override.key_or_group
                found[key] = type(_ends(self.axes[key])[0])(text.partition("=")[2])
        return found

    def ends(self) -> list[dict[str, Any]]:
        """The first and the last value of every axis."""
        return [{key: _ends(axis)[end] for key, axis in self.axes.items()} for end in (0, -1)]


def space(arguments: Sequence[str], loader: ConfigLoader | None = None, params: Sequence[str] = ()) -> Space:
    """The space of a command line: for each swept key an interval, logarithmic if tagged log, or a list of values.

    Raises RequestError if nothing is swept, a key is swept twice, or an interval is empty.
    """
    given, axes = in_force(arguments, loader, params), dict[str, Any]()
    for override in given:
        if override.is_sweep_override():
            if override.key_or_group in axes:
                raise RequestError(f"{override.input_line}: must be the only override that searches its key")
            axes[override.key_or_group] = _distribution(override)
    if not axes:
        raise RequestError("hydra/sweeper=optuna: nothing to search; give a key an interval(low, high) or values a,b,c")
    return Space(given, axes)


def _distribution(override: Override) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    if not isinstance(value, IntervalSweep):
        return CategoricalDistribution(discrete_values(override, []))
    low, high, log = value.start, value.end, "log" in value.tags
    if low is None or high is None or not low < high or (log and low <= 0):
        raise RequestError(f"{override.input_line}: must be from low to high{', both above 0' if log else ''}")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _ends(axis: Any) -> Sequence[Any]:
    """The low and the high end of an interval, or all values of a list; each is of the type of the axis's values."""
    return axis.choices if hasattr(axis, "choices") else (axis.low, axis.high)


def _shown(value: Any, axis: Any) -> str:
    """A value as written in an override; a real number is rounded to four significant digits, within the axis."""
    if not isinstance(value, float):
        return str(value)
    return f"{min(max(float(f'{value:.4g}'), axis.low), axis.high):.10g}"


def _described(axis: Any) -> str:
    """An axis for a dry run, such as "0.0001 to 0.1, log scale"."""
    words = [_shown(value, axis) for value in _ends(axis)]
    return ", ".join(words) if hasattr(axis, "choices") else f"{' to '.join(words)}{', log scale' if axis.log else ''}"


class Search(Sweep):
    """A sweep that proposes its own jobs, in batches."""

    def __init__(self, *arguments: Any, composer: Composer, settings: SearchSettings, space: Space) -> None:
        self.composer, self.settings, self.space = composer, settings, space
        super().__init__(*arguments)

    @property
    def total(self) -> int:
        return max(self.settings.num_trials, len(self.jobs))

    def study(self) -> optuna.Study:
        """Optuna's study of the finished trials: a diverged or stopped one is pruned, a failed one is ignored."""
        import optuna
        from optuna.trial import TrialState, create_trial

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        stream = self.settings.seed * 1_000_003 + len(self.jobs)
        sampler = optuna.samplers.TPESampler(seed=stream % 2**32)
        accuracy = self.settings.metric.startswith("acc")
        study = optuna.create_study(sampler=sampler, direction="maximize" if accuracy else "minimize")
        states = {"completed": TrialState.COMPLETE, "diverged": TrialState.PRUNED, "pruned": TrialState.PRUNED}
        for job, record in self.records().items():
            done = record.state == "completed"
            value = float(record.fields["metrics"]["final"][self.settings.metric]) if done else None
            params, state = self.space.values(job.overrides), states.get(record.state, TrialState.FAIL)
            seen = _seen(record, self.settings.metric)
            trial = create_trial(
                state=state, value=value, params=params, distributions=self.space.axes, intermediate_values=seen
            )
            study.add_trial(trial)
        return study

    def propose(self) -> list[RunSpec]:
        """The next batch, composed and checked."""
        study, first = self.study(), len(self.jobs)
        last = min(first + self.settings.batch_size, self.settings.num_trials)
        trials = {f"trial={n}": self.space.overrides(study.ask(self.space.axes).params) for n in range(first, last)}
        return self.placed(checked_jobs(self.composer, trials, first))

    def train(self, jobs: Sequence[RunSpec]) -> None:
        """Train `jobs`, which an earlier process left unfinished, then propose and train batch by batch."""
        super().train(jobs)
        while len(self.jobs) < self.settings.num_trials and not self.must_stop(self.records().values()):
            batch = self.propose()
            self.jobs = [*self.jobs, *batch]
            self.update(jobs=listed(self.jobs))
            super().train(batch)
        self.update(importance=self.importance())

    def importance(self) -> dict[str, float]:
        """The importance of each key, which add up to 1, by PED-ANOVA (Watanabe et al. 2023); {} below 4 trials."""
        import optuna

        study = self.study()
        if len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE])) < 4:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
        return {key: round(float(share), 6) for key, share in found.items()}


def _seen(record: RunRecord, metric: str) -> dict[int, float]:
    """The last value of a trial that was stopped early, by its epoch, which the sampler ranks it by."""
    last = (record.fields.get("metrics") or {}).get("final") or {}
    return {int(last["epoch"]): float(last[metric])} if record.state == "pruned" and metric in last else {}


def run_search(spec: SweepSpec, settings: SearchSettings) -> int:
    """Start or resume a search; returns the exit code as `Sweep.run` does.

    Raises RequestError, with nothing written, if the space or one of its ends is wrong.
    """
    if importlib.util.find_spec("optuna") is None:
        raise RequestError("hydra/sweeper=optuna: Optuna is not installed; pip install 'lightning_d2l[optuna]'")
    config = spec.config
    require_single(config)
    if not config.sweep.wait:
        raise RequestError("sweep.wait=false: a search waits for the results of each batch; must be true")
    composer, asked = Composer(spec.loader, config), space(spec.arguments, spec.loader, spec.params)
    ends = zip(("the low ends", "the high ends"), map(asked.overrides, asked.ends()), strict=True)
    alike = checked_jobs(composer, dict(ends))
    configs = [job.config for job in alike]
    if "val" not in configs[0]["trainer"]["evaluate"]:
        raise RequestError(
            f"trainer.evaluate={configs[0]['trainer']['evaluate']}: must have val, the data that a search chooses by"
        )
    known = [name for name in measured_metrics(configs[0]) if name.endswith("/val")]
    if known and settings.metric not in known:
        hint = nearest(settings.metric, known)
        raise RequestError(f"hydra.sweeper.metric={settings.metric}: must be one of {', '.join(known)} here{hint}")
    spec = replace(spec, prune=planned(spec, configs, list(asked.axes), search=True), alike=alike)
    generated = uses_generated_garments(configs)
    if config.sweep.dry_run:
        axes = "\n".join(f"  {key}: {_described(axis)}" for key, axis in asked.axes.items())
        print(f"{settings.num_trials} runs, {settings.batch_size} at a time, by {settings.metric}, from\n{axes}")
        return 0

    def made(folder: Path) -> Search:
        jobs = _jobs_before(composer, asked, folder) if config.sweep.resume else []
        return Search(spec, jobs, folder, list(asked.axes), composer=composer, settings=settings, space=asked)

    return in_its_folder(spec, generated, [f"trial={n}" for n in range(settings.num_trials)], made)


def _jobs_before(composer: Composer, asked: Space, folder: Path) -> list[RunSpec]:
    """The jobs that a search has recorded; raises RequestError if one is outside the space."""
    from optuna.trial import TrialState, create_trial

    before = read_sweep(folder)["jobs"]
    for old in before:
        try:
            values = asked.values(old["overrides"])
            create_trial(state=TrialState.FAIL, params=values, distributions=asked.axes)
            same = asked.overrides(values) == old["overrides"]
        except (KeyError, ValueError):  # the trial lacks a key, or has a value outside its axis
            same = False
        if not same:
            raise RequestError(
                f"sweep.resume={folder}: names a different search: its trial {old['number']} is outside this space"
            )
    return checked_jobs(composer, {old["folder"]: old["overrides"] for old in before})
