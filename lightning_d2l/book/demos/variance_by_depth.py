"""The variance of forward signals and of backward gradients in a deep network (d2l 4.8).

Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks". The theory
holds for wide networks: Poole et al. (2016), "Exponential expressivity in deep neural networks through transient
chaos"; Schoenholz et al. (2017), "Deep information propagation".
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from lightning_d2l.book.demos import Demo
from lightning_d2l.book.demos.activations import value_and_gradient
from lightning_d2l.config.colours import BLUE, GREEN, GREY, ORANGE, RED
from lightning_d2l.data.streams import generator, stream
from lightning_d2l.nets.initialisation import gain
from lightning_d2l.nets.mlp import ACTIVATIONS, MLP

SHOWN = ("identity", "relu", "leaky_relu", "sigmoid", "tanh")
WIDTH, DEPTH, BATCH, SEEDS = 128, 50, 64, 4
STYLES = {"default": (ORANGE, "-"), "normal": (RED, "-."), "xavier_normal": (BLUE, "-"), "kaiming": (GREEN, "--")}
"""Colour and line of each initialisation."""
NAMES = {"default": "default", "normal": "normal, std 0.01", "xavier_normal": "Xavier", "kaiming": "Kaiming"}
ACTIVATION_NAMES = {"identity": "no activation", "relu": "ReLU", "leaky_relu": "leaky ReLU"}


def weight_and_bias_variance(init: str, activation: str, width: int) -> tuple[float, float]:
    """Variances of the initial weights and biases of a layer with `width` inputs and outputs."""
    return {
        "default": (1 / (3 * width), 1 / (3 * width)),
        "normal": (0.01**2, 0.0),
        "xavier_normal": (1 / width, 0.0),
        "kaiming": (gain(activation) ** 2 / width, 0.0),
    }[init]


def theory(init: str, activation: str, width: int, depth: int) -> tuple[Tensor, Tensor]:
    """What `measure` returns (depth,) in the limit of wide layers.

    With weights of variance v and biases of variance b the signals of layer l are normal with variance
    q_l = width v E[f(z)^2] + b, where z ~ N(0, q_{l-1}), and q_1 = width v + b for inputs of variance 1. Gradients are
    multiplied by width v E[f'(z)^2] from each layer to the previous one. Both factors are width v for the identity, and
    half of that for ReLU.
    """
    v, b = weight_and_bias_variance(init, activation, width)
    nodes, probabilities = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(64))
    probabilities = probabilities / probabilities.sum()
    f = ACTIVATIONS[activation]().double()
    signal, factors = [width * v + b], []
    for _ in range(depth):
        value, gradient = value_and_gradient(f, signal[-1] ** 0.5 * nodes)
        factors.append(width * v * float(probabilities @ gradient**2))
        signal.append(width * v * float(probabilities @ value**2) + b)
    back = torch.tensor(factors, dtype=torch.float64).flip(0).cumprod(0).flip(0)
    return torch.tensor(signal[:-1], dtype=torch.float64), back


def measure(init: str, activation: str, width: int, depth: int, batch: int, seed: int) -> tuple[Tensor, Tensor]:
    """Mean squares of the signals and of their gradients by hidden layer, each (depth,).

    The signal of a layer is its pre-activation, for `batch` samples with N(0, 1) inputs. The gradient with respect to
    the network's output is N(0, 1) too. Computed in float64, since the smallest values are below the range of float32.
    """
    random = generator("demo", seed, 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("demo", seed, 1))
        net = MLP(width, width, [width] * depth, activation, init=init).double().requires_grad_(False)
    x = torch.randn(batch, width, dtype=torch.float64, generator=random).requires_grad_()
    signals = []
    for layer in net:
        x = layer(x)
        if isinstance(layer, nn.Linear):
            signals.append(x)
    output = signals.pop()
    gradients = torch.autograd.grad(output, signals, torch.randn(output.shape, dtype=x.dtype, generator=random))
    return (
        torch.stack([s.detach().square().mean() for s in signals]),
        torch.stack([g.square().mean() for g in gradients]),
    )


def run(seed: int) -> Demo:
    measured, expected = {}, {}
    for activation in SHOWN:
        for init in STYLES:
            runs = [measure(init, activation, WIDTH, DEPTH, BATCH, stream("demo", seed, k)) for k in range(SEEDS)]
            measured[activation, init] = [torch.stack(values).log10() for values in zip(*runs, strict=True)]
            expected[activation, init] = [values.log10() for values in theory(init, activation, WIDTH, DEPTH)]
    numbers = {}
    for (activation, init), (signal, gradient) in measured.items():
        numbers[f"log10 forward, {activation}, {init}"] = float((signal[:, -1] - signal[:, 0]).mean())
        numbers[f"log10 backward, {activation}, {init}"] = float((gradient[:, 0] - gradient[:, -1]).mean())
    numbers["largest distance from theory, log10"] = max(
        float((values.mean(0) - theory_values).abs().max())
        for pair in measured
        for values, theory_values in zip(measured[pair], expected[pair], strict=True)
    )
    return Demo(_table(numbers), numbers, {"variance_by_depth": picture(measured, expected)})


def _table(numbers: dict[str, float]) -> str:
    lines = [
        f"{DEPTH} hidden layers of {WIDTH} units, {SEEDS} seeds: log10 of the ratio of the variances",
        "of signals in the last and the first layer (forw), and of gradients in the",
        "first and the last layer (back)",
        f"{'':<12}" + "".join(f"{NAMES[init]:>17}" for init in STYLES),
        f"{'':<12}" + f"{'forw':>9}{'back':>8}" * len(STYLES),
    ]
    for activation in SHOWN:
        cells = (
            f"{numbers[f'log10 forward, {activation}, {init}']:+9.1f}"
            f"{numbers[f'log10 backward, {activation}, {init}']:+8.1f}"
            for init in STYLES
        )
        lines.append(f"{activation:<12}{''.join(cells)}")
    lines += [
        "Each layer multiplies the variance by n times the variance of a weight, for ReLU",
        "by half of that. The factor is 1 with Xavier where the activation is nearly",
        "linear, and with Kaiming for ReLU. The gradient of a sigmoid is at most 1/4, so",
        "gradients vanish with all four initialisations, although the signals do not.",
        "The largest difference from the theory of wide layers, dotted in the picture,",
        f"is {numbers['largest distance from theory, log10']:.1f}.",
    ]
    return "\n".join(lines)


Logarithms = dict[tuple[str, str], list[Tensor]]


def picture(measured: Logarithms, expected: Logarithms) -> Figure:
    """Signals (above) and gradients (below) for each activation: mean and range over seeds, and theory."""
    figure = Figure(figsize=(13, 6.4), dpi=120, layout="constrained")
    panels = figure.subplots(2, len(SHOWN), sharex=True, sharey=True)
    layers = torch.arange(1, DEPTH + 1)
    for row, column in np.ndindex(panels.shape):
        panel, activation = panels[row, column], SHOWN[column]
        for init, (colour, line) in STYLES.items():
            values, predicted = measured[activation, init][row], expected[activation, init][row]
            panel.fill_between(layers, values.amin(0), values.amax(0), color=colour, alpha=0.25, linewidth=0)
            panel.plot(layers, values.mean(0), line, color=colour, linewidth=2, label=NAMES[init])
            panel.plot(layers, predicted, ":", color="black", linewidth=1)
        panel.set_ylim(-20, 6)
        panel.grid(alpha=0.3)
    for panel, activation in zip(panels[0], SHOWN, strict=True):
        panel.set_title(ACTIVATION_NAMES.get(activation, activation))
    for panel in panels[1]:
        panel.set_xlabel("hidden layer")
    panels[0, 0].set_ylabel("signals forward: log₁₀ variance")
    panels[1, 0].set_ylabel("gradients back: log₁₀ variance")
    panels[0, 0].plot([], [], ":", color="black", label="theory, wide layers")
    panels[0, 0].fill_between([], [], color=GREY, alpha=0.25, linewidth=0, label=f"range over {SEEDS} seeds")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(STYLES) + 2)
    return figure
