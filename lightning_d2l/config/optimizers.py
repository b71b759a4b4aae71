"""The settings of each optimizer, by `_target_`: every argument of torch's classes, with its bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_d2l.config.rules import (
    COUNT,
    FLAG,
    FRACTION,
    NOT_NEGATIVE,
    NULL,
    POSITIVE,
    REAL,
    Rule,
    Setting,
    Settings,
    choice,
    either,
    real,
    whole,
)

SGD = "torch.optim.SGD"
SGD_SCRATCH = "lightning_d2l.scratch.SGD"  # the function scratch.sgd hides the module of its name
ADAM = "torch.optim.Adam"
ADAM_W = "torch.optim.AdamW"
RMSPROP = "torch.optim.RMSprop"
LBFGS = "torch.optim.LBFGS"
MUON = "torch.optim.Muon"
SPARSE_ADAM = "torch.optim.SparseAdam"
EXACT = "lightning_d2l.engine.exact.Exact"
L2_DECAY = (
    EXACT, SGD, SGD_SCRATCH, ADAM, RMSPROP, LBFGS,
    *(f"torch.optim.{name}" for name in ("Adadelta", "Adagrad", "Adamax", "NAdam", "RAdam", "Rprop")),
)  # fmt: skip
"""Optimizers that add `weight_decay` times the weights to the gradient (unless `decoupled_weight_decay`)."""


def _numbers(words: str, *rules: Rule) -> Rule:
    return Rule(
        words,
        lambda v: (
            isinstance(v, list) and len(v) == len(rules) and all(r.accepts(x) for r, x in zip(rules, v, strict=True))
        ),
    )


NO_DECAY = Rule("0, since this optimizer has no weight decay", lambda v: v == 0 and not isinstance(v, bool))
_SWITCH = either(FLAG, NULL)  # null lets torch choose
_FUSED = {"fused": _SWITCH}  # must be there: its value in our files is not torch's default
_BETAS = _numbers("two numbers in [0, 1)", FRACTION, FRACTION)
_IN_PLACE = Rule("false: a step changes the parameters in place", lambda v: v is False)
# Arguments of nearly every class, which choose how a step is computed.
_HOW = {"foreach": _SWITCH, "maximize": FLAG, "capturable": FLAG, "differentiable": _IN_PLACE}


def _optimizer(decay: Rule = NOT_NEGATIVE, /, **others: Setting) -> Settings:
    """`lr` and `weight_decay` must be there; what is left out has torch's default."""
    return Settings({"lr": POSITIVE, "weight_decay": decay}, optional=others)


def _adam(needed: Mapping[str, Setting] | None = None, /, **others: Setting) -> Settings:
    group = _optimizer(betas=_BETAS, eps=NOT_NEGATIVE, **others)
    return Settings({**group.rules, **(needed or {})}, optional=group.optional)


OPTIMIZERS: dict[str, Settings] = {
    "torch.optim.Adadelta": _optimizer(rho=real("[0, 1]"), eps=NOT_NEGATIVE, **_HOW),
    "torch.optim.Adafactor": _optimizer(
        beta2_decay=Rule("a number of at most 0", lambda v: REAL.accepts(v) and v <= 0),
        eps=_numbers("two numbers in [0, inf), the first may be null", either(NOT_NEGATIVE, NULL), NOT_NEGATIVE),
        d=real("[1, inf)"),
        foreach=_SWITCH,
        maximize=FLAG,
    ),
    "torch.optim.Adagrad": _optimizer(
        lr_decay=NOT_NEGATIVE,
        initial_accumulator_value=NOT_NEGATIVE,
        eps=NOT_NEGATIVE,
        foreach=_SWITCH,
        maximize=FLAG,
        differentiable=_IN_PLACE,
        fused=_SWITCH,
    ),
    ADAM: _adam(_FUSED, amsgrad=FLAG, decoupled_weight_decay=FLAG, **_HOW),
    ADAM_W: _adam(_FUSED, amsgrad=FLAG, **_HOW),
    "torch.optim.Adamax": _adam(**_HOW),
    "torch.optim.ASGD": _optimizer(lambd=NOT_NEGATIVE, alpha=NOT_NEGATIVE, t0=NOT_NEGATIVE, **_HOW),
    LBFGS: _optimizer(
        NO_DECAY,
        max_iter=COUNT,
        max_eval=either(COUNT, NULL),
        tolerance_grad=NOT_NEGATIVE,
        tolerance_change=NOT_NEGATIVE,
        history_size=COUNT,
        line_search_fn=either(NULL, choice("strong_wolfe")),
        maximize=FLAG,
    ),
    MUON: _optimizer(
        momentum=FRACTION,
        nesterov=FLAG,
        ns_coefficients=_numbers("three numbers", REAL, REAL, REAL),
        eps=NOT_NEGATIVE,
        ns_steps=whole(1, 99),
        adjust_lr_fn=either(NULL, choice("original", "match_rms_adamw")),
    ),
    "torch.optim.NAdam": _adam(momentum_decay=NOT_NEGATIVE, decoupled_weight_decay=FLAG, **_HOW),
    "torch.optim.RAdam": _adam(decoupled_weight_decay=FLAG, **_HOW),
    RMSPROP: _optimizer(alpha=FRACTION, eps=NOT_NEGATIVE, momentum=FRACTION, centered=FLAG, **_HOW),
    "torch.optim.Rprop": _optimizer(
        NO_DECAY,
        etas=_numbers("a number in (0, 1) and one in (1, inf)", real("(0, 1)"), real("(1, inf)")),
        step_sizes=_numbers("two numbers in (0, inf)", POSITIVE, POSITIVE),
        **_HOW,
    ),
    SGD: _optimizer(
        momentum=FRACTION,
        dampening=FRACTION,
        nesterov=FLAG,
        maximize=FLAG,
        foreach=_SWITCH,
        differentiable=_IN_PLACE,
        fused=_SWITCH,
    ),
    SPARSE_ADAM: _optimizer(NO_DECAY, betas=_BETAS, eps=NOT_NEGATIVE, maximize=FLAG),
    SGD_SCRATCH: _optimizer(),
    EXACT: Settings({"lr": either(NULL, POSITIVE), "weight_decay": NOT_NEGATIVE}),
}


def contradiction(node: Mapping[str, Any]) -> str:
    """What contradicts itself in the settings of one optimizer, in a sentence, or an empty string."""
    if node["_target_"] == SGD and node.get("nesterov"):
        if not node.get("momentum"):
            return "optimizer.nesterov=true: must come with an optimizer.momentum above 0"
        if node.get("dampening"):
            return f"optimizer.dampening={node['dampening']}: must be 0 where optimizer.nesterov=true"
    if node.get("fused") and node.get("foreach"):
        return "optimizer.foreach=true: must be null or false where optimizer.fused=true"
    return ""
