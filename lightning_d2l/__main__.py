"""The programs as processes: Ctrl-C while one loads or ends leaves no traceback."""

import gc
import importlib
import inspect
import signal
import sys
from collections.abc import Mapping
from typing import Any

NEEDED = ("hydra", "omegaconf", "yaml", "torch", "pytorch_lightning", "rich")
"""Packages that another Python than that of the virtual environment lacks."""


def program(room: str = "lightning_d2l.cli") -> None:
    """Run `main` of a module, and end the process with its exit code."""
    try:
        from lightning_d2l.config.imports import faster

        faster()
        code = importlib.import_module(room).main()
    except KeyboardInterrupt:
        code = 130
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        print(f"error: {sys.executable} has no package {error.name}; activate the environment", file=sys.stderr)
        print("(source .venv/bin/activate), or install: python -m pip install -e .", file=sys.stderr)
        code = 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to stop
    gc.freeze()  # Python would look for garbage among all objects twice before it ends: a second
    sys.exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Do what `python train.py` does, or a command of `lightning-d2l`, in a program of your own; returns the exit code.

    The program registers what it adds before, and ends with `sys.exit(lightning_d2l.main())`. Without `arguments` those
    of the command line are taken.
    """
    from lightning_d2l.config.program import without_plugins
    from lightning_d2l.plugins import Ended, is_loading

    if is_loading():  # the program is named by --plugin, and has registered what it adds
        raise Ended
    frame = inspect.currentframe()
    caller = frame.f_back.f_globals if frame and frame.f_back else {}
    words = sys.argv[1:] if arguments is None else arguments
    first = without_plugins(words)[0][:1]
    from lightning_d2l.config.program import COMMANDS

    room = "cli" if first and first[0] in ("train", *COMMANDS) else "app"
    return int(importlib.import_module(f"lightning_d2l.{room}").main(words, _started(caller)))


def _started(caller: Mapping[str, Any]) -> Any:
    """The program that calls `main`, as the commands name it that are printed."""
    from lightning_d2l.config.program import Program

    if caller.get("__name__") != "__main__" or not caller.get("__file__"):  # such as a notebook
        return Program()
    spec = caller.get("__spec__")
    words = ["-m", spec.name.removesuffix(".__main__")] if spec else [sys.argv[0]]
    return Program(("python", *words), ("python", *words), file=words[1] if spec else caller["__file__"])


if __name__ == "__main__":
    program()
