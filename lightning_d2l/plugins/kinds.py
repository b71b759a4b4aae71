"""What may be registered as each kind. Classes of torch and Lightning are known only where a plugin imported them."""

from __future__ import annotations

import sys
from typing import Any

from lightning_d2l.config.signature import parameters, takes_any

_LIGHTNING = {
    "model": "LightningModule", "data": "LightningDataModule", "callback": "Callback", "logger": "loggers.Logger",
}  # fmt: skip


def is_a(target: Any, module: str, name: str) -> bool:
    """Whether a target is a subclass of a class in a module that is imported."""
    base: Any = sys.modules.get(module)
    for part in name.split("."):
        base = getattr(base, part, None)
    return isinstance(target, type) and isinstance(base, type) and issubclass(target, base)


def is_lightning_module(target: Any) -> bool:
    """Whether a target is a LightningModule."""
    return is_a(target, "pytorch_lightning", "LightningModule")


def check_kind(kind: str, target: Any) -> str:
    """Why a target can't be registered as a kind, or an empty string; raises SignatureError on an unknown signature."""
    base = _LIGHTNING.get(kind, "")
    if base and is_a(target, "lightning.pytorch", base):
        return f"must be a subclass of pytorch_lightning.{base}, not of lightning.pytorch's class of that name"
    if kind == "model":
        return _check_model(target)
    if kind == "data" and isinstance(target, type) and not is_a(target, "pytorch_lightning", base):
        return f"must be a subclass of pytorch_lightning.{base}, or a function that returns (x, y) for each split"
    if kind in ("callback", "logger") and isinstance(target, type) and not is_a(target, "pytorch_lightning", base):
        return f"must be a subclass of pytorch_lightning.{base}"
    if kind == "optimizer":
        return _check_first(target, "params", "torch.optim", "Optimizer")
    if kind == "scheduler":
        return _check_first(target, "optimizer", "torch.optim.lr_scheduler", "LRScheduler")
    return _check_called(kind, target)


def _check_model(target: Any) -> str:
    if is_lightning_module(target):
        own = sys.modules["pytorch_lightning"].LightningModule
        for method in ("training_step", "configure_optimizers"):
            if getattr(target, method) is getattr(own, method):
                return f"must define {method}, as a LightningModule that is used as it is"
        return ""
    if isinstance(target, type) and not is_a(target, "torch.nn", "Module"):
        return "must be a subclass of torch.nn.Module"
    lacking = [name for name in ("num_inputs", "num_outputs") if name not in parameters(target)]
    if lacking and not takes_any(target):
        place = "__init__" if isinstance(target, type) else "function"
        return f"its {place} must take {' and '.join(lacking)}: the sizes of its inputs and outputs, from the data"
    return ""


def _check_first(target: Any, first: str, module: str, base: str) -> str:
    if isinstance(target, type) and not is_a(target, module, base):
        return f"must be a subclass of {module}.{base}"
    found = [*parameters(target).values()][:1]
    if not found or found[0].kind not in (found[0].POSITIONAL_ONLY, found[0].POSITIONAL_OR_KEYWORD):
        return f"must take {first} as its first parameter"
    return ""


def _check_called(kind: str, target: Any) -> str:
    """Losses, metrics, theories, initialisations and activations are called with tensors, or records."""
    if isinstance(target, type):
        required = [p.name for p in parameters(target).values() if _is_required(p)]
        if kind in ("metric", "theory", "initialisation"):
            return "must be a function, not a class"
        if kind in ("loss", "activation") and not is_a(target, "torch.nn", "Module"):
            return "must be a function, or a subclass of torch.nn.Module"
        if kind in ("loss", "activation") and required:
            return f"must have a default for its parameter {required[0]}"
        return ""
    takes = {"loss": ("output", "y"), "metric": ("output", "y"), "theory": ("question", "runs"),
             "initialisation": ("weight",), "activation": ("x",)}.get(kind)  # fmt: skip
    if takes is None:
        return ""
    given = [*parameters(target).values()]
    places = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in given)
    enough = places >= len(takes) or any(p.kind == p.VAR_POSITIONAL for p in given)
    if not enough or sum(map(_is_required, given)) > len(takes):
        return f"must be a function ({', '.join(takes)})"
    return ""


def _is_required(parameter: Any) -> bool:
    variable = (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and parameter.kind not in variable
