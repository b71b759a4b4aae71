"""Data in memory as tensors, minibatches of it, Fashion-MNIST and the generators of synthetic data."""
