"""How numbers, times, settings and errors are written everywhere."""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.escape import terminal
from lightning_d2l.config.lines import columns, fill, shortened
from lightning_d2l.config.output import tolerant_output

_ENCODER = json.JSONEncoder(separators=(",", ":"), default=str)  # json.dumps would make one at each call


def number(value: float) -> str:
    """Four significant digits."""
    return f"{value:.4g}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.3e}"


def duration(seconds: float) -> str:
    """A time in words: 4.5 s, 45 s, 3 min, 2 h 5 min."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def lines_of(error: Exception) -> list[str]:
    """What is printed of an error: at most two lines, without control characters, each of bounded length."""
    first, _, rest = f"error: {error}".partition("\n")
    return [cut(terminal(line), 1000) for line in (first, rest) if line]


def print_error(error: Exception) -> None:
    """Print what was wrong on the error stream, which in a terminal is broken between words."""
    lines = lines_of(error)
    if sys.stderr.isatty():
        lines = [fill(line, columns(sys.stderr), rest="  ") for line in lines]
    print("\n".join(lines), file=sys.stderr)


def cut(text: str, width: int = 80) -> str:
    """The text, shortened to fit into a line."""
    return shortened(text, width)


def exit_code(work: Callable[[], int], *, verbose: bool) -> int:
    """Do the work of a program; returns its exit code, 2 if the request was wrong, or 1 after any other error.

    An error is a line on the error stream, with `verbose` after its traceback. Unless the user says otherwise, numpy
    gets one thread: its arrays here are small, and on a busy machine its threads wait for each other for minutes.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))  # read when it is imported
    with tolerant_output():
        try:
            return work()
        except (RequestError, OSError) as error:  # an OSError is such as a full disk
            code, shown = 2, error
        except KeyboardInterrupt:
            return 130
        except SystemExit as end:  # of --help and --version, and of a run that a signal stopped
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        except MemoryError as error:
            code, shown = 1, RequestError(f"out of memory {error}".strip())
        except Exception as error:
            reason = next(iter(str(error).strip().splitlines()), "")
            code, shown = 1, RequestError(f"{type(error).__name__}: {reason[:300]} (verbose shows where)")
            shown.__cause__ = error
        if verbose:
            traceback.print_exception(shown)
        print_error(shown)
        return code


def finite(found: Any) -> Any:
    """Nested values with None for numbers that are not finite, which JSON does not have."""
    if isinstance(found, Mapping):
        return {key: finite(value) for key, value in found.items()}
    if isinstance(found, (list, tuple)):
        return [finite(value) for value in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


def show(value: Any) -> str:
    """The value of a setting as it is typed on a command line: null, true, 0.1, [64,64]."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value) if type(value) is int else _ENCODER.encode(value)
