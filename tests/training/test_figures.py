"""The figures of runs: what they say, their axes and colours, and that none of them fails a run."""

import json
import logging
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import nn

from lightning_d2l.config.colours import BLUE, GREEN, GREY, ORANGE, RED
from lightning_d2l.data.synthetic import HighDimensionalData, PolynomialData, SyntheticRegressionData
from lightning_d2l.studies import palette
from lightning_d2l.training import figures, panels
from lightning_d2l.training.class_figures import confusion_matrix, predicted_images
from lightning_d2l.training.fits import fit, fitted_curve
from lightning_d2l.training.learning_curves import OTHERS, STYLES, curves
from lightning_d2l.training.panels import PAPER, short, wrapped
from lightning_d2l.training.table_figures import predicted_and_true
from lightning_d2l.training.ticks import plain, plain_ticks
from tests.runs import POLYNOMIAL, run_here


@pytest.fixture(autouse=True)
def _on_paper() -> Iterator[None]:
    with matplotlib.rc_context(PAPER):
        yield


SIZES = {"n_train": 20, "n_val": 0, "n_test": 50, "batch_size": 10, "seed": 0}


def drawn(figure: Figure) -> Figure:
    """A figure that has been laid out and drawn once; no warning is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()
    return figure


def saved(figure: Figure, path: Path) -> int:
    """The size of a figure's file, at a few pixels an inch."""
    figure.set_dpi(20)
    return figures.save(figure, path).stat().st_size


def ticks(axis) -> list[str]:
    low, high = sorted(axis.get_view_interval())
    every = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    return [text.get_text() for at, text in every if low <= at <= high] + [
        text.get_text() for text in axis.get_minorticklabels() if text.get_text()
    ]


def in_linear_light(colour: str) -> np.ndarray:
    """WCAG 2.2, relative luminance."""
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def test_colours_are_seen_on_white_and_by_a_reader_without_green_cones() -> None:
    white = 1.05
    luminance = np.array([0.2126, 0.7152, 0.0722])
    for colour in (BLUE, ORANGE, RED, GREEN, GREY):
        assert white / (luminance @ in_linear_light(colour) + 0.05) >= 3, colour
    splits = [STYLES[split] for split in ("train", "val", "test")]
    assert tuple(style[0] for style in splits) == palette.COLOURS[:3]  # those of studies
    for part in range(3):
        assert len({style[part] for style in splits}) == 3
    assert len({style[:2] for style in [*STYLES.values(), *OTHERS]}) == len(STYLES) + len(OTHERS)
    # Machado, Oliveira and Fernandes (2009), deuteranopia
    seen = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
    lab = [oklab(np.clip(seen @ in_linear_light(style[0]), 0, 1)) for style in splits]
    assert min(np.linalg.norm(a - b) for i, a in enumerate(lab) for b in lab[:i]) > 0.06


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Ottosson (2020): distances below 0.02 can hardly be seen."""
    lms = np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]) @ rgb
    to_lab = np.array([[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]])
    return to_lab @ np.cbrt(lms)


def test_curves_neither_exaggerate_nor_hide_and_begin_with_the_first_epoch() -> None:
    epochs = [1, *range(5, 101, 5)]
    history = [
        {"epoch": e, "loss/train": 80 * 0.9**e, "loss/val": 80.0, "norm/weights": 14.45 + 0.5 / e, "acc/val": 0.985}
        for e in epochs
    ]
    figure = drawn(curves(history, loss="mean squared error"))
    loss, norm, accuracy = figure.axes
    assert loss.get_yscale() == "log"
    assert loss.get_ylabel() == "mean squared error"
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    assert norm.get_legend() is None
    low, high = norm.get_ylim()
    assert high - low > 0.25 * 14.95  # 3 % of the norm is a small part of the axis
    assert low > 10
    assert accuracy.get_ylim()[1] <= 1.05
    for panel in figure.axes:
        assert ticks(panel.xaxis) == ["1", "20", "40", "60", "80", "100"]
        assert panel.get_xlim()[0] < 1
    assert norm.get_title("left") == "Norm of the weights falls from 14.9 to 14.5"
    grown = drawn(curves([{"epoch": e, "norm/weights": 8.0 * e} for e in (1, 2, 3)])).axes[0]
    assert grown.get_ylim()[0] == 0


def test_the_title_says_where_a_held_out_loss_turns() -> None:
    rows = [{"epoch": e, "loss/train": 1 / e, "loss/test": 0.5 + (e - 6) ** 2 / 100} for e in range(1, 11)]
    (panel,) = curves(rows).axes
    assert panel.get_title("left").replace("\n", " ") == "Test loss is lowest at epoch 6, 0.5, and ends at 0.66"
    rows = [{"epoch": e, "acc/val": 1 - 1 / e} for e in range(2, 11)]
    assert curves(rows).axes[0].get_title("left") == "Validation accuracy rises from 0.5 to 0.9"
    rows = [{"epoch": e, "zeros/weights": 0.5, "loss/val": (0.7, 0.392)[e]} for e in (0, 1)]
    assert [panel.get_title("left") for panel in curves(rows).axes] == [
        "Share of weights that are 0 stays at 0.5", "Validation loss falls from 0.700 to 0.392",
    ]  # fmt: skip
    assert curves([{"epoch": 1, "loss/train": 0.25}]).axes[0].get_title("left") == "Training loss is 0.25"


def test_equal_curves_are_drawn_once_and_many_panels_wrap() -> None:
    names = ("loss", "acc", "surprisal", "entropy", "kl", "surprisal_bits", "entropy_bits", "norm", "gradient")
    values = {
        "surprisal": 1.0 + 1e-9,
        "acc": 0.5,
        "entropy": 0.7,
        "entropy_bits": 1.0,
        "norm": 2.0,
        "gradient": 3.0,
        "surprisal_bits": 1.4,
    }
    figure = curves([{"epoch": e, **{f"{name}/val": values.get(name, 1.0) * e for name in names}} for e in (1, 2)])
    assert [panel.get_ylabel() for panel in figure.axes] == [
        "loss", "accuracy", "entropy of the predictions (nats)", "norm of the weights", "norm of the gradient",
    ]  # fmt: skip
    assert figure.get_figwidth() < 15
    for last, shown in ((0.0, 1), (0.5, 2)):  # a share of zeros that stays 0 tells nothing
        rows = [{"epoch": e, "loss/train": 1 / e, "zeros/weights": last * (e - 1)} for e in (1, 2)]
        assert len(curves(rows).axes) == shown
    layers = curves([{"epoch": e, "gradient/first": e, "gradient/last": 2 * e} for e in (1, 2)]).axes[0]
    first, last = layers.lines
    assert [first.get_label(), last.get_label()] == ["first layer", "last layer"]
    assert (first.get_color(), first.get_linestyle()) != (last.get_color(), last.get_linestyle())


@pytest.mark.parametrize(
    "values",
    [
        [math.nan, 1.0],
        [math.inf, -math.inf],
        [1e300, 1e308],
        [-1e300, 1e300],
        [1e-310, 1e300],
        [0.0, 0.0],
        [5e-324] * 2,
    ],
)
def test_curves_of_any_numbers_are_drawn(values, tmp_path) -> None:
    history = [{"epoch": e, "loss/train": value, "norm/weights": 1.0} for e, value in enumerate(values, 1)]
    assert saved(curves(history, stopped=2), tmp_path / "figures" / "curves.png")


def test_ticks_have_plain_numbers() -> None:
    assert [plain(v) for v in (0.6, 20000, 0.001, -3, 1e-7, 2e9, 0)] == [
        "0.6", "20,000", "0.001", "\N{MINUS SIGN}3", "$10^{-7}$", r"$2\times10^{9}$", "0",
    ]  # fmt: skip
    assert [short(v, 3) for v in (21013, 1e-9, -3.14159e-8, 0.5)] == [
        "21,000", "10⁻⁹", "\N{MINUS SIGN}3.14\N{MULTIPLICATION SIGN}10⁻⁸", "0.5",
    ]  # fmt: skip
    for low, high in ((0.35, 0.9), (0.012, 0.7), (1e-6, 100), (1e-300, 1e300), (7000, 90000)):
        panel = Figure().subplots()
        panel.set_yscale("log")
        panel.set_ylim(low, high)
        plain_ticks(panel)
        shown = ticks(panel.yaxis)
        assert 2 <= len(shown) <= 12, (low, high, shown)
        assert not [text for text in shown if "times" in text]


def polynomial(degree: int, **settings: object) -> PolynomialData:
    data = PolynomialData(degree, [5.0, 1.2, -3.4, 5.6], True, noise=0.1, **{**SIZES, **settings})
    data.setup()
    return data


class Zero(nn.Module):
    """Predicts a constant."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.value.expand(len(x), 1)


def test_a_fit_shows_its_points_and_below_them_the_residuals() -> None:
    data = polynomial(3)
    upper, lower = drawn(fitted_curve(data, Zero())).axes
    x, y = data.inputs["train"][:, 0].numpy(), data.splits["train"][1][:, 0].numpy()
    points, fitted, true = upper.lines
    assert points.get_linestyle() == "None"
    assert points.get_markersize() >= 4
    np.testing.assert_allclose(points.get_xydata(), np.stack([x, y], 1))
    assert max(fitted.get_linewidth(), true.get_linewidth()) <= 2
    assert fitted.get_linestyle() != true.get_linestyle()
    residuals = lower.lines[-1]
    np.testing.assert_allclose(residuals.get_xydata(), np.stack([x, y], 1))  # the prediction is 0
    new = data.true_function(data.inputs["test"]).numpy()
    said = f"training residuals {np.sqrt((y**2).mean()):.4g}, noise 0.1\n{np.sqrt((new**2).mean()):.4g} from"
    assert said in upper.get_title("left")
    low, high = upper.get_ylim()
    assert all(low < value < high for value in y)


def test_fits_of_several_and_of_many_inputs_have_residuals() -> None:
    data = SyntheticRegressionData([2.0, -3.4], 4.2, noise=0.01, **SIZES)
    data.setup()
    net = nn.Linear(2, 1).double()
    with torch.no_grad():
        net.weight.copy_(data.w.T)
        net.bias.fill_(4.2)
    axes = drawn(fit(data, net)).axes
    assert [panel.get_xlabel() for panel in axes[3:]] == ["x1", "x2", "true y of the test samples"]
    for panel in axes[3:]:
        assert np.abs(panel.lines[-1].get_ydata()).max() < 0.05  # noise alone
    many = HighDimensionalData(200, 0.01, 0.05, noise=0.01, **SIZES)
    many.setup()
    axes = drawn(fit(many, nn.Linear(200, 1))).axes
    assert [panel.get_ylabel() for panel in axes] == ["weight", "predicted y", "learned less true", "residual"]


@pytest.mark.parametrize(("n", "value"), [(1, math.nan), (3000, 1e300), (1, math.inf)])
def test_fits_of_any_outputs_and_sizes_are_drawn(n, value, tmp_path) -> None:
    path = tmp_path / "figures" / "fit.png"
    assert saved(fitted_curve(polynomial(3, n_train=n), Zero(value)), path)
    output = torch.full((1, 1), value, dtype=torch.float64)
    assert saved(predicted_and_true("price", torch.tensor([[1.0]]), output), path)


def test_figures_of_classes_say_what_is_confused() -> None:
    y = torch.tensor([0] * 8 + [1] * 8)
    output = torch.zeros(16, 2)
    output[:10, 0] = output[10:, 1] = 5.0  # two of class 1 are taken for class 0
    names = ("shirt", "coat_$x$")
    (panel, _) = drawn(confusion_matrix(y, output, names)).axes
    said = panel.get_title("left").replace("\n", " ")
    assert said == r"Test accuracy 87.5 %; most often confused: coat_\$x\$ taken for shirt (25 %)"
    (panel,) = drawn(predicted_images(torch.rand(16, 1, 8, 8), y, output, names, split="val")).axes
    assert panel.get_title("left").startswith("Validation accuracy 87.5 %")
    crossed = [text.get_text() for text in panel.texts if text.get_text().endswith("\N{MULTIPLICATION SIGN}")]
    assert len(crossed) == 4  # two among the first images, and the same two as mistakes


def test_a_character_without_a_font_is_a_box_and_a_line(tmp_path, caplog) -> None:
    y, output = torch.tensor([0, 1]), torch.eye(2)
    cuneiform = "\U00012000"
    figure = confusion_matrix(y, output, ("帽子", cuneiform))
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        assert figures.save(figure, tmp_path / "figures" / "confusion_matrix.png").exists()
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("confusion_matrix.png: drawn as boxes")
    assert cuneiform in said
    if len(panels.PAPER["font.family"]) > 1:  # a font with Chinese is installed, and is used
        assert "帽" not in said


def test_the_record_is_written_before_the_figures_and_one_that_fails_is_a_line(tmp_path, monkeypatch) -> None:
    folder, status = tmp_path / "run", list[str]()

    def fails(*_: object) -> None:
        status.append(json.loads((folder / "run.json").read_text())["status"])
        raise RuntimeError("no paper\nin the tray")

    monkeypatch.setattr(figures, "fitted_curve", fails)
    words = [*POLYNOMIAL, "data.n_train=20", "trainer.max_epochs=2"]
    assert run_here(folder, *words, part_of_sweep=False) == 0
    assert status == ["completed"]
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "completed"
    assert record["metrics"]["final"]["loss/test"] > 0
    assert [path.name for path in (folder / "figures").iterdir()] == ["curves.png"]
    assert "figures/fit.png: not written: no paper" in (folder / "train.log").read_text()


def test_no_word_of_a_title_stands_alone():
    assert wrapped("Validation accuracy rises from 0.719 to 0.850", 44).split("\n")[1] == "from 0.719 to 0.850"
    assert [wrapped(text, 20) for text in ("", "a title")] == ["", "a title"]
    assert wrapped("a" * 50, 20).replace("\n", "") == "a" * 50
