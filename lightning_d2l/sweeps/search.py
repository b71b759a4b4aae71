"""A sweep whose next settings depend on the results so far: Optuna's tree-structured Parzen estimator (TPE).

Optuna's study is built from the records before each batch, and the batch's number seeds its proposals, so a search
that is killed and resumed proposes the same trials as one that is not.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lightning_d2l.compat_hydra import ConfigLoader, IntervalSweep, Override, OverridesParser
from lightning_d2l.config.check import RequestError, nearest
from lightning_d2l.studies.check import measured_metrics
from lightning_d2l.sweeps.compose import Composer
from lightning_d2l.sweeps.folder import lock, read_sweep, sweep_folder
from lightning_d2l.sweeps.grid import Grid
from lightning_d2l.sweeps.sweep import Sweep, SweepSpec, check_study_of_sweep, checked_jobs, listed
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
    Raises RequestError on a value out of range.
    """

    num_trials: int
    batch_size: int
    metric: str
    seed: int

    def __post_init__(self) -> None:
        for name, low in (("num_trials", 1), ("batch_size", 1), ("seed", 0)):
            if not isinstance(value := getattr(self, name), int) or value < low:
                raise RequestError(f"hydra.sweeper.{name}={value}: must be a whole number from {low} up")
        if not str(self.metric).endswith("/val"):
            raise RequestError(
                f"hydra.sweeper.metric={self.metric}: must be of validation data, such as loss/val; "
                "a metric that settings were chosen by is no estimate for new data"
            )

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        return "maximize" if self.metric.startswith("acc") else "minimize"


@dataclass(frozen=True)
class Space:
    """The space of a search: the fixed overrides, and a distribution for each swept key."""

    fixed: list[str]
    axes: dict[str, BaseDistribution]

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """The overrides of the trial with these values."""
        return [*self.fixed, *(f"{key}={_shown(values[key], axis)}" for key, axis in self.axes.items())]

    def values(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The values that `overrides` returned these overrides for."""
        given = dict(text.partition("=")[::2] for text in overrides)
        return {key: _read(given[key], axis) for key, axis in self.axes.items()}

    def ends(self) -> list[dict[str, Any]]:
        """The first and the last value of every axis."""
        from optuna.distributions import CategoricalDistribution

        ends = [
            (axis.choices[0], axis.choices[-1]) if isinstance(axis, CategoricalDistribution) else (axis.low, axis.high)  # type: ignore[attr-defined]
            for axis in self.axes.values()
        ]
        return [dict(zip(self.axes, values, strict=True)) for values in zip(*ends, strict=True)]


def space(arguments: Sequence[str], loader: ConfigLoader | None = None) -> Space:
    """The space of a command line: for each swept key an interval, logarithmic if tagged log, or a list of values.

    Raises RequestError if nothing is swept, or if an interval is empty.
    """
    parsed: dict[str, Override] = {}
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(arguments)):
        if override.key_or_group.partition(".")[0] != "sweep":
            parsed[override.key_or_group] = override
    swept = {key: override for key, override in parsed.items() if override.is_sweep_override()}
    if not swept:
        raise RequestError("hydra/sweeper=optuna: nothing to search; give a key an interval(low, high) or values a,b,c")
    fixed = [str(override.input_line) for key, override in parsed.items() if key not in swept]
    return Space(fixed, {key: _distribution(override) for key, override in swept.items()})


def _distribution(override: Override) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    if not isinstance(value, IntervalSweep):
        choices = list(override.sweep_string_iterator())
        if not choices:
            raise RequestError(f"{override.input_line}: no value in it; a search needs at least one")
        return CategoricalDistribution(choices)
    low, high, log = value.start, value.end, "log" in value.tags
    if low is None or high is None or not low < high or (log and low <= 0):
        raise RequestError(f"{override.input_line}: must be from low to high{', both above 0' if log else ''}")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _described(axis: BaseDistribution) -> str:
    """An axis for a dry run, such as "0.0001 to 0.1, log scale"."""
    from optuna.distributions import CategoricalDistribution

    if isinstance(axis, CategoricalDistribution):
        return ", ".join(map(str, axis.choices))
    low, high, log = axis.low, axis.high, axis.log  # type: ignore[attr-defined]
    return f"{_shown(low, axis)} to {_shown(high, axis)}{', log scale' if log else ''}"


def _read(text: str, axis: BaseDistribution) -> Any:
    from optuna.distributions import FloatDistribution, IntDistribution

    if isinstance(axis, FloatDistribution):
        return float(text)
    return int(text) if isinstance(axis, IntDistribution) else text


def _shown(value: Any, axis: BaseDistribution) -> str:
    """A value as written in an override; a real number is rounded to four significant digits, within the axis."""
    from optuna.distributions import FloatDistribution

    if isinstance(axis, FloatDistribution):
        return f"{min(max(float(f'{value:.4g}'), axis.low), axis.high):.10g}"
    return str(value)


class Search(Sweep):
    """A sweep that proposes its own jobs, in batches."""

    def __init__(self, *arguments: Any, settings: SearchSettings, space: Space) -> None:
        super().__init__(*arguments)
        self.settings, self.space = settings, space

    @property
    def total(self) -> int:
        return max(self.settings.num_trials, len(self.jobs))

    def study(self) -> optuna.Study:
        """Optuna's study of the finished trials: a diverged one is pruned, a failed one is ignored."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        stream = self.settings.seed * 1_000_003 + len(self.jobs)
        sampler = optuna.samplers.TPESampler(seed=stream % 2**32)
        study = optuna.create_study(sampler=sampler, direction=self.settings.direction)
        for job, record in self.records().items():
            value, outcome = _outcome(record, self.settings.metric)
            values = self.space.values(job.overrides)
            study.add_trial(
                optuna.trial.create_trial(state=outcome, value=value, params=values, distributions=self.space.axes)
            )
        return study

    def propose(self) -> list[RunSpec]:
        """The next batch, composed and checked."""
        study, first = self.study(), len(self.jobs)
        size = min(self.settings.batch_size, self.settings.num_trials - first)
        batch = []
        for number in range(first, first + size):
            trial = study.ask(self.space.axes)
            overrides = self.space.overrides(trial.params)
            [job] = checked_jobs(self.composer, Grid([], [overrides], [f"trial={number}"]))
            batch.append(dataclasses.replace(job, number=number))
        return self.placed(batch)

    def train(self, jobs: Sequence[RunSpec]) -> None:
        """Train `jobs`, which an earlier process left unfinished, then propose and train batch by batch."""
        super().train(jobs)
        while len(self.jobs) < self.settings.num_trials and not self._must_stop():
            batch = self.propose()
            self.jobs = [*self.jobs, *batch]
            self.update(jobs=listed(self.jobs))
            super().train(batch)
        self.update(importance=self.importance())

    def _must_stop(self) -> bool:
        return self.stop_on_error and any(record.state == "failed" for record in self.records().values())

    def importance(self) -> dict[str, float]:
        """The importance of each key, which add up to 1, by PED-ANOVA (Watanabe et al. 2023); {} below 4 trials."""
        import optuna

        study = self.study()
        if len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE])) < 4:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
        return {key: round(float(share), 6) for key, share in found.items()}


def _outcome(record: RunRecord, metric: str) -> tuple[float | None, optuna.trial.TrialState]:
    from optuna.trial import TrialState

    if record.state == "completed":
        return float(record.fields["metrics"]["final"][metric]), TrialState.COMPLETE
    return None, TrialState.PRUNED if record.state == "diverged" else TrialState.FAIL


def run_search(spec: SweepSpec, settings: SearchSettings) -> int:
    """Start or resume a search; returns the exit code as `Sweep.run` does.

    Raises RequestError, with nothing written, if the space or one of its ends is wrong.
    """
    if importlib.util.find_spec("optuna") is None:
        raise RequestError("hydra/sweeper=optuna: Optuna is not installed; pip install 'lightning_d2l[optuna]'")
    config = spec.config
    composer, asked = Composer(spec.loader, config), space(spec.arguments, spec.loader)
    ends = Grid([], [asked.overrides(end) for end in asked.ends()], ["the low ends", "the high ends"])
    jobs = checked_jobs(composer, ends)
    check_study_of_sweep(config, jobs)
    configs = [job.config for job in jobs]
    if "val" not in configs[0]["trainer"]["evaluate"]:
        raise RequestError(
            f"trainer.evaluate={configs[0]['trainer']['evaluate']}: must have val, the data that a search chooses by"
        )
    known = [name for name in measured_metrics(configs[0]) if name.endswith("/val")]
    if known and settings.metric not in known:
        hint = nearest(settings.metric, known)
        raise RequestError(f"hydra.sweeper.metric={settings.metric}: must be one of {', '.join(known)} here{hint}")
    generated = uses_generated_garments(configs)
    if config.sweep.dry_run:
        axes = "\n".join(f"  {key}: {_described(axis)}" for key, axis in asked.axes.items())
        print(f"{settings.num_trials} runs, {settings.batch_size} at a time, by {settings.metric}, from\n{axes}")
        return 0
    folder = sweep_folder(config, generated)
    with lock(folder):
        before = read_sweep(folder) if config.sweep.resume else {"jobs": []}
        jobs = _jobs_before(composer, asked, before, f"sweep.resume={folder}")
        return Search(spec, composer, jobs, folder, list(asked.axes), settings=settings, space=asked).run()


def _jobs_before(composer: Composer, asked: Space, before: Mapping[str, Any], what: str) -> list[RunSpec]:
    """The jobs that a search has recorded; raises RequestError if one is outside the space."""
    from optuna.trial import TrialState, create_trial

    jobs = []
    for old in before["jobs"]:
        try:
            values = asked.values(old["overrides"])
            create_trial(state=TrialState.FAIL, params=values, distributions=asked.axes)
            same = True
        except (KeyError, ValueError):  # the trial lacks a key, or has a value outside its axis
            same = False
        if not same or asked.overrides(values) != old["overrides"]:
            raise RequestError(f"{what}: names a different search: its trial {old['number']} is outside this space")
        [job] = checked_jobs(composer, Grid([], [old["overrides"]], [old["folder"]]))
        jobs.append(dataclasses.replace(job, number=old["number"]))
    return jobs
