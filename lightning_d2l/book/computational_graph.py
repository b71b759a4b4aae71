"""The computational graph of a network with one hidden layer, with its forward and backward pass (d2l 4.7.2)."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle

from lightning_d2l.config.colours import BLUE, GREY, RED

SIZE = 0.42  # half the side of a square, the radius of a circle
WIDE = 0.75  # the radius of the circle of the norms
VARIABLES = {
    "x": (0.0, 0.0, r"$\mathbf{x}$"),
    "W1": (1.5, -2.3, r"$\mathbf{W}_1$"),
    "z": (3.0, 0.0, r"$\mathbf{z}$"),
    "h": (6.0, 0.0, r"$\mathbf{h}$"),
    "W2": (7.5, -2.3, r"$\mathbf{W}_2$"),
    "o": (9.0, 0.0, r"$\mathbf{o}$"),
    "y": (10.5, 1.8, r"$\mathbf{y}$"),
    "L": (12.0, 0.0, "$L$"),
    "s": (13.5, -4.4, "$s$"),
    "J": (15.0, 0.0, "$J$"),
}
"""Position (x, y) and symbol of each variable."""
OPERATORS = {
    "times W1": (1.5, 0.0, r"$\times$"),
    "activation": (4.5, 0.0, r"$\phi$"),
    "times W2": (7.5, 0.0, r"$\times$"),
    "loss": (10.5, 0.0, r"$\ell$"),
    "norms": (7.5, -4.4, r"$\frac{\lambda}{2}\,\Vert\cdot\Vert^2$"),
    "sum": (13.5, 0.0, "$+$"),
}
"""Position (x, y) and symbol of each operator."""
EDGES = [
    ("x", "times W1", "$d$"),
    ("W1", "times W1", r"$h\times d$"),
    ("times W1", "z", "$h$"),
    ("z", "activation", "$h$"),
    ("activation", "h", "$h$"),
    ("h", "times W2", "$h$"),
    ("W2", "times W2", r"$q\times h$"),
    ("times W2", "o", "$q$"),
    ("o", "loss", "$q$"),
    ("y", "loss", "$q$"),
    ("loss", "L", "$1$"),
    ("L", "sum", "$1$"),
    ("W1", "norms", r"$h\times d$"),
    ("W2", "norms", r"$q\times h$"),
    ("norms", "s", "$1$"),
    ("s", "sum", "$1$"),
    ("sum", "J", "$1$"),
]
"""Start, end, and the shape of the value of each edge."""
CONSTANTS = {"x", "y"}  # the data have no gradients
GRADIENTS = {
    "L": (0.0, -0.65, r"$\dfrac{\partial J}{\partial L}=1$", "center"),
    "s": (0.6, 0.0, r"$\dfrac{\partial J}{\partial s}=1$", "left"),
    "o": (0.0, -0.65, r"$\dfrac{\partial J}{\partial\mathbf{o}}=\dfrac{\partial L}{\partial\mathbf{o}}$", "center"),
    "h": (-0.2, -0.65, r"$\dfrac{\partial J}{\partial\mathbf{h}}="
          r"\mathbf{W}_2^\top\dfrac{\partial J}{\partial\mathbf{o}}$", "center"),
    "z": (0.25, -0.65, r"$\dfrac{\partial J}{\partial\mathbf{z}}="
          r"\dfrac{\partial J}{\partial\mathbf{h}}\odot\phi'(\mathbf{z})$", "center"),
    "W1": (0.62, 0.3, r"$\dfrac{\partial J}{\partial\mathbf{W}_1}="
           r"\dfrac{\partial J}{\partial\mathbf{z}}\mathbf{x}^\top+\lambda\mathbf{W}_1$", "left"),
    "W2": (0.62, 0.3, r"$\dfrac{\partial J}{\partial\mathbf{W}_2}="
           r"\dfrac{\partial J}{\partial\mathbf{o}}\mathbf{h}^\top+\lambda\mathbf{W}_2$", "left"),
}  # fmt: skip
"""The gradient of each variable: offset (x, y) from the variable, formula, horizontal alignment."""


def computational_graph() -> Figure:
    """J = l(W2 phi(W1 x), y) + lambda/2 (|W1|^2 + |W2|^2): values forward with their shapes, gradients backward."""
    figure = Figure(figsize=(13, 6.4), dpi=120, layout="constrained")
    panel = figure.subplots()
    panel.set(xlim=(-0.7, 15.7), ylim=(-5.3, 2.5), aspect="equal")
    panel.axis("off")
    for x, y, symbol in VARIABLES.values():
        panel.add_patch(Rectangle((x - SIZE, y - SIZE), 2 * SIZE, 2 * SIZE, facecolor="white", edgecolor="black"))
        panel.text(x, y, symbol, fontsize=15, ha="center", va="center")
    for name, (x, y, symbol) in OPERATORS.items():
        panel.add_patch(Circle((x, y), _radius(name), facecolor="#eeeeee", edgecolor="black"))
        panel.text(x, y, symbol, fontsize=15, ha="center", va="center")
    for start, end, shape in EDGES:
        _edge(panel, start, end, shape)
    for variable, (right, up, formula, side) in GRADIENTS.items():
        x, y, _ = VARIABLES[variable]
        panel.text(
            x + right, y + up, formula, fontsize=12, color=RED, ha=side, va="top" if side == "center" else "center"
        )
    _legend(panel)
    return figure


def _radius(name: str) -> float:
    return WIDE if name == "norms" else SIZE


def _edge(panel: Axes, start: str, end: str, shape: str) -> None:
    """A forward arrow with the shape of its value and, beside it, the backward arrow of the gradient."""
    (x0, y0, _), (x1, y1, _) = ((VARIABLES | OPERATORS)[name] for name in (start, end))
    length = math.hypot(x1 - x0, y1 - y0)
    along = (x1 - x0) / length, (y1 - y0) / length
    left = -along[1], along[0]  # to the left of the forward direction
    gaps = _radius(start) + 0.1, length - _radius(end) - 0.1

    def beside(distance: float, sideways: float) -> tuple[float, float]:
        return x0 + distance * along[0] + sideways * left[0], y0 + distance * along[1] + sideways * left[1]

    both = start not in CONSTANTS
    style = {"arrowstyle": "-|>", "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 12}
    forward = [beside(distance, 0.09 * both) for distance in gaps]
    panel.annotate("", forward[1], forward[0], arrowprops={**style, "color": BLUE})
    if both:
        backward = [beside(distance, -0.09) for distance in gaps]
        panel.annotate("", backward[0], backward[1], arrowprops={**style, "color": RED})
    centre = beside(sum(gaps) / 2, 0.34 if abs(along[0]) > 0.5 else 0.3 if len(shape) < 4 else 0.55)
    panel.text(*centre, shape, fontsize=11, color=BLUE, ha="center", va="center")


def _legend(panel: Axes) -> None:
    handles = [
        Line2D([], [], color=BLUE, label="forward: values, with their shapes"),
        Line2D([], [], color=RED, label="backward: gradients of $J$, shaped like the values"),
        Line2D(
            [], [], marker="s", linestyle="", markersize=11, color="white", markeredgecolor="black", label="variable"
        ),
        Line2D(
            [], [], marker="o", linestyle="", markersize=11, color="#eeeeee", markeredgecolor="black", label="operator"
        ),
    ]
    panel.legend(handles=handles, loc="upper left", ncols=2, fontsize=11, frameon=False)
    panel.text(-0.4, -5.1, "$d$ inputs, $h$ hidden units, $q$ outputs", fontsize=11, color=GREY, ha="left", va="bottom")
