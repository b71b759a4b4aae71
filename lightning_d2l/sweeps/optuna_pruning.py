"""Optuna's own pruners, for the trials of a search: successive halving (Li et al. 2020) and the median rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

    from lightning_d2l.sweeps.pruning import Plan, Standing


def hopeless_by_optuna(
    plan: Plan, standings: Sequence[Mapping[str, Standing]], rung: int, new: Mapping[str, Standing]
) -> set[str]:
    """Which of the `new` trials stop at a rung; `standings` has what trials had at each of the rungs until now.

    Optuna's study is made anew from them. Trials that come at once are reported best first, each as if it came alone.
    """
    import optuna

    study = optuna.create_study(pruner=pruner_of(plan), direction="minimize")
    names = dict.fromkeys([*(name for at in standings for name in at), *new])
    trials = {name: study.ask() for name in names}
    for at, there in zip(plan.rungs, standings, strict=True):
        for name, (own, _) in there.items():
            if math.isfinite(own):
                trials[name].report(own, at)
                trials[name].should_prune()  # where halving notes that the trial has come to the rung
    last = standings[-1]
    for name, (own, _) in last.items():  # the median rule compares with trials that have ended
        if math.isfinite(own) and name not in new:
            study.tell(trials[name], own)
    stopped = set()
    for name, (own, _) in sorted(new.items(), key=lambda item: item[1]):
        if not math.isfinite(own):
            continue
        trials[name].report(own, plan.rungs[rung])
        if trials[name].should_prune():
            stopped.add(name)
    return stopped


def pruner_of(plan: Plan) -> optuna.pruners.BasePruner:
    """Optuna's pruner for a plan."""
    import optuna

    if plan.rule == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=plan.min_settings, n_warmup_steps=plan.rungs[0] - 1)
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=plan.rungs[0], reduction_factor=plan.factor)
