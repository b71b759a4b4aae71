"""The settings of each learning-rate schedule, by `_target_`; null takes a length from that of the run."""

from __future__ import annotations

from lightning_d2l.config.rules import (
    COUNT,
    FLAG,
    FRACTION,
    NOT_NEGATIVE,
    NULL,
    POSITIVE,
    TEXT,
    Rule,
    Setting,
    Settings,
    choice,
    either,
    list_of,
    real,
    whole,
)

_TORCH = "torch.optim.lr_scheduler."
STEP, MULTI_STEP, EXPONENTIAL = f"{_TORCH}StepLR", f"{_TORCH}MultiStepLR", f"{_TORCH}ExponentialLR"
COSINE, WARM_RESTARTS = f"{_TORCH}CosineAnnealingLR", f"{_TORCH}CosineAnnealingWarmRestarts"
WARMUP, POLYNOMIAL, ONE_CYCLE = f"{_TORCH}LinearLR", f"{_TORCH}PolynomialLR", f"{_TORCH}OneCycleLR"
PLATEAU = f"{_TORCH}ReduceLROnPlateau"

INTERVAL = choice("epoch", "step")
"""What a schedule counts: epochs, or steps of the optimizer."""
LENGTHS = {
    STEP: "step_size",
    MULTI_STEP: "milestones",
    COSINE: "T_max",
    WARM_RESTARTS: "T_0",
    WARMUP: "total_iters",
    POLYNOMIAL: "total_iters",
    ONE_CYCLE: "total_steps",
}
"""The setting of each schedule that null takes from the length of the run."""
OF_RUN = ("total_epochs", "batches_per_epoch", "log_every_n_epochs")
"""Keys by which a description of a schedule tells the length of its run; no configuration has them."""

_LENGTH = either(COUNT, NULL)
_RISING = list_of(COUNT)
_MILESTONES = either(
    Rule("a list of rising whole numbers from 1 up", lambda v: _RISING.accepts(v) and v == sorted(set(v))), NULL
)


def _scheduler(**rules: Setting) -> Settings:
    return Settings({**rules, "interval": INTERVAL})


SCHEDULERS: dict[str, Settings] = {
    STEP: _scheduler(step_size=_LENGTH, gamma=POSITIVE),
    MULTI_STEP: _scheduler(milestones=_MILESTONES, gamma=POSITIVE),
    EXPONENTIAL: _scheduler(gamma=POSITIVE),
    COSINE: _scheduler(T_max=_LENGTH, eta_min=NOT_NEGATIVE),
    WARM_RESTARTS: _scheduler(T_0=_LENGTH, T_mult=COUNT, eta_min=NOT_NEGATIVE),
    WARMUP: _scheduler(
        start_factor=real("(0, 1]"), end_factor=real("[0, 1]"), total_iters=_LENGTH, then=choice("constant", "cosine")
    ),
    POLYNOMIAL: _scheduler(total_iters=_LENGTH, power=NOT_NEGATIVE),
    ONE_CYCLE: _scheduler(
        max_lr=either(POSITIVE, NULL),
        total_steps=_LENGTH,
        pct_start=real("[0, 1]"),
        anneal_strategy=choice("cos", "linear"),
        cycle_momentum=FLAG,
        base_momentum=FRACTION,
        max_momentum=FRACTION,
        div_factor=POSITIVE,
        final_div_factor=POSITIVE,
        three_phase=FLAG,
    ),
    PLATEAU: Settings(
        {
            "mode": choice("min", "max"),
            "factor": real("(0, 1)"),
            "patience": whole(0),
            "threshold": NOT_NEGATIVE,
            "threshold_mode": choice("rel", "abs"),
            "cooldown": whole(0),
            "min_lr": NOT_NEGATIVE,
            "eps": NOT_NEGATIVE,
            "monitor": either(TEXT, NULL),
        }
    ),
}
TORCH = tuple(SCHEDULERS)
"""The `_target_` of torch's classes; plugins add more to SCHEDULERS."""
