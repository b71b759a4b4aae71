"""`register`: a decorator for each kind of thing that can be your own."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar, overload

from lightning_d2l.config import registry
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.optimizers import NO_DECAY
from lightning_d2l.config.options import CONF, OPTIONS, Option
from lightning_d2l.config.own_data import own_data_rules
from lightning_d2l.config.rules import NOT_NEGATIVE, NULL, POSITIVE, TEXT, Setting, Settings, either
from lightning_d2l.config.schedulers import INTERVAL, OF_RUN
from lightning_d2l.config.signature import REQUIRED, SignatureError, defaults_of, parameters, settings_of, takes_any
from lightning_d2l.config.text import print_error
from lightning_d2l.plugins.kinds import check_kind, is_a, is_lightning_module
from lightning_d2l.plugins.origin import Plugin, Registration, sha256

T = TypeVar("T")

GROUPS = {
    "model": "model", "data": "data", "optimizer": "optimizer", "scheduler": "scheduler",
    "callback": "callbacks", "logger": "logger",
}  # fmt: skip
"""The kinds from which a node of a configuration is built, with the group of their options."""
TABLES: dict[str, dict[str, Any]] = {
    "loss": registry.LOSSES_OF_PLUGINS, "metric": registry.METRICS, "theory": registry.THEORIES,
    "initialisation": registry.INITIALISATIONS, "activation": registry.ACTIVATIONS,
}  # fmt: skip
"""The kinds that a configuration names, with the tables that hold them."""
OURS: dict[str, Iterable[str]] = {
    "loss": (*registry.CLASS_LOSSES, *registry.NUMBER_LOSSES),
    "metric": registry.OWN_METRICS,
    "theory": registry.OWN_THEORIES,
    "initialisation": tuple(registry.INITIALISATIONS),
    "activation": tuple(registry.ACTIVATIONS),
}
RESERVED = ("null", "none", "true", "false", "default")  # values that a command line reads otherwise

REGISTERED: dict[tuple[str, str], Registration] = {}
"""What is registered, by kind and name."""
under_load: list[Plugin] = []  # the plugins that are being loaded, the innermost last
_programs: dict[str, Plugin] = {}  # files and notebooks that register without being loaded as plugins


class Kind:
    """The decorator of a kind: `@register.model` or `@register.model(name="lenet")`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    @overload
    def __call__(self, target: T, /, *, name: str | None = None) -> T: ...
    @overload
    def __call__(self, /, *, name: str | None = None) -> Callable[[T], T]: ...
    def __call__(self, target: Any = None, /, *, name: str | None = None) -> Any:
        return _registers(self.kind, target, name, inspect.currentframe())


class Loss(Kind):
    """The decorator of losses: `@register.loss` or `@register.loss(task="regression")`."""

    @overload
    def __call__(self, target: T, /, *, name: str | None = None, task: str | None = None) -> T: ...
    @overload
    def __call__(self, /, *, name: str | None = None, task: str | None = None) -> Callable[[T], T]: ...
    def __call__(self, target: Any = None, /, *, name: str | None = None, task: str | None = None) -> Any:
        return _registers("loss", target, name, inspect.currentframe(), task)


class Register:
    """Decorators that make a class or function of yours an option of the command line, each under its own name.

    Each decorator takes `name=` for another name. What the class takes becomes the settings of its option, with its
    defaults; the types of its annotations are checked.
    Raises RequestError, with the line that registers, on a name that is taken and on what can't be used.
    """

    model = Kind("model")
    """An nn.Module that takes num_inputs and num_outputs, or a LightningModule, which is used as it is."""
    data = Kind("data")
    """A LightningDataModule, or a function that returns (x, y) for each split."""
    optimizer = Kind("optimizer")
    """An optimizer of torch; its first parameter is filled with the parameters of the model."""
    scheduler = Kind("scheduler")
    """A learning-rate scheduler of torch; its first parameter is filled with the optimizer."""
    callback = Kind("callback")
    """A Callback of Lightning."""
    logger = Kind("logger")
    """A Logger of Lightning."""
    loss = Loss("loss")
    """A function (output, y) that returns a scalar; `task` is "regression" or "classification", None for both."""
    metric = Kind("metric")
    """A function (output, y) that returns a scalar, or a number for each sample."""
    theory = Kind("theory")
    """A function (question, runs) that returns curves for the figure of a study."""
    initialisation = Kind("initialisation")
    """A function that fills a weight (out_features, in_features) in place."""
    activation = Kind("activation")
    """An nn.Module that takes no arguments, or a function of a tensor."""


register = Register()


def _registers(kind: str, target: Any, name: str | None, frame: FrameType | None, task: str | None = None) -> Any:
    """Register a target, or return the decorator that does."""
    caller = frame.f_back if frame else None
    file, line = (caller.f_code.co_filename, caller.f_lineno) if caller else ("", 0)
    module = str(caller.f_globals.get("__name__", "")) if caller else ""

    def registered(target: T) -> T:
        try:
            add(kind, target, name, file, line, task)
        except RequestError as error:
            if module == "__main__" and Path(file).is_file() and not under_load:  # a program, which ends here
                print_error(error)
                raise SystemExit(2) from error
            raise
        return target

    return registered if target is None else registered(target)


def add(kind: str, target: Any, name: str | None, file: str, line: int, task: str | None = None) -> None:
    """Register a target that stands in a line of a file; raises RequestError if it can't be."""
    name = name if name is not None else getattr(target, "__name__", "")
    made = Registration(kind, name, target, under_load[-1] if under_load else _program(file), file, line)
    what = f"{made.where}: {kind} {name}"
    if not callable(target):
        raise RequestError(f"{what}: must be a class or function, not {target!r:.60}")
    if not re.fullmatch(r"[A-Za-z_][\w-]*", name, re.ASCII) or name.lower() in RESERVED:
        example = f'@register.{kind}(name="my_{kind}")'
        raise RequestError(f"{what}: its name must be letters, digits, _ and -, as in {example}")
    if task not in (None, "regression", "classification"):
        raise RequestError(f"{what}: task={task}: must be regression, classification or None")
    replaces = _require_free(made)
    try:
        if wrong := check_kind(kind, target):
            raise RequestError(f"{what}: {wrong}")
        if kind in GROUPS:
            _add_node(made)
        else:
            TABLES[kind][name] = target
            if kind == "loss":
                registry.TASKS_OF_LOSSES[name] = task
    except SignatureError as error:
        raise RequestError(f"{what}: {error}") from error
    if replaces:
        del REGISTERED[kind, name]
    REGISTERED[kind, name] = made


def remove(made: Registration) -> None:
    """Take back a registration."""
    REGISTERED.pop((made.kind, made.name), None)
    if made.kind in GROUPS:
        group = GROUPS[made.kind]
        registry.TABLES[group].pop(made.name, None)
        registry.OBJECTS.pop(made.name, None)
        registry.WHOLE_MODELS.discard(made.name)
        OPTIONS.pop((group, made.name), None)
    else:
        TABLES[made.kind].pop(made.name, None)
        if made.kind == "loss":
            registry.TASKS_OF_LOSSES.pop(made.name, None)


def _program(file: str) -> Plugin:
    """The program or notebook that registers outside of any plugin."""
    path = Path(file)
    if not path.is_file():  # such as a cell of a notebook
        return _programs.setdefault("", Plugin("interactive"))
    key = str(path.resolve())
    return _programs.setdefault(key, Plugin(path.stem, path.resolve(), sha256=sha256(path)))


def _require_free(made: Registration) -> Registration | None:
    """Raise RequestError if a name is taken; returns the earlier registration of the same line, which is replaced."""
    kinds = list(GROUPS) if made.kind in GROUPS else [made.kind]  # a `_target_` is looked up in one table
    for kind in kinds:
        other = REGISTERED.get((kind, made.name))
        same = other and kind == made.kind and other.plugin is made.plugin
        if other and same and ((other.line == made.line and other.file == made.file) or made.plugin.file is None):
            return other
        if other:
            first = f"{other.kind} {other.name} is registered at {other.where} already"
            raise RequestError(f'{made.where}: {first}; choose another name, as in @register.{made.kind}(name="...")')
    ours = made.name in OURS.get(made.kind, ())
    if made.kind in GROUPS:
        ours = (CONF / GROUPS[made.kind] / f"{made.name}.yaml").is_file()
    if ours:
        whose = f"{made.kind} {made.name} belongs to lightning_d2l"
        raise RequestError(f'{made.where}: {whose}; choose another name, as in @register.{made.kind}(name="...")')
    return None


def _add_node(made: Registration) -> None:
    """The option of a kind that a node of the configuration is built from, with its rules and its defaults."""
    kind, name, target = made.kind, made.name, made.target
    group, skip = GROUPS[kind], _filled(kind, target)
    settings, defaults = settings_of(target, skip), defaults_of(target, skip)
    package: str | None = None
    node: dict[str, Any] = {"_target_": name, **defaults}
    if kind == "model":
        package, own = "_global_", is_lightning_module(target)
        node = {"model": node} | ({} if own else {"optimizer": {"lr": 0.1}})
        (registry.WHOLE_MODELS.add if own else registry.WHOLE_MODELS.discard)(name)
    elif kind == "data" and not is_a(target, "lightning_d2l.data.base", "TensorDataModule"):
        rules, values = own_data_rules(parameters(target))
        settings, node = _with(settings, **rules), {**node, **values}
    elif kind == "optimizer":
        settings = _with_lr_and_decay(settings, target)
        if node.get("lr") == REQUIRED:  # the model's file sets it
            del node["lr"]
    elif kind == "scheduler":
        settings, node = _with(settings, interval=INTERVAL), {**node, "interval": "epoch"}
        if is_a(target, "torch.optim.lr_scheduler", "ReduceLROnPlateau"):
            settings, node = _with(settings, monitor=either(TEXT, NULL)), {**node, "monitor": None}
    elif kind == "logger" and "save_dir" in parameters(target):  # null: the folder of the run
        settings, node = _with(settings, save_dir=either(TEXT, NULL)), {**node, "save_dir": None}
    if kind in ("callback", "logger"):
        node = {name: node}
    registry.TABLES[group][name] = settings
    registry.OBJECTS[name] = target
    OPTIONS[group, name] = Option(node, package)


def _filled(kind: str, target: Any) -> tuple[str, ...]:
    """The parameters that are no settings, since the package gives them."""
    if kind == "model":
        return ("num_inputs", "num_outputs")
    if kind in ("optimizer", "scheduler"):
        return (*list(parameters(target))[:1], "last_epoch", *(OF_RUN if kind == "scheduler" else ()))
    return ("save_dir",) if kind == "logger" else ()


def _with(settings: Settings, **optional: Setting) -> Settings:
    """Settings with further ones that may be left out."""
    return Settings(settings.rules, open=settings.open, optional={**settings.optional, **optional})


def _with_lr_and_decay(settings: Settings, target: Any) -> Settings:
    """Every optimizer node has these two settings; without weight decay 0 is the only value of the second."""
    known = {**settings.rules, **settings.optional}
    decay = known.get("weight_decay") or (NOT_NEGATIVE if takes_any(target) else NO_DECAY)
    others = {key: rule for key, rule in settings.optional.items() if key not in ("lr", "weight_decay")}
    return Settings({**settings.rules, "lr": POSITIVE, "weight_decay": decay}, open=settings.open, optional=others)
