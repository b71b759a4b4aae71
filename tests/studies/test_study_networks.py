"""The lessons of the studies of networks in small, and their theory against numpy, torch and the images."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from lightning_d2l import app
from lightning_d2l.data.download import official_folder, read_official
from lightning_d2l.nets.initialisation import initialise
from lightning_d2l.nets.mlp import ACTIVATIONS, MLP
from lightning_d2l.nets.phm import PHMMLP
from lightning_d2l.studies.collect import collect
from lightning_d2l.studies.findings import find
from lightning_d2l.theory.initialisation import IMAGES, initial_gradients, pair_means, weight_variance
from lightning_d2l.theory.layers import hypercomplex_parameters
from lightning_d2l.theory.theories import THEORIES
from lightning_d2l.theory.width import straight_pieces

CUBIC = (5.0, 1.2, -3.4, 5.6)


def runs_of(folder, *words):
    assert app.main([*words, "trainer.accelerator=cpu", f"hydra.sweep.dir={folder}"]) == 0
    return collect([folder])[0].runs


def means(runs, metric, *keys):
    """The mean of a metric over seeds, by the values of keys."""
    found = {}
    for run in runs:
        found.setdefault(tuple(run.setting(key) for key in keys), []).append(run.metric(metric))
    return {key: np.mean(values) for key, values in found.items()}


def theory(folder):
    """The study's curves, by metric and setting."""
    findings = find([folder])
    curves = THEORIES[findings.study.theory](findings.study, findings.runs)
    return {
        (curve.label, curve.metric, *curve.where.values()): dict(zip(curve.x, curve.y, strict=True)) for curve in curves
    }


def test_straight_pieces_start_at_the_regression_line_and_end_at_the_asymptote():
    errors = straight_pieces(CUBIC, True)
    # y = ... - 1.7 x^2 + 0.933 x^3: what is left beside the line are the Hermite polynomials of degree 2 and 3.
    assert errors[0] == pytest.approx(2 * (3.4 / 2) ** 2 + 6 * (5.6 / 6) ** 2, rel=2e-3)
    # de Boor (1973): (integral of (f''^2 p)^(1/5))^5 / 720 / pieces^4, approached from below.
    x = np.linspace(-6, 6, 10_001)
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    constant = (((5.6 * x - 3.4) ** 2 * density) ** 0.2).sum() * (x[1] - x[0])
    ratios = [errors[k - 1] / (constant**5 / 720 / k**4) for k in (4, 8, 16, 32)]
    assert all(a < b < 1 for a, b in itertools.pairwise(ratios))
    assert ratios[-1] > 0.75


def test_no_network_does_better_than_straight_pieces():
    """Least squares on the ReLU features of many random hidden layers, on the grid of the theory itself."""
    errors = straight_pieces(CUBIC, True)
    random = np.random.default_rng(0)
    x = np.linspace(-5, 5, 1001)
    weights = np.exp(-(x**2) / 2) / np.exp(-(x**2) / 2).sum()
    y = 5 + 1.2 * x - 1.7 * x**2 + 5.6 / 6 * x**3
    for h in (1, 2, 4, 8):
        found = []
        for _ in range(200):
            hidden = np.maximum(0, random.choice([-1, 1], h) * x[:, None] + random.normal(0, 1.5, h))
            features = np.sqrt(weights)[:, None] * np.column_stack([np.ones_like(x), hidden])
            residual = np.sqrt(weights) * y - features @ np.linalg.lstsq(features, np.sqrt(weights) * y, rcond=None)[0]
            found.append(residual @ residual)
        assert errors[h] < min(found)


@pytest.mark.slow
def test_the_error_falls_with_width(tmp_path):
    words = ["study=width", "model.num_hiddens=1,8,64", "seed=0,1", "trainer.max_epochs=60"]
    losses = means(runs_of(tmp_path, *words), "loss/val", "model.num_hiddens")
    assert losses[1,] > 5 * losses[8,]
    assert losses[8,] > 5 * losses[64,]
    curves = theory(tmp_path)
    assert curves["noise floor", "loss/val"] == pytest.approx(dict.fromkeys((1, 8, 64), 0.01))
    bound = curves["best h + 1 straight pieces", "loss/val"]
    assert all(losses[h,] > bound[h] for h in (1, 8, 64))
    assert bound[8] == pytest.approx(0.01 + straight_pieces(CUBIC, True)[8])


def test_a_wider_layer_fits_and_classifies_images_better(tmp_path):
    words = ["study=width_fashion_mnist", "model.num_hiddens=1,8,64", "seed=0,1", "data.n_train=1000"]
    runs = runs_of(tmp_path, *words, "data.val_size=1000", "data.source=generated")
    for metric in ("acc/train", "acc/val"):
        accuracy = means(runs, metric, "model.num_hiddens")
        assert accuracy[1,] < accuracy[8,] < accuracy[64,]


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "sigmoid"])
def test_pair_means_by_simulation(activation):
    random = torch.Generator().manual_seed(0)
    u, e = torch.randn(2, 400_000, generator=random, dtype=torch.float64)
    u, v = 1.3**0.5 * u, 1.3**0.5 * (0.6 * u + 0.8 * e)
    pair = [z.clone().requires_grad_() for z in (u, v)]
    values = [ACTIVATIONS[activation]()(z) for z in pair]
    slopes = torch.autograd.grad(sum(f.sum() for f in values), pair)
    expected = pair_means(activation, 1.3, 0.6 * 1.3)
    for (a, b), theory_value in zip((values, slopes), expected, strict=True):
        product = (a * b).detach()
        assert abs(product.mean() - theory_value) < 4 * product.std() / 400_000**0.5 + 1e-9


@pytest.mark.parametrize("init", ["normal", "xavier_normal", "xavier_uniform", "kaiming"])
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "sigmoid"])
def test_weight_variance_is_that_of_the_initialisation(init, activation):
    layer = nn.Linear(300, 700)
    torch.manual_seed(0)
    initialise(layer, init, activation)
    assert layer.weight.var().item() == pytest.approx(weight_variance(init, activation, 300, 700), rel=0.02)


def images_by_class(root, n):
    """The first n of each class, (10, n, 784) in [0, 1]."""
    x, y = read_official(official_folder(root, "official")[0], "train")
    return torch.stack([torch.from_numpy(x[y == k][:n]).flatten(1).float() / 255 for k in range(10)])


def test_mean_inner_products_of_the_images(official_root):
    n = 6000
    x = images_by_class(official_root, n)
    own = x.square().sum((1, 2)).double() / n
    between = (means := x.mean(1).double()) @ means.T
    same = (between.diagonal() * n**2 - own * n) / (n * (n - 1))
    other = (between.sum() - between.trace()) / 90
    for name, value in (("own", own.mean()), ("same", same.mean()), ("other", other)):
        assert IMAGES[name] == pytest.approx(value.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("init", "activation"), [("normal", "tanh"), ("xavier_normal", "relu"), ("xavier_normal", "sigmoid")]
)
def test_initial_gradients_are_those_of_wide_networks(official_root, init, activation):
    """Root mean square over networks; single ones differ, since they have 10 outputs and a finite width."""
    x, y = images_by_class(official_root, 20).flatten(0, 1), torch.arange(10).repeat_interleave(20)
    squares = []
    for seed in range(16):
        torch.manual_seed(seed)
        net = MLP(784, 10, 256, activation, init=init, num_layers=4)
        nn.functional.cross_entropy(net(x), y).backward()
        weights = [p for p in net.parameters() if p.dim() == 2]
        squares.append([w.grad.double().norm().item() ** 2 for w in (weights[0], weights[-1])])
    expected = initial_gradients(init, activation, 256, 4, 200)
    np.testing.assert_allclose(np.sqrt(np.mean(squares, 0)), expected, rtol=0.3)


@pytest.mark.slow
def test_deep_networks_train_from_kaiming_and_not_from_a_small_normal_distribution(tmp_path):
    words = ["study=depth_init", "model.num_layers=1,8", "model.init=normal,kaiming", "seed=0", "data.n_train=200"]
    # At the study's own learning rate the descent of 8 layers is chaotic: a last bit decides on its end.
    words += ["optimizer.lr=0.05", "data.source=generated", "data.batch_size=200", "data.val_size=100"]
    runs = runs_of(tmp_path, *words)
    keys = ("model.activation", "model.init", "model.num_layers")
    accuracy, gradient = (means(runs, metric, *keys) for metric in ("acc/train", "first.gradient/first"))
    for activation in ("relu", "tanh"):
        assert accuracy[activation, "normal", 1] > 0.3
        assert accuracy[activation, "normal", 8] < 0.2
        assert accuracy[activation, "kaiming", 8] > 0.5
        assert gradient[activation, "normal", 8] < 1e-6 * gradient[activation, "normal", 1]
        assert gradient[activation, "kaiming", 8] > 0.1 * gradient[activation, "kaiming", 1]
    for (_, metric, *where), values in theory(tmp_path).items():
        assert metric.startswith("first.gradient/")
        assert set(values) == {1, 8}
        assert where[1] == "kaiming" or values[8] < 1e-6 * values[1]


@pytest.mark.slow
def test_without_an_activation_depth_is_worth_nothing(tmp_path):
    """Without a hidden layer the activation has nothing to act on; with two of them ReLU fits more."""
    words = ["study=activation", "model.num_layers=0,2", "model.activation=identity,relu", "seed=0,1"]
    runs = runs_of(tmp_path, *words, "data.n_train=1000", "data.val_size=1000", "data.source=generated")
    accuracy = means(runs, "acc/train", "model.activation", "model.num_layers")
    assert accuracy["identity", 0] == accuracy["relu", 0]
    assert accuracy["relu", 2] > accuracy["identity", 2]
    line = theory(tmp_path)["linear model (0 layers)", "acc/train"]
    assert line == pytest.approx(dict.fromkeys((0, 2), accuracy["identity", 0]))


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16])
def test_hypercomplex_parameters_are_those_of_the_network(n):
    for widths in ([256], [64, 32]):
        count = sum(p.numel() for p in PHMMLP(784, 10, widths, n).parameters())
        assert hypercomplex_parameters(784, widths, 10, n) == count


def test_the_books_parameters_of_a_hypercomplex_layer():
    # Without the 256 biases and the 2,570 parameters of the output layer.
    counts = [hypercomplex_parameters(784, [256], 10, n) - 256 - 2570 for n in (1, 2, 4, 8, 16)]
    assert counts == [200_704, 100_360, 50_240, 25_600, 16_640]


def test_hypercomplex_layers_save_parameters_and_keep_most_of_the_accuracy(tmp_path):
    words = ["study=phm", "model.n=1,4", "seed=0,1", "data.n_train=1000", "data.val_size=1000"]
    runs = runs_of(tmp_path, *words, "data.source=generated")
    accuracy, size = (means(runs, metric, "model.n") for metric in ("acc/val", "num_parameters"))
    assert size[4,] < 0.27 * size[1,]
    assert accuracy[4,] > accuracy[1,] - 0.05
    assert theory(tmp_path)["dq/n + n³ a hidden layer", "num_parameters"] == {n: size[n,] for n in (1, 4)}
