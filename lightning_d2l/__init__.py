"""Linear networks and multilayer perceptrons as experiments: Lightning trains, Hydra composes, TensorBoard shows."""

__version__ = "0.2.0"
