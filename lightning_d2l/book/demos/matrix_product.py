"""The growth of a product of 101 Gaussian matrices, measured and computed (d2l 4.8.1.2).

The distribution of a Gaussian matrix is rotation invariant, so each matrix multiplies the length of any vector by an
independent random factor. The mean logarithm of the factor, the Lyapunov exponent, is the growth rate of lengths.
"""

from __future__ import annotations

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightning_d2l.book.demos import Demo
from lightning_d2l.config.colours import BLUE, GREEN, GREY, ORANGE, RED
from lightning_d2l.data.streams import generator

N, MATRICES = 4, 101
PUBLISHED = (20, 27)
"""The range of log10 of the largest entry in the book's executed notebooks, each with one product."""


def lyapunov(n: int, variance: float = 1.0) -> float:
    """Mean of ln |M v| - ln |v| for an n x n matrix M with entries N(0, variance) and any vector v.

    |M v|^2 / (variance |v|^2) is chi-squared with n degrees of freedom, the logarithm of which has mean
    ln 2 + psi(n / 2) (Newman 1986, "The distribution of Lyapunov exponents: exact results for random matrices").
    """
    psi = torch.special.digamma(torch.tensor(n / 2, dtype=torch.float64))
    return (math.log(2 * variance) + float(psi)) / 2


def expected_largest_entry(n: int, matrices: int, variance: float = 1.0) -> float:
    """Mean of ln of the largest absolute entry of a product of many n x n matrices with entries N(0, variance).

    The first column of the product has the mean log length matrices * lyapunov(n, variance). A long product is close to
    rank one, s u v^T with u and v uniform on the sphere. The length of its first column is s |v_1|, and its largest
    entry s max|u| max|v|, so E ln max|u| + E ln max|v| - E ln|v_1| is added. With v = g / |g| for n normal numbers g,
    E ln|g| is lyapunov(n), E ln|g_1| is lyapunov(1), and E ln max|g| is an integral over quantiles.
    """
    quantiles = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    largest = float((math.sqrt(2) * torch.erfinv(quantiles ** (1 / n))).log().mean())
    return matrices * lyapunov(n, variance) + 2 * (largest - lyapunov(n)) - (lyapunov(1) - lyapunov(n))


def products(n: int, matrices: int, draws: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Multiply `matrices` n x n matrices with entries N(0, 1), `draws` times, in float64.

    Returns the first matrix and the product, each (draws, n, n), and log10 of the largest absolute entry after each
    multiplication, (matrices, draws).
    """
    factors = torch.randn(matrices, draws, n, n, dtype=torch.float64, generator=generator("demo", seed))
    product, largest = factors[0], [factors[0]]
    for factor in factors[1:]:
        product = product @ factor
        largest.append(product)
    return factors[0], product, torch.stack([p.abs().amax((1, 2)).log10() for p in largest])


def run(seed: int, draws: int = 2000) -> Demo:
    first, product, grown = products(N, MATRICES, draws, seed)
    low, median, high = grown[-1].quantile(torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)).tolist()
    growth = product[:, :, 0].norm(dim=1).log10() / MATRICES  # of the vector (1, 0, 0, 0), per matrix
    exponent = lyapunov(N) / math.log(10)
    error = float(growth.std()) / draws**0.5
    halved = MATRICES * math.log10(2)
    numbers = {
        "log10 largest entry, median": median,
        "log10 largest entry, 5th percentile": low,
        "log10 largest entry, 95th percentile": high,
        "log10 largest entry, expected": expected_largest_entry(N, MATRICES) / math.log(10),
        "Lyapunov estimate": (MATRICES - 1) * exponent,
        "log10 growth a matrix": float(growth.mean()),
        "log10 growth a matrix, standard error": error,
        "log10 largest entry, halved matrices, median": median - halved,
    }
    text = "\n".join([
        "A 4 x 4 matrix with entries N(0, 1), and its product with 100 others:",
        *(
            "".join(f"{v:7.2f}" for v in row) + "    " + "".join(f"{v:11.2e}" for v in result)
            for row, result in zip(first[0].tolist(), product[0].tolist(), strict=True)
        ),
        f"log10 of the largest entry in {draws:,} such products",
        f"  median {median:.1f}, 5th to 95th percentile {low:.1f} to {high:.1f}; the book's runs: 20 to 27",
        "Each matrix multiplies the length of a vector by a random factor; mean log10:",
        f"  measured {growth.mean():.4f} +- {error:.4f};  theory (ln 2 + psi(2)) / 2 / ln 10 = {exponent:.4f}",
        f"So 100 matrices add {100 * exponent:.1f}. For the largest of the 16 entries of the product of",
        f"all 101, the expected value is {numbers['log10 largest entry, expected']:.1f}.",
        f"Halved entries have variance 1/4 = 1/n, and the median is {median - halved:.1f}: the mean squared",
        "length is constant, but a typical one falls by a factor of about exp(-1/n) per",
        f"matrix. For n = 256, the factor of all 101 is {math.exp(2 * MATRICES * lyapunov(256, 1 / 256)):.2f}.",
    ])  # fmt: skip
    return Demo(text, numbers, {"largest_entry": picture(grown)})


def picture(grown: Tensor) -> Figure:
    """log10 of the largest entry (matrices, draws) by the number of matrices, and its final distribution."""
    figure = Figure(figsize=(12, 4.2), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    count = torch.arange(1, len(grown) + 1, dtype=torch.float64)
    halved = grown - count[:, None] * math.log10(2)
    for values, variance, name, colour in ((grown, 1.0, "N(0, 1)", BLUE), (halved, 0.25, "halved: N(0, 1/4)", GREEN)):
        low, median, high = values.quantile(torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64), dim=1)
        left.plot(count, median, color=colour, label=f"{name}, median")
        left.fill_between(count, low, high, color=colour, alpha=0.2, linewidth=0, label="5th to 95th percentile")
        expected = [expected_largest_entry(N, int(c), variance) / math.log(10) for c in (1, len(grown))]
        left.plot([1, len(grown)], expected, "--", color=ORANGE)
    left.plot([], [], "--", color=ORANGE, label="theory, mean")
    left.set(xlabel="matrices multiplied", ylabel="log₁₀ of the largest entry")
    left.set_title("Entries N(0, 1) explode, halved ones vanish")
    left.legend(fontsize=8)
    right.axvspan(*PUBLISHED, color=GREY, alpha=0.15, label="range of the book's runs")
    right.hist(grown[-1].tolist(), bins=40, density=True, color=BLUE, alpha=0.4, label=f"{grown.shape[1]:,} draws")
    right.axvline(float(grown[-1].median()), color=BLUE, linewidth=3, label="median")
    right.axvline(
        (len(grown) - 1) * lyapunov(N) / math.log(10),
        color=RED,
        linestyle=":",
        label="100 \N{MULTIPLICATION SIGN} Lyapunov exponent",
    )
    right.axvline(
        expected_largest_entry(N, len(grown)) / math.log(10), color=ORANGE, linestyle="--", label="theory, mean"
    )
    right.set(xlabel="log₁₀ of the largest entry", ylabel="density")
    right.set_title(f"After {len(grown)} matrices, entries N(0, 1)")
    right.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    for panel in (left, right):
        panel.grid(alpha=0.3)
    return figure
