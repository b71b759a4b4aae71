"""What to try next after a single run, and the command that tries it."""

from __future__ import annotations

import importlib.util
import json
import math
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from lightning_d2l.config.check import RequestError, check
from lightning_d2l.config.given import is_given
from lightning_d2l.config.optimizers import EXACT
from lightning_d2l.config.program import arguments_of, train_words
from lightning_d2l.config.tables import TABLES_DATA
from lightning_d2l.studies.diagnosis import (
    BEST_HERE,
    DIVERGED,
    LEARNT,
    NOT_LEARNT,
    OVERFITTING,
    UNDERFITTING,
    WELL_FITTED,
    Diagnosis,
)
from lightning_d2l.training.record import RunRecord

SEEDS = "seed=0,1,2,3,4"
STRONG = 0.1  # a penalty from which on a model that has not learnt may owe it to the penalty
MANY = 1000  # validation samples, beyond which more of them are not suggested
# For objects, which no command trains.
IN_WORDS = {
    DIVERGED: "a smaller learning rate",
    NOT_LEARNT: "another learning rate",
    UNDERFITTING: "more epochs, or a larger model",
    OVERFITTING: "dropout, weight decay, or more data",
}

Change = tuple[str, Mapping[str, Any]]
"""What is changed, in words, and the settings by full key, or an override of a group."""


def advice(found: Diagnosis, run: RunRecord) -> tuple[str, str]:
    """What to try next in a few words, and the command; the latter is empty for objects, both if nothing is known."""
    if is_given(run.config):
        return IN_WORDS.get(found.name, ""), ""
    known = found.or_else is None or found.name in (LEARNT, BEST_HERE)
    for words, changes in _CHANGES[found.name](run) if known else _uncertain(found, run):
        if _is_valid(run.config, changes):
            return words, _command(run, changes)
    return "", ""


def _command(run: RunRecord, changes: Mapping[str, Any]) -> str:
    """The command of a run with other settings."""
    given = run.fields.get("command")
    words = arguments_of(given) if given else list(run.fields.get("overrides") or [])
    out = ("resume", "hydra.run.dir", "hydra.mode", *changes)
    kept = [word for word in words if word.lstrip("+").partition("=")[0] not in out]
    several = ["-m"] if any(isinstance(value, range) for value in changes.values()) else []
    kept += [f"{key}={_text(value)}" for key, value in changes.items()]
    alone = ["hydra.mode=RUN"] if any(word.startswith("study=") for word in kept) and not several else []
    return shlex.join([*train_words(), *several, *kept, *alone])


def _text(value: Any) -> str:
    if isinstance(value, range):
        return ",".join(map(str, value))
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_valid(config: Mapping[str, Any], changes: Mapping[str, Any]) -> bool:
    """Whether the run could be asked for with other settings."""
    changed = json.loads(json.dumps(config))
    for key, value in changes.items():
        *path, last = key.split(".")
        node = changed
        for part in path:
            node = node.get(part) or {}
        if isinstance(value, range) or key in GROUPS or value == "${seed}":
            continue
        if last not in node and key != "study.reference":
            return False
        node[last] = value
    try:
        check(changed)
    except (RequestError, KeyError, TypeError, ValueError):
        return False
    return True


GROUPS = ("callbacks", "model")


def _node(run: RunRecord, name: str) -> Mapping[str, Any]:
    node = run.config.get(name)
    return node if isinstance(node, Mapping) else {}


def _is_exact(run: RunRecord) -> bool:
    return _node(run, "optimizer").get("_target_") == EXACT


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _uncertain(found: Diagnosis, run: RunRecord) -> Iterator[Change]:
    samples = _node(run, "data").get("n_val")
    if found.split == "val" and not _node(run, "data").get("folds") and _is_number(samples) and 0 < samples < MANY:
        yield "more validation data, to tell", {"data.n_val": min(10 * samples, 10 * MANY)}
    yield from _seeds(run)


def _seeds(run: RunRecord) -> Iterator[Change]:
    if "seed" in _node(run, "data") and "data.seed" not in run.overrides:
        yield "other seeds and data sets", {"seed": range(5), "data.seed": "${seed}"}
    yield "other seeds", {"seed": range(5)}


def _unit(run: RunRecord) -> Iterator[Change]:
    trivial = (run.fields.get("baselines") or {}).get("trivial") or {}
    if _node(run, "data").get("standardize_target") is False and not any(key.startswith("acc/") for key in trivial):
        yield "targets of unit variance", {"data.standardize_target": True}


def _smaller_rate(run: RunRecord) -> Iterator[Change]:
    if run.status == "diverged":
        yield from _unit(run)
    if _is_number(rate := _node(run, "optimizer").get("lr")) and not _is_exact(run):
        yield "a smaller learning rate", {"optimizer.lr": rate / 10}


def _other_rate(run: RunRecord) -> Iterator[Change]:
    yield from _unit(run)
    if _still_falls(run):
        yield from _more_epochs(run)
    yield from _less_penalty(run, STRONG)
    rate = _node(run, "optimizer").get("lr")
    adaptive = not str(_node(run, "optimizer").get("_target_")).endswith("SGD")
    if _is_number(rate) and rate >= (0.1 if adaptive else 1):
        yield from _smaller_rate(run)
    elif _is_number(rate) and not _is_exact(run):
        yield "a larger learning rate", {"optimizer.lr": max(10.0 * rate, 1e-3)}
    yield from _more_epochs(run)


def _less_penalty(run: RunRecord, above: float = 0.0) -> Iterator[Change]:
    decay, penalty = _node(run, "optimizer").get("weight_decay"), _node(run, "penalty")
    strength = penalty.get("lambda", 1.0)
    if _is_number(decay) and decay > above:
        yield "no weight decay", {"optimizer.weight_decay": 0.0}
    if _is_number(strength) and strength * (penalty.get("l1", 0) + penalty.get("l2", 0)) > above:
        yield "no penalty", {"penalty.lambda": 0.0}


def _more_epochs(run: RunRecord) -> Iterator[Change]:
    epochs = _node(run, "trainer").get("max_epochs")
    if _is_number(epochs) and epochs > 0 and not _is_exact(run):
        yield "more epochs", {"trainer.max_epochs": 3 * epochs}


def _still_falls(run: RunRecord) -> bool:
    """Whether the held-out loss fell by 2 % in the last fifth of the epochs, or by 5 % of its way from the trivial."""
    found = [row.get("loss/val", row.get("loss/train")) for row in run.history]
    losses = [loss for loss in found if loss is not None]
    if len(losses) < max(2, len(found)):
        return False
    last, before = losses[-1], losses[min(int(0.8 * len(losses)), len(losses) - 2)]
    trivial = ((run.fields.get("baselines") or {}).get("trivial") or {}).get("loss/val", -math.inf)
    return bool(last < 0.98 * before or before - last > 0.05 * (trivial - last) > 0)


def _larger(run: RunRecord) -> Iterator[Change]:
    model, data = _node(run, "model"), _node(run, "data")
    for key in ("dropout", "input_noise"):
        values = model.get(key)
        if values and values != [0.0]:
            yield f"no {key.replace('_', ' ')}", {f"model.{key}": _each(values, lambda value: 0.0)}
    yield from _less_penalty(run)
    if _still_falls(run):
        yield from _more_epochs(run)
    if _is_number(degree := data.get("degree")):
        yield "a higher degree", {"data.degree": degree + 1}
    for key in ("num_hiddens", "num_features"):
        if model.get(key):
            yield "a wider model", {f"model.{key}": _each(model[key], lambda value: 2 * value)}
    if not _is_exact(run) and "degree" not in data and not any(key.startswith("model.") for key in run.overrides):
        yield "a hidden layer", {"model": "mlp"}
    yield from _more_epochs(run)


def _each(value: Any, change: Any) -> Any:
    return [change(each) for each in value] if isinstance(value, list) else change(value)


def _smaller(run: RunRecord) -> Iterator[Change]:
    model, data, optimizer = (_node(run, name) for name in ("model", "data", "optimizer"))
    best, last = run.metric("best.loss/val"), run.metric("loss/val")
    if best is not None and last is not None and best < 0.8 * last and not run.config.get("callbacks"):
        yield "to stop early", {"callbacks": ["early_stopping"]}
    if _is_number(degree := data.get("degree")) and degree > 1:
        yield "a lower degree", {"data.degree": degree // 2}
    dropout = model.get("dropout")
    layers = dropout if isinstance(dropout, list) else [dropout]
    if "num_hiddens" in model and dropout is not None and all(value == 0 for value in layers):
        yield "dropout", {"model.dropout": _each(dropout, lambda value: 0.5)}
    if _is_number(decay := optimizer.get("weight_decay")):
        yield "more weight decay", {"optimizer.weight_decay": 10 * decay if decay else 0.01}
    if _is_number(samples := data.get("n_train")):
        yield "more samples", {"data.n_train": 4 * samples}
    yield from _seeds(run)


def _reference(run: RunRecord) -> Iterator[Change]:
    baselines = run.fields.get("baselines") or {}
    loaders = "samples" in (run.fields.get("data") or {})  # of data that are not in memory
    known = any(key.startswith("loss/") for key in baselines.get("trivial") or {})
    if _still_falls(run) or len(run.history) == 1:
        yield from _more_epochs(run)
    if known and not loaders and importlib.util.find_spec("sklearn"):
        table = _node(run, "data").get("_target_") in TABLES_DATA
        usual = "gradient_boosting" if table else "knn"
        if "reference" not in baselines:
            yield "a reference, to see what is possible", {"study.reference": usual}
        else:  # the model beats it
            beaten = str((baselines["reference"] or {}).get("name"))
            stronger = {"knn": "gradient_boosting", "gradient_boosting": "mlp", "mlp": None}.get(beaten, usual)
            if stronger:
                yield "a stronger reference", {"study.reference": stronger}
    yield from _seeds(run)


_CHANGES = {
    DIVERGED: _smaller_rate,
    NOT_LEARNT: _other_rate,
    UNDERFITTING: _larger,
    OVERFITTING: _smaller,
    LEARNT: _reference,
    BEST_HERE: _reference,
    WELL_FITTED: _seeds,
}
