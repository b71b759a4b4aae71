"""The table of theories: `study.theory` is one of its names."""

from __future__ import annotations

from lightning_d2l.theory.cross_validation import cross_validation
from lightning_d2l.theory.curves import Theory, noise_floor
from lightning_d2l.theory.double_descent import double_descent, interpolation_threshold
from lightning_d2l.theory.early_stopping import early_stopping
from lightning_d2l.theory.initialisation import depth_init
from lightning_d2l.theory.layers import activation, phm
from lightning_d2l.theory.learning_rate import learning_rate
from lightning_d2l.theory.polynomials import bias_variance, capacity, learning_curve
from lightning_d2l.theory.random_labels import random_labels
from lightning_d2l.theory.regularisation import dropout_linear, input_noise, l1_l2, weight_decay
from lightning_d2l.theory.width import width

THEORIES: dict[str, Theory] = {
    "noise_floor": noise_floor,
    "capacity": capacity,
    "learning_curve": learning_curve,
    "bias_variance": bias_variance,
    "double_descent": double_descent,
    "interpolation_threshold": interpolation_threshold,
    "early_stopping": early_stopping,
    "cross_validation": cross_validation,
    "weight_decay": weight_decay,
    "input_noise": input_noise,
    "dropout_linear": dropout_linear,
    "l1_l2": l1_l2,
    "learning_rate": learning_rate,
    "width": width,
    "depth_init": depth_init,
    "activation": activation,
    "phm": phm,
    "random_labels": random_labels,
}
