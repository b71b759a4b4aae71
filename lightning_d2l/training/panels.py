"""The paper that figures of a run are drawn on: panels and colours."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, RED, GREEN, GREY = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#777777"  # Okabe and Ito (2008)


def with_panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of width x height inches, and its panels row by row."""
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)
