"""Generated regression data with a known true function and noise (d2l 3.2.1, 4.4.4, 4.5.2)."""

from __future__ import annotations

from math import factorial as factorial_of
from typing import Any

import torch
from torch import Tensor

from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.streams import generator


class RegressionData(TensorDataModule):
    """y = X w + b + noise, with features X computed from inputs ~ N(0, 1).

    The splits have independent random streams, so the size of one does not change the others; `test_seed` replaces
    `seed` for the test samples. `noise` is a standard deviation, in the unit of y.
    """

    task = "regression"

    def __init__(
        self,
        w: list[float],
        b: float,
        *,
        noise: float,
        n_train: int,
        n_val: int,
        n_test: int,
        test_seed: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.w, self.b, self.noise, self.test_seed = torch.tensor(w, dtype=torch.float64)[:, None], b, noise, test_seed
        self.lengths = {"train": n_train, "val": n_val, "test": n_test}
        self.inputs: dict[str, Tensor] = {}
        self.num_raw = len(w)  # inputs of a sample, before `features`

    def features(self, inputs: Tensor) -> Tensor:
        """Features (n, d) of inputs (n, num_raw)."""
        return inputs

    def true_function(self, inputs: Tensor) -> Tensor:
        """Noiseless targets (n, 1) of inputs (n, num_raw)."""
        return inputs @ self.w + self.b

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs in a CSV file: x, or x1, x2, ... where there are several."""
        return ["x"] if self.num_raw == 1 else [f"x{i}" for i in range(1, self.num_raw + 1)]

    def no_samples(self) -> tuple[Tensor, Tensor]:
        inputs = torch.empty(0, self.num_raw, dtype=torch.float64)
        return self.features(inputs), self.true_function(inputs)

    def draw(self) -> dict[str, tuple[Tensor, Tensor]]:
        splits = {}
        for split, n in self.lengths.items():
            if n == 0:
                continue
            seed = self.seed if self.test_seed is None or split != "test" else self.test_seed
            random = generator(f"data/{split}", seed)
            self.inputs[split] = inputs = torch.randn(n, self.num_raw, generator=random, dtype=torch.float64)
            noise = self.noise * torch.randn(n, 1, generator=random, dtype=torch.float64)
            splits[split] = self.features(inputs), self.true_function(inputs) + noise
        return splits

    def hold_out_fold(self) -> dict[str, Tensor]:
        rows, inputs = super().hold_out_fold(), self.inputs["train"]
        self.inputs |= {split: inputs[chosen] for split, chosen in rows.items()}
        return rows


class SyntheticRegressionData(RegressionData):
    """y = X w + b + noise with a few weights (d2l 3.2.1)."""

    name = "synthetic_regression"


class HighDimensionalData(RegressionData):
    """y = b + w (x_1 + ... + x_d) + noise, with more features than training samples (d2l 4.5.2)."""

    name = "high_dimensional"

    def __init__(self, d: int, w: float, b: float, **settings: Any) -> None:
        super().__init__([w] * d, b, **settings)


class PolynomialData(RegressionData):
    """A polynomial of one input with noise; the model sees 1, x, ..., x^degree (d2l 4.4.4).

    With `factorial` x^i / i! replaces x^i. The true function, sum_i coefficients[i] x^i, does not depend on `degree`.
    """

    name = "polynomial"

    def __init__(self, degree: int, coefficients: list[float], factorial: bool, **settings: Any) -> None:
        super().__init__(coefficients, 0.0, **settings)
        self.degree, self.factorial, self.num_raw = degree, factorial, 1

    def features(self, inputs: Tensor) -> Tensor:
        return self._powers(inputs, self.degree + 1)

    def true_function(self, inputs: Tensor) -> Tensor:
        return self._powers(inputs, len(self.w)) @ self.w

    def _powers(self, x: Tensor, number: int) -> Tensor:
        powers = x ** torch.arange(number)
        if self.factorial:
            powers /= torch.tensor([float(factorial_of(i)) for i in range(number)], dtype=x.dtype)
        return powers
