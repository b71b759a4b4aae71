"""The bands of theories that approximate, on the settings of their studies, against plain simulation."""

import numpy as np
import pytest
import torch
from torch import nn

from lightning_d2l.data.download import official_folder, read_official
from lightning_d2l.data.images import randomise
from lightning_d2l.nets.mlp import MLP
from tests.theory.test_assumptions import drawn


def curve(study, label, metric, *words):
    (found,) = [c for c in drawn(study, *words)[0] if c.label == label and c.metric == metric]
    return found


def at(found, x):
    """The ends of the band at x."""
    return np.interp(x, found.x, found.low), np.interp(x, found.x, found.high)


def test_gradient_descent_stays_in_the_band_of_its_limit():
    """n = 120 and d = 100 are few for a limit of many."""
    rng, n, d, epochs = np.random.default_rng(1), 120, 100, (10, 100, 500, 1500)
    single = []
    for _ in range(30):
        x, beta = rng.standard_normal((n, d)), np.full(d, 0.1)
        y, w, losses = x @ beta + 0.5 * rng.standard_normal(n), np.zeros(d), []
        for epoch in range(1, epochs[-1] + 1):
            w -= 0.01 * 2 * x.T @ (x @ w - y) / n
            if epoch in epochs:
                losses.append((np.mean((x @ w - y) ** 2), np.sum((w - beta) ** 2) + 0.25))
        single.append(losses)
    for part, metric in enumerate(("loss/train", "loss/val")):
        theory = curve("training_time", "gradient flow", metric)
        means, errors = np.mean(single, 0)[:, part], 3 * np.std(single, 0)[:, part] / np.sqrt(30)
        for epoch, mean, error in zip(epochs, means, errors, strict=True):
            low, high = at(theory, epoch)
            assert low - error < mean < high + error


@pytest.mark.parametrize("batch_size", [1, 4])
def test_sgd_that_shuffles_stays_in_the_band_between_new_batches_and_all_samples(batch_size):
    words = (f"data.batch_size={batch_size}", "trainer.max_epochs=60")
    theory = curve("learning_rate", "expected loss", "loss/train", *words)
    rng, n, d, runs = np.random.default_rng(2), 100, 10, 80
    x = rng.standard_normal((runs, n, d))
    y = x.sum(2) + 0.1 * rng.standard_normal((runs, n))
    for lr in (0.003, 0.01):
        w = 0.01 * rng.standard_normal((runs, d))
        for _ in range(60):
            order = rng.permuted(np.tile(np.arange(n), (runs, 1)), axis=1)
            for rows in np.split(order, n // batch_size, axis=1):
                inputs, targets = np.take_along_axis(x, rows[:, :, None], 1), np.take_along_axis(y, rows, 1)
                residual = np.einsum("rbd,rd->rb", inputs, w) - targets
                w -= lr * np.einsum("rb,rbd->rd", residual, inputs) / batch_size
        losses = ((np.einsum("rnd,rd->rn", x, w) - y) ** 2).mean(1) / 2
        low, high = at(theory, lr)
        error = 3 * np.std(losses) / np.sqrt(runs)
        assert low - error < np.mean(losses) < high + error


def test_what_is_left_of_the_initialisation_is_that_of_simulated_sgd():
    rng, n, d = np.random.default_rng(3), 20, 200
    found = {metric: curve("weight_decay", "ridge + what is left of the initialisation", metric)
             for metric in ("loss/test", "norm/weights")}  # fmt: skip
    runs = []
    for _ in range(40):
        x = rng.standard_normal((n, d))
        y, w, b = x.sum(1) * 0.01 + 0.05 + 0.01 * rng.standard_normal(n), rng.standard_normal(d), 0.0
        for _ in range(100):
            for rows in rng.permutation(n).reshape(-1, 5):
                residual = x[rows] @ w + b - y[rows]
                w, b = w - 0.003 * (x[rows].T @ residual / 5 + 3 * w), b - 0.003 * residual.mean()
        runs.append((0.5 * (1e-4 + np.sum((w - 0.01) ** 2) + (b - 0.05) ** 2), np.linalg.norm(w)))
    for theory, values in zip(found.values(), np.transpose(runs), strict=True):
        expected = theory.y[theory.x.index(3)]
        assert np.mean(values) == pytest.approx(expected, abs=4 * np.std(values) / np.sqrt(40), rel=0.02)


@pytest.mark.parametrize(("activation", "init"), [("relu", "kaiming"), ("tanh", "kaiming"), ("tanh", "xavier_normal")])
def test_initial_gradients_of_single_networks_lie_in_the_band(official_root, activation, init):
    x, y = read_official(official_folder(official_root, "official")[0], "train")
    chosen = np.concatenate([np.flatnonzero(y == k)[:50] for k in range(10)])
    images, labels = torch.from_numpy(x[chosen]).flatten(1).float() / 255, torch.from_numpy(y[chosen]).long()
    words = (f"model.activation={activation}", f"model.init={init}")
    low, high = at(curve("depth_init", "theory of wide layers", "first.gradient/first", *words), 8)
    inside = 0
    for seed in range(20):
        torch.manual_seed(seed)
        net = MLP(784, 10, 64, activation, init=init, num_layers=8)
        nn.functional.cross_entropy(net(images), labels).backward()
        inside += low < next(net.parameters()).grad.norm().item() < high
    assert inside >= 15  # of 20; in theory 19


def test_the_accuracy_of_the_right_classes_under_label_noise():
    labels = torch.arange(10).repeat(5_000)
    right = (randomise(labels, 0.3, 10, torch.Generator().manual_seed(0)) == labels).float().mean().item()
    theory = curve("random_labels", "right classes: 1 - 0.9 noise", "acc/train")
    assert np.interp(0.3, theory.x, theory.y) == pytest.approx(0.73)
    assert right == pytest.approx(0.73, abs=4 * np.sqrt(0.73 * 0.27 / len(labels)))
