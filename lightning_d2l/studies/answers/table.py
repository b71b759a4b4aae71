"""The table of answer rules, by the name of their study."""

from collections.abc import Mapping

from lightning_d2l.studies.answers import fitting, least_squares, networks, optimisation, regularisation
from lightning_d2l.studies.answers.rule import Rule

ANSWERS: Mapping[str, Rule] = {
    "double_descent": least_squares.double_descent,
    "sample_size": least_squares.sample_size,
    "capacity": least_squares.capacity,
    "bias_variance": least_squares.bias_variance,
    "kfold": least_squares.kfold,
    "weight_decay": regularisation.weight_decay,
    "dropout_linear": regularisation.dropout_linear,
    "input_noise": regularisation.input_noise,
    "l1_l2": regularisation.l1_l2,
    "learning_rate": optimisation.learning_rate,
    "schedule": optimisation.schedule,
    "training_time": optimisation.training_time,
    "width": networks.width,
    "width_fashion_mnist": networks.width_fashion_mnist,
    "phm": networks.phm,
    "activation": networks.activation,
    "depth_init": networks.depth_init,
    "dropout": fitting.dropout,
    "random_labels": fitting.random_labels,
    "double_descent_random_features": fitting.random_features,
}
