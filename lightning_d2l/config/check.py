"""Refuse a wrong configuration before anything is built, with the key, the value and what is allowed in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from lightning_d2l.config import registry
from lightning_d2l.config.loggers import BASELINES
from lightning_d2l.config.metrics import fits, for_task
from lightning_d2l.config.optimizers import EXACT, contradiction
from lightning_d2l.config.rules import Built, Named, Rule, Setting, Settings
from lightning_d2l.config.size import model_too_large, num_inputs, too_large


class RequestError(Exception):
    """A request that can't be carried out. The message has one or two lines; the exit code is 2."""


SHORT = 5  # letters of a word


def nearest(word: str, options: list[str]) -> str:
    """The question "; did you mean x?" with the option closest in spelling to `word`, or no text if none is close.

    Of short words two thirds of the letters must agree: many words have half of those of "foo".
    """
    alike = 0.5 if len(word) > SHORT else 0.65
    close = difflib.get_close_matches(word, options, 1, alike) or [o for o in options if word and word in o]
    return f"; did you mean {close[0]}?" if close and close[0] else ""


def unknown_key(key: str, siblings: list[str], parent: str | None = None) -> RequestError:
    """The error for an unknown full key; `siblings` are the names in `parent`, by default the group above it."""
    above, _, name = key.rpartition(".")
    parent = above if parent is None else parent
    where = f" in {parent}" if parent else ""
    return RequestError(f"{key}: unknown key{nearest(name, siblings)} (allowed{where}: {', '.join(siblings)})")


def check(config: Mapping[str, Any]) -> None:
    """Check a run's resolved configuration: nested dicts and lists, without the `hydra` node.

    Raises RequestError on an unknown key, a value out of range, a `_target_` outside the registry, or settings
    that contradict each other.
    """
    check_settings(config, registry.RUN, "")
    _check_together(config)


def check_sweep(nodes: Mapping[str, Any]) -> None:
    """Check the `sweep` node of a configuration, and the `study` node if there is one."""
    _require_group("sweep", nodes.get("sweep"), registry.SWEEP)
    check_settings(nodes["sweep"], registry.SWEEP, "sweep.")
    if nodes.get("study") is not None:
        check_study_settings(nodes["study"])


def check_study_settings(node: Any) -> None:
    """Check the node `study`, every setting of which may be left out; raises RequestError on a wrong one."""
    _require_group("study", node, registry.STUDY)
    check_settings({**dict.fromkeys(registry.STUDY.rules), **node}, registry.STUDY, "study.")


def check_settings(node: Mapping[str, Any], settings: Settings, path: str) -> None:
    """Check a group of settings whose full keys begin with `path`; raises RequestError on the first wrong one."""
    if missing := [name for name in settings.rules if name not in node]:
        raise RequestError(f"{path}{missing[0]}: missing; it must be {_allowed(settings.rules[missing[0]])}")
    for key, value in node.items():
        name = str(key)
        rule = settings.rules.get(name) or settings.optional.get(name) or (_PLAIN if settings.open else None)
        if rule is None:
            raise unknown_key(f"{path}{key}", [*settings.rules, *settings.optional])
        _check_value(f"{path}{key}", value, rule)


_PLAIN = Rule("anything", lambda value: True)  # except a `_target_`, which no Rule accepts


def _allowed(rule: Setting) -> str:
    return rule.allowed if isinstance(rule, Rule) else "a group of settings"


def _check_value(key: str, value: Any, rule: Setting) -> None:
    if isinstance(rule, Built):
        _check_built(key, value, rule)
    elif isinstance(rule, Named):
        _check_named(key, value, rule)
    elif isinstance(rule, Rule):
        if any(True for _ in targets(value)):
            raise RequestError(f"{key}: a _target_ is not allowed here")
        if not rule.accepts(value):
            options = rule.allowed.partition("one of ")[2].split(", ")
            hint = nearest(value, options) if isinstance(value, str) else ""
            if value in options:  # of a list
                hint = f"; did you mean '{key}=[{value}]'?"
            raise RequestError(f"{key}={_show(value)}: must be {rule.allowed}{hint}")
    elif rule.shorthand and not isinstance(value, Mapping):
        _check_value(key, value, rule.shorthand)
    else:
        _require_group(key, value, rule)
        check_settings(value, rule, f"{key}.")


def _require_group(key: str, value: Any, settings: Settings) -> None:
    if not isinstance(value, Mapping):
        raise RequestError(f"{key}={_show(value)}: must be a group of settings: {', '.join(settings.rules)}")


def _check_built(key: str, value: Any, rule: Built) -> None:
    if value is None and rule.optional:
        return
    if not isinstance(value, Mapping) or "_target_" not in value:
        raise RequestError(f"{key}={_show(value)}: must be a group of settings with a _target_")
    target = value["_target_"]
    if not isinstance(target, str) or target not in rule.table:
        options = ", ".join(rule.table)
        raise RequestError(f"{key}._target_={target}: not registered, so it is not run (allowed: {options})")
    check_settings({k: v for k, v in value.items() if k != "_target_"}, rule.table[target], f"{key}.")


def _check_named(key: str, value: Any, rule: Named) -> None:
    if not isinstance(value, Mapping):
        raise RequestError(f"{key}={_show(value)}: must be a list of options, such as {key}=[]")
    for name, group in value.items():
        _check_built(f"{key}.{name}", group, Built(rule.table))


def _show(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def targets(node: Any) -> Iterator[str]:
    """Every `_target_` in nested dicts and lists."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_":
                yield str(value)
            else:
                yield from targets(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from targets(value)


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by their full keys."""
    if not isinstance(node, Mapping):
        return {prefix[:-1]: node}
    return {key: value for name in node for key, value in flat(node[name], f"{prefix}{name}.").items()}


def _check_together(config: Mapping[str, Any]) -> None:
    data, model, optimizer = config["data"], config["model"], config["optimizer"]
    classes = data["_target_"] in registry.CLASSIFICATION_DATA
    if classes or data["_target_"] in registry.REGRESSION_DATA:  # the kind of custom data is unknown
        check_task(config, classes)
    if data["_target_"] == registry.FASHION_MNIST:
        _check_n_train(data)
    _check_folds(data)
    if config["reference"] == "bayes" and (classes or config["loss"] in registry.LOSSES_OF_PLUGINS):
        raise RequestError(
            "study.reference=bayes: must be for generated numbers with a known noise, and a squared loss; "
            f"else a loss or {', '.join(BASELINES)}"
        )
    if model["_target_"] not in registry.OBJECTS:  # to a registered model these names may mean something else
        _check_widths(model)
    if optimizer is not None and (wrong := contradiction(optimizer)):
        raise RequestError(wrong)
    if optimizer is not None and optimizer["_target_"] == EXACT:
        _check_exact(config)
    if model["_target_"] == registry.PHM_MLP:
        _check_phm(data, model)
    if wrong := too_large(config):
        raise RequestError(wrong)


def _check_widths(model: Mapping[str, Any]) -> None:
    """The number of hidden layers agrees in all settings of an MLP."""
    widths, dropout, num_layers = (model.get(key) for key in ("num_hiddens", "dropout", "num_layers"))
    if num_layers is not None and isinstance(widths, list) and len(widths) > 1:
        raise RequestError(f"model.num_hiddens={widths}: must be one number where model.num_layers={num_layers}")
    expected = num_layers if num_layers is not None else len(widths) if isinstance(widths, list) else 1
    if isinstance(dropout, list) and len(dropout) != expected:
        layers = f"model.num_hiddens={widths}" if num_layers is None else f"model.num_layers={num_layers}"
        raise RequestError(f"model.dropout={dropout}: must have one value a hidden layer, as {layers}")


def _check_n_train(data: Mapping[str, Any]) -> None:
    held_out = 0 if data.get("folds") else data.get("val_size", 0)
    if (data["n_train"] or 1) > (left := 60_000 - held_out):
        raise RequestError(
            f"data.n_train={data['n_train']}: must be at most {left}, what data.val_size={held_out} leaves of 60000"
        )


def check_task(config: Mapping[str, Any], classes: bool) -> None:
    """Raise RequestError unless the model and the loss are for the targets of the data: classes or numbers."""
    data, model = config["data"], config["model"]
    net = model["_target_"]
    if net in (registry.NUMBER_MODELS if classes else registry.CLASS_MODELS):
        raise RequestError(
            f"model={net.rpartition('.')[2]}: must be a model for {'classes' if classes else 'numbers'}, "
            f"which is what data={data['_target_'].rpartition('.')[2]} holds; mlp fits both"
        )
    task = "classification" if classes else "regression"
    allowed = [*(registry.CLASS_LOSSES if classes else registry.NUMBER_LOSSES)]
    allowed += [name for name, wanted in registry.TASKS_OF_LOSSES.items() if wanted in (task, None)]
    if config["loss"] is not None and config["loss"] not in allowed:
        raise RequestError(f"loss={config['loss']}: must be {', '.join(allowed)} or null for this data")
    if wrong := [name for name in config["metrics"] if name not in registry.METRICS and not fits(name, task)]:
        holds = "classes" if classes else "numbers"
        known = for_task(task, list(registry.METRICS))
        raise RequestError(f"metrics=[{wrong[0]}]: must be for the {holds} that this data holds: {known}")
    if config["information"] and not classes:
        raise RequestError("information=true: must be false for this data, which holds numbers and not classes")
    exact, loss = (config["optimizer"] or {}).get("_target_") == EXACT, config["loss"]
    if (
        exact
        and net in registry.LINEAR_IN_PARAMETERS
        and (loss != "one_hot_mse" if classes else loss == "gaussian_nll")
    ):
        wanted = "one_hot_mse" if classes else "mse, half_mse, squared_scratch or null"
        raise RequestError(f"loss={_show(loss)}: must be {wanted} for optimizer=exact, which solves squared losses")


def _check_folds(data: Mapping[str, Any]) -> None:
    folds, fold = data.get("folds"), data.get("fold")
    if fold is not None and folds is None:
        raise RequestError(f"data.fold={fold}: must come with data.folds, the number of folds")
    if folds is not None and (fold is None or fold >= folds):
        raise RequestError(
            f"data.fold={_show(fold)}: must be 0 to {folds - 1} where data.folds={folds}; "
            f"for all of them: -m data.folds={folds} 'data.fold=range({folds})'"
        )
    if folds is not None and data.get("n_train") is not None and folds > data["n_train"]:
        raise RequestError(f"data.folds={folds}: must be at most {data['n_train']}, the number of training samples")


def _check_exact(config: Mapping[str, Any]) -> None:
    net = config["model"]["_target_"]
    if net not in registry.LINEAR_IN_PARAMETERS:
        name = net.rpartition(".")[2]
        raise RequestError(f"optimizer=exact: must be for a model that is linear in its parameters, not for {name}")
    if (augment := config["data"].get("augment", "none")) != "none":
        raise RequestError(f"data.augment={augment}: must be none for optimizer=exact, which sees each image once")
    if config["trainer"]["engine"] == "lightning":
        raise RequestError("trainer.engine=lightning: must be auto or fast for optimizer=exact, which takes no steps")


def _check_phm(data: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """`n` divides the widths of all hypercomplex layers, and the number of inputs where the settings determine it."""
    n, widths = model["n"], model["num_hiddens"]
    if any(width % n for width in (widths if isinstance(widths, list) else [widths])):
        raise RequestError(f"model.n={n}: must divide every one of model.num_hiddens={widths}")
    check_inputs(model, num_inputs(data))


def check_inputs(model: Mapping[str, Any], inputs: int) -> None:
    """Raise RequestError unless a model may have this many inputs, which only a table that is read may tell."""
    if model["_target_"] == registry.PHM_MLP and inputs % model["n"]:
        raise RequestError(f"model.n={model['n']}: must divide {inputs}, the number of inputs")
    if inputs and (wrong := model_too_large(model, inputs)):
        raise RequestError(wrong)
