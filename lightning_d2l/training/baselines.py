"""What a model is compared with: the trivial predictor, and the reference that `study.reference` asks for.

Both are recorded on each split as `<metric>/<split>`, in the units of the run's own metrics.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.loggers import BASELINES
from lightning_d2l.config.registry import SQUARED_LOSSES
from lightning_d2l.config.text import number
from lightning_d2l.data.base import TensorDataModule, is_images
from lightning_d2l.data.loaders import LoaderData
from lightning_d2l.data.synthetic import RegressionData
from lightning_d2l.modules.base import SupervisedModule
from lightning_d2l.modules.losses import GaussianNLL

log = logging.getLogger(__name__)

Baseline = dict[str, Any]
ENOUGH = 10_000  # training samples, of which an MLP holds a tenth out to stop early
TUNED_ON = 2000  # samples on which the settings of a baseline are chosen, by cross-validation
PRIOR = {"knn": 0.1}  # weight of the class frequencies in predicted probabilities, which are then never 0
_fitted: dict[tuple[Any, ...], Baseline] = {}  # by the checksum of the data: each baseline is fitted once


def baselines(config: Mapping[str, Any], data: Any, module: Any, checksum: str | None) -> dict[str, Baseline]:
    """What the record holds of baselines: `samples` of the splits, `trivial`, and `reference` where it is asked for."""
    supervised = module if isinstance(module, SupervisedModule) else None
    samples = {split: n for split, n in data.sizes().items() if n is not None}
    found = {"samples": samples, "trivial": trivial(data, supervised)}
    name = config.get("reference")
    if name is None:
        return found
    key = (checksum, name, supervised.loss_name if supervised else None)
    if checksum is None or key not in _fitted:
        _fitted[key] = _reference(name, data, supervised)
    return {**found, "reference": _fitted[key]}


def require_reference(config: Mapping[str, Any], data: Any, module: Any) -> None:
    """Raise RequestError if the reference that is asked for is not known of the data, or can't be fitted to them."""
    name = config.get("reference")
    if name is None or isinstance(name, (int, float)):
        return
    what = f"study.reference={name}"
    if not isinstance(module, SupervisedModule):
        raise RequestError(f"{what}: must be a loss or null: that of {type(module).__name__} is its own")
    if name == "bayes" and not (isinstance(data, TensorDataModule) and _noise(data) is not None and _factor(module)):
        others = ", ".join(BASELINES)
        raise RequestError(f"{what}: the noise of {data.name} in {module.loss_name} is not known; a loss or {others}")
    if name != "bayes" and not isinstance(data, TensorDataModule):
        raise RequestError(f"{what}: must come with data.in_memory=true: {data.name} is read by loaders")


def trivial(data: Any, module: SupervisedModule | None) -> Baseline:
    """The metrics of the predictor that knows the training targets and no inputs: class frequencies, or the mean.

    Of a loss that is not known, or takes more than outputs and targets, nothing is said.
    """
    targets = _targets(data)
    if "train" not in targets:
        return {}
    return _of_classes(targets, data, module) if data.task == "classification" else _of_numbers(targets, module)


def _targets(data: Any) -> dict[str, np.ndarray]:
    """The targets of each split that are in memory."""
    if isinstance(data, TensorDataModule):
        return {split: y.numpy() for split, (_, y) in data.splits.items() if len(y)}
    if not isinstance(data, LoaderData) or not data.task:
        return {}
    found = {split: data.targets(split) for split in data.split_names}
    return {split: y for split, y in found.items() if y is not None and len(y)}


def _of_classes(targets: Mapping[str, np.ndarray], data: Any, module: SupervisedModule | None) -> Baseline:
    counts = {split: np.bincount(y.reshape(-1), minlength=data.num_outputs) for split, y in targets.items()}
    train = counts["train"] + (counts["train"].min() == 0)  # no class is impossible
    p = train / train.sum()
    shares = {split: each / each.sum() for split, each in counts.items()}
    found = {f"acc/{split}": float(share[p.argmax()]) for split, share in shares.items()}
    if module is None:
        return found
    if module.loss_name in ("cross_entropy", "cross_entropy_scratch"):
        losses = {split: float(-(share @ np.log(p))) for split, share in shares.items()}
    elif module.loss_name == "one_hot_mse":
        losses = {split: float(((1 - 2 * p) @ share + p @ p) / len(p)) for split, share in shares.items()}
    else:
        losses = _measured(module, [np.log(p), p], targets)
    return {**{f"loss/{split}": loss for split, loss in losses.items()}, **found}


def _of_numbers(targets: Mapping[str, np.ndarray], module: SupervisedModule | None) -> Baseline:
    if module is None:
        return {}
    mean = targets["train"].mean(0)
    squares = {split: float(np.square(y - mean).mean()) for split, y in targets.items()}
    factor = _factor(module)
    if isinstance(module.loss, GaussianNLL):
        variance = max(squares["train"], 1e-300)
        constant = 0.5 * math.log(2 * math.pi * variance)
        losses = {split: constant + square / (2 * variance) for split, square in squares.items()}
        found = {f"mse/{split}": square for split, square in squares.items()}
        return {**{f"loss/{split}": loss for split, loss in losses.items()}, **found}
    if factor is not None:
        losses = {split: factor * square for split, square in squares.items()}
    else:
        losses = _measured(module, [mean, np.median(targets["train"], axis=0)], targets)
    return {f"loss/{split}": loss for split, loss in losses.items()}


def _measured(
    module: SupervisedModule, constants: list[np.ndarray], targets: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """A registered loss of the constant output that is the best one on the training targets, on each split."""
    found: list[dict[str, float]] = []
    if isinstance(module.loss, nn.Module) and any(True for _ in module.loss.parameters()):
        return {}
    for constant in constants:
        with suppress(Exception):  # a loss may need more than outputs and targets, or not take a constant
            output = torch.from_numpy(np.atleast_1d(constant).astype(np.float64))
            losses = {}
            for split, y in targets.items():
                outputs = output.expand(len(y), -1)
                losses[split] = float(module.loss(outputs, module.targets(outputs, torch.from_numpy(y))))
            if all(map(math.isfinite, losses.values())):
                found.append(losses)
    return min(found, key=lambda losses: losses["train"], default={})


def _factor(module: SupervisedModule) -> float | None:
    """The factor of the mean squared error in the quantity that is diagnosed; None for a loss of another kind."""
    return 1.0 if isinstance(module.loss, GaussianNLL) else SQUARED_LOSSES.get(module.loss_name)


def _noise(data: TensorDataModule) -> float | None:
    """The standard deviation of the noise of generated numbers; None if it is not known."""
    return data.noise if isinstance(data, RegressionData) or data.noise > 0 else None


def _reference(name: float | str, data: Any, module: SupervisedModule | None) -> Baseline:
    quantity = "mse" if module and isinstance(module.loss, GaussianNLL) else "loss"
    held_out = [split for split in ("val", "test") if split in data.split_names]
    if not isinstance(name, str):
        return {"name": number(name), **{f"{quantity}/{split}": float(name) for split in held_out}}
    assert module is not None
    if name == "bayes":
        noise, factor = _noise(data), _factor(module)
        assert noise is not None
        assert factor is not None
        return {"name": name, **{f"{quantity}/{split}": factor * noise**2 for split in held_out}}
    log.info("study.reference=%s: fits %s to %d samples", name, data.name, len(data.splits["train"][1]))
    predict = _fit(name, data)
    found: Baseline = {"name": name}
    for split in held_out:
        metrics = _metrics(module, predict(data.splits[split][0]), data.splits[split][1])
        found |= {f"{key}/{split}": metrics[key] for key in (quantity, "acc") if key in metrics}
    return found


@torch.no_grad()
def _metrics(module: SupervisedModule, output: np.ndarray, y: torch.Tensor) -> dict[str, float]:
    """The metrics of numbers, or of probabilities, which a loss takes as logits or as they are: the better ones."""
    classes = not y.is_floating_point()
    outputs = [np.log(output), output] if classes else [output]
    found = [
        {k: float(v) for k, v in module.measured(torch.from_numpy(np.ascontiguousarray(each, np.float64)), y).items()}
        for each in outputs
    ]
    return min(found, key=lambda metrics: metrics["loss"])


def _features(x: torch.Tensor) -> np.ndarray:
    """Features (n, d) as a baseline takes them; pixels from 0 to 1."""
    flat = x.reshape(len(x), -1).numpy()
    return flat.astype(np.float32) / 255 if is_images(x) else flat.astype(np.float64)


def _fit(name: str, data: TensorDataModule) -> Callable[[torch.Tensor], np.ndarray]:
    """A baseline fitted to the training split: a function from x to numbers (n, q) or probabilities (n, classes)."""
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV

    x, y = data.splits["train"]
    classes = data.task == "classification"
    features, targets = _features(x), y.numpy() if classes or y.shape[1] > 1 else y.numpy()[:, 0]
    model = _estimator(name, classes=classes, scaled=not is_images(x), n=len(y), outputs=data.num_outputs)
    if grid := _grid(name, min(len(y), TUNED_ON), classes=classes):
        some = np.random.default_rng(0).permutation(len(y))[:TUNED_ON]
        scoring = "neg_mean_squared_error" if not classes else "accuracy" if name == "knn" else "neg_log_loss"
        with warnings.catch_warnings(action="ignore"):  # that a class is rare, or the last step was an improvement
            found = GridSearchCV(model, grid, cv=3, scoring=scoring).fit(features[some], targets[some])
        model = clone(model).set_params(**found.best_params_)
    with warnings.catch_warnings(action="ignore"):  # that the last step was still an improvement
        model.fit(features, targets)
    if not classes:
        return lambda x: cast(np.ndarray, model.predict(_features(x))).reshape(len(x), -1)
    frequencies = (np.bincount(targets, minlength=data.num_outputs) + 1) / (len(targets) + data.num_outputs)
    weight = PRIOR.get(name, 1e-3)

    def probabilities(x: torch.Tensor) -> np.ndarray:
        found = np.zeros((len(x), data.num_outputs))
        found[:, model.classes_] = model.predict_proba(_features(x))
        return (1 - weight) * found + weight * frequencies

    return probabilities


def _grid(name: str, n: int, *, classes: bool) -> dict[str, list[Any]]:
    """The settings that are chosen by cross-validation on n samples; none on very few."""
    if n < 12:
        return {}
    if name == "knn":
        neighbours = [k for k in (1, 3, 5, 10, 20, 50) if k <= n // 2]
        return {"knn__n_neighbors": neighbours, "knn__weights": ["uniform", "distance"]}
    return {f"{'' if classes else 'regressor__'}mlp__alpha": [1e-3, 1.0, 10.0]} if name == "mlp" else {}


def _estimator(name: str, *, classes: bool, scaled: bool, n: int, outputs: int) -> Any:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    scale = [("scale", StandardScaler())] if scaled else []
    if name == "knn":
        k = min(5, n)
        return Pipeline([*scale, ("knn", KNeighborsClassifier(k) if classes else KNeighborsRegressor(k))])
    if name == "gradient_boosting":
        if classes:
            return HistGradientBoostingClassifier(random_state=0)
        made = HistGradientBoostingRegressor(random_state=0)
        return MultiOutputRegressor(made) if outputs > 1 else made
    wide = {"hidden_layer_sizes": (512,), "early_stopping": n >= ENOUGH, "max_iter": 300, "random_state": 0}
    if classes:
        return Pipeline([*scale, ("mlp", MLPClassifier(**wide))])
    return TransformedTargetRegressor(Pipeline([*scale, ("mlp", MLPRegressor(**wide))]), transformer=StandardScaler())
