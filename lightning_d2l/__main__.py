"""The programs as processes: Ctrl-C while one loads or ends leaves no traceback."""

import importlib
import signal
import sys


def program(room: str = "lightning_d2l.cli") -> None:
    """Run `main` of a module, and end the process with its exit code."""
    try:
        code = importlib.import_module(room).main()
    except KeyboardInterrupt:
        code = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to stop
    sys.exit(code)


if __name__ == "__main__":
    program()
