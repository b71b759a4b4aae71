"""Say what is wrong with a configuration before anything is built, in a line that a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from lightning_d2l.config import registry
from lightning_d2l.config.registry import Built, Rule, Rules


class RequestError(Exception):
    """A request that can't be carried out. The message has one or two lines; the exit code is 2."""


def nearest(word: str, options: list[str]) -> str:
    """A question after the option closest in spelling to `word`, or nothing: "; did you mean x?"."""
    close = difflib.get_close_matches(word, options, 1, 0.5) or [o for o in options if word and word in o]
    return f"; did you mean {close[0]}?" if close else ""


def unknown_key(key: str, siblings: list[str]) -> RequestError:
    """The error for a full key, given the names that its last part may have."""
    parent, _, name = key.rpartition(".")
    where = f" in {parent}" if parent else ""
    return RequestError(f"{key}: unknown key{nearest(name, siblings)} (allowed{where}: {', '.join(siblings)})")


def check(config: Mapping[str, Any]) -> None:
    """Check a run's resolved configuration, nested dicts and lists without the `hydra` node.

    Raises RequestError on an unknown key, a value out of range, a `_target_` outside the registry, or settings
    that contradict each other.
    """
    _check_mapping(config, registry.RUN, "")
    _check_together(config)


def check_sweep(nodes: Mapping[str, Any]) -> None:
    """Check the `sweep` node of a configuration, and the `study` node if there is one."""
    _check_mapping(nodes["sweep"], registry.SWEEP, "sweep.")
    if nodes.get("study") is not None:
        check_study(nodes["study"])


def check_study(node: Any) -> None:
    """Check the node `study`, none of whose fields must be there; raises RequestError on a wrong one."""
    if not isinstance(node, Mapping):
        raise RequestError(f"study={_show(node)}: must be a group of settings: {', '.join(registry.STUDY)}")
    _check_mapping({**dict.fromkeys(registry.STUDY), **node}, registry.STUDY, "study.")


def _check_mapping(node: Mapping[str, Any], rules: Rules, path: str) -> None:
    if missing := [name for name in rules if name not in ("", "*") and name not in node]:
        raise RequestError(f"{path}{missing[0]}: missing; it must be {_allowed(rules[missing[0]])}")
    for key, value in node.items():
        full_key = f"{path}{key}"
        rule = rules.get(str(key), rules.get("*"))
        if rule is None:
            raise unknown_key(full_key, [name for name in rules if name])
        _check_value(full_key, value, rule)


def _allowed(rule: Rule | Rules | Built) -> str:
    return rule.allowed if isinstance(rule, Rule) else "a group of settings"


def _check_value(key: str, value: Any, rule: Rule | Rules | Built) -> None:
    if isinstance(rule, Built):
        _check_built(key, value, rule)
    elif isinstance(rule, Rule):
        if any(True for _ in targets(value)):
            raise RequestError(f"{key}: a _target_ is not allowed here")
        if not rule.accepts(value):
            hint = nearest(value, rule.allowed.split("one of ")[-1].split(", ")) if isinstance(value, str) else ""
            raise RequestError(f"{key}={_show(value)}: must be {rule.allowed}{hint}")
    elif isinstance(value, dict):
        _check_mapping(value, rule, f"{key}.")
    elif "" in rule:
        _check_value(key, value, rule[""])
    else:
        raise RequestError(f"{key}={_show(value)}: must be a group of settings: {', '.join(rule)}")


def _check_built(key: str, value: Any, rule: Built) -> None:
    if value is None and rule.optional:
        return
    if not isinstance(value, dict) or "_target_" not in value:
        raise RequestError(f"{key}={_show(value)}: must be a group of settings with a _target_")
    target = value["_target_"]
    if target not in rule.table:
        options = ", ".join(rule.table)
        raise RequestError(f"{key}._target_={target}: not registered, so it is not run (allowed: {options})")
    settings = {k: v for k, v in value.items() if k != "_target_"}
    _check_mapping(settings, rule.table[target], f"{key}.")


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
    if classes or data["_target_"] in registry.REGRESSION_DATA:  # of data of one's own nothing is known
        _check_task(config, classes)
    _check_folds(data)
    widths, dropout, num_layers = (model.get(key) for key in ("num_hiddens", "dropout", "num_layers"))
    if num_layers is not None and isinstance(widths, list) and len(widths) > 1:
        raise RequestError(f"model.num_hiddens={widths}: must be one number where model.num_layers={num_layers}")
    expected = num_layers if num_layers is not None else len(widths) if isinstance(widths, list) else 1
    if isinstance(dropout, list) and len(dropout) != expected:
        layers = f"model.num_hiddens={widths}" if num_layers is None else f"model.num_layers={num_layers}"
        raise RequestError(f"model.dropout={dropout}: must have one value a hidden layer, as {layers}")
    if optimizer.get("nesterov") and not optimizer["momentum"]:
        raise RequestError("optimizer.nesterov=true: must come with an optimizer.momentum above 0")
    if optimizer["_target_"].endswith(".Exact"):
        _check_exact(config)
    if model["_target_"].endswith(".PHMMLP"):
        _check_phm(data, model)


def _check_task(config: Mapping[str, Any], classes: bool) -> None:
    """Model and loss fit the data: classes or numbers."""
    data, model = config["data"], config["model"]
    held_out = 0 if data.get("folds") else data.get("val_size", 0)
    if classes and (data["n_train"] or 1) > (left := 60_000 - held_out):
        raise RequestError(
            f"data.n_train={data['n_train']}: must be at most {left}, what data.val_size={held_out} leaves of 60000"
        )
    net = model["_target_"]
    if net in (registry.NUMBER_MODELS if classes else registry.CLASS_MODELS):
        raise RequestError(
            f"model={net.rpartition('.')[2]}: must be a model for {'classes' if classes else 'numbers'}, "
            f"which is what data={data['_target_'].rpartition('.')[2]} holds; mlp fits both"
        )
    allowed = registry.CLASS_LOSSES if classes else registry.NUMBER_LOSSES
    if config["loss"] is not None and config["loss"] not in allowed:
        raise RequestError(f"loss={config['loss']}: must be {', '.join(allowed)} or null for this data")
    if config["information"] and not classes:
        raise RequestError("information=true: must be false for this data, which holds numbers and not classes")


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
    net, loss = config["model"]["_target_"].rpartition(".")[2], config["loss"]
    if net not in ("LinearRegression", "LinearRegressionScratch", "RandomFeatures"):
        raise RequestError(f"optimizer=exact: must be for a model that is linear in its parameters, not for {net}")
    classes = config["data"]["_target_"] in registry.CLASSIFICATION_DATA
    if loss != "one_hot_mse" if classes else loss == "gaussian_nll":
        allowed = "one_hot_mse" if classes else "mse, half_mse, squared_scratch or null"
        raise RequestError(f"loss={_show(loss)}: must be {allowed} for optimizer=exact, which solves squared losses")
    if config["trainer"]["automatic_optimization"]:
        raise RequestError("optimizer=exact: must come with trainer.automatic_optimization=false: it takes no steps")


def _check_phm(data: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """The n of hypercomplex layers divides their inputs and outputs, as far as these are known from the settings."""
    n, widths = model["n"], model["num_hiddens"]
    if any(width % n for width in (widths if isinstance(widths, list) else [widths])):
        raise RequestError(f"model.n={n}: must divide every one of model.num_hiddens={widths}")
    num_inputs = 0
    match data["_target_"].rpartition(".")[2]:
        case "FashionMNISTData":
            num_inputs = (data["resize"] or 28) ** 2
        case "SyntheticRegressionData":
            num_inputs = len(data["w"])
        case "HighDimensionalData":
            num_inputs = data["d"]
        case "PolynomialData":
            num_inputs = data["degree"] + 1
    if num_inputs % n:
        raise RequestError(f"model.n={n}: must divide {num_inputs}, the number of inputs")


def check_hydra(node: Mapping[str, Any]) -> None:
    """Check the `hydra` node: it may build launchers, sweepers and plain log handlers, and run nothing else."""
    for target in targets(node):
        if target not in registry.HYDRA_TARGETS:
            raise RequestError(f"hydra: _target_={target} is not registered, so it is not run")
    launcher = node.get("launcher") or {}
    if rules := registry.LAUNCHERS.get(launcher.get("_target_", "")):
        _check_mapping({k: v for k, v in launcher.items() if k != "_target_"}, rules, "hydra.launcher.")
    for key in ("job_logging", "hydra_logging"):
        for name, value in _leaves(node.get(key) or {}):
            harmless = str(value) in ("ext://sys.stdout", "ext://sys.stderr") or not str(value).startswith("ext://")
            if name == "()" or not harmless or (name == "class" and value not in registry.LOGGING_CLASSES):
                raise RequestError(f"hydra.{key}: {name}={value} is not registered, so it is not run")


def _leaves(node: Any) -> Iterator[tuple[str, Any]]:
    for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
        if isinstance(value, (Mapping, list)):
            yield from _leaves(value)
        else:
            yield str(key), value
