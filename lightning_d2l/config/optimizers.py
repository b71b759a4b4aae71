"""The settings of each optimizer, by `_target_`."""

from lightning_d2l.config.rules import FLAG, FRACTION, NOT_NEGATIVE, NULL, POSITIVE, Rule, Settings, either

SGD = "torch.optim.SGD"
SGD_SCRATCH = "lightning_d2l.scratch.sgd.SGD"
ADAM = "torch.optim.Adam"
ADAM_W = "torch.optim.AdamW"
RMSPROP = "torch.optim.RMSprop"
EXACT = "lightning_d2l.engine.exact.Exact"

_DECAY = {"lr": POSITIVE, "weight_decay": NOT_NEGATIVE}
_BETAS = Rule("two numbers in [0, 1)", lambda v: isinstance(v, list) and len(v) == 2 and all(map(FRACTION.accepts, v)))
OPTIMIZERS: dict[str, Settings] = {
    SGD: Settings({**_DECAY, "momentum": FRACTION, "nesterov": FLAG}),
    ADAM: Settings({**_DECAY, "betas": _BETAS, "fused": FLAG}),
    ADAM_W: Settings({**_DECAY, "betas": _BETAS, "fused": FLAG}),
    RMSPROP: Settings({**_DECAY, "alpha": FRACTION, "momentum": FRACTION}),
    SGD_SCRATCH: Settings(_DECAY),
    EXACT: Settings({"lr": either(NULL, POSITIVE), "weight_decay": NOT_NEGATIVE}),
}
