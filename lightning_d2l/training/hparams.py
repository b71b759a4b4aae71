"""The settings of a run as TensorBoard shows them: a row of the page HParams, and a text."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lightning_d2l.config.check import flat
from lightning_d2l.config.escape import terminal
from lightning_d2l.config.text import cut, show

LONGEST = 100  # characters of a value on the page HParams
LONGEST_LINE = 300  # characters of a line of the configuration
PLACES = ("logger", "resume", "verbose", "reference")
"""What is not about the numbers of a run."""
# What changes no number of a run, or only how it is computed; shown where the command line has it.
LEFT_OUT = (
    "data.root",
    *(f"optimizer.{name}" for name in ("capturable", "differentiable", "foreach", "fused", "maximize")),
    *(
        f"trainer.{name}"
        for name in (
            "barebones",
            "benchmark",
            "checkpoint_every_n_seconds",
            "detect_anomaly",
            "enable_autolog_hparams",
            "enable_checkpointing",
            "enable_model_summary",
            "enable_progress_bar",
            "inference_mode",
            "log_every_n_epochs",
            "log_every_n_steps",
            "model_registry",
            "num_sanity_val_steps",
            "profiler",
            "save_predictions",
        )
    ),
)
TARGET = "._target_"

Value = bool | int | float | str


def hyperparameters(
    config: Mapping[str, Any], overrides: Iterable[str] = (), named: Mapping[str, str] | None = None
) -> dict[str, Value]:
    """Every setting of a run by its full key, defaults included, so that runs of different commands can be compared.

    The class of a part is the value of the part's own key: `optimizer` is "SGD". `named` has what the configuration
    does not tell, such as the name of the data. Of the overrides the keys count.
    """
    given = {override.partition("=")[0].lstrip("+~") for override in overrides}
    found: dict[str, Value] = {}
    for key, value in flat(config).items():
        left_out = key.partition(".")[0] in PLACES or (key in LEFT_OUT and key not in given)
        if key.endswith(TARGET) and not left_out:
            found[key.removesuffix(TARGET)] = str(value).rpartition(".")[2]
        elif not left_out:
            found[key] = shown(value)
    return {**found, **(named or {})}


def shown(value: Any) -> Value:
    """A value for the page HParams, where different values look different.

    The page shows five digits of a number, so that a longer whole number is a text. A list of one is its item.
    """
    if isinstance(value, (list, tuple)) and len(value) == 1:
        return shown(value[0])
    if isinstance(value, (bool, float)) and math.isfinite(value):
        return value
    if isinstance(value, int) and abs(value) < 2**53 and float(f"{value:.5g}") == value:
        return value
    text = terminal(show(value))
    if len(text) <= LONGEST:
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{text[: LONGEST - 12]}... {digest}"


def configuration(config: Mapping[str, Any], without: Collection[str] = ()) -> str:
    """The settings as a Markdown text, one in a line as on a command line, without those that `without` names."""
    skipped = (*PLACES, "data.root", *without)
    lines = [
        cut(terminal(f"{key}={show(value)}"), LONGEST_LINE)
        for key, value in flat(config).items()
        if not any(key == name or key.startswith(f"{name}.") for name in skipped)
    ]
    return "\n".join(f"    {line}" for line in lines)


def identity(data: Mapping[str, Any]) -> str:
    """The name, the source and the checksum of data, from the field `data` of a record, in a line."""
    checksum = data.get("checksum")
    known = f", SHA-256 {checksum}" if checksum and checksum != "None" else ""
    return cut(terminal(f"{data.get('name')} ({data.get('source')}){known}"), LONGEST_LINE)
