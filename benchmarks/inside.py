"""Where the time of a sweep goes, measured inside its process.

    python benchmarks/inside.py RESULT.json OVERRIDES...

runs `python train.py OVERRIDES...` and leaves the seconds of its parts, of the clock and of the processor, in a file.
Importing torch and pytorch_lightning is left out; all else that the program does from its start is in.
"""

import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

_before = time.process_time()
import pytorch_lightning as pl  # noqa: E402
import torch  # noqa: E402, F401

IMPORTS = time.process_time() - _before

PARTS = {
    "hydra": "start, composing and checking",
    "prepare": "data sets, models, what can train together",
    "fit": "training and evaluation",
    "write": "records, metrics, events, checkpoints, logs",
    "read": "reading the records back",
    "report": "report and its figure",
}


class Clock:
    """Seconds of the clock and of the processor in each part, without those of the parts within it."""

    def __init__(self, part: str, wall: float, cpu: float) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._parts, self._last = [part], (wall, cpu)

    def charge(self) -> None:
        """Count what has passed for the part that is under way."""
        now = time.perf_counter(), time.process_time()
        spent = self.seconds.setdefault(self._parts[-1], [0.0, 0.0])
        for place in (0, 1):
            spent[place] += now[place] - self._last[place]
        self._last = now

    @contextmanager
    def within(self, part: str) -> Iterator[None]:
        self.charge()
        self._parts.append(part)
        try:
            yield
        finally:
            self.charge()
            self._parts.pop()

    def around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.within(part):
                return function(*args, **kwargs)

        return timed


def run(
    overrides: list[str], clock: Clock, look: Callable[[pl.LightningModule], Callable[[], None] | None] | None = None
) -> dict[str, list[float]]:
    """Run a sweep in this process; `look` sees each module before it is fitted, and what it returns is called after.

    Returns (seconds of the clock, of the processor) of each part.
    """
    from lightning_d2l import app
    from lightning_d2l.sweeps import group, sweep, vectorized

    fit = pl.Trainer.fit

    @functools.wraps(fit)
    def looked(trainer: pl.Trainer, model: pl.LightningModule, *args: Any, **kwargs: Any) -> None:
        after = look(model) if look else None
        with clock.within("fit"):
            fit(trainer, model, *args, **kwargs)
        if after:
            after()

    places = [
        (pl.Trainer, "test", "fit"),
        (sweep.Sweep, "run", "read"),
        (vectorized, "train", "prepare"),
        (sweep.Sweep, "train_in_turn", "prepare"),
        (group.Group, "train", "write"),
        (group.Group, "save", "write"),
        (sweep, "tell", "report"),
    ]
    with ExitStack() as stack:
        stack.enter_context(patch.object(pl.Trainer, "fit", looked))
        for owner, name, part in places:
            stack.enter_context(patch.object(owner, name, clock.around(part, getattr(owner, name))))
        stack.enter_context(patch.object(sys, "argv", ["train.py"]))
        code = app.main(overrides)
    clock.charge()
    assert code == 0, code
    return clock.seconds


if __name__ == "__main__":
    seconds = run(sys.argv[2:], Clock("hydra", time.perf_counter(), IMPORTS))
    Path(sys.argv[1]).write_text(json.dumps(seconds))
